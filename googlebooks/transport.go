package googlebooks

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
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
// changes keeps serving its open connections, so a person who changes it would
// have to wait for the effect. Under load, no connection is idle that long.
//
// MaxConnsPerHost: an HTTP/2 connection carries a hundred calls or more, but
// until the first one is established, each call of a burst would do its own TLS
// handshake. Plain HTTP needs a connection per call, so it has no limit.
//
// No compression: decompressing 3 KB costs a quarter of the service's CPU time
// and saves no round trip.
func newTransport(cfg Config, timeout time.Duration, dial dialer) *http.Transport {
	dialTimeout := share(dialShare, timeout)
	tlsConfig := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: cfg.RootCAs}
	t := &http.Transport{
		DialContext:       dial.limited(dialTimeout),
		TLSClientConfig:   tlsConfig,
		ForceAttemptHTTP2: true,
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
	if !cfg.PlainHTTP {
		if cfg.Proxy != nil {
			dial = dial.through(cfg.Proxy, tlsConfig)
		}
		t.MaxConnsPerHost = maxTLSPerHost
		t.DialTLSContext = dial.tls(tlsConfig, "h2", "http/1.1").limited(dialTimeout)
	}
	return t
}

// limited returns a dialer that gives up after a while, and that opens at most
// maxDials connections for a try. net/http repeats a call by itself if the server
// says that it did not process it, as with GOAWAY: at once, and without end.
func (dial dialer) limited(timeout time.Duration) dialer {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if dials, ok := ctx.Value(dialsKey{}).(*atomic.Int32); ok && dials.Add(1) > maxDials {
			return nil, errTooManyDials
		}
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		return dial(ctx, network, addr)
	}
}

// maxDials limits the connections that are opened for one try. A few are normal:
// in a burst, other calls may take a new connection's last streams.
const maxDials = 10

var errTooManyDials = errors.New("too many connections for one try")

// dialsKey is the key of the number of connections opened for a try.
type dialsKey struct{}

func withDials(ctx context.Context) context.Context {
	return context.WithValue(ctx, dialsKey{}, new(atomic.Int32))
}

// tls returns a dialer that also makes the TLS handshake. It resumes the session
// of an earlier connection, because idle connections are soon closed. It shares
// no sessions, because a proxy may have the same name as the host.
func (dial dialer) tls(cfg *tls.Config, protocols ...string) dialer {
	cfg = cfg.Clone()
	cfg.NextProtos = protocols
	cfg.ClientSessionCache = tls.NewLRUClientSessionCache(1)
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
