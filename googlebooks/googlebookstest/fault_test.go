package googlebookstest_test

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/bookinfo/googlebooks/googlebookstest"
)

// slow is Config.Slow in the tests of faults.
const slow = 200 * time.Millisecond

// arrival is what a client got.
type arrival struct {
	status  int
	header  http.Header
	length  int64 // of Content-Length, -1 without it
	hints   int   // informational responses
	body    string
	bodyErr error
	err     error // if there was no response
}

// TestFaults checks that each fault is on the wire what its Fault says.
func TestFaults(t *testing.T) {
	t.Parallel()
	want := expectations{bodies(), parts(), headers()}
	for _, proto := range []string{"HTTP/1.1", "HTTP/1.1 over TLS", "HTTP/2.0"} {
		t.Run(proto, func(t *testing.T) {
			t.Parallel()
			srv := newServer(t, googlebookstest.Config{Slow: slow})
			c, url := newClient(t, srv), "https://"+srv.HTTPSAddr+comedyPath
			switch proto {
			case "HTTP/1.1":
				url = "http://" + srv.HTTPAddr + comedyPath
			case "HTTP/1.1 over TLS":
				c.Transport.(*http.Transport).ForceAttemptHTTP2 = false
			}
			names, calls := make(map[string]bool), 0
			for _, fault := range googlebookstest.Faults() {
				assert.False(t, names[fault.Name], "two faults %s", fault.Name)
				names[fault.Name] = true
				if fault.Name == "hang" {
					continue // see TestCloseEndsFaultsThatWait
				}
				calls++
				if fault.Name == "refused-stream" && proto == "HTTP/2.0" {
					calls++ // net/http repeats the request by itself
					fault.Status, fault.Book = http.StatusOK, true
				}
				srv.Script(fault.Name)
				want.assert(t, fault, proto, receive(t, c, url))
				requests := srv.Requests()
				require.Len(t, requests, calls, fault.Name)
				assert.Equal(t, proto[:len("HTTP/1.1")], requests[calls-1].Proto)
			}
		})
	}
}

// expectations are what Fault does not say, by its name.
type expectations struct {
	bodies  map[string]string
	parts   map[string]string
	headers map[string]map[string]string
}

func (x expectations) assert(t *testing.T, fault googlebookstest.Fault, proto string, got arrival) {
	t.Helper()
	if fault.Status == 0 && !fault.Slow {
		assert.ErrorContains(t, got.err, noResponse(fault.Name, proto), fault.Name)
		return
	}
	require.NoError(t, got.err, fault.Name)
	switch {
	case !fault.BrokenOff:
		assert.NoError(t, got.bodyErr, fault.Name)
	case proto == "HTTP/2.0":
		assert.Error(t, got.bodyErr, fault.Name)
	case fault.Name == "reset-body":
		assert.ErrorIs(t, got.bodyErr, syscall.ECONNRESET)
	default:
		assert.ErrorIs(t, got.bodyErr, io.ErrUnexpectedEOF, fault.Name)
	}
	if fault.Name == "slow-headers" { // its status comes late
		fault.Status, fault.Book = http.StatusOK, true
	}
	assert.Equal(t, fault.Status, got.status, fault.Name)
	text, err := got.decoded()
	gzipErrors := map[string]error{"gzip-cut": io.ErrUnexpectedEOF, "gzip-checksum": gzip.ErrChecksum}
	assert.Equal(t, gzipErrors[fault.Name], err, fault.Name)
	switch {
	case fault.Reason != "":
		assert.True(t, json.Valid([]byte(text)), text)
		assert.Regexp(t, `^{\n  "error": {\n(?s:.*)"reason": "`+fault.Reason+`"`, text)
		assert.Contains(t, text, fault.Detail)
		aboutKey := fault.Name == "400-api-key-invalid" || strings.HasPrefix(fault.Name, "403-key-")
		assert.Equal(t, aboutKey, fault.Detail != "", fault.Name)
	case fault.Words != "":
		assert.Equal(t, fault.Words, got.body)
		assert.Equal(t, "text/plain", got.header.Get("Content-Type"))
		assert.Equal(t, "envoy", got.header.Get("Server"))
		assert.Equal(t, int64(len(got.body)), got.length)
	case strings.HasSuffix(fault.Name, "empty"):
		assert.Zero(t, got.length, fault.Name)
	case strings.HasSuffix(fault.Name, "html"):
		assert.Equal(t, "text/html; charset=UTF-8", got.header.Get("Content-Type"))
		assert.True(t, strings.HasPrefix(got.body, "<!DOCTYPE html>"), got.body)
	case fault.Book:
		assert.True(t, json.Valid([]byte(text)), text)
		assert.Contains(t, text, sample("0486424618")[1:], fault.Name)
	}
	if body, ok := x.bodies[fault.Name]; ok && body != got.body {
		assert.Fail(t, "another body", "%s: %.100s", fault.Name, got.body) // Equal would print up to 20 MB
	}
	if !strings.Contains(text, x.parts[fault.Name]) {
		assert.Fail(t, "another body", "%s: %.100s", fault.Name, got.body)
	}
	for name, pattern := range x.headers[fault.Name] {
		assert.Regexp(t, "^"+pattern+"$", got.header.Get(name), fault.Name)
	}
	if fault.Name == "early-hints" {
		assert.Equal(t, 1, got.hints)
	}
}

