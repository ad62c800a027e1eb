package main

import (
	"bufio"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/bookinfo/googlebooks/googlebookstest"
)

// secretKey is the API key where nothing may show it; keyStart is enough of
// it to be recognized.
const secretKey, keyStart = "AIzaSyNobodyMayEverSeeThis0123456789abc", "AIzaSy"

// TestSmuggling sends requests whose end is a matter of opinion, with a second
// one inside: there is one answer to them, and then no more is read.
func TestSmuggling(t *testing.T) {
	t.Parallel()
	const (
		get    = "GET /details/0 HTTP/1.1\r\nHost: details\r\n"
		post   = "POST /details/0 HTTP/1.1\r\nHost: details\r\n"
		hidden = "GET /details/666 HTTP/1.1\r\nHost: details\r\n\r\n"
		chunks = "\r\n0\r\n\r\n" + hidden
	)
	s := serveWith(t, nil, func(*server) {})
	for name, tc := range map[string]struct {
		request string
		status  int
	}{
		"CL and TE, TE shorter":        {post + "Content-Length: 50\r\nTransfer-Encoding: chunked\r\n" + chunks, http.StatusMethodNotAllowed},
		"CL and TE, GET":               {get + "Content-Length: 50\r\nTransfer-Encoding: chunked\r\n" + chunks, http.StatusOK},
		"CL and TE, CL shorter":        {get + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n2c\r\n" + hidden + "\r\n0\r\n\r\n", http.StatusOK},
		"two CLs":                      {get + "Content-Length: 0\r\nContent-Length: 44\r\n\r\n" + hidden, http.StatusBadRequest},
		"two CLs, the same":            {get + "Content-Length: 44\r\nContent-Length: 44\r\n\r\n" + hidden, http.StatusOK},
		"a list of CLs":                {get + "Content-Length: 0, 44\r\n\r\n" + hidden, http.StatusBadRequest},
		"CL with a sign":               {get + "Content-Length: +44\r\n\r\n" + hidden, http.StatusBadRequest},
		"CL below zero":                {get + "Content-Length: -0\r\n\r\n" + hidden, http.StatusBadRequest},
		"CL in hex":                    {get + "Content-Length: 0x2c\r\n\r\n" + hidden, http.StatusBadRequest},
		"CL, empty":                    {get + "Content-Length: \r\n\r\n" + hidden, http.StatusBadRequest},
		"CL, space before the colon":   {get + "Content-Length : 44\r\n\r\n" + hidden, http.StatusBadRequest},
		"CL behind a bare LF":          {get + "X: a\nContent-Length: 44\r\n\r\n" + hidden, http.StatusOK},
		"CL behind a bare CR":          {get + "X: a\rContent-Length: 44\r\n\r\n" + hidden, http.StatusBadRequest},
		"TE in any case":               {get + "Transfer-Encoding: cHuNkEd\r\n" + chunks, http.StatusOK},
		"TE, odd spelling":             {get + "Transfer-Encoding: xchunked\r\n" + chunks, http.StatusNotImplemented},
		"TE, vertical tab":             {get + "Transfer-Encoding: \x0bchunked\r\n" + chunks, http.StatusBadRequest},
		"TE, empty":                    {get + "Transfer-Encoding: \r\n" + chunks, http.StatusNotImplemented},
		"TE identity":                  {get + "Transfer-Encoding: identity\r\n" + chunks, http.StatusNotImplemented},
		"TE, a list":                   {get + "Transfer-Encoding: chunked, identity\r\n" + chunks, http.StatusNotImplemented},
		"two TEs":                      {get + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n" + chunks, http.StatusNotImplemented},
		"TE, folded":                   {get + "Transfer-Encoding:\r\n chunked\r\n" + chunks, http.StatusOK},
		"TE, space before the colon":   {get + "Transfer-Encoding : chunked\r\n" + chunks, http.StatusBadRequest},
		"TE in HTTP/1.0":               {"GET /details/0 HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n" + hidden, http.StatusOK},
		"chunk extension with bare LF": {post + "Transfer-Encoding: chunked\r\n\r\n0;\n\r\n" + hidden, http.StatusMethodNotAllowed},
		"chunk below zero":             {post + "Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n" + hidden, http.StatusMethodNotAllowed},
		"chunk too large for 64 bits":  {post + "Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n" + hidden, http.StatusMethodNotAllowed},
		"fold of the first header":     {"GET /details/0 HTTP/1.1\r\n Host: details\r\n\r\n" + hidden, http.StatusBadRequest},
		"NUL in a value":               {get + "X: a\x00b\r\n\r\n" + hidden, http.StatusBadRequest},
		"NUL in a name":                {get + "X\x00: ab\r\n\r\n" + hidden, http.StatusBadRequest},
		"no name":                      {get + ": ab\r\n\r\n" + hidden, http.StatusBadRequest},
		"no colon":                     {get + "X\r\n\r\n" + hidden, http.StatusBadRequest},
		"two Hosts":                    {get + "Host: elsewhere\r\n\r\n" + hidden, http.StatusBadRequest},
		"no Host":                      {"GET /details/0 HTTP/1.1\r\n\r\n" + hidden, http.StatusBadRequest},
		"Host of two words":            {"GET /details/0 HTTP/1.1\r\nHost: a b\r\n\r\n" + hidden, http.StatusBadRequest},
		"two spaces":                   {"GET  /details/0 HTTP/1.1\r\nHost: details\r\n\r\n" + hidden, http.StatusBadRequest},
		"tab":                          {"GET\t/details/0 HTTP/1.1\r\nHost: details\r\n\r\n" + hidden, http.StatusBadRequest},
		"two protocols":                {"GET /details/0 HTTP/1.1 HTTP/1.0\r\nHost: details\r\n\r\n" + hidden, http.StatusBadRequest},
		"lower case":                   {"GET /details/0 http/1.1\r\nHost: details\r\n\r\n" + hidden, http.StatusBadRequest},
		"HTTP/0.9":                     {"GET /details/0\r\n\r\n" + hidden, http.StatusBadRequest},
		"HTTP/2 without TLS":           {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", http.StatusMethodNotAllowed},
		"no token for a method":        {"GE(T /details/0 HTTP/1.1\r\nHost: details\r\n\r\n" + hidden, http.StatusBadRequest},

		// Not ambiguous, and harmless: one request, by RFC 9112 sections 2.2, 3.2.2 and 5.2.
		"bare LFs":                       {"GET /details/0 HTTP/1.1\nHost: details\n\n", http.StatusOK},
		"absolute form, another host":    {"GET http://elsewhere/details/0 HTTP/1.1\r\nHost: details\r\n\r\n", http.StatusOK},
		"a value, folded":                {get + "X: a\r\n b\r\n\r\n", http.StatusOK},
		"an upgrade that nobody accepts": {get + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n", http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := dial(t, s.url)
			_, err := io.WriteString(c, tc.request)
			require.NoError(t, err)
			require.NoError(t, c.CloseWrite()) // where the connection may stay, it need not
			said := assertCut(t, c)
			statuses := regexp.MustCompile(`HTTP/1\.[01] (\d+)`).FindAllStringSubmatch(said, -1)
			require.Len(t, statuses, 1, "one answer")
			assert.Equal(t, strconv.Itoa(tc.status), statuses[0][1])
			assert.NotContains(t, said, "666")
		})
	}
}

// passedOn are the headers that may go to Google.
func passedOn() []string {
	return []string{
		"X-Request-Id", "X-Ot-Span-Context", "X-Datadog-Trace-Id", "X-Datadog-Parent-Id", "X-Datadog-Sampling-Priority", "Traceparent", "Tracestate",
		"X-Cloud-Trace-Context", "Grpc-Trace-Bin", "X-B3-Traceid", "X-B3-Spanid", "X-B3-Parentspanid", "X-B3-Sampled", "X-B3-Flags", "B3", "Sw8", "User-Agent",
	}
}

// TestNoCredentialReachesGoogle sends random sets of headers: whatever they
// are called, no value arrives but those of tracing headers, each as it was
// sent.
func TestNoCredentialReachesGoogle(t *testing.T) {
	const rounds, secret = 150, "s3cret"
	credentials := []string{
		"Cookie", "Cookie2", "Set-Cookie", "Authorization", "Proxy-Authorization", "Proxy-Authenticate", "Jwt", "X-Jwt", "End-User", "X-Api-Key",
		"X-Goog-Api-Key", "X-Goog-User-Project", "X-Goog-Authenticated-User-Email", "X-Auth-Token", "X-Access-Token", "X-Amz-Security-Token",
		"X-Csrf-Token", "X-Forwarded-For", "X-Forwarded-Client-Cert", "X-Forwarded-Access-Token", "X-Envoy-Original-Path", "X-Envoy-Peer-Metadata",
		"Forwarded", "Referer", "Origin", "From", "Via", "Baggage", "Connection", "Te", "Upgrade", "Proxy-Connection", "Keep-Alive", "Trailer",
		"Accept", "Accept-Encoding", "Accept-Language", "Range", "If-None-Match", "X-B3-Traceid2", "X_Request_Id",
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	anyCase := func(name string) string {
		b := []byte(name)
		for i := range b {
			if random.IntN(2) == 0 {
				b[i] = strings.ToUpper(name)[i]
			} else {
				b[i] = strings.ToLower(name)[i]
			}
		}

		return string(b)
	}
	text := func(alphabet string, most int) string {
		b := make([]byte, 1+random.IntN(most))
		for i := range b {
			b[i] = alphabet[random.IntN(len(alphabet))]
		}

		return string(b)
	}
	const token = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~"
	const value = token + "(),/:;<=>?@[\\]{}\"\x80\xff"

	google, https, plain := standIn(t, googlebookstest.Config{})
	for name, tc := range map[string]struct {
		env map[string]string
		key string
	}{"HTTPS, with a key": {https, secretKey}, "plain HTTP, without one": {plain, ""}} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("GOOGLE_BOOKS_API_KEY", tc.key)
			p := start(t, tc.env)
			before := len(google.Requests())
			c := dial(t, p.url)
			require.NoError(t, c.SetDeadline(time.Now().Add(4*patience)))
			r := bufio.NewReader(c)
			sent := make([]http.Header, rounds) // those that shall arrive
			for i := range sent {
				sent[i] = make(http.Header)
				var request strings.Builder
				request.WriteString("GET /details/0?key=" + secret + " HTTP/1.1\r\nHost: " + secret + "\r\n")
				for range random.IntN(30) {
					var name string
					v := secret + text(value, 40)
					switch random.IntN(3) {
					case 0:
						name = credentials[random.IntN(len(credentials))]
					case 1:
						name = "z" + text(token, 20) // no name of HTTP's own begins so
					default:
						name = passedOn()[random.IntN(len(passedOn()))]
						v = text(value, 40)
						sent[i].Add(name, v)
					}
					request.WriteString(anyCase(name) + ": " + v + "\r\n")
				}
				_, err := io.WriteString(c, request.String()+"\r\n")
				require.NoError(t, err)
				res := readAnswer(t, r)
				require.Equal(t, http.StatusOK, res.StatusCode, "%q", request.String())
			}
			require.NoError(t, c.Close())
			assert.Zero(t, p.stop())
			arrived := google.Requests()[before:]
			require.Len(t, arrived, rounds)
			for i, a := range arrived {
				require.NotContains(t, fmt.Sprint(a), secret)
				want := sent[i]
				if len(want["User-Agent"]) == 0 {
					want.Set("User-Agent", "bookinfo-details/dev")
				}
				if tc.key != "" {
					want.Set("X-Goog-Api-Key", tc.key)
				}
				require.Equal(t, want["User-Agent"][:1], a.Header["User-Agent"], "one is sent")
				delete(want, "User-Agent")
				delete(a.Header, "User-Agent")
				require.Equal(t, want, a.Header)
			}
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
	var fault atomic.Pointer[googlebookstest.Handler]
	google := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fault.Load().ServeHTTP(w, r) })
	https, plain := httptest.NewUnstartedServer(google), httptest.NewServer(google)
	https.EnableHTTP2 = true
	https.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	https.StartTLS()
	defer https.Close()
	defer plain.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: https.Certificate().Raw}), 0o600))

	for name, env := range map[string]map[string]string{
		"HTTPS":      {"GOOGLE_BOOKS_HOST": https.Listener.Addr().String(), "GOOGLE_BOOKS_CA_FILE": ca},
		"plain HTTP": {"GOOGLE_BOOKS_HOST": plain.Listener.Addr().String(), "DO_NOT_ENCRYPT": "true"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("GOOGLE_BOOKS_API_KEY", secretKey)
			t.Setenv("GOOGLE_BOOKS_TIMEOUT", "200ms")
			t.Setenv("LOG_LEVEL", "debug")
			p := start(t, env)
			for _, f := range googlebookstest.Faults() {
				h, err := googlebookstest.NewHandler(googlebookstest.Options{Shares: []googlebookstest.Share{{Fault: f.Name, Percent: 100}}})
				require.NoError(t, err)
				fault.Store(h)
				_, body := get(t, p.url+"/details/0")
				assertNoKey(t, body)
				require.NotEmpty(t, h.Requests())
				for _, r := range h.Requests() {
					assert.Equal(t, secretKey, r.Header.Get("X-Goog-Api-Key"), "there was something to leak")
					assertNoKey(t, r.RequestURI)
				}
			}
			_, metrics := get(t, p.url+"/metrics")
			assert.Zero(t, p.stop())
			assertNoKey(t, append(p.stderr, metrics)...)
		})
	}
}

