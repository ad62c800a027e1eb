package googlebookstest_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"slices"
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

func TestCertificates(t *testing.T) {
	t.Parallel()
	early, late := time.Now().Add(time.Hour).Truncate(time.Second), time.Now().Add(2*time.Hour).Truncate(time.Second)
	srv := newServer(t, googlebookstest.Config{
		Leaf: googlebookstest.Leaf{Names: []string{"books.example", "192.0.2.1"}, NotBefore: early, NotAfter: late},
	})
	state, err := handshake(t, srv, &tls.Config{InsecureSkipVerify: true})
	require.NoError(t, err)
	leaf := state.PeerCertificates[0]
	assert.Equal(t, []string{"books.example"}, leaf.DNSNames)
	assert.Equal(t, "192.0.2.1", leaf.IPAddresses[0].String())
	assert.True(t, early.Equal(leaf.NotBefore), leaf.NotBefore)
	assert.True(t, late.Equal(leaf.NotAfter), leaf.NotAfter)

	srv = newServer(t, googlebookstest.Config{})
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(srv.CAPEM))
	for _, name := range []string{"www.googleapis.com", "localhost", "127.0.0.1", "::1"} {
		state, err = handshake(t, srv, &tls.Config{RootCAs: roots, ServerName: name})
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

func TestMaxTLSVersion(t *testing.T) {
	t.Parallel()
	for version, accepted := range map[uint16][]uint16{
		0:                {tls.VersionTLS12, tls.VersionTLS13},
		tls.VersionTLS11: {tls.VersionTLS11},
		tls.VersionTLS12: {tls.VersionTLS12},
	} {
		srv := newServer(t, googlebookstest.Config{MaxTLSVersion: version})
		for offered := uint16(tls.VersionTLS10); offered <= tls.VersionTLS13; offered++ {
			_, err := handshake(t, srv, &tls.Config{InsecureSkipVerify: true, MinVersion: offered, MaxVersion: offered})
			if slices.Contains(accepted, offered) {
				assert.NoError(t, err, "%x at most, %x offered", version, offered)
			} else {
				assert.Error(t, err, "%x at most, %x offered", version, offered)
			}
		}
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

// TestShutdown checks that Shutdown waits for a response, but not for long.
func TestShutdown(t *testing.T) {
	t.Parallel()
	for slow, timeout := range map[time.Duration]time.Duration{
		slow:      patience,
		time.Hour: slow,
	} {
		srv := newServer(t, googlebookstest.Config{Slow: slow})
		srv.Script("slow-body")
		resp, err := newClient(t, srv).Do(newRequest(t, "http://"+srv.HTTPAddr+comedyPath))
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		srv.Shutdown(ctx)
		cancel()
		_, err = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		assert.Equal(t, slow == time.Hour, err != nil, "%v", err)
	}
}
