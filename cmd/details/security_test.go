package main

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/bookinfo/details"
	"example.com/bookinfo/googlebooks/googlebookstest"
)

// secretKey is the API key in tests that look for it everywhere; keyStart is
// enough of it to be recognized.
const secretKey, keyStart = "AIzaSyNobodyMayEverSeeThis0123456789abc", "AIzaSy"

// TestSmuggling sends requests of ambiguous length with a second request inside:
// the server answers one request and closes the connection.
func TestSmuggling(t *testing.T) {
	t.Parallel()
	const (
		get    = "GET /details/0 HTTP/1.1\r\nHost: details\r\n"
		post   = "POST /details/0 HTTP/1.1\r\nHost: details\r\n"
		hidden = "GET /details/666 HTTP/1.1\r\nHost: details\r\n\r\n"
		chunks = "\r\n0\r\n\r\n" + hidden
	)
	s := serveWith(t, details.Config{}, func(*server) {})
	for name, tc := range map[string]struct {
		request string
		status  int
	}{
		"length and chunks": {
			request: post + "Content-Length: 50\r\nTransfer-Encoding: chunked\r\n" + chunks,
			status:  http.StatusMethodNotAllowed,
		},
		"length and chunks, length shorter": {
			request: get + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n2c\r\n" + hidden + "\r\n0\r\n\r\n",
			status:  http.StatusOK,
		},
		"the same length twice": {
			request: get + "Content-Length: 44\r\nContent-Length: 44\r\n\r\n" + hidden,
			status:  http.StatusOK,
		},
		"chunked in a folded header": {
			request: get + "Transfer-Encoding:\r\n chunked\r\n" + chunks,
			status:  http.StatusOK,
		},
		"chunks in HTTP/1.0": {
			request: "GET /details/0 HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n" + hidden,
			status:  http.StatusOK,
		},
		"a chunk extension with a bare LF": {
			request: post + "Transfer-Encoding: chunked\r\n\r\n0;\n\r\n" + hidden,
			status:  http.StatusMethodNotAllowed,
		},
		"a negative chunk": {
			request: post + "Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n" + hidden,
			status:  http.StatusMethodNotAllowed,
		},
		// net/http refuses these. If it ever stops, this test says so.
		"two lengths": {
			request: get + "Content-Length: 0\r\nContent-Length: 44\r\n\r\n" + hidden,
			status:  http.StatusBadRequest,
		},
		"another transfer encoding": {
			request: get + "Transfer-Encoding: chunked, identity\r\n" + chunks,
			status:  http.StatusNotImplemented,
		},
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

// forwarded returns the headers that are sent to Google.
func forwarded() []string {
	return []string{
		"X-Request-Id", "X-Ot-Span-Context", "X-Datadog-Trace-Id", "X-Datadog-Parent-Id", "X-Datadog-Sampling-Priority", "Traceparent", "Tracestate",
		"X-Cloud-Trace-Context", "Grpc-Trace-Bin", "X-B3-Traceid", "X-B3-Spanid", "X-B3-Parentspanid", "X-B3-Sampled", "X-B3-Flags", "B3", "Sw8", "User-Agent",
	}
}

// TestNoCredentialReachesGoogle sends headers of all kinds, in any case: only
// tracing headers and the user agent arrive, unchanged, and the key of the
// service itself.
func TestNoCredentialReachesGoogle(t *testing.T) {
	const secret = "s3cret"
	google, https, plain := standIn(t, googlebookstest.Config{})
	for name, env := range map[string]map[string]string{"HTTPS": https, "plain HTTP": plain} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("GOOGLE_BOOKS_API_KEY", secretKey)
			p := start(t, env)
			before := len(google.Requests())
			request := "GET /details/0?key=" + secret + " HTTP/1.1\r\nHost: " + secret + "\r\n"
			want := http.Header{"X-Goog-Api-Key": {secretKey}}
			for i, name := range forwarded() {
				value := fmt.Sprintf("%d \x80\xff;\\\"", i)
				want[name] = []string{value}
				request += strings.ToLower(name) + ": " + value + "\r\n"
			}
			for _, name := range []string{
				"Cookie", "Cookie2", "Authorization", "Proxy-Authorization", "Jwt", "End-User", "X-Api-Key", "X-Goog-Api-Key",
				"X-Auth-Token", "X-Forwarded-For", "X-Forwarded-Client-Cert", "X-Envoy-Peer-Metadata", "Forwarded", "Referer",
				"Origin", "From", "Via", "Baggage", "Te", "Accept", "Range", "X-B3-Traceid2", "X_Request_Id", "Z!#$%&'*+-.^_`|~",
			} {
				request += strings.ToUpper(name) + ": " + secret + "\r\n"
			}
			c := dial(t, p.url)
			write(t, c, request+"\r\n")
			assert.Equal(t, http.StatusOK, readResponse(t, bufio.NewReader(c)).StatusCode)
			require.NoError(t, c.Close())
			assert.Zero(t, p.stop())
			arrived := google.Requests()[before:]
			require.Len(t, arrived, 1)
			assert.NotContains(t, fmt.Sprint(arrived[0]), secret)
			assert.Equal(t, want, arrived[0].Header)
		})
	}
}

