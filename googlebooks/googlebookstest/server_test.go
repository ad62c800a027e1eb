package googlebookstest_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/bookinfo/googlebooks/googlebookstest"
)

func TestServerNegotiatesHTTP(t *testing.T) {
	t.Parallel()
	srv := newServer(t, googlebookstest.Config{})
	tests := map[string]struct {
		http2 bool
		want  string
	}{
		"HTTP/2 by ALPN":         {true, "HTTP/2.0"},
		"HTTP/1.1 if not wanted": {false, "HTTP/1.1"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := client(t, srv)
			c.Transport.(*http.Transport).ForceAttemptHTTP2 = test.http2
			resp, body := do(t, c, request(t, "https://"+srv.HTTPSAddr+comedyPath))
			assert.Equal(t, test.want, resp.Proto)
			assert.Equal(t, sample(t, "0486424618"), body)
			assert.Equal(t, uint16(tls.VersionTLS13), resp.TLS.Version)
		})
	}
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	other, err := googlebookstest.NewCA()
	require.NoError(t, err)
	tests := map[string]struct {
		cfg     googlebookstest.Config
		trusted []byte // nil: the server's CA
		name    string
		check   func(t *testing.T, err error)
	}{
		"Google's name": {name: "www.googleapis.com", check: noError},
		"localhost":     {name: "localhost", check: noError},
		"IPv4":          {name: "127.0.0.1", check: noError},
		"IPv6":          {name: "::1", check: noError},
		"given CA":      {cfg: googlebookstest.Config{CA: other}, trusted: other.PEM, name: "localhost", check: noError},
		"given name": {
			cfg:  googlebookstest.Config{Leaf: googlebookstest.Leaf{Names: []string{"books.example"}}},
			name: "books.example", check: noError,
		},
		"wrong name": {
			cfg:  googlebookstest.Config{Leaf: googlebookstest.Leaf{Names: []string{"books.example"}}},
			name: "www.googleapis.com", check: errorAs[x509.HostnameError],
		},
		"other CA": {trusted: other.PEM, name: "localhost", check: errorAs[x509.UnknownAuthorityError]},
		"expired": {
			cfg:  googlebookstest.Config{Leaf: googlebookstest.Leaf{NotAfter: time.Now().Add(-2 * time.Hour)}},
			name: "localhost", check: errorAs[x509.CertificateInvalidError],
		},
		"not yet valid": {
			cfg:  googlebookstest.Config{Leaf: googlebookstest.Leaf{NotBefore: time.Now().Add(time.Hour)}},
			name: "localhost", check: errorAs[x509.CertificateInvalidError],
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := newServer(t, test.cfg)
			if test.trusted == nil {
				test.trusted = srv.CAPEM
			}
			roots := x509.NewCertPool()
			require.True(t, roots.AppendCertsFromPEM(test.trusted))
			test.check(t, handshake(t, srv, &tls.Config{RootCAs: roots, ServerName: test.name}))
		})
	}
}

func noError(t *testing.T, err error) {
	t.Helper()
	assert.NoError(t, err)
}

func errorAs[E error](t *testing.T, err error) {
	t.Helper()
	var want E
	assert.ErrorAs(t, err, &want)
}

func TestMaxTLSVersion(t *testing.T) {
	t.Parallel()
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			t.Parallel()
			srv := newServer(t, googlebookstest.Config{MaxTLSVersion: version})
			roots := x509.NewCertPool()
			require.True(t, roots.AppendCertsFromPEM(srv.CAPEM))

			err := handshake(t, srv, &tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS12})
			if version < tls.VersionTLS12 {
				require.ErrorContains(t, err, "protocol version")
			} else {
				require.NoError(t, err)
			}
			for asked := uint16(tls.VersionTLS10); asked <= tls.VersionTLS13; asked++ {
				err := handshake(t, srv, &tls.Config{
					RootCAs: roots, ServerName: "localhost", MinVersion: asked, MaxVersion: asked,
				})
				if asked == version || asked == tls.VersionTLS12 && version == tls.VersionTLS13 {
					assert.NoError(t, err, tls.VersionName(asked))
				} else {
					assert.Error(t, err, tls.VersionName(asked))
				}
			}
		})
	}
}

func handshake(t *testing.T, srv *googlebookstest.Server, cfg *tls.Config) error {
	t.Helper()
	conn, err := (&tls.Dialer{Config: cfg}).DialContext(t.Context(), "tcp", srv.HTTPSAddr)
	if err != nil {
		return err
	}

	return conn.Close()
}

func TestCertificatesAreGoodOnes(t *testing.T) {
	t.Parallel()
	ca, err := googlebookstest.NewCA()
	require.NoError(t, err)
	certPEM, keyPEM, err := ca.Issue(googlebookstest.Leaf{})
	require.NoError(t, err)
	_, err = tls.X509KeyPair(certPEM, keyPEM)
	require.NoError(t, err)

	root, leaf := parse(t, ca.PEM), parse(t, certPEM)
	assert.True(t, root.IsCA)
	assert.False(t, leaf.IsCA)
	assert.Equal(t, x509.ECDSA, leaf.PublicKeyAlgorithm)
	assert.Equal(t, x509.ECDSAWithSHA256, leaf.SignatureAlgorithm)
	assert.Equal(t, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, leaf.ExtKeyUsage)
	assert.Equal(t, []string{"www.googleapis.com", "localhost"}, leaf.DNSNames)
	require.Len(t, leaf.IPAddresses, 2)
	assert.True(t, leaf.IPAddresses[0].Equal(net.IPv4(127, 0, 0, 1)))
	assert.True(t, leaf.IPAddresses[1].Equal(net.IPv6loopback))
	assert.WithinDuration(t, time.Now().AddDate(1, 0, 0), leaf.NotAfter, 2*24*time.Hour, "a year")
	assert.Equal(t, root.NotAfter, leaf.NotAfter)
	assert.True(t, leaf.NotBefore.Before(time.Now().Add(-time.Minute)), "clocks may be behind")
	assert.NotEqual(t, root.SerialNumber, leaf.SerialNumber)
}

func parse(t *testing.T, certPEM []byte) *x509.Certificate {
	t.Helper()
	block, rest := pem.Decode(certPEM)
	require.NotNil(t, block)
	assert.Empty(t, rest)
	cert, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)

	return cert
}

func TestCloseMayBeCalledTwice(t *testing.T) {
	t.Parallel()
	srv := googlebookstest.NewServer(googlebookstest.Config{})
	srv.Close()
	srv.Close()
	for _, addr := range []string{srv.HTTPAddr, srv.HTTPSAddr} {
		_, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
		assert.Error(t, err, "nothing listens")
	}
}
