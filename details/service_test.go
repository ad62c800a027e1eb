package details

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/bookinfo/googlebooks"
)

// books is a Source that answers every lookup with one volume or one error, and
// keeps what it was asked for.
type books struct {
	volume *googlebooks.Volume
	err    error

	mu     sync.Mutex
	isbn   googlebooks.ISBN
	header http.Header
	calls  int
}

func (b *books) Volume(_ context.Context, isbn googlebooks.ISBN, header http.Header) (*googlebooks.Volume, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.isbn, b.header = isbn, header
	b.calls++
	return b.volume, b.err
}

// lockedBuffer is a log that a test reads while the service writes.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newService is a service with a log of every level.
func newService(cfg Config) (http.Handler, *lockedBuffer) {
	var log lockedBuffer
	cfg.Logger = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	return New(cfg), &log
}

func ask(tb testing.TB, h http.Handler, method, target string, header http.Header) *httptest.ResponseRecorder {
	tb.Helper()
	r := httptest.NewRequestWithContext(tb.Context(), method, target, http.NoBody)
	maps.Copy(r.Header, header)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

const badID = `{"error":"please provide numeric product id"}`

func TestRoutes(t *testing.T) {
	t.Parallel()
	book := func(id string) string { return strings.Replace(comedyBook, `"id":0`, `"id":`+id, 1) }
	const healthy = `{"status":"Details is healthy"}`
	for name, tc := range map[string]struct {
		request string
		status  int
		body    string
		calls   int
	}{
		"book":               {"GET /details/0", 200, book("0"), 1},
		"trailing slash":     {"GET /details/0/", 200, book("0"), 1},
		"leading zeros":      {"GET /details/007", 200, book("7"), 1},
		"decimal, not octal": {"GET /details/017", 200, book("17"), 1},
		"plus":               {"GET /details/+5", 200, book("5"), 1},
		"minus":              {"GET /details/-1", 200, book("-1"), 1},
		"minus zero":         {"GET /details/-0", 200, book("0"), 1},
		"escaped digit":      {"GET /details/%31", 200, book("1"), 1},
		"escaped twice":      {"GET /details/%2531", 400, badID, 0},
		"escaped twice, raw": {"GET /details/%25%33%31", 400, badID, 0},
		"64 bits":            {"GET /details/9223372036854775807", 200, book("9223372036854775807"), 1},
		"query":              {"GET /details/0?x=1", 200, book("0"), 1},
		"65 bits":            {"GET /details/9223372036854775808", 400, badID, 0},
		"word":               {"GET /details/abc", 400, badID, 0},
		"hexadecimal":        {"GET /details/0x1F", 400, badID, 0},
		"underscore":         {"GET /details/1_000", 400, badID, 0},
		"fraction":           {"GET /details/1.0", 400, badID, 0},
		"blank":              {"GET /details/%20", 400, badID, 0},
		"NUL":                {"GET /details/1%00", 400, badID, 0},
		"escaped slash":      {"GET /details/1%2F2", 400, badID, 0},
		"full-width digit":   {"GET /details/%EF%BC%91", 400, badID, 0},
		"no id":              {"GET /details", 400, badID, 0},
		"no id, slash":       {"GET /details/", 400, badID, 0},
		"two ids":            {"GET /details/1/2", 404, `{"error":"no such path; try /details/{id}, /health or /metrics"}`, 0},
		"case":               {"GET /Details/0", 404, `{"error":"no such path; try /details/{id}, /health or /metrics"}`, 0},
		"root":               {"GET /", 404, `{"error":"no such path; try /details/{id}, /health or /metrics"}`, 0},
		"health":             {"GET /health", 200, healthy, 0},
		"health, HEAD":       {"HEAD /health", 200, healthy, 0},
		"book, HEAD":         {"HEAD /details/0", 200, book("0"), 1},
		"bad id, HEAD":       {"HEAD /details/x", 400, badID, 0},
		"post":               {"POST /details/0", 405, `{"error":"only GET and HEAD are allowed"}`, 0},
		"delete":             {"DELETE /health", 405, `{"error":"only GET and HEAD are allowed"}`, 0},
		"an unknown method":  {"FOO /details/0", 405, `{"error":"only GET and HEAD are allowed"}`, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source := &books{volume: comedy()}
			h, _ := newService(Config{Books: source})
			method, target, _ := strings.Cut(tc.request, " ")
			server := httptest.NewServer(h) // a recorder would show a body for HEAD too
			defer server.Close()
			r, err := http.NewRequestWithContext(t.Context(), method, server.URL+target, http.NoBody)
			require.NoError(t, err)
			res, err := server.Client().Do(r)
			require.NoError(t, err)
			body, err := io.ReadAll(res.Body)
			require.NoError(t, err)
			require.NoError(t, res.Body.Close())

			assert.Equal(t, tc.status, res.StatusCode)
			assert.Equal(t, []string{"application/json"}, res.Header["Content-Type"])
			assert.Equal(t, []string{strconv.Itoa(len(tc.body))}, res.Header["Content-Length"])
			if method == http.MethodHead {
				tc.body = ""
			}
			assert.Equal(t, tc.body, string(body))
			if tc.status == http.StatusMethodNotAllowed {
				assert.Equal(t, []string{"GET, HEAD"}, res.Header["Allow"])
			}
			assert.Equal(t, tc.calls, source.calls)
		})
	}
}

