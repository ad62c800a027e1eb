package googlebooks

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
)

const (
	maxHeader      = 64 << 10 // bytes of a response's header
	maxTLSPerHost  = 64
	maxIdlePerHost = 1024
	idleTimeout    = time.Second
	requestBuffer  = 1 << 10 // bytes; a request has about 300
)

// HTTP/2 pings detect a dead connection within the first try, so that the next
// try uses another connection. The shares are of the lookup's timeout: 300 and
// 600 ms of 2.5 s. Shorter times would drop connections that are merely busy.
const (
	pingAfterShare   = 0.12
	pingTimeoutShare = 0.24
	minPing          = 50 * time.Millisecond
)

// dialShare is the part of a lookup's timeout that resolving the host's name,
// connecting and the TLS handshake may take together. net/http does not end them
// with the try that they belong to, so a connection that hangs would hold its
// place among maxTLSPerHost for longer. It is less than the first try's share,
// so that the error names what did not answer: the name server or the host.
// After two such tries, no third one starts, whose deadline would hide that.
const dialShare = 0.44

// dialer opens a connection, as net.Dialer.DialContext does.
type dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// newTransport returns the connection pool of a Client, which opens its
// connections with dial.
//
// Idle connections are closed after a second: a proxy whose configuration
// changes keeps serving its open connections, so the change would take effect
// late. Under load, no connection is idle that long.
//
// MaxConnsPerHost: an HTTP/2 connection carries a hundred calls or more, but
// until the first one is established, each call of a burst would do its own TLS
// handshake. Plain HTTP needs a connection per call, so it has no limit. Calls
// through a proxy have none either: net/http waits up to a minute for the
// answer to CONNECT, which would occupy a place for that long.
//
// No compression: decompressing 3 KB costs a quarter of the service's CPU time
// and saves no round trip.
func newTransport(cfg Config, timeout time.Duration, dial dialer) *http.Transport {
	dialTimeout := share(dialShare, timeout)
	tlsConfig := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: cfg.RootCAs, NextProtos: []string{"h2", "http/1.1"}}
	t := &http.Transport{
		DialContext:         dial.within(dialTimeout),
		TLSClientConfig:     tlsConfig,
		TLSHandshakeTimeout: dialTimeout, // with a proxy; without one, DialTLSContext limits it
		ForceAttemptHTTP2:   true,
		HTTP2: &http.HTTP2Config{
			SendPingTimeout: max(minPing, share(pingAfterShare, timeout)),
			PingTimeout:     max(minPing, share(pingTimeoutShare, timeout)),
		},
		MaxIdleConns:           maxIdlePerHost,
		MaxIdleConnsPerHost:    maxIdlePerHost,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxHeader,
		WriteBufferSize:        requestBuffer,
		DisableCompression:     true,
	}
	switch {
	case cfg.PlainHTTP:
	case cfg.Proxy != nil:
		t.Proxy, t.OnProxyConnectResponse = http.ProxyURL(cfg.Proxy), refusedByProxy
	default:
		t.MaxConnsPerHost = maxTLSPerHost
		t.DialTLSContext = dial.tls(tlsConfig).within(dialTimeout)
	}
	return t
}

// within returns a dialer that gives up after a while.
func (dial dialer) within(timeout time.Duration) dialer {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		return dial(ctx, network, addr)
	}
}

// tls returns a dialer that also makes the TLS handshake.
func (dial dialer) tls(cfg *tls.Config) dialer {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		cfg := cfg.Clone()
		cfg.ServerName, _, _ = net.SplitHostPort(addr) // net/http adds the port
		encrypted := tls.Client(conn, cfg)
		if err := encrypted.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, err
		}
		return encrypted, nil
	}
}

// refusedByProxy returns the error of a CONNECT that the proxy refused, in the
// form of net/http's error for a proxy that it cannot reach.
func refusedByProxy(_ context.Context, _ *url.URL, _ *http.Request, res *http.Response) error {
	if res.StatusCode == http.StatusOK {
		return nil
	}
	return &net.OpError{Op: opProxy, Net: "tcp", Err: &refusedError{res.StatusCode}}
}

// refusedError is the status of a refused CONNECT.
type refusedError struct{ status int }

func (e *refusedError) Error() string {
	return fmt.Sprintf("the proxy answered CONNECT with %d", e.status)
}
