package googlebookstest_test

import (
	"cmp"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"strconv"
	"strings"
	"sync"
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
	status int
	header http.Header
	hints  int // informational responses
	body   string
	err    error // of the response or its body
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
	got.status, got.header, got.body, got.err = resp.StatusCode, resp.Header, string(body), err
	return got
}

// expectation is what a client gets of a fault. Its Fault says the status.
type expectation struct {
	body     string            // all of it
	part     string            // of the body
	header   map[string]string // patterns
	hints    int
	err      string // "": none
	errHTTP2 string // "": if there is an error, INTERNAL_ERROR
}

// expectations are those of the faults whose Fault does not say enough. What the
// client of the service makes of each fault is tested with the service.
func expectations() map[string]expectation {
	comedy := sample("0486424618")
	half := comedy[:len(comedy)/2]
	after := func(members string) string { return "{" + members + "," + comedy[1:] }
	return map[string]expectation{
		"ok":                       {body: comedy},
		"403-daily-limit-exceeded": {part: "{\n  \"error\": {\n    \"errors\":"}, // the old format
		"403-key-referrer":         {part: `"API_KEY_HTTP_REFERRER_BLOCKED"`},
		"429-per-day-gzip":         {header: map[string]string{"Content-Encoding": "gzip"}},
		"429-html":                 {part: "We're sorry...", header: map[string]string{"Content-Type": "text/html.+"}},
		"500-html":                 {part: "Error 500 (Server Error)!!1"},
		"404-empty":                {header: map[string]string{"Content-Length": "0", "Content-Type": "", "Server": "envoy"}},
		"407-proxy":                {header: map[string]string{"Proxy-Authenticate": `Basic realm="proxy"`}},
		"302-elsewhere":            location(`https://elsewhere\.invalid/books/v1/volumes\?q=isbn:0486424618`),
		"301-https":                location(`https://127\.0\.0\.1:\d+/books/v1/volumes\?.+:0486424618&token=must-not-leak`),
		"302-sorry":                location(`https://www\.google\.com/sorry/index\?continue=http://127\.0\.0\.1:\d+/b.+`),
		"202-accepted":             {body: comedy},
		"206-partial-content":      {body: comedy},
		"html":                     {part: "Log in to this network."},
		"no-items":                 {body: `{"totalItems": 1}`},
		"null-items":               {body: `{"totalItems": 1, "items": null}`},
		"wrong-content-length":     {body: half},
		"trailing-rubbish":         {body: comedy + "}rubbish"},
		"deep-nesting":             {body: after(`"nested": ` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000))},
		"10-mb":                    {body: after(`"padding": "` + strings.Repeat("x", 10<<20) + `"`)},
		"invalid-utf-8":            {part: "\"bytes\": \"\xff\xfe\","},
		"lone-surrogate":           {body: after(`"lone": "\ud800"`)},
		"duplicate-keys":           {body: after(`"totalItems": 0, "items": []`)},
		"early-hints":              {body: comedy, hints: 1, header: map[string]string{"Link": ""}},
		"gzip":                     {header: map[string]string{"Content-Encoding": "gzip", "Content-Length": `\d+`}},
		"gzip-chunked":             {header: map[string]string{"Content-Encoding": "gzip", "Content-Length": ""}},
		"x-gzip":                   {header: map[string]string{"Content-Encoding": "x-gzip"}},
		"gzip-bomb":                {part: "\x1f\x8b"},
		"gzip-cut":                 {part: "\x1f\x8b"},
		"gzip-checksum":            {part: "checksum"},
		"gzip-plain":               {body: comedy, header: map[string]string{"Content-Encoding": "gzip"}},
		"br": {
			body:   "\x10\xb3\x10" + comedy + "\x03",
			header: map[string]string{"Content-Encoding": "br"},
		},
		"cut": {
			body:   half,
			header: map[string]string{"Content-Length": strconv.Itoa(len(comedy))},
			err:    "unexpected EOF",
		},
		"cut-chunked":    {body: half, header: map[string]string{"Content-Length": ""}, err: "unexpected EOF"},
		"reset-body":     {body: half, err: "connection reset by peer"},
		"close":          {err: "EOF"},
		"reset":          {err: "connection reset by peer"},
		"goaway":         {err: "EOF", errHTTP2: "server sent GOAWAY and closed the connection"},
		"refused-stream": {err: "EOF"},
		"not-http":       {err: `malformed HTTP response "SSH-2.0-OpenSSH_9.9"`},
		"tls-alert":      {err: `malformed HTTP response "\x15\x03\x01\x00\x02\x02F"`},
		"big-header": {
			err:      "server response headers exceeded 65536 bytes",
			errHTTP2: "response header list larger than advertised limit",
		},
		"slow-body": {body: comedy},
	}
}

func location(pattern string) expectation {
	return expectation{header: map[string]string{"Location": pattern}}
}

// TestFaults checks what each fault is on the wire.
func TestFaults(t *testing.T) {
	t.Parallel()
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
			names, all, calls := make(map[string]bool), expectations(), 0
			for _, fault := range googlebookstest.Faults() {
				assert.False(t, names[fault.Name], "two faults %s", fault.Name)
				names[fault.Name] = true
				if fault.Name == "hang" {
					continue // see TestCloseEndsFaultsThatWait
				}
				want := all[fault.Name]
				delete(all, fault.Name)
				calls++
				switch {
				case fault.Name == "slow-headers":
					fault.Status = http.StatusOK // it comes late
				case fault.Name == "refused-stream" && proto == "HTTP/2.0":
					calls++ // net/http repeats the request by itself
					fault.Status, want.err = http.StatusOK, ""
				case want.err != "" && proto == "HTTP/2.0":
					want.err = cmp.Or(want.errHTTP2, "INTERNAL_ERROR")
				}
				srv.Script(fault.Name)
				got := receive(t, c, url)
				if want.err == "" {
					require.NoError(t, got.err, fault.Name)
				} else {
					require.ErrorContains(t, got.err, want.err, fault.Name)
				}
				assert.Equal(t, fault.Status, got.status, fault.Name)
				assert.Equal(t, want.hints, got.hints, fault.Name)
				if body := cmp.Or(want.body, fault.Words, got.body); body != got.body || !strings.Contains(body, want.part) {
					assert.Fail(t, "another body", "%s: %.100s", fault.Name, got.body) // Equal would print up to 20 MB
				}
				for name, pattern := range want.header {
					assert.Regexp(t, "^"+pattern+"$", got.header.Get(name), fault.Name)
				}
				if fault.Words != "" {
					assert.Equal(t, "text/plain", got.header.Get("Content-Type"))
					assert.Equal(t, strconv.Itoa(len(fault.Words)), got.header.Get("Content-Length"))
				}
				requests := srv.Requests()
				require.Len(t, requests, calls, fault.Name)
				assert.Equal(t, proto[:len("HTTP/1.1")], requests[calls-1].Proto)
			}
			assert.Empty(t, all, "there are no such faults")
		})
	}
}

// TestFaultsOfStreams makes concurrent requests on one connection: a fault of
// one affects neither the others nor the connection.
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
	srv.Script("close")
	assert.ErrorContains(t, receive(t, c, "https://"+srv.HTTPSAddr+comedyPath).err, "INTERNAL_ERROR")
	requests := srv.Requests()
	assert.Len(t, requests, 1+callers+callers/2+1, "each refused once")
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
	policy, err := os.ReadFile("../../deploy/egress/books-only/virtual-service.yaml")
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
		assert.Error(t, got.err, fault)
	}
}