// assertNoKey looks for the key in everything that a program has said.
func assertNoKey(t *testing.T, outputs ...string) {
	t.Helper()
	for _, output := range outputs {
		assert.NotContains(t, output, keyStart)
	}
}

// TestKeyStaysSecret plays every fault to a program that has a key.
func TestKeyStaysSecret(t *testing.T) {
	google, https, plain := standIn(t, googlebookstest.Config{})
	for name, env := range map[string]map[string]string{"HTTPS": https, "plain HTTP": plain} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("GOOGLE_BOOKS_API_KEY", secretKey)
			t.Setenv("GOOGLE_BOOKS_TIMEOUT", "1s")
			t.Setenv("LOG_LEVEL", "debug")
			p := start(t, env)
			for _, fault := range googlebookstest.Faults() {
				google.Script(slices.Repeat([]string{fault.Name}, 3)...)
				_, body := get(t, p.url+"/details/0")
				assertNoKey(t, body)
				google.Script()
			}
			_, metrics := get(t, p.url+"/metrics")
			assert.Zero(t, p.stop())
			assertNoKey(t, append(p.stderr, metrics)...)
			require.NotEmpty(t, google.Requests())
			for _, r := range google.Requests() {
				assert.Equal(t, secretKey, r.Header.Get("X-Goog-Api-Key"), "there was something to leak")
				assertNoKey(t, r.RequestURI)
			}
		})
	}
}

// parrot is an upstream that answers as it is told to, on a raw connection. It
// replaces KEY by the key that it was sent.
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
				r, err := http.ReadRequest(bufio.NewReader(c))
				if err != nil {
					return
				}
				p.asked.Add(1)
				said := strings.ReplaceAll(*p.says.Load(), "KEY", secretKey)
				if key := r.Header.Get("X-Goog-Api-Key"); key != "" {
					said = strings.ReplaceAll(*p.says.Load(), "KEY", key)
				}
				_, _ = io.WriteString(c, said) // the client may be gone
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
	return fmt.Sprintf("HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s", status, len(strings.ReplaceAll(body, "KEY", secretKey)), body)
}