// decoded returns the body, up to 10 MiB of it if it is in gzip.
func (a arrival) decoded() (string, error) {
	if !strings.HasPrefix(a.body, "\x1f\x8b") {
		return a.body, nil
	}
	r, err := gzip.NewReader(strings.NewReader(a.body))
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(io.LimitReader(r, 10<<20))
	return string(text), err
}

// noResponse is the error of a client.
func noResponse(fault, proto string) string {
	switch {
	case fault == "big-header" && proto == "HTTP/2.0":
		return "response header list larger than advertised limit"
	case fault == "big-header":
		return "server response headers exceeded 65536 bytes"
	case fault == "goaway" && proto == "HTTP/2.0":
		return "server sent GOAWAY and closed the connection"
	case proto == "HTTP/2.0":
		return "INTERNAL_ERROR" // the stream is reset
	case fault == "reset":
		return "connection reset by peer"
	case fault == "not-http":
		return `malformed HTTP response "SSH-2.0-OpenSSH_9.9"`
	case fault == "tls-alert":
		return `malformed HTTP response "\x15\x03\x01\x00\x02\x02F"`
	}
	return "EOF"
}

// bodies are the whole bodies of some faults.
func bodies() map[string]string {
	comedy := sample("0486424618")
	half := comedy[:len(comedy)/2]
	after := func(members string) string { return "{" + members + "," + comedy[1:] }
	return map[string]string{
		"ok":                   comedy,
		"202-accepted":         comedy,
		"206-partial-content":  comedy,
		"no-items":             `{"totalItems": 1}`,
		"null-items":           `{"totalItems": 1, "items": null}`,
		"wrong-content-length": half,
		"trailing-rubbish":     comedy + "}rubbish",
		"deep-nesting":         after(`"nested": ` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000)),
		"10-mb":                after(`"padding": "` + strings.Repeat("x", 10<<20) + `"`),
		"lone-surrogate":       after(`"lone": "\ud800"`),
		"duplicate-keys":       after(`"totalItems": 0, "items": []`),
		"gzip-plain":           comedy,
		"br":                   "\x10\xb3\x10" + comedy + "\x03",
		"cut":                  half,
		"cut-chunked":          half,
		"reset-body":           half,
		"slow-body":            comedy,
	}
}

// parts are in the bodies of other faults.
func parts() map[string]string {
	return map[string]string{
		"403-daily-limit-exceeded": "{\n  \"error\": {\n    \"errors\":", // the old format
		"403-key-referrer":         `"API_KEY_HTTP_REFERRER_BLOCKED"`,
		"429-html":                 "We're sorry...",
		"500-html":                 "Error 500 (Server Error)!!1",
		"html":                     "Log in to this network.",
		"invalid-utf-8":            "\"bytes\": \"\xff\xfe\",",
		"gzip-bomb":                strings.Repeat(" ", 10<<20),
		"gzip-cut":                 `"totalItems": 1`,
		"gzip-checksum":            sample("0486424618"),
	}
}

