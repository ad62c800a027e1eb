package googlebookstest_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/bookinfo/googlebooks/googlebookstest"
)

func TestPortInUse(t *testing.T) {
	t.Parallel()
	other := newServer(t, googlebookstest.Config{})
	for _, cfg := range []googlebookstest.Config{{HTTPAddr: other.HTTPAddr}, {HTTPSAddr: other.HTTPAddr}} {
		_, err := googlebookstest.Start(cfg)
		require.ErrorContains(t, err, "listen tcp "+other.HTTPAddr)
		assert.Panics(t, func() { googlebookstest.NewServer(cfg) })
	}
}

// TestLocalhost checks that both addresses of localhost answer on one port.
func TestLocalhost(t *testing.T) {
	t.Parallel()
	loopback6, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "[::1]:0")
	if err != nil {
		t.Skip("there is no ::1")
	}
	t.Cleanup(func() { _ = loopback6.Close() })
	srv := newServer(t, googlebookstest.Config{HTTPAddr: "localhost:0", HTTPSAddr: "localhost:0"})
	for _, base := range []string{"http://" + srv.HTTPAddr, "https://" + srv.HTTPSAddr} {
		for _, host := range []string{"127.0.0.1", "[::1]", "localhost"} {
			_, body := do(t, newClient(t, srv), newRequest(t, strings.Replace(base, "127.0.0.1", host, 1)+comedyPath))
			assert.Equal(t, sample("0486424618"), body)
		}
	}
	assert.Equal(t, "HTTP/2.0", srv.Requests()[3].Proto)

	_, port, err := net.SplitHostPort(loopback6.Addr().String())
	require.NoError(t, err)
	_, err = googlebookstest.Start(googlebookstest.Config{HTTPAddr: "localhost:" + port})
	assert.ErrorContains(t, err, "address already in use")
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	srv := newServer(t, googlebookstest.Config{Leaf: googlebookstest.Leaf{Names: []string{"books.example", "192.0.2.1"}}})
	state, err := handshake(t, srv, &tls.Config{InsecureSkipVerify: true})
	require.NoError(t, err)
	leaf := state.PeerCertificates[0]
	assert.Equal(t, []string{"books.example"}, leaf.DNSNames)
	assert.Equal(t, "192.0.2.1", leaf.IPAddresses[0].String())

	srv = newServer(t, googlebookstest.Config{})
	for _, name := range []string{"www.googleapis.com", "localhost", "127.0.0.1", "::1"} {
		state, err = handshake(t, srv, &tls.Config{RootCAs: srv.CertPool(), ServerName: name})
		require.NoError(t, err)
	}
	// What a client does not enforce:
	leaf = state.PeerCertificates[0]
	assert.False(t, leaf.IsCA)
	assert.Equal(t, x509.ECDSA, leaf.PublicKeyAlgorithm)
	assert.Equal(t, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, leaf.ExtKeyUsage)
	assert.WithinDuration(t, time.Now().AddDate(1, 0, 0), leaf.NotAfter, time.Hour)
	assert.WithinDuration(t, time.Now().Add(-time.Hour), leaf.NotBefore, 10*time.Minute, "clocks may be behind")
}

// TestMaxTLSVersion has a client that accepts every version.
func TestMaxTLSVersion(t *testing.T) {
	t.Parallel()
	for highest, want := range map[uint16]uint16{
		0:                tls.VersionTLS13,
		tls.VersionTLS12: tls.VersionTLS12,
		tls.VersionTLS11: tls.VersionTLS11,
	} {
		srv := newServer(t, googlebookstest.Config{MaxTLSVersion: highest})
		state, err := handshake(t, srv, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10})
		require.NoError(t, err)
		assert.Equal(t, want, state.Version)
	}
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

// TestShutdown checks that Shutdown waits for responses. That it does not wait
// for long is tested with the emulator.
func TestShutdown(t *testing.T) {
	t.Parallel()
	srv := newServer(t, googlebookstest.Config{Slow: slow})
	srv.Script("slow-body", "slow-body")
	var bodies []io.ReadCloser
	for _, url := range []string{"http://" + srv.HTTPAddr, "https://" + srv.HTTPSAddr} {
		resp, err := newClient(t, srv).Do(newRequest(t, url+comedyPath))
		require.NoError(t, err)
		bodies = append(bodies, resp.Body)
	}
	srv.Shutdown(t.Context())
	for _, body := range bodies {
		_, err := io.Copy(io.Discard, body)
		assert.NoError(t, errors.Join(err, body.Close()))
	}
}