// echoes returns responses that repeat the key wherever a client might quote
// it.
func echoes() map[string]string {
	said := map[string]string{
		"message":               rawResponse("400 Bad Request", `{"error":{"message":"bad KEY"}}`),
		"message, escaped":      rawResponse("400 Bad Request", `{"error":{"message":"bad \u0041IzaSyNobodyMayEverSeeThis0123456789abc"}}`),
		"message, cut":          rawResponse("400 Bad Request", `{"error":{"message":"`+strings.Repeat("a", 190)+`KEY"}}`),
		"status":                rawResponse("403 Forbidden", `{"error":{"message":"a","status":"KEY"}}`),
		"reason":                rawResponse("403 Forbidden", `{"error":{"message":"a","errors":[{"reason":"KEY"}]}}`),
		"reason, cut":           rawResponse("403 Forbidden", `{"error":{"message":"a","errors":[{"reason":"`+strings.Repeat("a", 60)+`KEY"}]}}`),
		"quota":                 rawResponse("429 Too Many Requests", `{"error":{"message":"KEY","details":[{"metadata":{"quota_limit":"KEYPerMinute"}}]}}`),
		"503":                   rawResponse("503 Service Unavailable", `{"error":{"message":"KEY","errors":[{"reason":"KEY"}]}}`),
		"HTML":                  rawResponse("400 Bad Request", `<p>KEY`),
		"text":                  rawResponse("503 Service Unavailable", `KEY`),
		"status text":           rawResponse("400 KEY", ""),
		"headers":               "HTTP/1.1 302 Found\r\nLocation: https://elsewhere.invalid/?key=KEY\r\nSet-Cookie: KEY\r\nX-KEY: KEY\r\nContent-Length: 0\r\n\r\n",
		"early hints":           "HTTP/1.1 103 KEY\r\nLink: KEY\r\n\r\n" + rawResponse("404 KEY", "KEY"),
		"switching protocols":   "HTTP/1.1 101 KEY\r\nConnection: Upgrade\r\nUpgrade: KEY\r\n\r\na KEY",
		"no status line":        "KEY\r\n\r\n",
		"no status":             "HTTP/1.1 KEY\r\n\r\n",
		"no protocol":           "HTTP/KEY 200 OK\r\n\r\n",
		"no header":             "HTTP/1.1 200 OK\r\nKEY\r\n\r\n",
		"no name":               "HTTP/1.1 200 OK\r\nX KEY: a\r\n\r\n",
		"Content-Length":        "HTTP/1.1 200 OK\r\nContent-Length: KEY\r\n\r\n",
		"two Content-Lengths":   "HTTP/1.1 200 OK\r\nContent-Length: 1KEY\r\nContent-Length: 2KEY\r\n\r\n",
		"Transfer-Encoding":     "HTTP/1.1 200 OK\r\nTransfer-Encoding: KEY\r\n\r\n",
		"chunk":                 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nKEY\r\na KEY",
		"trailer":               "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: KEY\r\n\r\n0\r\nKEY\r\n\r\n",
		"another protocol":      "SSH-2.0-KEY\r\n",
		"not JSON":              rawResponse("200 OK", `KEY`),
		"half a JSON":           rawResponse("200 OK", `{"items":[{"KEY":`),
		"no literal":            rawResponse("200 OK", `{"items":[{"volumeInfo":{"pageCount":KEY}}]}`),
		"a name for a list":     rawResponse("200 OK", `{"items":{"KEY":1}}`),
		"a text for a number":   rawResponse("200 OK", `{"items":[{"volumeInfo":{"pageCount":"KEY"}}]}`),
		"an object for a text":  rawResponse("200 OK", `{"items":[{"volumeInfo":{"publisher":{"KEY":[}}}]}`),
		"a fault under its key": rawResponse("200 OK", `{"KEY":{"KEY":[nil]},"items":[]}`),
		"behind the answer":     rawResponse("404 Not Found", `{}`) + "KEY",
		"behind a good answer":  rawResponse("200 OK", `{"totalItems":0}`) + "HTTP/1.1 200 OK\r\nKEY: KEY\r\n\r\n",
	}
	for padding := 140; padding < 260; padding += 10 { // the log clips within the key
		said["at "+strconv.Itoa(padding)] = "HTTP/1.1 200 OK\r\n" + strings.Repeat("a", padding) + "KEY\r\n\r\n"
	}
	return said
}