// headers are patterns of headers in the responses to some faults.
func headers() map[string]map[string]string {
	return map[string]map[string]string{
		"407-proxy":        {"Proxy-Authenticate": `Basic realm="proxy"`},
		"302-elsewhere":    {"Location": `https://elsewhere\.invalid/books/v1/volumes\?q=isbn:0486424618`},
		"301-https":        {"Location": `https://127\.0\.0\.1:\d+/books/v1/volumes\?q=isbn:0486424618&token=must-not-leak`},
		"302-sorry":        {"Location": `https://www\.google\.com/sorry/index\?continue=http://127\.0\.0\.1:\d+/books/.+`},
		"early-hints":      {"Link": ""},
		"429-per-day-gzip": {"Content-Encoding": "gzip"},
		"gzip":             {"Content-Encoding": "gzip", "Content-Length": `\d+`},
		"gzip-chunked":     {"Content-Encoding": "gzip", "Content-Length": ""},
		"x-gzip":           {"Content-Encoding": "x-gzip"},
		"gzip-plain":       {"Content-Encoding": "gzip"},
		"br":               {"Content-Encoding": "br"},
		"cut":              {"Content-Length": strconv.Itoa(len(sample("0486424618")))},
		"cut-chunked":      {"Content-Length": ""},
	}
}

// receive makes one request.
func receive(t *testing.T, c *http.Client, url string) (got arrival) {
	t.Helper()
	resp, err := c.Do(newRequest(t, url).WithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(int, textproto.MIMEHeader) error {
			got.hints++
			return nil
		},
	})))
	if err != nil {
		got.err = err
		return got
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	got.status, got.header, got.length = resp.StatusCode, resp.Header, resp.ContentLength
	got.body, got.bodyErr = string(body), err
	return got
}

// TestFaultsOfStreams makes concurrent requests on one connection: a fault of
// one is not that of another, and leaves the connection as it is.
func TestFaultsOfStreams(t *testing.T) {
	t.Parallel()
	const callers = 20
	srv := newServer(t, googlebookstest.Config{})
	script := []string{"ok"} // for the first connection
	for range callers / 2 {
		script = append(script, "refused-stream", "deep-nesting")
	}
	srv.Script(script...)
	c := newClient(t, srv)
	c.Transport.(*http.Transport).DisableKeepAlives = false
	do(t, c, newRequest(t, "https://"+srv.HTTPSAddr+comedyPath))
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			_, body := do(t, c, newRequest(t, "https://"+srv.HTTPSAddr+comedyPath))
			assert.True(t, strings.HasSuffix(body, sample("0486424618")[1:]))
		})
	}
	all.Wait()
	requests := srv.Requests()
	assert.Len(t, requests, 1+callers+callers/2, "each refused once")
	for _, r := range requests {
		assert.Equal(t, requests[0].RemoteAddr, r.RemoteAddr)
	}
}

// TestWrongContentLength reads what net/http's client hides: the bytes after the
// announced length.
func TestWrongContentLength(t *testing.T) {
	t.Parallel()
	srv := newServer(t, googlebookstest.Config{})
	srv.Script("wrong-content-length")
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", srv.HTTPAddr)
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "GET "+comedyPath+" HTTP/1.1\r\nHost: localhost\r\n\r\n")
	require.NoError(t, err)
	response, err := io.ReadAll(conn)
	require.NoError(t, err)
	assert.Contains(t, string(response), "\r\n\r\n"+sample("0486424618"))
}

// TestEgressPolicy compares the fault with the policy itself.
func TestEgressPolicy(t *testing.T) {
	t.Parallel()
	policy, err := os.ReadFile("../../deploy/books-only/virtual-service.yaml")
	require.NoError(t, err)
	for _, fault := range googlebookstest.Faults() {
		if fault.Name == "403-egress-policy" {
			assert.Contains(t, string(policy), strings.TrimSpace(fault.Words))
		}
	}
}

// TestCloseEndsFaultsThatWait relies on goleak for what Close leaves behind.
func TestCloseEndsFaultsThatWait(t *testing.T) {
	t.Parallel()
	for _, fault := range []string{"hang", "slow-headers", "slow-body"} {
		srv := newServer(t, googlebookstest.Config{Slow: time.Hour})
		srv.Script(fault)
		go func() {
			for len(srv.Requests()) == 0 {
				time.Sleep(time.Millisecond)
			}
			srv.Close()
		}()
		got := receive(t, newClient(t, srv), "https://"+srv.HTTPSAddr+comedyPath)
		assert.Error(t, errors.Join(got.err, got.bodyErr), fault)
	}
}
