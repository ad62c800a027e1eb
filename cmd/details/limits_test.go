package main

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/bookinfo/details"
	"example.com/bookinfo/googlebooks/googlebookstest"
)

// TestLimitsFitTogether: a zero would be no limit, and a lookup must end before
// the server cuts its response.
func TestLimitsFitTogether(t *testing.T) {
	t.Parallel()
	s := newServer(http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	assert.Positive(t, s.ReadHeaderTimeout)
	assert.Greater(t, s.ReadTimeout, s.ReadHeaderTimeout)
	assert.Greater(t, s.WriteTimeout, maxTimeout)
	assert.Greater(t, s.shutdownTimeout, maxTimeout)
	assert.Positive(t, s.moveTimeout)
	assert.Less(t, s.moveTimeout+s.shutdownTimeout, 30*time.Second, "Kubernetes kills the pod")
	assert.Greater(t, s.IdleTimeout, time.Hour, "a sidecar closes idle connections after an hour")
	assert.Positive(t, s.MaxHeaderBytes)
	assert.Positive(t, s.maxKeptOpen)
}

// TestServeFails: if the listener fails, so does the program.
func TestServeFails(t *testing.T) {
	t.Parallel()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	assert.ErrorIs(t, newServer(nil, slog.New(slog.DiscardHandler)).run(t.Context(), listener), net.ErrClosed)
}

// TestKeptConnectionsAreBounded: above the limit, a response closes its
// connection.
func TestKeptConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	s := serveWith(t, details.Config{}, func(s *server) { s.maxKeptOpen = 2 })
	closes := func() (*net.TCPConn, bool) {
		c := dial(t, s.url)
		write(t, c, bookRequest)
		return c, readResponse(t, bufio.NewReader(c)).Close
	}
	first, closed := closes()
	assert.False(t, closed)
	for _, want := range []bool{false, true, true} {
		_, closed := closes()
		assert.Equal(t, want, closed)
	}
	require.NoError(t, first.Close())
	require.Eventually(t, func() bool {
		_, closed := closes()
		return !closed
	}, clientTimeout, time.Millisecond, "the closed ones do not count")
}

// TestLargeHeaders: a header of more than 64 KiB is refused.
func TestLargeHeaders(t *testing.T) {
	t.Parallel()
	s := serveWith(t, details.Config{})
	for size, want := range map[int]int{60 << 10: http.StatusOK, 100 << 10: http.StatusRequestHeaderFieldsTooLarge} {
		c := dial(t, s.url)
		request := strings.Replace(bookRequest, "details\r\n", "details\r\nCookie: "+strings.Repeat("a", size)+"\r\n", 1)
		_, _ = io.WriteString(c, request) // the server may answer and close before all is sent
		assert.Equal(t, want, readResponse(t, bufio.NewReader(c)).StatusCode)
	}
}

// TestRequestBodies: a body is not read, so it cannot delay the response. The
// response closes the connection: the body must not be taken for a request.
func TestRequestBodies(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		head    string
		status  int
		endless string // sent until the connection ends
	}{
		"missing chunks": {"POST /details/0 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n", http.StatusMethodNotAllowed, ""},
		"100-continue":   {"GET /metrics HTTP/1.1\r\nContent-Length: 10\r\nExpect: 100-continue\r\n", http.StatusOK, ""},
		"endless body": {
			head:    "GET /details/0 HTTP/1.1\r\nContent-Length: 1000000000000\r\n",
			status:  http.StatusOK,
			endless: strings.Repeat("a", 1<<16),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := dial(t, serveWith(t, details.Config{}, func(s *server) { s.ReadTimeout = 100 * time.Millisecond }).url)
			write(t, c, tc.head+"Host: details\r\n\r\n")
			r := bufio.NewReader(c)
			res := readResponse(t, r)
			assert.Equal(t, tc.status, res.StatusCode)
			assert.True(t, res.Close)
			const most = 64 << 20 // much more than all buffers in between
			var err error
			for sent := 0; tc.endless != "" && err == nil; sent += len(tc.endless) {
				require.Less(t, sent, most, "the server reads it")
				_, err = io.WriteString(c, tc.endless)
			}
			assert.False(t, isTimeout(err), "the connection stays open")
			readToEnd(t, r)
		})
	}
}

// TestCallerGone: if the caller leaves, the call to Google is cancelled. For the
// server, a half-closed connection is a closed one.
func TestCallerGone(t *testing.T) {
	t.Parallel()
	for name, half := range map[string]bool{"closed": false, "half closed": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			google, _, cfg := standIn(t, googlebookstest.Config{Delay: time.Hour})
			p := start(t, cfg)
			c := dial(t, p.url)
			write(t, c, bookRequest)
			awaitCall(t, google)
			if half {
				require.NoError(t, c.CloseWrite())
				assert.Equal(t, 499, readResponse(t, bufio.NewReader(c)).StatusCode)
			}
			require.NoError(t, c.Close())
			require.Eventually(t, func() bool {
				_, metrics := get(t, p.url+"/metrics")
				return strings.Contains(metrics, `details_requests_total{code="499",method="GET",route="details"} 1`) &&
					strings.Contains(metrics, `details_upstream_requests_total{code="0",reason="canceled",try="1"} 1`)
			}, clientTimeout, 10*time.Millisecond)
			assert.NoError(t, p.stop())
			lines := p.lines("request")
			require.Len(t, lines, 1)
			assert.InDelta(t, 499, lines[0]["status"], 0)
			assert.Equal(t, "INFO", lines[0]["level"], "not a failure of the service")
		})
	}
}
