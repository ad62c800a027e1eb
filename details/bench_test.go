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
)

// inMemory is an upstream without a network.
type inMemory string

func (b inMemory) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(string(b)))}, nil
}

// discardResponse throws the response away.
type discardResponse struct{ header http.Header }

func (d discardResponse) Header() http.Header       { return d.header }
func (discardResponse) Write(b []byte) (int, error) { return len(b), nil }
func (discardResponse) WriteHeader(int)             {}

// BenchmarkHandler is a request without HTTP: routing, the client, decoding,
// the answer, the metrics and the log line, which goes to /dev/null.
func BenchmarkHandler(b *testing.B) {
	client, err := googlebooks.New(googlebooks.Config{Transport: inMemory(comedyAnswer)})
	require.NoError(b, err)
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	require.NoError(b, err)
	defer func() { require.NoError(b, null.Close()) }()
	h := New(Config{Books: client, Logger: slog.New(slog.NewJSONHandler(null, nil))})
	r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/details/0", http.NoBody)
	r.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	w := discardResponse{header: make(http.Header)}
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
}
