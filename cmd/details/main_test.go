package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/bookinfo/cmd/internal/buildinfo"
	"example.com/bookinfo/googlebooks"
	"example.com/bookinfo/googlebooks/googlebookstest"
)

// TestBothModes sends all kinds of headers, in lower and upper case. Over plain
// HTTP, the tracing headers reach Google, unchanged, for the sidecar; over HTTPS
// or from the cache, nothing of the caller. The key and the user agent are the
// service's own.
func TestBothModes(t *testing.T) {
	t.Parallel()
	const secret = "s3cret"
	tracing := []string{
		"X-Request-Id", "X-Ot-Span-Context", "X-Datadog-Trace-Id", "X-Datadog-Parent-Id", "X-Datadog-Sampling-Priority",
		"Traceparent", "Tracestate", "X-Cloud-Trace-Context", "Grpc-Trace-Bin", "X-B3-Traceid", "X-B3-Spanid",
		"X-B3-Parentspanid", "X-B3-Sampled", "X-B3-Flags", "B3", "Sw8",
	}
	for name, tc := range map[string]struct {
		plain   bool
		ttl     time.Duration
		tracing bool
	}{
		"HTTPS":             {},
		"plain HTTP":        {plain: true, tracing: true},
		"plain HTTP, cache": {plain: true, ttl: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			google, cfg, plain := standIn(t, googlebookstest.Config{})
			proto, mode := "HTTP/2.0", "HTTPS"
			if tc.plain {
				cfg, proto, mode = plain, "HTTP/1.1", "plain HTTP: only behind a sidecar that originates TLS"
			}
			cfg.APIKey, cfg.CacheTTL, cfg.LogLevel = secretKey, tc.ttl, slog.LevelDebug
			p := start(t, cfg)
			request := "GET /details/0?key=" + secret + " HTTP/1.1\r\nHost: " + secret + "\r\n"
			want := http.Header{
				"X-Goog-Api-Key":  {secretKey},
				"User-Agent":      {"bookinfo-details/" + buildinfo.Version()},
				"Accept-Encoding": {"identity"},
			}
			for i, name := range tracing {
				value := fmt.Sprintf("%d \x80\xff;\\\"", i)
				if tc.tracing {
					want[name] = []string{value}
				}
				request += strings.ToLower(name) + ": " + value + "\r\n"
			}
			for _, name := range []string{
				"Cookie", "Cookie2", "Authorization", "Proxy-Authorization", "Jwt", "End-User", "X-Api-Key", "X-Goog-Api-Key",
				"X-Auth-Token", "X-Forwarded-For", "X-Forwarded-Client-Cert", "X-Envoy-Peer-Metadata", "Forwarded", "Referer",
				"Origin", "From", "Via", "Baggage", "Te", "Accept", "Range", "X-B3-Traceid2", "X_Request_Id", "Z!#$%&'*+-.^_`|~",
				"User-Agent", "Accept-Encoding",
			} {
				request += strings.ToUpper(name) + ": " + secret + "\r\n"
			}
			c := dial(t, p.url)
			write(t, c, request+"\r\n")
			assert.Equal(t, http.StatusOK, readResponse(t, bufio.NewReader(c)).StatusCode)
			require.NoError(t, c.Close())
			status, _ := get(t, p.url+"/health")
			assert.Equal(t, http.StatusOK, status)
			assert.NoError(t, p.stop())

			requests := google.Requests()
			require.Len(t, requests, 1, "one call for the book, none at the start or for /health")
			assert.NotContains(t, fmt.Sprint(requests[0]), secret)
			assert.Equal(t, want, requests[0].Header)
			assert.Equal(t, !tc.plain, requests[0].TLS)
			assert.Equal(t, proto, requests[0].Proto)
			assert.Equal(t, mode, p.logs[0]["mode"])
			assert.Equal(t, string(cfg.Host), p.logs[0]["upstream"])
			assert.Len(t, p.lines("request"), 2)
			call := p.lines("upstream call")[0]
			assert.Equal(t, []any{"DEBUG", 1.0, 200.0, ""}, []any{call["level"], call["try"], call["upstream_status"], call["reason"]})
			assert.Positive(t, call["upstream_ms"])
		})
	}
}

