package details

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/bookinfo/googlebooks"
	"example.com/bookinfo/samples/volumes"
)

// inMemory is an upstream without a network.
type inMemory string

func (b inMemory) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(string(b)))}, nil
}

// nobody is a caller who does not listen.
type nobody struct{ header http.Header }

func (n nobody) Header() http.Header       { return n.header }
func (nobody) Write(b []byte) (int, error) { return len(b), nil }
func (nobody) WriteHeader(int)             {}

// BenchmarkHandler is all that happens in a request but HTTP itself: routing,
// the client with its retries, decoding, the answer, the metrics and the log
// line, which goes to /dev/null.
func BenchmarkHandler(b *testing.B) {
	body, err := volumes.FS.ReadFile("0486424618.json")
	require.NoError(b, err)
	metrics := NewMetrics("", "")
	client, err := googlebooks.New(googlebooks.Config{Transport: inMemory(body), Observe: metrics.ObserveTry})
	require.NoError(b, err)
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	require.NoError(b, err)
	defer func() { require.NoError(b, null.Close()) }()
	h := New(Config{Books: client, Metrics: metrics, Logger: slog.New(slog.NewJSONHandler(null, nil))})
	r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/details/0", http.NoBody)
	r.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	w := nobody{header: make(http.Header)}
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
}
