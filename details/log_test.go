package details

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/bookinfo/googlebooks"
)

func TestLogLine(t *testing.T) {
	t.Parallel()
	const w3c = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for name, tc := range map[string]struct {
		target string
		header http.Header
		want   map[string]any
		absent []string
	}{
		"a book": {
			target: "/details/0?x=1",
			want:   map[string]any{"level": "INFO", "msg": "request", "method": "GET", "path": "/details/0", "status": 200.0, "bytes": float64(len(comedyBook))},
			absent: []string{"request_id", "trace_id", "error", "cache", "upstream_status"},
		},
		"health":         {target: "/health", want: map[string]any{"level": "DEBUG", "path": "/health"}},
		"a bad id":       {target: "/details/x", want: map[string]any{"level": "WARN", "status": 400.0, "error": "please provide numeric product id"}},
		"request id":     {target: "/details/0", header: http.Header{"X-Request-Id": {"r1"}}, want: map[string]any{"request_id": "r1"}},
		"B3":             {target: "/details/0", header: http.Header{"X-B3-Traceid": {"463ac35c9f6413ad"}, "Traceparent": {w3c}}, want: map[string]any{"trace_id": "463ac35c9f6413ad"}},
		"B3 in one":      {target: "/details/0", header: http.Header{"B3": {"80f198ee56343ba8-e457b5a2e4d86bd1-1"}}, want: map[string]any{"trace_id": "80f198ee56343ba8"}},
		"B3, no trace":   {target: "/details/0", header: http.Header{"B3": {"0"}}, absent: []string{"trace_id"}},
		"W3C":            {target: "/details/0", header: http.Header{"Traceparent": {w3c}}, want: map[string]any{"trace_id": "0af7651916cd43dd8448eb211c80319c"}},
		"W3C, rubbish":   {target: "/details/0", header: http.Header{"Traceparent": {"rubbish"}}, absent: []string{"trace_id"}},
		"a forged line":  {target: "/details/0%0A%7B%22level%22%3A%22ERROR%22%7D%1b[31m", want: map[string]any{"path": "/details/0\n{\"level\":\"ERROR\"}\x1b[31m"}},
		"a forged id":    {target: "/details/0", header: http.Header{"X-Request-Id": {"a\n{\"level\":\"ERROR\"}\u2028\x1b[31m"}}, want: map[string]any{"request_id": "a\n{\"level\":\"ERROR\"}\u2028\x1b[31m"}},
		"C1 controls":    {target: "/details/0%C2%9B2J%7F", want: map[string]any{"path": "/details/0\ufffd2J\ufffd"}},
		"cut in a rune":  {target: "/details/0", header: http.Header{"X-Request-Id": {strings.Repeat("a", 255) + "äää"}}, want: map[string]any{"request_id": strings.Repeat("a", 255) + "…"}},
		"endless header": {target: "/details/0", header: http.Header{"X-Request-Id": {strings.Repeat("a", 60_000)}}, want: map[string]any{"request_id": strings.Repeat("a", 256) + "…"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, log := newService(Config{Books: &books{volume: comedy()}})
			ask(t, h, http.MethodGet, tc.target, tc.header)
			text := log.String()
			require.Equal(t, 1, strings.Count(text, "\n"), "one line: %s", text)
			assert.NotContains(t, text, "\x1b")
			var line map[string]any
			require.NoError(t, json.Unmarshal([]byte(text), &line))
			for key, want := range tc.want {
				assert.Equal(t, want, line[key], key)
			}
			for _, key := range tc.absent {
				assert.NotContains(t, line, key)
			}
			assert.GreaterOrEqual(t, line["ms"], 0.0)
		})
	}
}

func TestLogTellsOfGoogle(t *testing.T) {
	t.Parallel()
	failure := &googlebooks.Error{StatusCode: 503, Message: "a failure at Google", Err: http.ErrServerClosed}
	for name, tc := range map[string]struct {
		see  func(ctx context.Context, m *Metrics)
		err  error
		want map[string]any
	}{
		"a call": {
			see: func(ctx context.Context, m *Metrics) {
				m.ObserveTry(ctx, googlebooks.Try{Number: 1, StatusCode: 503, Duration: time.Second})
				m.ObserveTry(ctx, googlebooks.Try{Number: 2, StatusCode: 200, Duration: 1500 * time.Microsecond})
			},
			want: map[string]any{"level": "INFO", "upstream_status": 200.0, "upstream_ms": 1.5, "tries": 2.0},
		},
		"a failure": {
			see: func(context.Context, *Metrics) {}, err: failure,
			want: map[string]any{"level": "ERROR", "status": 502.0, "error": "a failure at Google", "cause": "http: Server closed"},
		},
		"the cache": {
			see:  func(ctx context.Context, m *Metrics) { m.ObserveCache(ctx, googlebooks.Hit, nil) },
			want: map[string]any{"level": "INFO", "cache": "hit"},
		},
		"an old book": {
			see:  func(ctx context.Context, m *Metrics) { m.ObserveCache(ctx, googlebooks.Stale, failure) },
			want: map[string]any{"level": "WARN", "status": 200.0, "cache": "stale", "error": "a failure at Google"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			metrics := NewMetrics("1.2.3", "abc")
			h, log := newService(Config{Metrics: metrics, Books: &books{
				volume: comedy(), err: tc.err, see: func(ctx context.Context) { tc.see(ctx, metrics) },
			}})
			ask(t, h, http.MethodGet, "/details/0", nil)
			var line map[string]any
			require.NoError(t, json.Unmarshal([]byte(log.String()), &line))
			for key, want := range tc.want {
				assert.Equal(t, want, line[key], key)
			}
		})
	}
}
