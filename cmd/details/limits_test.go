package main

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// patience is the client's: much more than anything here takes, so that a
// busy machine fails no test, and a fraction of the limits that a test must
// not wait for.
const patience = 5 * time.Second

// dial opens a connection without HTTP in between.
func dial(t *testing.T, url string) *net.TCPConn {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(url, "http://"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))

	return c.(*net.TCPConn)
}

// answer is a response with its body read.
type answer struct {
	*http.Response

	body string
}

func readAnswer(t *testing.T, r *bufio.Reader) answer {
	t.Helper()
	res, err := http.ReadResponse(r, nil)
	require.NoError(t, err)
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)

	return answer{res, string(body)}
}

// assertCut waits until the other end hangs up; what it says before is
// returned.
func assertCut(t *testing.T, r io.Reader) string {
	t.Helper()
	said, err := io.ReadAll(r)
	if netErr, ok := err.(net.Error); ok { //nolint:errorlint // as it comes from the socket
		assert.False(t, netErr.Timeout(), "the connection stays open")
	}

	return string(said)
}

// hung tells of the calls to a hangingUpstream.
type hung struct{ asked, canceled <-chan struct{} }

// hangingUpstream never answers; it returns its host:port.
func hangingUpstream(t *testing.T) (host string, calls hung) {
	t.Helper()
	asked, canceled := make(chan struct{}, 1), make(chan struct{}, 1)
	upstream := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		tell := func(c chan struct{}) {
			select {
			case c <- struct{}{}:
			default: // a second try, of which nobody waits to hear
			}
		}
		tell(asked)
		<-r.Context().Done()
		tell(canceled)
	}))
	t.Cleanup(upstream.Close)

	return upstream.Listener.Addr().String(), hung{asked, canceled}
}

// TestEveryLimitIsSet: a zero would be none.
func TestEveryLimitIsSet(t *testing.T) {
	t.Parallel()
	s := newServer(http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	assert.Positive(t, s.ReadHeaderTimeout)
	assert.Greater(t, s.ReadTimeout, s.ReadHeaderTimeout)
	assert.Positive(t, s.WriteTimeout)
	assert.Positive(t, s.IdleTimeout)
	var most upTo9s
	require.NoError(t, most.Decode("9s"))
	require.Error(t, most.Decode("9.1s"))
	assert.Greater(t, s.WriteTimeout, time.Duration(most), "or the answer to the longest look-up is not written")
	assert.Greater(t, s.patience, time.Duration(most), "or the end cuts it off")
	assert.Positive(t, s.MaxHeaderBytes)
}

// TestSlowloris: whoever takes long over a request does not get to keep the
// connection, and does not keep others waiting.
func TestSlowloris(t *testing.T) {
	t.Parallel()
	const limit = 200 * time.Millisecond
	for name, tc := range map[string]struct {
		first string
		drip  string // over and over, faster than the limit
	}{
		"nothing":                  {},
		"half a request line":      {first: "GET /deta"},
		"half a header":            {first: "GET /details/0 HTTP/1.1\r\nHost: det"},
		"no end of the header":     {first: "GET /details/0 HTTP/1.1\r\nHost: details\r\n"},
		"dripping request line":    {first: "GET /details/", drip: "0"},
		"dripping header":          {first: "GET /details/0 HTTP/1.1\r\nHost: details\r\n", drip: "X-A: b\r\n"},
		"after a good one":         {first: askForBook + "GET /deta"},
		"dripping, after a good 1": {first: askForBook + "GET /details/0 HTTP/1.1\r\nX-A: ", drip: "a"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serveWith(t, nil, func(s *server) { s.ReadHeaderTimeout = limit })
			begin := time.Now()
			c := dial(t, s.url)
			_, err := io.WriteString(c, tc.first)
			require.NoError(t, err)
			stop := make(chan struct{})
			dripped := make(chan struct{})
			go func() {
				defer close(dripped)
				for tc.drip != "" && err == nil {
					select {
					case <-time.After(limit / 20):
						_, err = io.WriteString(c, tc.drip)
					case <-stop:
						return
					}
				}
			}()
			status, _ := get(t, s.url+"/health")
			assert.Equal(t, http.StatusOK, status)
			said := assertCut(t, c)
			assert.GreaterOrEqual(t, time.Since(begin), limit)
			assert.Equal(t, strings.Count(tc.first, "\r\n\r\n"), strings.Count(said, "HTTP/1.1 200"), "what was whole is answered, nothing else")
			close(stop)
			<-dripped
		})
	}
}

