package googlebooks

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/bookinfo/googlebooks/googlebookstest"
)

// silencer is a connection that can fall silent: nothing fails, but nothing
// comes or goes any more, as when a NAT forgets it.
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

// TestHungConnectionIsDropped silences an established HTTP/2 connection. The
// transport's pings find it out in some 900 ms, before the try's own
// deadline, which would leave the connection in the pool for the next ones.
func TestHungConnectionIsDropped(t *testing.T) {
	t.Parallel()
	google := googlebookstest.NewServer(googlebookstest.Config{})
	defer google.Close()
	var tries []Try
	c := dialing(t, Config{Observe: func(_ context.Context, x Try) { tries = append(tries, x) }}, google)
	transport, ok := c.transport.(*http.Transport)
	require.True(t, ok)
	var first atomic.Bool
	dial := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil || len(google.Requests()) > 0 {
			return conn, err
		}

		return silencer{conn, &first}, nil
	}

	_, err := c.Volume(t.Context(), "0486424618", nil)
	require.NoError(t, err)
	first.Store(true)
	start := time.Now()
	for range 3 {
		_, err = c.Volume(t.Context(), "0486424618", nil)
		require.NoError(t, err)
	}
	assert.Less(t, time.Since(start), 2*DefaultTimeout)

	var got []string
	for _, x := range tries {
		got = append(got, http.StatusText(x.StatusCode)+x.Reason)
	}
	assert.Equal(t, []string{"OK", ReasonNoAnswer, "OK", "OK", "OK"}, got, "one try found the connection dead, by ping and not by deadline")
}
