package main

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/bookinfo/details"
)

// secretKey is the API key of tests that search every output for it; keyStart
// finds a part of it, too.
const secretKey, keyStart = "AIzaSyNobodyMayEverSeeThis0123456789abc", "AIzaSy"

// TestSmuggling sends requests of ambiguous length that contain a second request:
// the server answers only one, itself, and closes the connection.
func TestSmuggling(t *testing.T) {
	t.Parallel()
	const (
		get    = "GET /details/0 HTTP/1.1\r\nHost: details\r\n"
		oldGet = "GET /details/0 HTTP/1.0\r\nHost: details\r\n"
		post   = "POST /details/0 HTTP/1.1\r\nHost: details\r\n"
		hidden = "GET /details/666 HTTP/1.1\r\nHost: details\r\n\r\n"
		chunks = "\r\n0\r\n\r\n" + hidden
	)
	s := serveWith(t, details.Config{})
	for name, tc := range map[string]struct {
		request string
		status  int
	}{
		"length and chunks":       {post + "Content-Length: 50\r\nTransfer-Encoding: chunked\r\n" + chunks, 405},
		"the same length twice":   {get + "Content-Length: 44\r\nContent-Length: 44\r\n\r\n" + hidden, 200},
		"chunks in HTTP/1.0":      {oldGet + "Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n" + hidden, 200},
		"negative chunk":          {post + "Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n" + hidden, 405},
		"two lengths, refused":    {get + "Content-Length: 0\r\nContent-Length: 44\r\n\r\n" + hidden, 400},
		"net/http's own answer":   {"OPTIONS * HTTP/1.1\r\nHost: details\r\n\r\n", 404}, // it would be 200
		"other encoding, refused": {get + "Transfer-Encoding: chunked, identity\r\n" + chunks, 501},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := dial(t, s.url)
			write(t, c, tc.request)
			require.NoError(t, c.CloseWrite())
			received := readToEnd(t, c)
			statuses := regexp.MustCompile(`HTTP/1\.[01] (\d+)`).FindAllStringSubmatch(received, -1)
			require.Len(t, statuses, 1, "one response")
			assert.Equal(t, strconv.Itoa(tc.status), statuses[0][1])
			assert.NotContains(t, received, "666")
		})
	}
}

// assertNoKey checks that no output contains the key.
func assertNoKey(t *testing.T, outputs ...string) {
	t.Helper()
	for _, output := range outputs {
		assert.NotContains(t, strings.ToLower(output), strings.ToLower(keyStart))
	}
}

// parrot is an upstream that sends any bytes as its response. It replaces KEY in
// them by the key, as if it repeated what it was sent.
type parrot struct {
	addr  string
	says  atomic.Pointer[string]
	asked atomic.Int64
}

func newParrot(t *testing.T) *parrot {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &parrot{addr: listener.Addr().String()}
	p.says.Store(new(string))
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
					return
				}
				p.asked.Add(1)
				_, _ = io.WriteString(c, strings.ReplaceAll(*p.says.Load(), "KEY", secretKey)) // the client may be gone
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		serving.Wait()
	})
	return p
}

// rawResponse returns a whole response.
func rawResponse(status, body string) string {
	length := len(strings.ReplaceAll(body, "KEY", secretKey))
	return fmt.Sprintf("HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s", status, length, body)
}