// TestKeyStaysSecretFromEchoes: an upstream or a proxy may repeat what it was
// sent. The key is in no answer, log line or metric.
func TestKeyStaysSecretFromEchoes(t *testing.T) {
	google := newParrot(t)
	t.Setenv("GOOGLE_BOOKS_API_KEY", secretKey)
	t.Setenv("GOOGLE_BOOKS_TIMEOUT", "1s")
	t.Setenv("LOG_LEVEL", "debug")
	p := start(t, map[string]string{"GOOGLE_BOOKS_HOST": google.addr, "DO_NOT_ENCRYPT": "true"})
	responses := echoes()
	for _, name := range slices.Sorted(maps.Keys(responses)) {
		t.Run(name, func(t *testing.T) {
			says := responses[name]
			google.says.Store(&says)
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+"/details/0", http.NoBody)
			require.NoError(t, err)
			res, err := http.DefaultClient.Do(r)
			require.NoError(t, err)
			body, err := io.ReadAll(res.Body)
			require.NoError(t, err)
			require.NoError(t, res.Body.Close())
			assert.GreaterOrEqual(t, res.StatusCode, http.StatusBadRequest)
			assertNoKey(t, string(body), fmt.Sprint(res.Header))
		})
	}
	_, metrics := get(t, p.url+"/metrics")
	assert.Zero(t, p.stop())
	assertNoKey(t, append(p.stderr, metrics)...)
	assert.Contains(t, strings.Join(p.stderr, "\n"), `"cause":"net/http: HTTP/1.x transport connection broken: malformed HTTP response \"[API key]\""`)
}

// TestProxiesKeepSecrets: a proxy of the environment may misbehave or be absent.
// The answer names the proxy, never its password. net/http reads the proxy's
// URL once per process.
func TestProxiesKeepSecrets(t *testing.T) {
	t.Parallel()
	const password = "pr0xyPassw0rd"
	nobody, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, nobody.Close())
	for name, tc := range map[string]struct {
		plain  bool
		absent bool
		says   string
		named  bool // the answer says that it is the proxy's fault
	}{
		"plain HTTP, refuses":    {plain: true, says: rawResponse("407 KEY", "KEY")},
		"plain HTTP, malformed":  {plain: true, says: "KEY: KEY\r\n\r\n"},
		"plain HTTP, not there":  {plain: true, absent: true, named: true},
		"HTTPS, refuses":         {says: rawResponse("403 KEY", "KEY"), named: true},
		"HTTPS, malformed":       {says: "KEY\r\n\r\n"},
		"HTTPS, not there":       {absent: true, named: true},
		"HTTPS, ends in plain":   {says: "HTTP/1.1 200 OK\r\n\r\nKEY, not TLS, is what is said here"},
		"HTTPS, connects to air": {says: "HTTP/1.1 200 OK\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proxy := newParrot(t)
			proxy.says.Store(&tc.says)
			url := "http://user:" + password + "@" + proxy.addr
			if tc.absent {
				url = "http://user:" + password + "@" + nobody.Addr().String()
			}
			p := spawn(t, map[string]string{
				"GOOGLE_BOOKS_HOST": "books.invalid", "DO_NOT_ENCRYPT": strconv.FormatBool(tc.plain), "GOOGLE_BOOKS_API_KEY": secretKey,
				"HTTP_PROXY": url, "HTTPS_PROXY": url, "NO_PROXY": "", "http_proxy": "", "https_proxy": "", "no_proxy": "",
			})
			status, body := get(t, p.url+"/details/0")
			_, metrics := get(t, p.url+"/metrics")
			p.signal(t, syscall.SIGTERM)
			assert.Equal(t, "exit status 0", p.wait())
			assert.Equal(t, http.StatusBadGateway, status)
			assert.Equal(t, !tc.absent, proxy.asked.Load() > 0, "the proxy of the environment is called")
			assertNoKey(t, append(p.stderr, body, metrics)...)
			assert.NotContains(t, strings.Join(p.stderr, "")+body, password)
			assert.Equal(t, tc.named, strings.Contains(body, "no way through the proxy"), body)
		})
	}
}

