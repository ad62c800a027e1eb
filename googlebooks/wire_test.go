package googlebooks

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/bookinfo/googlebooks/googlebookstest"
)

// connect returns a client for www.googleapis.com whose connections lead to the
// stand-in. Its transport is the one that it uses for Google. By default, its
// timeout is so long that no call needs a second try on a busy machine. wrap,
// which may be nil, wraps the dialer.
func connect(t *testing.T, cfg Config, google *googlebookstest.Server, wrap func(dialer) dialer) *Client {
	t.Helper()
	cfg.Timeout = cmp.Or(cfg.Timeout, 30*time.Second)
	cfg.RootCAs = google.CertPool()
	dial := dialer(func(ctx context.Context, network, address string) (net.Conn, error) {
		standIn := map[string]string{"www.googleapis.com:80": google.HTTPAddr, "www.googleapis.com:443": google.HTTPSAddr}
		return new(net.Dialer).DialContext(ctx, network, cmp.Or(standIn[address], address))
	})
	if wrap != nil {
		dial = wrap(dial)
	}
	transport := newTransport(cfg, cfg.Timeout, dial)
	t.Cleanup(transport.CloseIdleConnections)
	cfg.Transport = transport
	c, err := New(cfg)
	require.NoError(t, err)
	return c
}

// TestOnTheWire: the program's TestBothModes has the other headers.
func TestOnTheWire(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		cfg    Config
		header http.Header // of the caller
		query  string      // after the ISBN
		want   http.Header // all of it but Accept-Encoding
	}{
		"HTTPS":        {want: http.Header{}},
		"default port": {cfg: Config{Host: "www.googleapis.com:443"}, want: http.Header{}},
		"plain HTTP":   {cfg: Config{PlainHTTP: true, Host: "www.googleapis.com:80"}, want: http.Header{}},
		"a country":    {cfg: Config{Country: "D&K"}, query: "&country=D%26K", want: http.Header{}},
		"key and headers": {
			cfg:    Config{APIKey: "s3cret", UserAgent: "details/1"},
			header: http.Header{"X-Request-Id": {"a", "b"}, "User-Agent": {"curl/8"}, "X-Goog-Api-Key": {"another"}},
			want:   http.Header{"X-Request-Id": {"a", "b"}, "X-Goog-Api-Key": {"s3cret"}, "User-Agent": {"details/1"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			google := googlebookstest.NewServer(googlebookstest.Config{})
			defer google.Close()
			before := maps.Clone(tc.header)
			got, err := connect(t, tc.cfg, google, nil).Lookup(t.Context(), "0486424618", tc.header)
			require.NoError(t, err)
			assert.Equal(t, int64(53), *got.Volume.PageCount)
			assert.Equal(t, before, tc.header, "the caller's header is its own")

			requests := google.Requests()
			require.Len(t, requests, 1)
			r := requests[0]
			assert.Equal(t, "GET /books/v1/volumes?q=isbn:0486424618"+tc.query, r.Method+" "+r.RequestURI, "with a plain colon")
			assert.Equal(t, "www.googleapis.com", r.Host, "no port")
			tc.want.Set("Accept-Encoding", "identity")
			assert.Equal(t, tc.want, r.Header)
			if r.TLS {
				assert.Equal(t, "www.googleapis.com", r.ServerName)
			}
		})
	}
}

// TestIdleConnectionsAreClosed has a server at the end of a pipe: with sockets,
// the clock would not be a fake.
func TestIdleConnectionsAreClosed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dials := 0
		cfg := Config{PlainHTTP: true}
		transport := newTransport(cfg, DefaultTimeout, func(context.Context, string, string) (net.Conn, error) {
			dials++
			client, server := net.Pipe()
			go func() {
				r := bufio.NewReader(server)
				for {
					if _, err := http.ReadRequest(r); err != nil {
						return
					}
					fmt.Fprintf(server, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(comedy), comedy)
				}
			}()
			return client, nil
		})
		defer transport.CloseIdleConnections()
		cfg.Transport = transport
		c, err := New(cfg)
		require.NoError(t, err)
		for i, idle := range []time.Duration{0, time.Second - 1, time.Second} {
			time.Sleep(idle)
			synctest.Wait()
			_, err := c.Lookup(t.Context(), "0486424618", nil)
			require.NoError(t, err)
			assert.Equal(t, 1+i/2, dials)
			synctest.Wait() // the connection is idle again
		}
	})
}

// callAtOnce makes concurrent lookups.
func callAtOnce(t *testing.T, c *Client, callers int) {
	t.Helper()
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			_, err := c.Lookup(t.Context(), "0486424618", nil)
			assert.NoError(t, err)
		})
	}
	all.Wait()
}

