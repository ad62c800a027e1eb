package details

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"example.com/bookinfo/googlebooks"
)

// TestMain fails the package if a goroutine outlives its tests.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// comedy returns the volume of DefaultISBN.
func comedy() *googlebooks.Volume {
	client, _ := googlebooks.New(googlebooks.Config{Transport: inMemory(comedyAnswer)})
	result, _ := client.Lookup(context.Background(), DefaultISBN, nil)
	return result.Volume
}

const comedyBook = `{"id":0,"author":"William Shakespeare","year":"2002-09-19","type":"paperback","pages":53,` +
	`"publisher":"Courier Corporation","language":"English","ISBN-10":"0486424618","ISBN-13":"9780486424613"}`

// comedyAnswer is Google's answer for DefaultISBN.
const comedyAnswer = `{"kind":"books#volumes","totalItems":1,"items":[{"kind":"books#volume","volumeInfo":{
	"title":"The Comedy of Errors","authors":["William Shakespeare"],"publisher":"Courier Corporation",
	"publishedDate":"2002-09-19","pageCount":53,"industryIdentifiers":[
		{"type":"ISBN_13","identifier":"9780486424613"},{"type":"ISBN_10","identifier":"0486424618"}],
	"printType":"BOOK","language":"en"}}]}`

// books is a Source that answers every lookup with one volume or one error.
type books struct {
	volume *googlebooks.Volume
	err    error
	isbn   googlebooks.ISBN // of the last lookup
	calls  int
}

func (b *books) Lookup(_ context.Context, isbn googlebooks.ISBN, _ http.Header) (googlebooks.Result, error) {
	b.isbn = isbn
	b.calls++
	return googlebooks.Result{Volume: b.volume}, b.err
}

// newService returns the service and its log, which has every level.
func newService(cfg Config) (http.Handler, *bytes.Buffer) {
	var log bytes.Buffer
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

// responses returns a client whose calls get these responses, in this order, a
// tenth of a second each; all further calls get the last one.
func responses(t *testing.T, metrics *Metrics, answers ...httpmock.Responder) *googlebooks.Client {
	t.Helper()
	var calls atomic.Int64
	transport := httpmock.NewMockTransport()
	transport.RegisterNoResponder(func(r *http.Request) (*http.Response, error) {
		call := int(calls.Add(1))
		time.Sleep(100 * time.Millisecond)
		return answers[min(call, len(answers))-1](r)
	})
	client, err := googlebooks.New(googlebooks.Config{Transport: transport, Timeout: 9 * time.Second, Observe: metrics.ObserveTry})
	require.NoError(t, err)
	return client
}

// inMemory is an upstream without a network.
type inMemory string

func (b inMemory) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(string(b)))}, nil
}

// lastLine returns the last request line of a log.
func lastLine(t *testing.T, log *bytes.Buffer) map[string]any {
	t.Helper()
	var last map[string]any
	for text := range strings.Lines(log.String()) {
		var line map[string]any
		require.NoError(t, json.Unmarshal([]byte(text), &line))
		if line["msg"] == "request" {
			last = line
		}
	}
	return last
}
