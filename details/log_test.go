package details

import (
	"cmp"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/assert"

	"example.com/bookinfo/googlebooks"
)

func TestTraceID(t *testing.T) {
	t.Parallel()
	const w3c = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for name, tc := range map[string]struct {
		header http.Header
		want   string
	}{
		"none":              {http.Header{}, ""},
		"B3":                {http.Header{"X-B3-Traceid": {"463ac35c9f6413ad"}, "Traceparent": {w3c}}, "463ac35c9f6413ad"},
		"B3 in one header":  {http.Header{"B3": {"80f198ee56343ba8-e457b5a2e4d86bd1-1"}}, "80f198ee56343ba8"},
		"B3 without an id":  {http.Header{"B3": {"0"}}, ""},
		"W3C":               {http.Header{"Traceparent": {w3c}}, "0af7651916cd43dd8448eb211c80319c"},
		"W3C without an id": {http.Header{"Traceparent": {"nonsense"}}, ""},
	} {
		assert.Equal(t, tc.want, traceID(tc.header), name)
	}
}

func TestRequestLine(t *testing.T) {
	t.Parallel()
	unavailable := httpmock.NewStringResponder(http.StatusServiceUnavailable, "no healthy upstream")
	limited := httpmock.NewStringResponder(http.StatusTooManyRequests, "local_rate_limited")
	found := httpmock.NewStringResponder(http.StatusOK, comedyAnswer)
	for name, tc := range map[string]struct {
		method   string // default: GET
		target   string // default: /details/0
		header   http.Header
		google   []httpmock.Responder // default: the book
		ttl      time.Duration        // 0: no cache
		stale    time.Duration
		requests int // the last one's line is checked; default: 1
		want     map[string]any
		absent   []string
	}{
		"a book": {
			target: "/details/0?x=1",
			want: map[string]any{
				"level": "INFO", "msg": "request", "method": "GET", "path": "/details/0",
				"status": 200.0, "bytes": float64(len(comedyBook)), "ms": 100.0,
			},
			absent: []string{"request_id", "trace_id", "error", "cache"},
		},
		"HEAD has no body": {method: http.MethodHead, want: map[string]any{"status": 200.0, "bytes": 0.0}},
		"health":           {target: "/health", want: map[string]any{"level": "DEBUG"}, absent: []string{"upstream_status"}},
		"ids": {
			header: http.Header{"X-Request-Id": {"r1"}, "X-B3-Traceid": {"463ac35c9f6413ad"}},
			want:   map[string]any{"request_id": "r1", "trace_id": "463ac35c9f6413ad"},
		},
		"a bad id": {target: "/details/x", want: map[string]any{"level": "WARN", "status": 400.0, "error": errID.Error()}},
		"controls": {target: "/details/0%C2%9B2J%7F%E2%80%AE", want: map[string]any{"path": "/details/0\ufffd2J\ufffd\ufffd"}},
		"cut within a character": {
			header: http.Header{"X-Request-Id": {strings.Repeat("a", 255) + "äää"}},
			want:   map[string]any{"request_id": strings.Repeat("a", 255) + "…"},
		},
		"a call": {
			google: []httpmock.Responder{unavailable, found},
			want:   map[string]any{"level": "INFO", "upstream_status": 200.0, "upstream_ms": 100.0, "tries": 2.0},
			absent: []string{"cache"},
		},
		"a miss": {
			google: []httpmock.Responder{unavailable, found},
			ttl:    time.Hour,
			want:   map[string]any{"level": "INFO", "cache": "miss", "upstream_status": 200.0, "tries": 2.0},
		},
		"a hit": {
			google:   []httpmock.Responder{found},
			ttl:      time.Hour,
			requests: 2,
			want:     map[string]any{"level": "INFO", "cache": "hit"},
			absent:   []string{"upstream_status", "tries"},
		},
		"a failure": {
			google: []httpmock.Responder{httpmock.NewErrorResponder(io.ErrUnexpectedEOF)},
			want: map[string]any{
				"level": "ERROR", "status": 502.0, "upstream_status": 0.0, "tries": 3.0, "cause": "unexpected EOF",
			},
		},
		"a long cause": {
			google: []httpmock.Responder{httpmock.NewErrorResponder(errors.New(strings.Repeat("a", 300)))},
			want:   map[string]any{"upstream_status": 0.0, "cause": strings.Repeat("a", 256) + "…"},
		},
		"a remembered failure": {
			google:   []httpmock.Responder{limited},
			ttl:      time.Hour,
			requests: 2,
			want:     map[string]any{"level": "ERROR", "status": 502.0, "cache": "hit", "upstream_status": 429.0},
		},
		"a stale book": {
			google:   []httpmock.Responder{found, limited},
			ttl:      time.Nanosecond,
			stale:    time.Hour,
			requests: 3, // the second one starts a refresh; the third one logs its failure
			want:     map[string]any{"level": "WARN", "status": 200.0, "cache": "stale", "upstream_status": 429.0},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				if tc.google == nil {
					tc.google = []httpmock.Responder{found}
				}
				var source googlebooks.Source = responses(t, NewMetrics(""), tc.google...)
				if tc.ttl > 0 {
					source = googlebooks.NewCache(source, tc.ttl, tc.stale)
				}
				h, log := newService(Config{Books: source})
				for range cmp.Or(tc.requests, 1) {
					ask(t, h, cmp.Or(tc.method, http.MethodGet), cmp.Or(tc.target, "/details/0"), tc.header)
					time.Sleep(time.Second)
					synctest.Wait()
				}
				line := lastLine(t, log)
				for key, want := range tc.want {
					assert.Equal(t, want, line[key], key)
				}
				for _, key := range tc.absent {
					assert.NotContains(t, line, key)
				}
			})
		})
	}
}