// TestPlainHTTPKeepsItsConnections makes more concurrent calls than HTTPS has
// connections, and then the same number again.
func TestPlainHTTPKeepsItsConnections(t *testing.T) {
	t.Parallel()
	const callers = maxTLSPerHost + 32
	google := googlebookstest.NewServer(googlebookstest.Config{})
	defer google.Close()
	all := make(chan struct{}) // closed when each caller has a connection
	var dials atomic.Int64
	c := connect(t, Config{PlainHTTP: true}, google, func(dial dialer) dialer {
		return func(ctx context.Context, network, address string) (net.Conn, error) {
			if dials.Add(1) == callers {
				close(all)
			}
			select {
			case <-all:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			return dial(ctx, network, address)
		}
	})
	c.transport.(*http.Transport).IdleConnTimeout = time.Minute
	callAtOnce(t, c, callers)
	require.EqualValues(t, callers, dials.Load())
	callAtOnce(t, c, callers)
	assert.Less(t, dials.Load(), int64(callers+16), "the second round reuses connections")
}

// hangFirst is a dialer whose first connections, up to a number, go to a server
// that never says a word. It counts open connections.
type hangFirst struct {
	silent net.Listener

	mu               sync.Mutex
	left, open, peak int
}

type countedConn struct {
	net.Conn

	closed func()
}

func (c *countedConn) Close() error {
	c.closed()
	return c.Conn.Close()
}

// next reports whether the next connection is to hang.
func (h *hangFirst) next() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.left--
	return h.left >= 0
}

// count adds to the number of open connections and returns the highest so far.
func (h *hangFirst) count(change int) (peak int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open += change
	h.peak = max(h.peak, h.open)
	return h.peak
}

func (h *hangFirst) wrap(dial dialer) dialer {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if h.next() {
			address = h.silent.Addr().String()
		}
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		h.count(1)
		return &countedConn{conn, sync.OnceFunc(func() { h.count(-1) })}, nil
	}
}

// TestHungConnections: connections that are accepted and then hang take nothing
// from later tries and later callers. net/http does not end them with the call.
func TestHungConnections(t *testing.T) {
	t.Parallel()
	const callers = maxTLSPerHost + 16
	google := googlebookstest.NewServer(googlebookstest.Config{})
	t.Cleanup(google.Close)
	proxy := httptest.NewServer(connectTo(google.HTTPSAddr))
	t.Cleanup(proxy.Close)
	proxyURL, err := url.Parse(proxy.URL)
	require.NoError(t, err)
	for name, tc := range map[string]struct {
		cfg         Config
		least, most int // connections that are open at once
	}{
		"TLS handshake": {Config{}, maxTLSPerHost, maxTLSPerHost},
		"CONNECT":       {Config{Proxy: proxyURL}, callers, 3 * callers},
		"plain HTTP":    {Config{PlainHTTP: true}, callers, 3 * callers},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			silent, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
			require.NoError(t, err)
			defer func() { require.NoError(t, silent.Close()) }()
			hang := &hangFirst{silent: silent, left: callers}
			tc.cfg.Timeout = 9 * time.Second
			c := connect(t, tc.cfg, google, hang.wrap)
			callAtOnce(t, c, callers)
			peak := hang.count(0)
			assert.GreaterOrEqual(t, peak, tc.least)
			assert.LessOrEqual(t, peak, tc.most)
			got, err := c.Lookup(t.Context(), "0486424618", nil)
			require.NoError(t, err)
			assert.Equal(t, 1, got.Last.Number, "a later caller does not notice")
		})
	}
}

// TestDialIsBounded: resolving and connecting end before the try does, so that
// the error says what hung. The clock is fake: there is no socket.
func TestDialIsBounded(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]Config{"HTTPS": {}, "plain HTTP": {PlainHTTP: true}, "proxy": {Proxy: new(url.URL)}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				hung := &net.DNSError{Err: "i/o timeout", IsTimeout: true}
				cfg.Transport = newTransport(cfg, DefaultTimeout, func(ctx context.Context, _, _ string) (net.Conn, error) {
					<-ctx.Done()
					return nil, hung
				})
				var took []time.Duration
				cfg.Observe = func(x Try) { took = append(took, x.Duration) }
				c, err := New(cfg)
				require.NoError(t, err)
				_, err = c.Lookup(t.Context(), "0486424618", nil)
				require.ErrorIs(t, err, hung)
				assert.Equal(t, slices.Repeat([]time.Duration{1100 * time.Millisecond}, 2), took)
			})
		})
	}
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
	var silent atomic.Bool
	c := connect(t, Config{Timeout: 6 * time.Second}, google, func(dial dialer) dialer {
		return func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			if err != nil || len(google.Requests()) > 0 {
				return conn, err
			}
			return silencer{conn, &silent}, nil
		}
	})

	_, err := c.Lookup(t.Context(), "0486424618", nil)
	require.NoError(t, err)
	silent.Store(true)
	for range 3 {
		_, err = c.Lookup(t.Context(), "0486424618", nil)
		require.NoError(t, err)
	}
	got, err := c.Lookup(t.Context(), "0486424618", nil)
	require.NoError(t, err)
	assert.Equal(t, 1, got.Last.Number, "the dead connection is gone")
}

// connectTo returns the handler of a proxy that connects everything to addr.
func connectTo(addr string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		upstream, err := new(net.Dialer).DialContext(r.Context(), "tcp", addr)
		if err != nil {
			return
		}
		defer upstream.Close()
		w.WriteHeader(http.StatusOK)
		client, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer client.Close()
		go func() {
			_, _ = io.Copy(upstream, client)
			_ = upstream.Close()
		}()
		_, _ = io.Copy(client, upstream)
	}
}
