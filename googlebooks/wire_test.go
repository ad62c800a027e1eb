package googlebooks_test

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/bookinfo/googlebooks"
	"example.com/bookinfo/googlebooks/googlebookstest"
)

// connect returns a client for www.googleapis.com whose connections lead to the
// stand-in. Its transport is the one that it uses for Google. By default, its
// timeout is so long that no call needs a second try on a busy machine.
func connect(t *testing.T, cfg googlebooks.Config, google *googlebookstest.Server) *googlebooks.Client {
	t.Helper()
	cfg.Timeout = cmp.Or(cfg.Timeout, 30*time.Second)
	cfg.RootCAs = x509.NewCertPool()
	require.True(t, cfg.RootCAs.AppendCertsFromPEM(google.CAPEM))
	c, err := googlebooks.New(cfg)
	require.NoError(t, err)
	transport := c.PooledTransport()
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		standIn := map[string]string{"www.googleapis.com:80": google.HTTPAddr, "www.googleapis.com:443": google.HTTPSAddr}
		return new(net.Dialer).DialContext(ctx, network, standIn[address])
	}
	t.Cleanup(transport.CloseIdleConnections)
	return c
}

func TestOnTheWire(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		cfg    googlebooks.Config
		header http.Header // of the caller
		proto  string
		query  string      // after the ISBN
		want   http.Header // all of it: gzip is not asked for
	}{
		"HTTPS":      {proto: "HTTP/2.0", want: http.Header{}},
		"plain HTTP": {cfg: googlebooks.Config{PlainHTTP: true}, proto: "HTTP/1.1", want: http.Header{}},
		"default port and a country": {
			cfg:   googlebooks.Config{Host: "www.googleapis.com:443", Country: "DK"},
			proto: "HTTP/2.0",
			query: "&country=DK",
			want:  http.Header{},
		},
		"key and headers": {
			cfg:    googlebooks.Config{APIKey: "s3cret", UserAgent: "details/1"},
			header: http.Header{"X-Request-Id": {"a", "b"}},
			proto:  "HTTP/2.0",
			want:   http.Header{"X-Request-Id": {"a", "b"}, "X-Goog-Api-Key": {"s3cret"}, "User-Agent": {"details/1"}},
		},
		"user agent of the caller": {
			cfg:    googlebooks.Config{UserAgent: "details/1"},
			header: http.Header{"User-Agent": {"curl/8"}},
			proto:  "HTTP/2.0",
			want:   http.Header{"User-Agent": {"curl/8"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			google := googlebookstest.NewServer(googlebookstest.Config{})
			defer google.Close()
			v, err := connect(t, tc.cfg, google).Volume(t.Context(), "0486424618", tc.header)
			require.NoError(t, err)
			assert.Equal(t, int64(53), *v.PageCount)

			requests := google.Requests()
			require.Len(t, requests, 1)
			r := requests[0]
			assert.Equal(t, http.MethodGet, r.Method)
			assert.Equal(t, "/books/v1/volumes?q=isbn:0486424618"+tc.query, r.RequestURI, "with a plain colon")
			assert.Equal(t, "www.googleapis.com", r.Host, "no port")
			assert.Equal(t, tc.proto, r.Proto)
			assert.Equal(t, tc.want, r.Header)
			assert.Equal(t, !tc.cfg.PlainHTTP, r.TLS)
			if r.TLS {
				assert.Equal(t, "www.googleapis.com", r.ServerName)
			}
		})
	}
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	t.Parallel()
	google := googlebookstest.NewServer(googlebookstest.Config{})
	defer google.Close()
	c := connect(t, googlebooks.Config{PlainHTTP: true}, google)
	_, err := c.Volume(t.Context(), "0486424618", nil)
	require.NoError(t, err)
	time.Sleep(3 * time.Second) // closed after one; a timer may fire late
	_, err = c.Volume(t.Context(), "0486424618", nil)
	require.NoError(t, err)
	requests := google.Requests()
	require.Len(t, requests, 2)
	assert.NotEqual(t, requests[0].RemoteAddr, requests[1].RemoteAddr)
}

// callAtOnce makes concurrent lookups.
func callAtOnce(t *testing.T, c *googlebooks.Client, callers int) {
	t.Helper()
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			_, err := c.Volume(t.Context(), "0486424618", nil)
			assert.NoError(t, err)
		})
	}
	all.Wait()
}

