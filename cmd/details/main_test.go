package main

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"testing"

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
		"HTTPS": {
			env:   https,
			tls:   true,
			proto: "HTTP/2.0",
			mode:  "HTTPS",
		},
		"plain HTTP": {
			env:   plain,
			proto: "HTTP/1.1",
			mode:  "plain HTTP: only behind a sidecar that originates TLS",
		},
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
			require.Len(t, requests, 1, "one call for the book, none at start and for health")
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

// TestFirstLines: the log says which settings took effect, and warns of a start
// that cannot work.
func TestFirstLines(t *testing.T) {
	for name, tc := range map[string]struct {
		env     map[string]string
		want    map[string]any
		warning bool
	}{
		"defaults": {
			want:    map[string]any{"upstream": "www.googleapis.com:443", "api_key": false, "timeout": "2.5s", "cache_ttl": "0s", "book_isbns": 0.0},
			warning: true,
		},
		"settings": {
			env: map[string]string{
				"GOOGLE_BOOKS_API_KEY": secretKey, "GOOGLE_BOOKS_TIMEOUT": "1s", "CACHE_TTL": "24h", "CACHE_STALE": "2h", "BOOK_ISBNS": "7:0486424618",
			},
			want: map[string]any{"api_key": true, "timeout": "1s", "cache_ttl": "24h0m0s", "cache_stale": "2h0m0s", "book_isbns": 1.0},
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

func TestDetailsV1(t *testing.T) {
	p := start(t, map[string]string{"ENABLE_EXTERNAL_BOOK_SERVICE": "false"})
	status, body := get(t, p.url+"/details/0")
	assert.Equal(t, http.StatusOK, status)
	assert.Contains(t, body, `"publisher":"PublisherA"`)
	assert.Zero(t, p.stop())
}

func TestIPv4AndIPv6(t *testing.T) {
	p := start(t, map[string]string{"ENABLE_EXTERNAL_BOOK_SERVICE": "false"})
	_, port, _ := net.SplitHostPort(p.logs[0]["address"].(string))
	for _, host := range []string{"127.0.0.1", "::1"} {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			t.Logf("no %s on this machine: %v", host, err)
			continue
		}
		require.NoError(t, l.Close())
		status, _ := get(t, "http://"+net.JoinHostPort(host, port)+"/health")
		assert.Equal(t, http.StatusOK, status)
	}
	assert.Zero(t, p.stop())
}

func TestKey(t *testing.T) {
	_, https, _ := standIn(t, googlebookstest.Config{RequireKey: true, Keys: []string{"r1ght"}})
	for name, tc := range map[string]struct {
		key    string
		status int
		body   string
	}{
		"none": {
			status: http.StatusBadGateway,
			body:   "Set GOOGLE_BOOKS_API_KEY",
		},
		"wrong": {
			key:    "wr0ng",
			status: http.StatusBadGateway,
			body:   "Correct GOOGLE_BOOKS_API_KEY",
		},
		"right": {
			key:    "r1ght",
			status: http.StatusOK,
			body:   comedy,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("GOOGLE_BOOKS_API_KEY", tc.key)
			p := start(t, https)
			status, body := get(t, p.url+"/details/0")
			assert.Equal(t, tc.status, status)
			assert.Contains(t, body, tc.body)
			_, metrics := get(t, p.url+"/metrics")
			assert.Zero(t, p.stop())
			logs, err := json.Marshal(p.logs)
			require.NoError(t, err)
			assert.NotRegexp(t, "wr0ng|r1ght", string(logs)+body+metrics)
		})
	}
}

// TestCache wires CACHE_TTL and CACHE_STALE: a book is kept, and if it may not
// be stale, a failure shows as soon as the TTL is over.
func TestCache(t *testing.T) {
	google, https, _ := standIn(t, googlebookstest.Config{})
	t.Setenv("CACHE_TTL", "100ms")
	t.Setenv("CACHE_STALE", "0s")
	google.Script("ok")
	p := start(t, https)
	require.Eventually(t, func() bool {
		for range 2 {
			_, body := get(t, p.url+"/details/0")
			assert.Equal(t, comedy, body)
		}
		return len(google.Requests()) > 1
	}, clientTimeout, clientTimeout/100)
	google.Script("400-required", "400-required", "400-required", "400-required")
	require.Eventually(t, func() bool {
		status, _ := get(t, p.url+"/details/0")
		return status == http.StatusBadGateway
	}, clientTimeout, clientTimeout/100)
	assert.Zero(t, p.stop())
	outcomes := make(map[any]int)
	for _, line := range p.requestLines() {
		outcomes[line["cache"]]++
	}
	assert.Positive(t, outcomes["hit"])
	assert.Positive(t, outcomes["miss"])
	assert.Zero(t, outcomes["stale"])
}

func TestPortInUse(t *testing.T) {
	t.Setenv("ENABLE_EXTERNAL_BOOK_SERVICE", "false")
	p := start(t, nil)
	_, port, _ := net.SplitHostPort(p.logs[0]["address"].(string))
	var stderr bytes.Buffer
	assert.Equal(t, exitFailure, run(t.Context(), []string{port}, io.Discard, &stderr))
	assert.Equal(t, "details: port "+port+" is in use by another program; choose another with PORT or the argument\n", stderr.String())
	assert.Zero(t, p.stop())
}

// TestLogger: JSON for machines, written at once; text for a terminal.
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