// TestKeyStaysSecret: an upstream or a proxy may repeat what it was sent. The key
// is in no answer, log line or metric.
func TestKeyStaysSecret(t *testing.T) {
	t.Parallel()
	google := newParrot(t)
	escaped := strings.Replace(secretKey, "A", `\u0041`, 1)
	env := plainEnv(google.addr)
	env["GOOGLE_BOOKS_API_KEY"], env["LOG_LEVEL"] = secretKey, "debug"
	p := spawn(t, env)
	for name, says := range map[string]string{
		"message":             rawResponse("400 Bad Request", `{"error":{"message":"bad KEY"}}`),
		"escaped message":     rawResponse("400 Bad Request", `{"error":{"message":"`+escaped+`"}}`),
		"cut message":         rawResponse("400 Bad Request", `{"error":{"message":"`+strings.Repeat("a", 230)+`KEY"}}`),
		"status":              rawResponse("403 Forbidden", `{"error":{"message":"a","status":"KEY"}}`),
		"reason":              rawResponse("403 Forbidden", `{"error":{"message":"a","errors":[{"reason":"KEY"}]}}`),
		"HTML":                rawResponse("400 Bad Request", `<p>KEY`),
		"text":                rawResponse("503 Service Unavailable", `KEY`),
		"headers":             "HTTP/1.1 302 KEY\r\nLocation: /?key=KEY\r\nX-KEY: KEY\r\nContent-Length: 0\r\n\r\n",
		"early hints":         "HTTP/1.1 103 KEY\r\nLink: KEY\r\n\r\n" + rawResponse("404 KEY", "KEY"),
		"switching protocols": "HTTP/1.1 101 KEY\r\nConnection: Upgrade\r\nUpgrade: KEY\r\n\r\na KEY",
		"no status line":      "KEY\r\n\r\n",
		"long header line":    "HTTP/1.1 200 OK\r\n" + strings.Repeat("a", 170) + "KEY\r\n\r\n",
		"chunk":               "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nKEY\r\na KEY",
		"fault under the key": rawResponse("200 OK", `{"KEY":{"KEY":[nil]},"items":[]}`),
		"fault far below it":  rawResponse("200 OK", `{"aaaaaaaaaaaKEY`+strings.Repeat("b", 60)+`":[nil]}`), // jsontext cuts the name
		"redirect":            "HTTP/1.1 302 Found\r\nLocation: https://KEY@KEY.example/KEY/?KEY#KEY\r\nContent-Length: 0\r\n\r\n",
		"content coding":      "HTTP/1.1 400 Bad Request\r\nContent-Encoding: KEY\r\nContent-Length: 1\r\n\r\na",
		"content coding, 200": "HTTP/1.1 200 OK\r\nContent-Encoding: KEY\r\nContent-Length: 1\r\n\r\na",
		"text for a number":   rawResponse("200 OK", `{"items":[{"volumeInfo":{"pageCount":"KEY"}}]}`),
		"after the response":  rawResponse("404 Not Found", `{}`) + "KEY", // net/http logs it
	} {
		google.says.Store(&says)
		status, body := get(t, p.url+"/details/0")
		assert.GreaterOrEqual(t, status, http.StatusBadRequest, name)
		assertNoKey(t, body)
	}
	_, metrics := get(t, p.url+"/metrics")
	p.signal(t, os.Interrupt)
	assert.Equal(t, "exit status 0", p.wait())
	assertNoKey(t, append(p.stderr, metrics)...)
	log := strings.Join(p.stderr, "\n")
	assert.Contains(t, log, `malformed HTTP response \"[API key]\"`, "the cause is redacted")
	assert.Contains(t, log, "Unsolicited response", "net/http's own log is redacted")
}

