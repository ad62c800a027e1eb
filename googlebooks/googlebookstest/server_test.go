package googlebookstest_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/bookinfo/googlebooks/googlebookstest"
)

func TestStartErrors(t *testing.T) {
	t.Parallel()
	other := newServer(t, googlebookstest.Config{})
	shares := func(shares ...googlebookstest.Share) googlebookstest.Config {
		return googlebookstest.Config{Shares: shares}
	}
	tests := map[string]struct {
		cfg  googlebookstest.Config
		want string
	}{
		"unknown fault": {
			cfg:  shares(googlebookstest.Share{"rest", 1}),
			want: `unknown fault "rest"`,
		},
		"share of 0": {
			cfg:  shares(googlebookstest.Share{"reset", 0}),
			want: "fault reset: invalid share 0 %: want more than 0",
		},
		"not a number": {
			cfg:  shares(googlebookstest.Share{"reset", math.NaN()}),
			want: "fault reset: invalid share NaN %: want more than 0",
		},
		"more than 100 %": {
			cfg:  shares(googlebookstest.Share{"reset", 60}, googlebookstest.Share{"close", 60}),
			want: "the shares of the faults add up to 120 %: want at most 100",
		},
		"HTTP port in use": {
			cfg:  googlebookstest.Config{HTTPAddr: other.HTTPAddr},
			want: "listen tcp " + other.HTTPAddr,
		},
		"HTTPS port in use": {
			cfg:  googlebookstest.Config{HTTPSAddr: other.HTTPAddr},
			want: "listen tcp " + other.HTTPAddr,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := googlebookstest.Start(test.cfg)
			require.ErrorContains(t, err, test.want)
			assert.Panics(t, func() { googlebookstest.NewServer(test.cfg) })
		})
	}
}

func TestStartRecordsNothing(t *testing.T) {
	t.Parallel()
	srv, err := googlebookstest.Start(googlebookstest.Config{})
	require.NoError(t, err)
	defer srv.Close()
	get(t, srv, comedyPath)
	assert.Empty(t, srv.Requests())
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	other, err := googlebookstest.NewCA()
	require.NoError(t, err)
	certPEM, keyPEM, err := other.Issue(googlebookstest.Leaf{})
	require.NoError(t, err)
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	require.NoError(t, err)
	elsewhere := googlebookstest.Leaf{Names: []string{"books.example"}}
	tests := map[string]struct {
		cfg     googlebookstest.Config
		trusted []byte // CA; the server's if nil
		name    string
		wantErr any // a pointer to the type of the error
	}{
		"Google's name": {
			name: "www.googleapis.com",
		},
		"IPv6": {
			name: "::1",
		},
		"CA": {
			cfg:     googlebookstest.Config{CA: other},
			trusted: other.PEM,
			name:    "localhost",
		},
		"certificate": {
			cfg:     googlebookstest.Config{Certificate: &cert},
			trusted: other.PEM,
			name:    "localhost",
		},
		"other name": {
			cfg:  googlebookstest.Config{Leaf: elsewhere},
			name: "books.example",
		},
		"wrong name": {
			cfg:     googlebookstest.Config{Leaf: elsewhere},
			name:    "www.googleapis.com",
			wantErr: new(x509.HostnameError),
		},
		"other CA": {
			trusted: other.PEM,
			name:    "localhost",
			wantErr: new(x509.UnknownAuthorityError),
		},
		"expired": {
			cfg:     googlebookstest.Config{Leaf: googlebookstest.Leaf{NotAfter: time.Now().Add(-2 * time.Hour)}},
			name:    "localhost",
			wantErr: new(x509.CertificateInvalidError),
		},
		"not yet valid": {
			cfg:     googlebookstest.Config{Leaf: googlebookstest.Leaf{NotBefore: time.Now().Add(time.Hour)}},
			name:    "localhost",
			wantErr: new(x509.CertificateInvalidError),
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
			_, err := handshake(t, srv, &tls.Config{RootCAs: roots, ServerName: test.name})
			if test.wantErr == nil {
				assert.NoError(t, err)
			} else {
				assert.ErrorAs(t, err, test.wantErr)
			}
		})
	}
}

func TestMaxTLSVersion(t *testing.T) {
	t.Parallel()
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13} {
		srv := newServer(t, googlebookstest.Config{MaxTLSVersion: version})
		for offered := uint16(tls.VersionTLS10); offered <= tls.VersionTLS13; offered++ {
			_, err := handshake(t, srv, &tls.Config{
				InsecureSkipVerify: true, MinVersion: offered, MaxVersion: offered,
			})
			if offered == version || offered == tls.VersionTLS12 && version == tls.VersionTLS13 {
				assert.NoError(t, err, "%x at most, %x offered", version, offered)
			} else {
				assert.Error(t, err, "%x at most, %x offered", version, offered)
			}
		}
	}
}

// TestLeaf checks what a client does not enforce.
func TestLeaf(t *testing.T) {
	t.Parallel()
	srv := newServer(t, googlebookstest.Config{})
	state, err := handshake(t, srv, &tls.Config{InsecureSkipVerify: true})
	require.NoError(t, err)
	leaf := state.PeerCertificates[0]
	assert.False(t, leaf.IsCA)
	assert.Equal(t, x509.ECDSA, leaf.PublicKeyAlgorithm)
	assert.Equal(t, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, leaf.ExtKeyUsage)
	assert.WithinDuration(t, time.Now().AddDate(1, 0, 0), leaf.NotAfter, 2*24*time.Hour, "a year")
	assert.True(t, leaf.NotBefore.Before(time.Now().Add(-time.Minute)), "clocks may be behind")
}

func handshake(t *testing.T, srv *googlebookstest.Server, cfg *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	conn, err := (&tls.Dialer{Config: cfg}).DialContext(t.Context(), "tcp", srv.HTTPSAddr)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState(), nil
}

func TestShutdownWaits(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		slow     time.Duration
		complete bool
	}{
		"response in progress": {
			slow:     slow,
			complete: true,
		},
		"response that takes too long": {
			slow:     time.Hour,
			complete: false,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := newServer(t, googlebookstest.Config{Slow: test.slow})
			srv.Script("slow-body")
			resp, err := newClient(t, srv).Do(newRequest(t, "http://"+srv.HTTPAddr+comedyPath))
			require.NoError(t, err)
			defer resp.Body.Close()

			timeout := patience
			if !test.complete {
				timeout = slow
			}
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			defer cancel()
			srv.Shutdown(ctx)
			_, err = io.Copy(io.Discard, resp.Body)
			assert.Equal(t, test.complete, err == nil, "%v", err)
		})
	}
}

func TestCloseTwice(t *testing.T) {
	t.Parallel()
	srv := googlebookstest.NewServer(googlebookstest.Config{})
	srv.Close()
	srv.Close()
	for _, addr := range []string{srv.HTTPAddr, srv.HTTPSAddr} {
		_, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
		assert.Error(t, err, "nothing listens")
	}
}