// parrot is an upstream that says what it is told to, on a raw connection, with
// the key that it was sent for every KEY.
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
				_, _ = io.WriteString(c, said) // it may have hung up
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		serving.Wait()
	})

	return p
}

// httpAnswer is a whole answer.
func httpAnswer(status, body string) string {
	return fmt.Sprintf("HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s", status, len(strings.ReplaceAll(body, "KEY", secretKey)), body)
}

// echoes are answers that repeat the key, wherever a client might quote it.
func echoes() map[string]string {
	said := map[string]string{
		"message":               httpAnswer("400 Bad Request", `{"error":{"message":"bad KEY"}}`),
		"message, escaped":      httpAnswer("400 Bad Request", `{"error":{"message":"bad \u0041IzaSyNobodyMayEverSeeThis0123456789abc"}}`),
		"message, cut":          httpAnswer("400 Bad Request", `{"error":{"message":"`+strings.Repeat("a", 295)+`KEY"}}`),
		"status":                httpAnswer("403 Forbidden", `{"error":{"message":"a","status":"KEY"}}`),
		"reason":                httpAnswer("403 Forbidden", `{"error":{"message":"a","errors":[{"reason":"KEY"}]}}`),
		"reason, cut":           httpAnswer("403 Forbidden", `{"error":{"message":"a","errors":[{"reason":"`+strings.Repeat("a", 60)+`KEY"}]}}`),
		"quota":                 httpAnswer("429 Too Many Requests", `{"error":{"message":"KEY","details":[{"metadata":{"quota_limit":"KEYPerMinute"}}]}}`),
		"503":                   httpAnswer("503 Service Unavailable", `{"error":{"message":"KEY","errors":[{"reason":"KEY"}]}}`),
		"HTML":                  httpAnswer("400 Bad Request", `<p>KEY`),
		"text":                  httpAnswer("503 Service Unavailable", `KEY`),
		"status text":           httpAnswer("400 KEY", ""),
		"headers":               "HTTP/1.1 302 Found\r\nLocation: https://elsewhere.invalid/?key=KEY\r\nSet-Cookie: KEY\r\nX-KEY: KEY\r\nContent-Length: 0\r\n\r\n",
		"early hints":           "HTTP/1.1 103 KEY\r\nLink: KEY\r\n\r\n" + httpAnswer("404 KEY", "KEY"),
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
		"not JSON":              httpAnswer("200 OK", `KEY`),
		"half a JSON":           httpAnswer("200 OK", `{"items":[{"KEY":`),
		"no literal":            httpAnswer("200 OK", `{"items":[{"volumeInfo":{"pageCount":KEY}}]}`),
		"a name for a list":     httpAnswer("200 OK", `{"items":{"KEY":1}}`),
		"a text for a number":   httpAnswer("200 OK", `{"items":[{"volumeInfo":{"pageCount":"KEY"}}]}`),
		"an object for a text":  httpAnswer("200 OK", `{"items":[{"volumeInfo":{"publisher":{"KEY":[}}}]}`),
		"a fault under its key": httpAnswer("200 OK", `{"KEY":{"KEY":[nil]},"items":[]}`),
		"behind the answer":     httpAnswer("404 Not Found", `{}`) + "KEY",
		"behind a good answer":  httpAnswer("200 OK", `{"totalItems":0}`) + "HTTP/1.1 200 OK\r\nKEY: KEY\r\n\r\n",
	}
	for padding := 140; padding < 260; padding += 10 { // a log line ends somewhere in the key
		said["at "+strconv.Itoa(padding)] = "HTTP/1.1 200 OK\r\n" + strings.Repeat("a", padding) + "KEY\r\n\r\n"
	}

	return said
}

