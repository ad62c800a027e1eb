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

// TestOnTheWire checks a whole request. For the headers of a caller, see
// TestBothModes of the program.
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

// pipeTo returns a dialer of connections to a server that answers each request
// with one of these responses, the last one from then on, and hangs after "".
// Without sockets, a test can have a fake clock.
func pipeTo(responses ...string) dialer {
	return func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			r := bufio.NewReader(server)
			for i := 0; ; i = min(i+1, len(responses)-1) {
				if responses[i] == "" {
					_, _ = io.Copy(io.Discard, r)
					return
				}
				if _, err := http.ReadRequest(r); err != nil {
					return
				}
				time.Sleep(time.Millisecond)
				_, _ = io.WriteString(server, responses[i])
			}
		}()
		return client, nil
	}
}

// TestPlainHTTPConnections makes more concurrent calls than HTTPS has
// connections. They are used again, but idle ones are closed after a second.
func TestPlainHTTPConnections(t *testing.T) {
	t.Parallel()
	const callers = maxTLSPerHost + 16
	synctest.Test(t, func(t *testing.T) {
		var dials atomic.Int64
		cfg := Config{PlainHTTP: true}
		dial := pipeTo(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(comedy), comedy))
		transport := newTransport(cfg, DefaultTimeout, func(ctx context.Context, network, address string) (net.Conn, error) {
			dials.Add(1)
			return dial(ctx, network, address)
		})
		defer transport.CloseIdleConnections()
		cfg.Transport = transport
		c, err := New(cfg)
		require.NoError(t, err)
		for i, idle := range []time.Duration{0, time.Second - 1, time.Second} {
			time.Sleep(idle)
			synctest.Wait()
			callAtOnce(t, c, callers)
			assert.EqualValues(t, callers*(1+i/2), dials.Load())
			synctest.Wait() // the connections are idle again
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
	for name, cfg := range map[string]Config{"TLS handshake": {}, "CONNECT": {Proxy: proxyURL}, "plain HTTP": {PlainHTTP: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			silent, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
			require.NoError(t, err)
			defer func() { require.NoError(t, silent.Close()) }()
			var dials atomic.Int64
			cfg.Timeout = 9 * time.Second
			c := connect(t, cfg, google, func(dial dialer) dialer {
				return func(ctx context.Context, network, address string) (net.Conn, error) {
					if dials.Add(1) <= callers {
						address = silent.Addr().String()
					}
					return dial(ctx, network, address)
				}
			})
			callAtOnce(t, c, callers)
			got, err := c.Lookup(t.Context(), "0486424618", nil)
			require.NoError(t, err)
			assert.Equal(t, 1, got.Last.Number, "a later caller does not notice")
		})
	}
}

// TestDialIsBounded: resolving, connecting and the TLS handshake end before the
// try does, so that the error says what hung. HTTPS without a proxy limits how
// many there are at once.
func TestDialIsBounded(t *testing.T) {
	t.Parallel()
	const callers = maxTLSPerHost + 16
	https, plain, proxy := Config{}, Config{PlainHTTP: true}, Config{Proxy: &url.URL{Host: "proxy:80"}}
	silent, connected := pipeTo(""), pipeTo("HTTP/1.1 200 OK\r\n\r\n", "")
	for name, tc := range map[string]struct {
		cfg    Config
		dial   dialer // nil: the name server hangs
		reason string
		most   int
	}{
		"HTTPS, name":      {https, nil, ReasonDNS, maxTLSPerHost},
		"plain HTTP, name": {plain, nil, ReasonDNS, callers},
		"proxy, name":      {proxy, nil, ReasonProxy, callers},
		"HTTPS, TLS":       {https, silent, ReasonTimeout, maxTLSPerHost},
		"proxy, TLS":       {proxy, connected, ReasonTimeout, callers},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var open atomic.Int64
				tries := make(chan Try, 3*callers)
				tc.cfg.Observe = func(x Try) { tries <- x }
				tc.cfg.Transport = newTransport(tc.cfg, DefaultTimeout, func(ctx context.Context, network, address string) (net.Conn, error) {
					open.Add(1)
					if tc.dial != nil {
						return tc.dial(ctx, network, address)
					}
					<-ctx.Done()
					return nil, &net.DNSError{Err: "i/o timeout", IsTimeout: true}
				})
				c, err := New(tc.cfg)
				require.NoError(t, err)
				var all sync.WaitGroup
				for range callers {
					all.Go(func() {
						_, err := c.Lookup(t.Context(), "0486424618", nil)
						assert.Error(t, err)
					})
				}
				synctest.Wait()
				assert.EqualValues(t, tc.most, open.Load())
				first := <-tries
				assert.Equal(t, 1100*time.Millisecond, first.Duration.Round(10*time.Millisecond))
				assert.Equal(t, tc.reason, first.Reason)
				all.Wait()
				time.Sleep(DefaultTimeout) // for dials that no call waits for
			})
		})
	}
}

// silencer is a connection that can fall silent: no call fails, but no byte is
// sent, as when a NAT has dropped the connection.
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