// TestFirstLines: the log has the settings in effect, and warnings.
func TestFirstLines(t *testing.T) {
	t.Parallel()
	const (
		noKey     = "Google refuses calls without an API key: set GOOGLE_BOOKS_API_KEY"
		clearKey  = "Over plain HTTP, only the mesh encrypts the API key: block unknown hosts, or set DO_NOT_ENCRYPT=false"
		noProxies = "HTTP_PROXY and HTTPS_PROXY are not used: over plain HTTP, the sidecar is the proxy"
	)
	for name, tc := range map[string]struct {
		cfg      config
		want     map[string]any
		warnings []any
	}{
		"no key": {
			cfg:      config{External: true, Host: googlebooks.DefaultHost},
			want:     map[string]any{"upstream": "www.googleapis.com:443", "proxy": "", "api_key": false, "book_isbns": 0.0},
			warnings: []any{noKey},
		},
		"another host": {cfg: settings("localhost:8443")},
		"settings": {
			cfg: config{
				External: true, Host: googlebooks.DefaultHost, APIKey: secretKey, Timeout: time.Second, CacheTTL: 24 * time.Hour,
				CacheStale: 2 * time.Hour, ISBNs: bookISBNs{7: "0486424618"}, HTTPSProxy: "http://user:" + secretKey + "@proxy:3128",
			},
			want: map[string]any{
				"api_key": true, "timeout": "1s", "cache_ttl": "24h0m0s", "cache_stale": "2h0m0s", "book_isbns": 1.0,
				"proxy": "proxy:3128",
			},
		},
		"proxy in plain HTTP": {
			cfg:      config{External: true, PlainHTTP: true, APIKey: secretKey, HTTPProxy: "http://user:" + secretKey + "@proxy"},
			want:     map[string]any{"proxy": ""},
			warnings: []any{clearKey, noProxies},
		},
		"plain HTTP":         {cfg: config{External: true, PlainHTTP: true, Host: "localhost"}},
		"plain HTTP and key": {cfg: config{External: true, PlainHTTP: true, Host: "localhost", APIKey: secretKey}, warnings: []any{clearKey}},
		"unused key":         {cfg: config{PlainHTTP: true, APIKey: secretKey}},
		"without Google":     {want: map[string]any{"mode": "the fixed book of details-v1", "upstream": ""}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, tc.cfg)
			assert.NoError(t, p.stop())
			assertNoKey(t, p.stderr...)
			assert.Equal(t, "details is serving", p.logs[0]["msg"])
			assert.NotEmpty(t, p.logs[0]["version"])
			for key, want := range tc.want {
				assert.Equal(t, want, p.logs[0][key], key)
			}
			var rest []any
			for i, line := range p.logs[1:] {
				rest = append(rest, line["msg"])
				assert.Equal(t, i < len(tc.warnings), line["level"] == "WARN")
			}
			assert.Equal(t, append(tc.warnings, "details is stopping: finishing requests in flight", "details has stopped"), rest)
		})
	}
}

// TestListen: without the book service, the program serves the fixed book, over
// IPv4 and IPv6.
func TestListen(t *testing.T) {
	t.Parallel()
	p := start(t, config{})
	_, port, _ := net.SplitHostPort(p.logs[0]["address"].(string))
	for _, host := range []string{"127.0.0.1", "::1"} {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			continue // the machine has no such address
		}
		require.NoError(t, l.Close())
		status, body := get(t, "http://"+net.JoinHostPort(host, port)+"/details/0")
		assert.Equal(t, http.StatusOK, status)
		assert.Contains(t, body, `"publisher":"PublisherA"`)
	}
	assert.NoError(t, p.stop())
}

