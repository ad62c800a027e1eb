package googlebooks

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/bookinfo/googlebooks/googlebookstest"
)

// atOnce looks the book up from so many callers at once.
func atOnce(t *testing.T, c *Client, callers int) {
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

// TestColdBurst has many callers come before there is a connection: they do
// not shake hands each for himself.
func TestColdBurst(t *testing.T) {
	t.Parallel()
	google := googlebookstest.NewServer(googlebookstest.Config{})
	defer google.Close()
	c := dialing(t, Config{Timeout: 9 * time.Second}, google)
	transport, ok := c.transport.(*http.Transport)
	require.True(t, ok)
	var dials atomic.Int64
	dial := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		dials.Add(1)

		return dial(ctx, network, address)
	}
	atOnce(t, c, 4*maxTLSPerHost)
	// One that was dialled in vain makes room for another, so a few more than at once.
	assert.Less(t, dials.Load(), int64(2*maxTLSPerHost))
}

// TestPlainHTTPKeepsItsConnections has more callers at once than net/http
// would keep connections for, twice.
func TestPlainHTTPKeepsItsConnections(t *testing.T) {
	t.Parallel()
	const callers = 2 * maxTLSPerHost
	google := googlebookstest.NewServer(googlebookstest.Config{Options: googlebookstest.Options{Delay: 300 * time.Millisecond}})
	defer google.Close()
	c := dialing(t, Config{PlainHTTP: true, Timeout: 9 * time.Second}, google)
	for range 2 {
		atOnce(t, c, callers)
	}
	connections := make(map[string]int)
	for _, r := range google.Requests() {
		connections[r.RemoteAddr]++
	}
	assert.Len(t, google.Requests(), 2*callers)
	assert.Less(t, len(connections), callers+callers/4, "the second time over those of the first")
}

func TestResponseHeaderIsBounded(t *testing.T) {
	t.Parallel()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Long", strings.Repeat("a", 2*maxHeader))
	})}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	defer func() {
		require.NoError(t, server.Close())
		require.ErrorIs(t, <-ended, http.ErrServerClosed)
	}()
	c, err := New(Config{Host: listener.Addr().String(), PlainHTTP: true})
	require.NoError(t, err)
	_, err = c.Volume(t.Context(), "0486424618", nil)
	e, ok := errors.AsType[*Error](err)
	require.True(t, ok)
	assert.Equal(t, ReasonNoAnswer, e.Reason)
	assert.ErrorContains(t, e.Err, "header")
}

// TestPingsScale: they find a dead connection within the first try, whatever
// the time for a look-up.
func TestPingsScale(t *testing.T) {
	t.Parallel()
	for _, timeout := range []time.Duration{500 * time.Millisecond, time.Second, DefaultTimeout, 9 * time.Second} {
		transport := newTransport(nil, timeout, false)
		found := transport.HTTP2.SendPingTimeout + transport.HTTP2.PingTimeout
		assert.Less(t, found, share(firstTryShare, timeout), timeout)
	}
}