// TestKeyStaysSecretFromEchoes: an upstream, or a proxy before it, may repeat
// what it was sent; whatever is made of that, the key is not in it.
func TestKeyStaysSecretFromEchoes(t *testing.T) {
	google := newParrot(t)
	t.Setenv("GOOGLE_BOOKS_API_KEY", secretKey)
	t.Setenv("GOOGLE_BOOKS_TIMEOUT", "1s")
	t.Setenv("LOG_LEVEL", "debug")
	p := start(t, map[string]string{"GOOGLE_BOOKS_HOST": google.addr, "DO_NOT_ENCRYPT": "true"})
	said := echoes()
	for _, name := range slices.Sorted(maps.Keys(said)) {
		t.Run(name, func(t *testing.T) {
			what := said[name]
			google.says.Store(&what)
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+"/details/0", http.NoBody)
			require.NoError(t, err)
			res, err := http.DefaultClient.Do(r)
			require.NoError(t, err)
			body, err := io.ReadAll(res.Body)
			require.NoError(t, err)
			require.NoError(t, res.Body.Close())
			assert.NotEqual(t, http.StatusOK, res.StatusCode)
			assertNoKey(t, string(body), fmt.Sprint(res.Header))
		})
	}
	_, metrics := get(t, p.url+"/metrics")
	assert.Zero(t, p.stop())
	assertNoKey(t, append(p.stderr, metrics)...)
	assert.Contains(t, strings.Join(p.stderr, "\n"), `"cause":"net/http: HTTP/1.x transport connection broken: malformed HTTP response \"[API key]\""`)
}

