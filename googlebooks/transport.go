package googlebooks

import (
	"context"
	"crypto/tls"
	"crypto/x509"
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

// dialShare is the part of a lookup's timeout that resolving the host's name and
// connecting may take. It is less than the first try has, so that the error
// names what did not answer: the name server, the proxy or the host. Two such
// tries leave no time for a third, whose deadline would hide that.
const dialShare = 0.44

// newTransport returns the connection pool of a Client.
//
// Idle connections are closed after a second: a proxy whose configuration
// changes keeps serving its open connections, so a person who changes it would
// have to wait for the effect. Under load, no connection is idle that long.
//
// MaxConnsPerHost: an HTTP/2 connection carries a hundred calls or more, but
// until the first one is established, each call of a burst would do its own TLS
// handshake. Plain HTTP needs a connection per call, so it has no limit.
//
// No gzip: decompressing 3 KB costs a quarter of the service's CPU time and
// saves no round trip.
func newTransport(roots *x509.CertPool, timeout time.Duration, plainHTTP bool) *http.Transport {
	t := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		OnProxyConnectResponse: refusedByProxy,
		DialContext:            (&net.Dialer{Timeout: share(dialShare, timeout)}).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		TLSHandshakeTimeout:    timeout,
		ForceAttemptHTTP2:      true,
		HTTP2: &http.HTTP2Config{
			SendPingTimeout: max(minPing, share(pingAfterShare, timeout)),
			PingTimeout:     max(minPing, share(pingTimeoutShare, timeout)),
		},
		MaxConnsPerHost:        maxTLSPerHost,
		MaxIdleConns:           maxIdlePerHost,
		MaxIdleConnsPerHost:    maxIdlePerHost,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxHeader,
		WriteBufferSize:        requestBuffer,
		DisableCompression:     true,
	}
	if plainHTTP {
		t.MaxConnsPerHost = 0
	}
	return t
}

// refusedByProxy returns the error of a CONNECT that the proxy refused, in the
// form of net/http's error for a proxy that it cannot reach.
func refusedByProxy(_ context.Context, _ *url.URL, _ *http.Request, res *http.Response) error {
	if res.StatusCode == http.StatusOK {
		return nil
	}
	return &net.OpError{Op: opProxy, Net: "tcp", Err: fmt.Errorf("the proxy answered CONNECT with %d", res.StatusCode)}
}