func TestFixedBook(t *testing.T) {
	t.Parallel()
	h, _ := newService(Config{})
	w := ask(t, h, http.MethodGet, "/details/-3", nil)
	assert.Equal(t, http.StatusOK, w.Code)
	assert.Equal(t, `{"id":-3,"author":"William Shakespeare","year":1595,"type":"paperback","pages":200,"publisher":"PublisherA",`+
		`"language":"English","ISBN-10":"1234567890","ISBN-13":"123-1234567890"}`, w.Body.String())
}

func TestWhichISBN(t *testing.T) {
	t.Parallel()
	isbns := map[int64]googlebooks.ISBN{0: "9780141439518", 7: "0486424618"}
	for name, tc := range map[string]struct {
		isbns  map[int64]googlebooks.ISBN
		id     string
		status int
		want   googlebooks.ISBN
	}{
		"none configured": {nil, "12", 200, "0486424618"},
		"configured":      {isbns, "0", 200, "9780141439518"},
		"another":         {isbns, "7", 200, "0486424618"},
		"unknown id":      {isbns, "1", 404, ""},
		"no ids at all":   {map[int64]googlebooks.ISBN{}, "0", 404, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source := &books{volume: comedy()}
			h, _ := newService(Config{Books: source, ISBNs: tc.isbns})
			w := ask(t, h, http.MethodGet, "/details/"+tc.id, nil)
			assert.Equal(t, tc.status, w.Code)
			assert.Equal(t, tc.want, source.isbn)
			if tc.status == http.StatusNotFound {
				assert.Contains(t, w.Body.String(), "BOOK_ISBNS")
			}
		})
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		err    error
		status int
		body   string
	}{
		"no such volume": {
			err:    googlebooks.ErrNotFound,
			status: 404,
			body:   `{"error":"Google Books has no volume with this ISBN"}`,
		},
		"Google refuses": {
			err:    &googlebooks.Error{StatusCode: 400, Reason: "API_KEY_INVALID", Message: "API key not valid."},
			status: 502,
			body:   `{"error":"API key not valid. Correct GOOGLE_BOOKS_API_KEY."}`,
		},
		"Google fails": {
			err:    &googlebooks.Error{StatusCode: 503, Message: "503"},
			status: 502,
			body:   `{"error":"503. Try again."}`,
		},
		"too late": {
			err:    &googlebooks.Error{Reason: googlebooks.ReasonTimeout, Message: "late", Err: context.DeadlineExceeded},
			status: 504,
			body:   `{"error":"late. Try again; GOOGLE_BOOKS_TIMEOUT and the mesh's timeouts limit the wait."}`,
		},
		"no advice": {
			err:    &googlebooks.Error{StatusCode: 400, Reason: "required", Message: `a "b" <c>`},
			status: 502,
			body:   `{"error":"a \"b\" <c>"}`,
		},
		"an internal error": {
			err:    errors.New("inner secret"),
			status: 500,
			body:   `{"error":"internal error; see the log of details"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, log := newService(Config{Books: &books{err: tc.err}})
			w := ask(t, h, http.MethodGet, "/details/0", nil)
			assert.Equal(t, tc.status, w.Code)
			assert.Equal(t, tc.body, w.Body.String())
			if tc.status == http.StatusInternalServerError {
				assert.Contains(t, log.String(), `"error":"inner secret"`)
			} else {
				assert.Contains(t, log.String(), strings.TrimSuffix(strings.TrimPrefix(tc.body, "{"), "}"), "the log says what the caller is told")
			}
		})
	}
}

// panicking is a Source with a defect.
type panicking struct{}

func (panicking) Volume(context.Context, googlebooks.ISBN, http.Header) (*googlebooks.Volume, error) {
	panic("a defect")
}

func TestPanic(t *testing.T) {
	t.Parallel()
	for name, source := range map[string]googlebooks.Source{
		"without a cache": panicking{},
		"with a cache":    googlebooks.NewCache(panicking{}, time.Minute, time.Minute),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, log := newService(Config{Books: source})
			w := ask(t, h, http.MethodGet, "/details/0", nil)
			assert.Equal(t, http.StatusInternalServerError, w.Code)
			assert.Equal(t, `{"error":"internal error; see the log of details"}`, w.Body.String())
			line := lastLine(t, log)
			assert.Equal(t, "ERROR", line["level"])
			assert.Contains(t, line["error"], "panic: a defect")
			assert.Contains(t, line["error"], "panicking.Volume", "the stack")
			assert.Contains(t, ask(t, h, http.MethodGet, "/metrics", nil).Body.String(),
				`details_requests_total{code="500",method="GET",route="details"} 1`)
		})
	}
}

func TestZeroConfig(t *testing.T) {
	t.Parallel()
	h := New(Config{})
	assert.Equal(t, http.StatusOK, ask(t, h, http.MethodGet, "/details/0", nil).Code)
	assert.Equal(t, http.StatusOK, ask(t, h, http.MethodGet, "/metrics", nil).Code)
}

func TestCallerGone(t *testing.T) {
	t.Parallel()
	h, log := newService(Config{Books: &books{err: context.Canceled}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/details/0", http.NoBody))
	assert.Contains(t, log.String(), `"status":499`)
	assert.Contains(t, log.String(), `"level":"INFO"`)
}

// responses returns a client whose calls get one response each, in this order.
func responses(t *testing.T, answers ...httpmock.Responder) *googlebooks.Client {
	t.Helper()
	var mu sync.Mutex
	transport := httpmock.NewMockTransport()
	transport.RegisterNoResponder(func(r *http.Request) (*http.Response, error) {
		mu.Lock()
		next := answers[0]
		if len(answers) > 1 { // the last one stays
			answers = answers[1:]
		}
		mu.Unlock()
		return next(r)
	})
	client, err := googlebooks.New(googlebooks.Config{Transport: transport})
	require.NoError(t, err)
	return client
}

func TestForwardedHeaders(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"X-Request-Id": true, "X-Ot-Span-Context": true, "X-Datadog-Trace-Id": true, "X-Datadog-Parent-Id": true,
		"X-Datadog-Sampling-Priority": true, "Traceparent": true, "Tracestate": true, "X-Cloud-Trace-Context": true,
		"Grpc-Trace-Bin": true, "X-B3-Traceid": true, "X-B3-Spanid": true, "X-B3-Parentspanid": true, "X-B3-Sampled": true,
		"X-B3-Flags": true, "B3": true, "Sw8": true, "User-Agent": true,
		"Cookie": false, "Authorization": false, "Jwt": false, "End-User": false, "Proxy-Authorization": false,
		"X-Forwarded-For": false, "Forwarded": false, "Accept": false, "Accept-Encoding": false, "Referer": false, "Baggage": false,
		"X-Goog-Api-Key": false, "X-Forwarded-Client-Cert": false, "Host": false, "Connection": false, "Upgrade": false,
		"Content-Length": false, "Transfer-Encoding": false, "Te": false,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source := &books{volume: comedy()}
			h, _ := newService(Config{Books: source})
			ask(t, h, http.MethodGet, "/details/0", http.Header{name: {"a", "b"}})
			if want {
				assert.Equal(t, http.Header{name: {"a", "b"}}, source.header)
			} else {
				assert.Empty(t, source.header)
			}
		})
	}
}

// TestForwardedHeadersAreBounded: a long header is left out, the others are
// forwarded.
func TestForwardedHeadersAreBounded(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", maxForwarded)
	for name, tc := range map[string]struct {
		header http.Header
		want   http.Header
	}{
		"a long one": {
			header: http.Header{"Tracestate": {long}, "Traceparent": {"x"}, "User-Agent": {"curl"}},
			want:   http.Header{"Traceparent": {"x"}, "User-Agent": {"curl"}},
		},
		"many values": {
			header: http.Header{"Tracestate": slices.Repeat([]string{long[:100]}, 100), "User-Agent": {"curl"}},
			want:   http.Header{"User-Agent": {"curl"}},
		},
		"several that do not fit together": {
			header: http.Header{"Tracestate": {long[:5000]}, "User-Agent": {long[:5000]}},
			want:   http.Header{"Tracestate": {long[:5000]}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, tc.want, forwardedHeaders(tc.header))
		})
	}
}

func FuzzID(f *testing.F) {
	for _, id := range []string{"0", "-1", "+5", "007", "%31", "%", "%zz", "1%2F2", "%2531", "9223372036854775808", "１", "..", "?", "#", "\x00"} {
		f.Add(id)
	}
	h, _ := newService(Config{Books: &books{volume: comedy()}})
	f.Fuzz(func(t *testing.T, id string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
		target, err := r.URL.Parse("/details/" + id)
		if err != nil {
			return
		}
		r.URL = target
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		assert.Contains(t, []int{200, 400, 404}, w.Code)
		var answer map[string]any
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &answer))
		if w.Code == http.StatusOK && strings.HasPrefix(target.EscapedPath(), "/details/") {
			_, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimPrefix(target.Path, "/details/"), "/"), 10, 64)
			assert.NoError(t, err, "%q is an id", id)
		}
	})
}