// TestProxies: HTTPS_PROXY may work, misbehave or be absent. Over plain HTTP, it
// is not used. No output has its password.
func TestProxies(t *testing.T) {
	t.Parallel()
	const password = "pr0xyPassw0rd"
	for name, tc := range map[string]struct {
		plain  bool
		addr   string // of the proxy; "": a parrot
		says   string
		want   string // the answer
		asked  bool   // the proxy
		status int    // its answer to CONNECT
	}{
		"plain HTTP": {plain: true, want: "books.invalid does not resolve"},
		"refuses":    {says: rawResponse("403 KEY", "KEY"), want: "the proxy did not connect to books.invalid:443: it answered 403", asked: true, status: 403},
		"wants credentials": {
			says:  rawResponse("407 KEY", "KEY"),
			want:  "it answered 407. The proxy requires authentication",
			asked: true, status: 407,
		},
		"cannot reach it":  {says: rawResponse("504 KEY", "KEY"), want: "it answered 504. Try again", asked: true, status: 504},
		"malformed":        {says: "KEY\r\n\r\n", want: "the proxy did not connect to books.invalid:443. Check the proxy", asked: true},
		"drops the tunnel": {says: "HTTP/1.1 200 OK\r\n\r\n", want: "no answer from books.invalid:443. Check the proxy that HTTPS_PROXY names", asked: true},
		"absent":           {addr: nobody, want: "the proxy did not connect to books.invalid:443. Check the proxy that HTTPS_PROXY names"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := newParrot(t)
			server.says.Store(&tc.says)
			url := "http://user:" + password + "@" + cmp.Or(tc.addr, server.addr)
			cfg := settings("books.invalid")
			cfg.PlainHTTP, cfg.APIKey, cfg.HTTPProxy, cfg.HTTPSProxy = tc.plain, secretKey, proxy(url), proxy(url)
			p := start(t, cfg)
			_, body := get(t, p.url+"/details/0")
			assert.NoError(t, p.stop())
			assert.Contains(t, body, tc.want)
			assert.InDelta(t, tc.status, p.lines("request")[0]["upstream_status"], 0)
			assert.Equal(t, tc.asked, server.asked.Load() > 0)
			assertNoKey(t, append(p.stderr, body)...)
			assert.NotContains(t, strings.Join(p.stderr, "")+body, password)
		})
	}
}

// TestLogsCannotBeForged: text from callers and Google stays within one value of
// one line, without control characters.
func TestLogsCannotBeForged(t *testing.T) {
	t.Parallel()
	google := newParrot(t)
	p := spawn(t, plainEnv(google.addr))
	const forged = `\r\n{\"level\":\"ERROR\",\"msg\":\"forged\"}\n\u001b[2J\u001b]0;forged\u0007\u0000\u2028`
	requests := 0
	ask := func(request string) {
		c := dial(t, p.url)
		write(t, c, request)
		readResponse(t, bufio.NewReader(c))
		requests++
	}
	for _, path := range []string{
		"/%0d%0a{%22level%22:%22ERROR%22,%22msg%22:%22forged%22}%0a", "/details/%1b[2J%1b]0;forged%07", "/details/0%00",
		"/details/%ff%fe", "/%E2%80%A8forged", `/details/"},{"msg":"forged`, "/details/" + strings.Repeat("%0a", 300),
	} {
		ask("GET " + path + " HTTP/1.1\r\nHost: details\r\n\r\n")
	}
	value := `00-"},{"msg":"forged` + "\xff\t" + strings.Repeat("a", 1000)
	for _, name := range []string{"X-Request-Id", "X-B3-Traceid", "Traceparent"} {
		ask("FORGED'" + strings.Repeat("A", 1000) + " /details/0 HTTP/1.1\r\nHost: details\r\n" + name + ": " + value + "\r\n\r\n")
	}
	raw, err := strconv.Unquote(`"` + forged + `"`)
	require.NoError(t, err)
	for _, says := range []string{
		rawResponse("400 Bad Request", `{"error":{"message":"`+forged+`","errors":[{"reason":"`+forged+`"}]}}`),
		rawResponse("200 OK", `{"items":{"`+forged+`":1}}`),
		rawResponse("200 OK", raw),
		raw,
		"HTTP/1.1 200 OK\r\n" + raw + "\r\n\r\n",
		rawResponse("404 Not Found", "{}") + raw, // net/http logs what follows
	} {
		google.says.Store(&says)
		ask(bookRequest)
	}
	p.signal(t, os.Interrupt)
	assert.Equal(t, "exit status 0", p.wait())

	for i, line := range p.logs { // spawn fails if a line is not JSON
		assert.NotEqual(t, "forged", line["msg"])
		assert.NotRegexp(t, `[\x00-\x1f\x7f]`, p.stderr[i])
		for _, key := range []string{"method", "path", "request_id", "trace_id"} {
			value, _ := line[key].(string)
			assert.LessOrEqual(t, len(value), 256+len("…"), key)
		}
	}
	assert.Len(t, p.lines("request"), requests)
}