// TestCache: CACHE_TTL and CACHE_STALE reach the cache, and BOOK_ISBNS the
// service. In each row, Google fails after the first request.
func TestCache(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		ttl, stale time.Duration
		status     int
		outcome    string
	}{
		"fresh":   {time.Hour, 0, http.StatusOK, "hit"},
		"stale":   {time.Millisecond, time.Hour, http.StatusOK, "stale"},
		"expired": {time.Millisecond, 0, http.StatusBadGateway, "miss"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			google, cfg, _ := standIn(t, googlebookstest.Config{})
			cfg.CacheTTL, cfg.CacheStale, cfg.ISBNs = tc.ttl, tc.stale, bookISBNs{7: "9780141439518"}
			p := start(t, cfg)
			_, body := get(t, p.url+"/details/7")
			assert.Contains(t, body, `"ISBN-13":"9780141439518"`)
			google.Script("400-required")
			time.Sleep(10 * time.Millisecond) // more than the short TTL
			status, _ := get(t, p.url+"/details/7")
			assert.Equal(t, tc.status, status)
			assert.NoError(t, p.stop())
			lines := p.lines("request")
			require.Len(t, lines, 2)
			assert.Equal(t, "miss", lines[0]["cache"])
			assert.Equal(t, tc.outcome, lines[1]["cache"])
		})
	}
}

func TestPortInUse(t *testing.T) {
	t.Parallel()
	p := start(t, config{})
	_, port, _ := net.SplitHostPort(p.logs[0]["address"].(string))
	var stderr bytes.Buffer
	assert.Equal(t, exitFailure, run(t.Context(), []string{port}, io.Discard, &stderr))
	assert.Contains(t, stderr.String(), "details: port "+port+" is in use by another program")
	assert.NoError(t, p.stop())
}

// TestLogger: a terminal gets text, anything else JSON. What net/http's server
// reports is in the log, too.
func TestLogger(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	logger := newLogger(&out, &out, slog.LevelInfo, nil)
	logger.Debug("below the level")
	logger.Info("hello", "answer", 42)
	assert.Contains(t, out.String(), `"msg":"hello","answer":42}`)
	assert.NotContains(t, out.String(), "below")
	newServer(http.NotFoundHandler(), logger).ErrorLog.Print("http: a failure")
	assert.Contains(t, out.String(), `"level":"WARN","msg":"http: a failure"`)

	device, err := os.Open(os.DevNull) // a character device, as a terminal is
	require.NoError(t, err)
	defer func() { require.NoError(t, device.Close()) }()
	assert.IsType(t, new(slog.TextHandler), newLogger(device, io.Discard, slog.LevelInfo, nil).Handler())
}

// TestStuckLog: the log is a pipe that nobody reads. The service still
// answers, keeps running and stops.
func TestStuckLog(t *testing.T) {
	t.Parallel()
	out, in := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, config{}, in, func(*slog.Logger) {}) }()
	var first struct{ Address string }
	require.NoError(t, json.NewDecoder(out).Decode(&first)) // nothing else is read
	_, port, err := net.SplitHostPort(first.Address)
	require.NoError(t, err)
	url := "http://localhost:" + port
	for range logQueue + 100 {
		status, _ := get(t, url+"/details/0")
		require.Equal(t, http.StatusOK, status)
	}
	_, metrics := get(t, url+"/metrics")
	assert.Regexp(t, `details_log_lines_lost_total [1-9]`, metrics)
	status, _ := get(t, url+"/health")
	assert.Equal(t, http.StatusOK, status)
	cancel()
	assert.NoError(t, <-ended)
	require.NoError(t, out.Close()) // ends the writer
}