// TestIdle: a connection without requests is closed, answered or not.
func TestIdle(t *testing.T) {
	t.Parallel()
	const limit = 100 * time.Millisecond
	s := serveWith(t, nil, func(s *server) { s.IdleTimeout = limit })
	c := dial(t, s.url)
	r := bufio.NewReader(c)
	begin := time.Now()
	_, err := io.WriteString(c, askForBook)
	require.NoError(t, err)
	assert.False(t, readAnswer(t, r).Close)
	assert.Empty(t, assertCut(t, r))
	assert.GreaterOrEqual(t, time.Since(begin), limit)
}

// TestNobodyReads: a caller that sends requests but takes no answers is cut
// when the buffers in between are full.
func TestNobodyReads(t *testing.T) {
	t.Parallel()
	s := serveWith(t, nil, func(s *server) { s.WriteTimeout = 100 * time.Millisecond })
	c := dial(t, s.url)
	require.NoError(t, c.SetReadBuffer(4096))
	requests := strings.Repeat("GET /metrics HTTP/1.1\r\nHost: details\r\n\r\n", 100)
	var err error
	for err == nil {
		_, err = io.WriteString(c, requests)
	}
	netErr, ok := err.(net.Error) //nolint:errorlint // as it comes from the socket
	assert.False(t, ok && netErr.Timeout(), "the connection stays open")
	status, _ := get(t, s.url+"/health")
	assert.Equal(t, http.StatusOK, status)
}

// TestFatRequests: more than 64 KB before the body are refused.
func TestFatRequests(t *testing.T) {
	const much = 100 << 10
	t.Setenv("ENABLE_EXTERNAL_BOOK_SERVICE", "false")
	p := start(t, nil)
	for name, tc := range map[string]struct {
		request string
		status  int
	}{
		"request line":    {"GET /details/" + strings.Repeat("1", much) + " HTTP/1.1\r\nHost: details\r\n\r\n", http.StatusRequestHeaderFieldsTooLarge},
		"endless line":    {strings.Repeat("GET", much/3), http.StatusRequestHeaderFieldsTooLarge},
		"query":           {"GET /details/0?" + strings.Repeat("a", much) + " HTTP/1.1\r\nHost: details\r\n\r\n", http.StatusRequestHeaderFieldsTooLarge},
		"one header":      {"GET /details/0 HTTP/1.1\r\nHost: details\r\nCookie: " + strings.Repeat("a", much) + "\r\n\r\n", http.StatusRequestHeaderFieldsTooLarge},
		"many headers":    {"GET /details/0 HTTP/1.1\r\nHost: details\r\n" + strings.Repeat("a: b\r\n", much/6) + "\r\n", http.StatusRequestHeaderFieldsTooLarge},
		"a long name":     {"GET /details/0 HTTP/1.1\r\nHost: details\r\n" + strings.Repeat("a", much) + ": b\r\n\r\n", http.StatusRequestHeaderFieldsTooLarge},
		"large, but fine": {"GET /details/0 HTTP/1.1\r\nHost: details\r\nCookie: " + strings.Repeat("a", 60<<10) + "\r\n\r\n", http.StatusOK},
		"id of 8 KB":      {"GET /details/" + strings.Repeat("1", 8<<10) + " HTTP/1.1\r\nHost: details\r\n\r\n", http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, p.url)
			_, _ = io.WriteString(c, tc.request) // the answer may come, and the connection end, before all is sent
			res := readAnswer(t, bufio.NewReader(c))
			assert.Equal(t, tc.status, res.StatusCode)
			assert.Less(t, len(res.body), 1000)
		})
	}
	status, _ := get(t, p.url+"/health")
	assert.Equal(t, http.StatusOK, status)
	assert.Zero(t, p.stop())
	for _, line := range p.logs {
		assert.Less(t, len(fmt.Sprint(line)), 2000, "what callers send is clipped")
	}
}

