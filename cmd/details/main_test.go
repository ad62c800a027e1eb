package main

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/bookinfo/googlebooks/googlebookstest"
)

func TestBothModes(t *testing.T) {
	google, https, plain := standIn(t, googlebookstest.Config{})
	for name, tc := range map[string]struct {
		env   map[string]string
		tls   bool
		proto string
		mode  string
	}{
		"HTTPS":      {https, true, "HTTP/2.0", "HTTPS"},
		"plain HTTP": {plain, false, "HTTP/1.1", "plain HTTP: only behind a sidecar that originates TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, tc.env)
			before := len(google.Requests())
			status, body := get(t, p.url+"/details/0")
			assert.Equal(t, http.StatusOK, status)
			assert.Equal(t, comedy, body)
			status, _ = get(t, p.url+"/health")
			assert.Equal(t, http.StatusOK, status)
			assert.Zero(t, p.stop())

			requests := google.Requests()[before:]
			require.Len(t, requests, 1, "one call for the book, none at the start or for /health")
			assert.Equal(t, tc.tls, requests[0].TLS)
			assert.Equal(t, tc.proto, requests[0].Proto)
			lines := p.requestLines()
			require.Len(t, lines, 1)
			assert.Equal(t, "/details/0", lines[0]["path"])
			assert.InDelta(t, 200, lines[0]["upstream_status"], 0)
			assert.Equal(t, tc.mode, p.logs[0]["mode"])
			assert.Equal(t, tc.env["GOOGLE_BOOKS_HOST"], p.logs[0]["upstream"])
		})
	}
}

// TestFirstLines: the log has the settings in effect, and warns if there is no
// key.
func TestFirstLines(t *testing.T) {
	for name, tc := range map[string]struct {
		env     map[string]string
		want    map[string]any
		warning bool
	}{
		"defaults": {
			want:    map[string]any{"upstream": "www.googleapis.com:443", "api_key": false, "book_isbns": 0.0},
			warning: true,
		},
		"settings": {
			env: map[string]string{
				"GOOGLE_BOOKS_API_KEY": secretKey, "GOOGLE_BOOKS_TIMEOUT": "1s", "CACHE_TTL": "24h", "CACHE_STALE": "2h",
				"BOOK_ISBNS": "7:0486424618",
			},
			want: map[string]any{
				"api_key": true, "timeout": "1s", "cache_ttl": "24h0m0s", "cache_stale": "2h0m0s", "book_isbns": 1.0,
			},
		},
		"without Google": {
			env:  map[string]string{"ENABLE_EXTERNAL_BOOK_SERVICE": "false"},
			want: map[string]any{"mode": "the fixed book of details-v1", "upstream": ""},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, tc.env)
			assert.Zero(t, p.stop())
			assert.Equal(t, "details is serving", p.logs[0]["msg"])
			assert.NotEmpty(t, p.logs[0]["version"])
			for key, want := range tc.want {
				assert.Equal(t, want, p.logs[0][key], key)
			}
			var rest []any
			for _, line := range p.logs[1:] {
				rest = append(rest, line["msg"])
			}
			want := []any{"details is stopping: finishing requests in flight", "details has stopped"}
			if tc.warning {
				want = append([]any{"Google answers calls without an API key with 429: set GOOGLE_BOOKS_API_KEY"}, want...)
			}
			assert.Equal(t, want, rest)
		})
	}
}

// TestListen: without the book service, the program serves the fixed book, over
// IPv4 and IPv6.
func TestListen(t *testing.T) {
	p := start(t, map[string]string{"ENABLE_EXTERNAL_BOOK_SERVICE": "false"})
	_, port, _ := net.SplitHostPort(p.logs[0]["address"].(string))
	for _, host := range []string{"127.0.0.1", "::1"} {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			t.Logf("no %s on this machine: %v", host, err)
			continue
		}
		require.NoError(t, l.Close())
		status, body := get(t, "http://"+net.JoinHostPort(host, port)+"/details/0")
		assert.Equal(t, http.StatusOK, status)
		assert.Contains(t, body, `"publisher":"PublisherA"`)
	}
	assert.Zero(t, p.stop())
}

// TestCache: CACHE_TTL and CACHE_STALE reach the cache. In each row, Google fails
// after the first request.
func TestCache(t *testing.T) {
	google, https, _ := standIn(t, googlebookstest.Config{})
	for name, tc := range map[string]struct {
		ttl, stale string
		status     int
		outcome    string
	}{
		"fresh":   {"1h", "0s", http.StatusOK, "hit"},
		"stale":   {"1ms", "1h", http.StatusOK, "stale"},
		"expired": {"1ms", "0s", http.StatusBadGateway, "miss"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("CACHE_TTL", tc.ttl)
			t.Setenv("CACHE_STALE", tc.stale)
			p := start(t, https)
			status, _ := get(t, p.url+"/details/0")
			assert.Equal(t, http.StatusOK, status)
			google.Script("400-required")
			defer google.Script()
			time.Sleep(10 * time.Millisecond) // more than the short TTL
			status, _ = get(t, p.url+"/details/0")
			assert.Equal(t, tc.status, status)
			assert.Zero(t, p.stop())
			lines := p.requestLines()
			require.Len(t, lines, 2)
			assert.Equal(t, "miss", lines[0]["cache"])
			assert.Equal(t, tc.outcome, lines[1]["cache"])
		})
	}
}

func TestPortInUse(t *testing.T) {
	t.Setenv("ENABLE_EXTERNAL_BOOK_SERVICE", "false")
	p := start(t, nil)
	_, port, _ := net.SplitHostPort(p.logs[0]["address"].(string))
	var stderr bytes.Buffer
	assert.Equal(t, exitFailure, run(t.Context(), []string{port}, io.Discard, &stderr))
	assert.Contains(t, stderr.String(), "details: port "+port+" is in use by another program")
	assert.Zero(t, p.stop())
}

// TestLogger: a terminal gets text, anything else JSON without delay.
func TestLogger(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	logger := newLogger(&out, slog.LevelInfo, nil)
	logger.Debug("below the level")
	logger.Info("hello", "answer", 42)
	assert.Contains(t, out.String(), `"msg":"hello","answer":42}`)
	assert.NotContains(t, out.String(), "below")

	device, err := os.Open(os.DevNull) // a character device, as a terminal is
	require.NoError(t, err)
	defer func() { require.NoError(t, device.Close()) }()
	assert.IsType(t, new(slog.TextHandler), newLogger(device, slog.LevelInfo, nil).Handler())
}

func TestBookISBNs(t *testing.T) {
	_, https, _ := standIn(t, googlebookstest.Config{})
	t.Setenv("BOOK_ISBNS", "7:9780141439518")
	p := start(t, https)
	status, body := get(t, p.url+"/details/7")
	assert.Equal(t, http.StatusOK, status)
	assert.Contains(t, body, `"ISBN-13":"9780141439518"`)
	status, _ = get(t, p.url+"/details/0")
	assert.Equal(t, http.StatusNotFound, status)
	assert.Zero(t, p.stop())
}