// TestColdBurst makes many calls before there is a connection: the number of
// handshakes is limited.
func TestColdBurst(t *testing.T) {
	t.Parallel()
	google := googlebookstest.NewServer(googlebookstest.Config{})
	defer google.Close()
	c := connect(t, googlebooks.Config{}, google)
	transport := c.PooledTransport()
	var dials atomic.Int64
	dial := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		dials.Add(1)
		return dial(ctx, network, address)
	}
	callAtOnce(t, c, 4*googlebooks.MaxTLSPerHost)
	// A dial that is no longer needed makes room for another, so there may be a few more.
	assert.Less(t, dials.Load(), int64(2*googlebooks.MaxTLSPerHost))
}

// TestPlainHTTPKeepsItsConnections makes more concurrent calls than net/http
// keeps idle connections by default, and then the same number again.
func TestPlainHTTPKeepsItsConnections(t *testing.T) {
	t.Parallel()
	const callers = 32
	google := googlebookstest.NewServer(googlebookstest.Config{})
	defer google.Close()
	c := connect(t, googlebooks.Config{PlainHTTP: true}, google)
	c.PooledTransport().IdleConnTimeout = time.Minute
	var ready sync.WaitGroup // done when each caller has a connection
	ready.Add(callers)
	dial := c.PooledTransport().DialContext
	var dials atomic.Int64
	c.PooledTransport().DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if dials.Add(1) <= callers {
			ready.Done()
			ready.Wait()
		}
		return conn, err
	}
	callAtOnce(t, c, callers)
	before := dials.Load()
	callAtOnce(t, c, callers)
	assert.Less(t, dials.Load()-before, int64(callers/2), "the second round reuses connections")
}

// assertNoAnswer checks that a lookup fails without a usable response of the
// server. It returns the cause.
func assertNoAnswer(t *testing.T, server *httptest.Server, cfg googlebooks.Config) error {
	t.Helper()
	cfg.Host, cfg.Timeout = server.Listener.Addr().String(), 9*time.Second
	c, err := googlebooks.New(cfg)
	require.NoError(t, err)
	_, err = c.Volume(t.Context(), "0486424618", nil)
	e, ok := errors.AsType[*googlebooks.Error](err)
	require.True(t, ok)
	assert.Equal(t, googlebooks.ReasonNoAnswer, e.Reason)
	return e.Err
}

func TestResponseHeaderIsBounded(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Long", strings.Repeat("a", 2*googlebooks.MaxHeader))
	}))
	defer server.Close()
	cause := assertNoAnswer(t, server, googlebooks.Config{PlainHTTP: true})
	assert.ErrorContains(t, cause, "header")
}

// TestOldTLSIsRefused has an upstream without HTTP/2, which would refuse it, too.
func TestOldTLSIsRefused(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	server.StartTLS()
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	cause := assertNoAnswer(t, server, googlebooks.Config{RootCAs: roots})
	assert.ErrorContains(t, cause, "protocol version")
}

// silencer is a connection that can fall silent: no call fails, but no byte is
// sent or received, as when a NAT has dropped the connection.
type silencer struct {
	net.Conn

	silent *atomic.Bool
}

func (s silencer) Write(p []byte) (int, error) {
	if s.silent.Load() {
		return len(p), nil
	}
	return s.Conn.Write(p)
}

func (s silencer) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if s.silent.Load() && err == nil {
		return s.Read(p)
	}
	return n, err
}

// TestHungConnectionIsDropped silences an HTTP/2 connection. The transport's
// pings drop it; otherwise it would stay in the pool and fail the first try of
// every lookup.
func TestHungConnectionIsDropped(t *testing.T) {
	t.Parallel()
	google := googlebookstest.NewServer(googlebookstest.Config{})
	defer google.Close()
	c := connect(t, googlebooks.Config{Timeout: 6 * time.Second}, google)
	transport := c.PooledTransport()
	var silent atomic.Bool
	dial := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil || len(google.Requests()) > 0 {
			return conn, err
		}
		return silencer{conn, &silent}, nil
	}

	_, err := c.Volume(t.Context(), "0486424618", nil)
	require.NoError(t, err)
	silent.Store(true)
	for range 3 {
		_, err = c.Volume(t.Context(), "0486424618", nil)
		require.NoError(t, err)
	}
	failed := 0
	ctx := googlebooks.WithTrace(t.Context(), &googlebooks.Trace{Tried: func(x googlebooks.Try) {
		if x.StatusCode != http.StatusOK {
			failed++
		}
	}})
	_, err = c.Volume(ctx, "0486424618", nil)
	require.NoError(t, err)
	assert.Zero(t, failed, "the dead connection is gone")
}