// TestLogsCantBeForged: what callers and Google send stays within one value of
// one line, and holds nothing that a terminal obeys.
func TestLogsCantBeForged(t *testing.T) {
	google := newParrot(t)
	t.Setenv("GOOGLE_BOOKS_API_KEY", secretKey)
	p := start(t, map[string]string{"GOOGLE_BOOKS_HOST": google.addr, "DO_NOT_ENCRYPT": "true"})
	const forged = `\r\n{\"time\":\"2026-01-01T00:00:00Z\",\"level\":\"ERROR\",\"msg\":\"forged\"}\n\u001b[2J\u001b]0;forged\u0007\u0000\u2028`
	requests := 0
	ask := func(request string) {
		c := dial(t, p.url)
		write(t, c, request)
		readResponse(t, bufio.NewReader(c))
		require.NoError(t, c.Close())
		requests++
	}

	for _, path := range []string{
		"/%0d%0a{%22level%22:%22ERROR%22,%22msg%22:%22forged%22}%0a", "/details/%1b[2J%1b]0;forged%07", "/details/0%00", "/details/%ff%fe", "/%E2%80%A8forged",
		`/details/"},{"msg":"forged`, "/details/" + strings.Repeat("%0a", 300),
	} {
		ask("GET " + path + " HTTP/1.1\r\nHost: details\r\n\r\n")
	}
	for _, name := range []string{"X-Request-Id", "X-B3-Traceid", "B3", "Traceparent", "User-Agent"} {
		ask("GET /nowhere HTTP/1.1\r\nHost: details\r\n" + name + `: 00-"},{"msg":"forged` + "\xff\t" + strings.Repeat("a", 1000) + "-01\r\n\r\n")
	}
	ask("FORGED\" /details/0 HTTP/1.1\r\nHost: details\r\n\r\n") // not a method: net/http refuses it, without a line
	requests--
	ask("FORGED'" + strings.Repeat("A", 1000) + " /details/0 HTTP/1.1\r\nHost: details\r\n\r\n")
	raw, err := strconv.Unquote(`"` + forged + `"`)
	require.NoError(t, err)
	for _, says := range []string{
		rawResponse("400 Bad Request", `{"error":{"message":"`+forged+`","errors":[{"reason":"`+forged+`"}]}}`),
		rawResponse("200 OK", `{"items":{"`+forged+`":1}}`),
		rawResponse("200 OK", raw),
		raw,
		"HTTP/1.1 200 OK\r\n" + raw + "\r\n\r\n",
		rawResponse("404 Not Found", "{}") + raw, // net/http itself logs what follows
	} {
		google.says.Store(&says)
		ask(bookRequest)
	}
	assert.Zero(t, p.stop())

	known := []string{
		"time", "level", "msg", "version", "address", "mode", "upstream", "api_key", "timeout", "cache_ttl", "cache_stale", "book_isbns", "method", "path", "status", "bytes", "ms", "request_id", "trace_id",
		"upstream_status", "upstream_ms", "tries", "error", "cause",
	}
	lines := 0
	for i, line := range p.logs { // start fails if a line is not JSON
		for key := range line {
			assert.Contains(t, known, key)
		}
		assert.NotEqual(t, "forged", line["msg"])
		assert.NotRegexp(t, `[\x00-\x1f\x7f]`, p.stderr[i])
		if line["msg"] == "request" {
			lines++
		}
	}
	assert.Equal(t, requests, lines, "a line for each request")
}

// TestRedirectsAreNotFollowed: not to another host, not to another scheme, not
// on the same host.
func TestRedirectsAreNotFollowed(t *testing.T) {
	var elsewhere, asked atomic.Int32
	trap := httptest.NewUnstartedServer(http.NotFoundHandler())
	trap.Config.ConnState = func(net.Conn, http.ConnState) { elsewhere.Add(1) }
	trap.Start()
	defer trap.Close()
	var location atomic.Pointer[string]
	var status atomic.Int32
	google := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Header().Set("Location", *location.Load())
		w.WriteHeader(int(status.Load()))
	}))
	defer google.Close()
	p := start(t, map[string]string{"GOOGLE_BOOKS_HOST": google.Listener.Addr().String(), "DO_NOT_ENCRYPT": "true"})
	other := trap.Listener.Addr().String()
	for _, to := range []string{"http://" + other + "/books/v1/volumes", "https://" + other, "//" + other, "/books/v1/volumes", "http://" + google.Listener.Addr().String()} {
		for _, s := range []int32{300, 301, 302, 303, 305, 307, 308} {
			location.Store(&to)
			status.Store(s)
			asked.Store(0)
			got, body := get(t, p.url+"/details/0")
			assert.Equal(t, http.StatusBadGateway, got)
			assert.NotContains(t, body, other)
			assert.EqualValues(t, 1, asked.Load(), "%d to %s", s, to)
		}
	}
	assert.Zero(t, p.stop())
	assert.Zero(t, elsewhere.Load(), "connections")
}