// TestBodies: none is waited for or read; the answer comes at once, and ends
// the connection, on which the rest of the body would pass for a request.
func TestBodies(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		head    string
		status  int
		endless string // sent until the connection ends
	}{
		"GET, a body that never comes":  {"GET /details/0 HTTP/1.1\r\nContent-Length: 10\r\n", http.StatusOK, ""},
		"GET, chunks that never come":   {"GET /details/0 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n", http.StatusOK, ""},
		"GET, a body to be asked for":   {"GET /details/0 HTTP/1.1\r\nContent-Length: 10\r\nExpect: 100-continue\r\n", http.StatusOK, ""},
		"HEAD, a body that never comes": {"HEAD /health HTTP/1.1\r\nContent-Length: 10\r\n", http.StatusOK, ""},
		"POST, a body that never comes": {"POST /details/0 HTTP/1.1\r\nContent-Length: 10\r\n", http.StatusMethodNotAllowed, ""},
		"metrics":                       {"GET /metrics HTTP/1.1\r\nContent-Length: 10\r\n", http.StatusOK, ""},
		"GET, endless":                  {"GET /details/0 HTTP/1.1\r\nContent-Length: 1000000000000\r\n", http.StatusOK, strings.Repeat("a", 1<<16)},
		"POST, endless":                 {"POST /details/0 HTTP/1.1\r\nContent-Length: 1000000000000\r\n", http.StatusMethodNotAllowed, strings.Repeat("a", 1<<16)},
		"GET, endless chunks":           {"GET /details/0 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n", http.StatusOK, strings.Repeat("1\r\na\r\n", 1<<13)},
		"POST, one endless chunk":       {"POST /details/0 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n", http.StatusMethodNotAllowed, "7fffffffffffffff\r\n" + strings.Repeat("a", 1<<16)},
		"PUT, an endless extension":     {"PUT /nowhere HTTP/1.1\r\nTransfer-Encoding: chunked\r\n", http.StatusNotFound, "1;" + strings.Repeat("a", 1<<16)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := dial(t, serveWith(t, nil, func(*server) {}).url)
			_, err := io.WriteString(c, tc.head+"Host: details\r\n\r\n")
			require.NoError(t, err)
			method, _, _ := strings.Cut(tc.head, " ")
			res, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
			require.NoError(t, err)
			require.NoError(t, res.Body.Close())
			assert.Equal(t, tc.status, res.StatusCode)
			assert.True(t, res.Close)
			const most = 64 << 20 // much more than all buffers in between
			for sent := 0; tc.endless != "" && err == nil; sent += len(tc.endless) {
				require.Less(t, sent, most, "somebody reads it")
				_, err = io.WriteString(c, tc.endless)
			}
			netErr, ok := err.(net.Error) //nolint:errorlint // as it comes from the socket
			assert.False(t, ok && netErr.Timeout(), "the connection stays open")
		})
	}
}

// TestPipelining: requests that do not wait for answers have them in order.
func TestPipelining(t *testing.T) {
	const many = 200
	t.Setenv("ENABLE_EXTERNAL_BOOK_SERVICE", "false")
	p := start(t, nil)
	c := dial(t, p.url)
	var requests strings.Builder
	for id := range many {
		fmt.Fprintf(&requests, "GET /details/%d HTTP/1.1\r\nHost: details\r\n\r\n", id)
	}
	go func() { _, _ = io.WriteString(c, requests.String()) }() // without their answers, the reads below fail
	r := bufio.NewReader(c)
	for id := range many {
		res := readAnswer(t, r)
		require.Equal(t, http.StatusOK, res.StatusCode)
		require.Contains(t, res.body, fmt.Sprintf(`{"id":%d,`, id))
	}
	require.NoError(t, c.Close())
	assert.Zero(t, p.stop())
}

// TestCallerGone: nobody is asked for what nobody waits for. The half that a
// caller closes can't be told from both: he is taken for gone as well.
func TestCallerGone(t *testing.T) {
	for name, leave := range map[string]func(t *testing.T, c *net.TCPConn){
		"closed": func(t *testing.T, c *net.TCPConn) {
			t.Helper()
			require.NoError(t, c.Close())
		},
		"reset": func(t *testing.T, c *net.TCPConn) {
			t.Helper()
			require.NoError(t, c.SetLinger(0))
			require.NoError(t, c.Close())
		},
		"half closed": func(t *testing.T, c *net.TCPConn) {
			t.Helper()
			require.NoError(t, c.CloseWrite())
			res := readAnswer(t, bufio.NewReader(c))
			assert.Equal(t, 499, res.StatusCode)
			require.NoError(t, c.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			google, gone := hangingUpstream(t)
			p := start(t, map[string]string{"GOOGLE_BOOKS_HOST": google, "DO_NOT_ENCRYPT": "true", "GOOGLE_BOOKS_TIMEOUT": "9s"})
			c := dial(t, p.url)
			_, err := io.WriteString(c, askForBook)
			require.NoError(t, err)
			<-gone.asked
			leave(t, c)
			<-gone.canceled
			require.Eventually(t, func() bool {
				_, metrics := get(t, p.url+"/metrics")

				return strings.Contains(metrics, `details_requests_total{code="499",method="GET",route="details"} 1`) &&
					strings.Contains(metrics, `details_upstream_requests_total{code="0",reason="canceled",try="1"} 1`)
			}, patience, 10*time.Millisecond)
			assert.Zero(t, p.stop())
			require.GreaterOrEqual(t, len(p.logs), 2)
			assert.InDelta(t, 499, p.logs[1]["status"], 0)
			assert.Equal(t, "INFO", p.logs[1]["level"], "no fault of the service's")
		})
	}
}
