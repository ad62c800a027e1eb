package googlebooks

import "net/http"

// The external tests need these: the stand-in imports this package, so tests
// that use it cannot be in it.
const (
	MaxTLSPerHost = maxTLSPerHost
	MaxHeader     = maxHeader
)

// PooledTransport returns the client's connection pool.
func (c *Client) PooledTransport() *http.Transport { return c.transport.(*http.Transport) }
