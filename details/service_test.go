package details

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/bookinfo/googlebooks"
)

func TestRoutes(t *testing.T) {
	t.Parallel()
	book := func(id string) string { return strings.Replace(comedyBook, `"id":0`, `"id":`+id, 1) }
	const badID = `{"error":"please provide numeric product id"}`
	const healthy = `{"status":"Details is healthy"}`
	const noPath = `{"error":"no such path; try /details/{id}, /health or /metrics"}`
	const badMethod = `{"error":"only GET and HEAD are allowed"}`
	for name, tc := range map[string]struct {
		request string
		status  int
		body    string
		calls   int
	}{
		"book":              {"GET /details/0", 200, book("0"), 1},
		"trailing slash":    {"GET /details/0/", 200, book("0"), 1},
		"leading zero":      {"GET /details/017", 200, book("17"), 1},
		"plus":              {"GET /details/+5", 200, book("5"), 1},
		"minus":             {"GET /details/-1", 200, book("-1"), 1},
		"escaped digit":     {"GET /details/%31", 200, book("1"), 1},
		"escaped twice":     {"GET /details/%25%33%31", 400, badID, 0},
		"64 bits":           {"GET /details/9223372036854775807", 200, book("9223372036854775807"), 1},
		"65 bits":           {"GET /details/9223372036854775808", 400, badID, 0},
		"word":              {"GET /details/abc", 400, badID, 0},
		"escaped slash":     {"GET /details/1%2F2", 400, badID, 0},
		"no id":             {"GET /details", 400, badID, 0},
		"no id, slash":      {"GET /details/", 400, badID, 0},
		"two ids":           {"GET /details/1/2", 404, noPath, 0},
		"root":              {"GET /", 404, noPath, 0},
		"health":            {"GET /health", 200, healthy, 0},
		"health, HEAD":      {"HEAD /health", 200, healthy, 0},
		"book, HEAD":        {"HEAD /details/0", 200, book("0"), 1},
		"post":              {"POST /details/0", 405, badMethod, 0},
		"delete":            {"DELETE /health", 405, badMethod, 0},
		"an unknown method": {"FOO /details/0", 405, badMethod, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source := &books{volume: comedy()}
			h, _ := newService(Config{Books: source})
			method, target, _ := strings.Cut(tc.request, " ")
			server := httptest.NewServer(h) // a recorder would keep the body of HEAD
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

// TestZeroConfig: the service works without any setting, and serves the fixed
// book.
func TestZeroConfig(t *testing.T) {
	t.Parallel()
	h := New(Config{})
	w := ask(t, h, http.MethodGet, "/details/-3", nil)
	assert.Equal(t, http.StatusOK, w.Code)
	assert.Equal(t, `{"id":-3,"author":"William Shakespeare","year":1595,"type":"paperback","pages":200,`+
		`"publisher":"PublisherA","language":"English","ISBN-10":"1234567890","ISBN-13":"123-1234567890"}`, w.Body.String())
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
		"unknown id":      {isbns, "1", 404, ""},
		"no ids at all":   {map[int64]googlebooks.ISBN{}, "0", 404, ""},
	} {
		source := &books{volume: comedy()}
		h, _ := newService(Config{Books: source, ISBNs: tc.isbns})
		w := ask(t, h, http.MethodGet, "/details/"+tc.id, nil)
		assert.Equal(t, tc.status, w.Code, name)
		assert.Equal(t, tc.want, source.isbn, name)
		assert.Equal(t, tc.status == http.StatusNotFound, strings.Contains(w.Body.String(), "BOOK_ISBNS"), name)
	}
}

// panicking is a Source that panics.
type panicking struct{}

func (panicking) Lookup(context.Context, googlebooks.ISBN, http.Header) (googlebooks.Result, error) {
	panic("a defect")
}

func TestFailures(t *testing.T) {
	t.Parallel()
	const internal = `{"error":"internal error; see the log of details"}`
	for name, tc := range map[string]struct {
		err    error // nil: it panics
		cache  bool
		status int
		body   string
	}{
		"no such volume": {
			err:    fmt.Errorf("%w: 0486424618", googlebooks.ErrNotFound),
			status: 404,
			body:   `{"error":"Google Books has no volume with this ISBN: 0486424618"}`,
		},
		"refused": {
			err:    &googlebooks.Error{StatusCode: 400, Reason: "API_KEY_INVALID", Message: "API key not valid."},
			status: 502,
			body:   `{"error":"API key not valid. Compare GOOGLE_BOOKS_API_KEY with the key in the Google Cloud console, under Credentials."}`,
		},
		"a proxy's 504": {
			err:    &googlebooks.Error{StatusCode: 504, FromAPI: true, Message: "m"},
			status: 504,
			body:   `{"error":"m. Try again; GOOGLE_BOOKS_TIMEOUT and the mesh's timeouts limit the wait."}`,
		},
		"no advice": {
			err:    &googlebooks.Error{StatusCode: 400, FromAPI: true, Message: `a "b" <c>`},
			status: 502,
			body:   `{"error":"a \"b\" <c>"}`,
		},
		"internal error":     {err: errors.New("a defect"), status: 500, body: internal},
		"panic":              {status: 500, body: internal},
		"panic behind cache": {cache: true, status: 500, body: internal},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var source googlebooks.Source = &books{err: tc.err}
			if tc.err == nil {
				source = panicking{}
			}
			if tc.cache {
				source = googlebooks.NewCache(source, time.Minute, time.Minute)
			}
			h, log := newService(Config{Books: source})
			w := ask(t, h, http.MethodGet, "/details/0", nil)
			assert.Equal(t, tc.status, w.Code)
			assert.Equal(t, tc.body, w.Body.String())
			if tc.body != internal {
				assert.Contains(t, log.String(), strings.Trim(tc.body, "{}"), "the log has the error of the answer")
				return
			}
			assert.Contains(t, log.String(), "a defect")
			assert.Equal(t, tc.err == nil, strings.Contains(log.String(), "panicking.Lookup"), "the stack")
		})
	}
}

// TestTracingHeaders: TestBothModes of the program sends each of them.
func TestTracingHeaders(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", maxForwarded)
	fits := long[len("Sw8")+len("Tracestate"):]
	for name, tc := range map[string]struct{ header, want http.Header }{
		"all values":  {http.Header{"Tracestate": {"a", "b"}, "Cookie": {"c"}}, http.Header{"Tracestate": {"a", "b"}}},
		"a long one":  {http.Header{"Tracestate": {long}, "Sw8": {"x"}}, http.Header{"Sw8": {"x"}}},
		"many values": {http.Header{"Tracestate": slices.Repeat([]string{long[:100]}, 100)}, http.Header{}},
		"the longest": {
			header: http.Header{"Tracestate": {fits[:len(fits)-1]}, "Sw8": {"x"}},
			want:   http.Header{"Tracestate": {fits[:len(fits)-1]}, "Sw8": {"x"}},
		},
		"too long together": {http.Header{"Tracestate": {fits}, "Sw8": {"x"}}, http.Header{"Tracestate": {fits}}},
	} {
		assert.Equal(t, tc.want, tracingHeaders(tc.header), name)
	}
}

func FuzzID(f *testing.F) {
	for _, id := range []string{"-1", "%31", "%zz", "1%2F2", "%2531", "9223372036854775808", "１", "..", "?"} {
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
