package googlebooks

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
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

// tlsServer returns a function that serves a connection over TLS, with the book,
// and the CAs to trust. It works on a fake clock.
func tlsServer(t *testing.T) (serve func(net.Conn), cfg *tls.Config, roots *x509.CertPool) {
	t.Helper()
	certPEM, keyPEM, caPEM, err := googlebookstest.NewCertificate(googlebookstest.Leaf{})
	require.NoError(t, err)
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	require.NoError(t, err)
	roots = x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(caPEM))
	cfg = &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"}}
	l := &chanListener{conns: make(chan net.Conn), done: make(chan struct{})}
	server := &http.Server{
		TLSConfig: cfg.Clone(),
		Handler:   http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, comedy) }),
	}
	go func() { _ = server.ServeTLS(l, "", "") }()
	t.Cleanup(func() { _ = server.Close() })
	return func(conn net.Conn) { l.conns <- conn }, cfg, roots
}

// chanListener accepts connections from a channel.
type chanListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (l *chanListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *chanListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *chanListener) Addr() net.Addr { return &net.TCPAddr{} }

// TestHungConnections: connections that are accepted and then hang do not delay
// later tries and later callers. net/http does not end them with the call.
func TestHungConnections(t *testing.T) {
	t.Parallel()
	const callers = maxTLSPerHost + 16
	proxy := &url.URL{Scheme: "http", Host: "proxy", User: url.UserPassword("user", "pass")}
	for name, cfg := range map[string]Config{"TLS handshake": {}, "CONNECT": {Proxy: proxy}, "plain HTTP": {PlainHTTP: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				serve, _, roots := tlsServer(t)
				silent := pipeTo("")
				plain := pipeTo(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(comedy), comedy))
				var dials atomic.Int64
				cfg.RootCAs = roots
				transport := newTransport(cfg, DefaultTimeout, func(ctx context.Context, network, address string) (net.Conn, error) {
					switch {
					case dials.Add(1) <= callers:
						return silent(ctx, network, address)
					case cfg.PlainHTTP:
						return plain(ctx, network, address)
					}
					client, server := net.Pipe()
					go func() {
						if cfg.Proxy != nil {
							assert.Equal(t, "proxy:80", address)
							r, err := http.ReadRequest(bufio.NewReader(server))
							if assert.NoError(t, err) {
								assert.Equal(t, "CONNECT www.googleapis.com:443", r.Method+" "+r.RequestURI)
								assert.Equal(t, "Basic dXNlcjpwYXNz", r.Header.Get("Proxy-Authorization"))
							}
							_, _ = io.WriteString(server, "HTTP/1.1 200 OK\r\n\r\n")
						}
						serve(server)
					}()
					return client, nil
				})
				defer transport.CloseIdleConnections()
				cfg.Transport = transport
				c, err := New(cfg)
				require.NoError(t, err)
				callAtOnce(t, c, callers)
				start := time.Now()
				got, err := c.Lookup(t.Context(), "0486424618", nil)
				require.NoError(t, err)
				assert.Equal(t, 1, got.Last.Number, "a later caller does not notice")
				assert.Less(t, time.Since(start), 10*time.Millisecond)
				time.Sleep(DefaultTimeout) // for dials that no call waits for
			})
		})
	}
}

// TestResumption: after the idle timeout, a new connection resumes the TLS
// sessions with the host and with a proxy, even if both have the same name.
func TestResumption(t *testing.T) {
	t.Parallel()
	for name, proxy := range map[string]*url.URL{
		"no proxy":    nil,
		"HTTP proxy":  {Scheme: "http", Host: "localhost"},
		"HTTPS proxy": {Scheme: "https", Host: "localhost"},
		"one name":    {Scheme: "https", Host: DefaultHost},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				serve, proxyTLS, roots := tlsServer(t)
				cfg := Config{RootCAs: roots, Proxy: proxy}
				var resumed []bool // for each TLS handshake
				transport := newTransport(cfg, DefaultTimeout, func(ctx context.Context, _, _ string) (net.Conn, error) {
					client, server := net.Pipe()
					go func() {
						if proxy != nil && proxy.Scheme == "https" {
							encrypted := tls.Server(server, proxyTLS)
							assert.NoError(t, encrypted.HandshakeContext(ctx))
							resumed = append(resumed, encrypted.ConnectionState().DidResume)
							server = encrypted
						}
						if proxy != nil {
							_, err := http.ReadRequest(bufio.NewReader(server))
							assert.NoError(t, err)
							_, _ = io.WriteString(server, "HTTP/1.1 200 OK\r\n\r\n")
						}
						serve(server)
					}()
					return client, nil
				})
				dialTLS := transport.DialTLSContext
				transport.DialTLSContext = func(ctx context.Context, network, address string) (net.Conn, error) {
					conn, err := dialTLS(ctx, network, address)
					if assert.NoError(t, err) {
						resumed = append(resumed, conn.(*tls.Conn).ConnectionState().DidResume)
					}
					return conn, err
				}
				cfg.Transport = transport
				c, err := New(cfg)
				require.NoError(t, err)
				for _, want := range []bool{false, true, true} {
					callAtOnce(t, c, 1)
					assert.NotEmpty(t, resumed)
					assert.NotContains(t, resumed, !want)
					resumed = nil
					time.Sleep(time.Minute) // the connection is closed
				}
			})
		})
	}
}

// TestGoAway: net/http repeats a call by itself, without end, if the server says
// that it did not process it.
func TestGoAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, tlsConfig, roots := tlsServer(t)
		const frames = "\x00\x00\x00\x04\x00\x00\x00\x00\x00" + // SETTINGS
			"\x00\x00\x08\x07\x00\x00\x00\x00\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00" // GOAWAY, nothing processed
		var dials atomic.Int64
		cfg := Config{RootCAs: roots}
		cfg.Transport = newTransport(cfg, DefaultTimeout, func(context.Context, string, string) (net.Conn, error) {
			dials.Add(1)
			client, server := net.Pipe()
			go func() {
				conn := tls.Server(server, tlsConfig)
				go func() { _, _ = io.Copy(io.Discard, conn) }()
				_, _ = io.WriteString(conn, frames)
				time.Sleep(time.Second)
				_ = conn.Close()
			}()
			return client, nil
		})
		c, err := New(cfg)
		require.NoError(t, err)
		got, err := c.Lookup(t.Context(), "0486424618", nil)
		require.EqualError(t, err, "www.googleapis.com:443 broke off the call")
		assert.Equal(t, ReasonReset, got.Last.Reason)
		assert.Equal(t, maxTries, got.Last.Number)
		assert.EqualValues(t, maxTries*maxDials, dials.Load())
		time.Sleep(time.Minute) // all connections are closed
	})
}

// TestDialIsBounded: resolving, connecting and the TLS handshake end before the
// try does, so that the error says what hung. HTTPS limits how many there are at
// once.
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
		"proxy, name":      {proxy, nil, ReasonProxy, maxTLSPerHost},
		"proxy, CONNECT":   {proxy, silent, ReasonTimeout, maxTLSPerHost},
		"HTTPS, TLS":       {https, silent, ReasonTimeout, maxTLSPerHost},
		"proxy, TLS":       {proxy, connected, ReasonTimeout, maxTLSPerHost},
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