// TestLogWithoutReader: the reader of the log has gone away. A write would end
// the process by SIGPIPE.
func TestLogWithoutReader(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "0")
	cmd.Env, cmd.Stderr = append(os.Environ(), asProgram+"=1", "ENABLE_EXTERNAL_BOOK_SERVICE=false"), w
	require.NoError(t, cmd.Start())
	require.NoError(t, w.Close())
	var first struct{ Address string }
	require.NoError(t, json.NewDecoder(r).Decode(&first))
	require.NoError(t, r.Close())
	_, port, err := net.SplitHostPort(first.Address)
	require.NoError(t, err)
	url := "http://localhost:" + port
	require.Eventually(t, func() bool {
		status, _ := get(t, url+"/details/0")
		assert.Equal(t, http.StatusOK, status)
		_, metrics := get(t, url+"/metrics")
		return !strings.Contains(metrics, "\ndetails_log_lines_lost_total 0\n")
	}, clientTimeout, 10*time.Millisecond)
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	assert.NoError(t, cmd.Wait(), "exit status 0")
}

// TestLastLines: the last lines are written after the end, too. Lines that cannot
// be written count as lost.
func TestLastLines(t *testing.T) {
	t.Parallel()
	out, in := io.Pipe()
	var lost atomic.Int64
	w := newLogWriter(in, func() { lost.Add(1) })
	for range 100 {
		fmt.Fprintln(w, "line")
	}
	read := make(chan string)
	go func() {
		text := make([]byte, len("line\n")*60)
		_, _ = io.ReadFull(out, text)
		_ = out.Close()
		read <- string(text)
	}()
	w.close()
	<-w.ended // close waits a second, and a busy machine may need more
	assert.Equal(t, strings.Repeat("line\n", 60), <-read)
	assert.EqualValues(t, 40, lost.Load())
}

// TestCAFile: the CAs of the file are trusted in addition to the system's.
func TestCAFile(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("SSL_CERT_FILE names the system's CAs only on Linux and a few others")
	}
	google, _, _ := standIn(t, googlebookstest.Config{})
	another, _, _ := standIn(t, googlebookstest.Config{})
	env := map[string]string{"GOOGLE_BOOKS_TIMEOUT": "9s"}
	for name, pem := range map[string][]byte{"SSL_CERT_FILE": google.CAPEM, "GOOGLE_BOOKS_CA_FILE": another.CAPEM} {
		env[name] = filepath.Join(t.TempDir(), "ca.pem")
		require.NoError(t, os.WriteFile(env[name], pem, 0o600))
	}
	for _, addr := range []string{google.HTTPSAddr, another.HTTPSAddr} {
		env["GOOGLE_BOOKS_HOST"] = addr
		p := spawn(t, env)
		_, body := get(t, p.url+"/details/0")
		assert.Equal(t, comedy, body)
		p.signal(t, os.Interrupt)
		p.wait()
	}
}

// TestTuning: the program sets what GOGC and GOMEMLIMIT leave unset.
func TestTuning(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		env   map[string]string
		gogc  string
		limit string // an expression
	}{
		"unset": {map[string]string{"https_proxy": "http://user:pass@proxy:1", "HTTPS_PROXY": ""}, "300", `1\.50994944e\+08|\d(\.\d+)?e\+07`}, // less in a small container
		"set":   {map[string]string{"GOGC": "50", "GOMEMLIMIT": "1GiB"}, "50", `1\.073741824e\+09`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := spawn(t, tc.env)
			_, metrics := get(t, p.url+"/metrics")
			p.signal(t, os.Interrupt)
			assert.Equal(t, "exit status 0", p.wait())
			if name == "unset" {
				assert.Equal(t, "proxy:1", p.logs[0]["proxy"], "also in lower case")
			}
			assert.Contains(t, metrics, "\ngo_gc_gogc_percent "+tc.gogc+"\n")
			assert.Regexp(t, `\ngo_gc_gomemlimit_bytes (`+tc.limit+`)\n`, metrics)
			assert.Regexp(t, `details_build_info{goversion="go[^"]+",version="[^"]+"} 1`, metrics)
		})
	}
}
