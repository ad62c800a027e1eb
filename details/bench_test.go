package details

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/bookinfo/googlebooks"
)

// BenchmarkHandler measures a request without the network: routing, the client,
// decoding, the answer, the metrics and the log line.
func BenchmarkHandler(b *testing.B) {
	client, err := googlebooks.New(googlebooks.Config{Transport: inMemory(comedyAnswer)})
	require.NoError(b, err)
	logger := slog.New(slog.NewJSONHandler(io.Discard, nil)) //nolint:sloglint // slog.DiscardHandler would not write the line
	h := New(Config{Books: client, Logger: logger})
	r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/details/0", http.NoBody)
	r.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	w := httptest.NewRecorder()
	for b.Loop() {
		w.Body.Reset()
		h.ServeHTTP(w, r)
	}
}