// TestProxiesKeepSecrets: between the program and Google there may be a proxy
// that takes part in the talk, or is not there. net/http reads who it is once
// in a process.
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
	}{
		"plain HTTP, refuses":    {plain: true, says: httpAnswer("407 KEY", "KEY")},
		"plain HTTP, malformed":  {plain: true, says: "KEY: KEY\r\n\r\n"},
		"plain HTTP, not there":  {plain: true, absent: true},
		"HTTPS, refuses":         {says: httpAnswer("403 KEY", "KEY")},
		"HTTPS, malformed":       {says: "KEY\r\n\r\n"},
		"HTTPS, not there":       {absent: true},
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
			assert.Equal(t, !tc.absent, proxy.asked.Load() > 0, "the proxy of the environment is asked")
			assertNoKey(t, append(p.stderr, body, metrics)...)
			assert.NotContains(t, strings.Join(p.stderr, "")+body, password)
		})
	}
}

// TestLogsCantBeForged: what callers and Google send stays inside of one
// value of one line each, and does nothing to a terminal.
func TestLogsCantBeForged(t *testing.T) {
	google := newParrot(t)
	t.Setenv("GOOGLE_BOOKS_API_KEY", secretKey)
	p := start(t, map[string]string{"GOOGLE_BOOKS_HOST": google.addr, "DO_NOT_ENCRYPT": "true"})
	const forged = `\r\n{\"time\":\"2026-01-01T00:00:00Z\",\"level\":\"ERROR\",\"msg\":\"forged\"}\n\u001b[2J\u001b]0;forged\u0007\u0000\u2028`
	requests := 0
	ask := func(request string) {
		c := dial(t, p.url)
		_, err := io.WriteString(c, request)
		require.NoError(t, err)
		readAnswer(t, bufio.NewReader(c))
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
	ask("FORGED\" /details/0 HTTP/1.1\r\nHost: details\r\n\r\n") // no method: net/http refuses it, without a line
	requests--
	ask("FORGED'" + strings.Repeat("A", 1000) + " /details/0 HTTP/1.1\r\nHost: details\r\n\r\n")
	raw, err := strconv.Unquote(`"` + forged + `"`)
	require.NoError(t, err)
	for _, says := range []string{
		httpAnswer("400 Bad Request", `{"error":{"message":"`+forged+`","errors":[{"reason":"`+forged+`"}]}}`),
		httpAnswer("200 OK", `{"items":{"`+forged+`":1}}`),
		httpAnswer("200 OK", raw),
		raw,
		"HTTP/1.1 200 OK\r\n" + raw + "\r\n\r\n",
		httpAnswer("404 Not Found", "{}") + raw, // net/http has words of its own for what follows
	} {
		google.says.Store(&says)
		ask(askForBook)
	}
	assert.Zero(t, p.stop())

	known := []string{
		"time", "level", "msg", "address", "mode", "upstream", "api_key", "method", "path", "status", "bytes", "ms", "request_id", "trace_id",
		"upstream_status", "upstream_ms", "tries", "error", "cause",
	}
	lines := 0
	for i, line := range p.logs { // each is one JSON object, or start fails
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

// TestRedirectsAreNotFollowed: not to another host, not to another scheme, and
// not on the same one either.
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
