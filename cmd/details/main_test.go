package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/bookinfo/googlebooks/googlebookstest"
)

const comedy = `{"id":0,"author":"William Shakespeare","year":"2002-09-19","type":"paperback","pages":53,` +
	`"publisher":"Courier Corporation","language":"English","ISBN-10":"0486424618","ISBN-13":"9780486424613"}`

// program is the whole program at work.
type program struct {
	url    string
	logs   []map[string]any // the start-up line; all lines after stop
	stderr []string         // the same as they were written
	stop   func() int       // ends it as a signal does; the exit status
}

// start runs the program on a free port, with the environment of the test.
func start(tb testing.TB, env map[string]string) *program {
	tb.Helper()
	for name, value := range env {
		tb.Setenv(name, value)
	}
	ctx, cancel := context.WithCancel(tb.Context())
	status := make(chan int, 1)
	out, in := io.Pipe()
	go func() {
		status <- run(ctx, []string{"0"}, io.Discard, in)
		_ = in.Close()
	}()

	p := new(program)
	lines := bufio.NewScanner(out)
	next := func() bool {
		if !lines.Scan() {
			return false
		}
		var line map[string]any
		assert.NoError(tb, json.Unmarshal(lines.Bytes(), &line), "%s", lines.Bytes())
		p.logs = append(p.logs, line)
		p.stderr = append(p.stderr, lines.Text())

		return true
	}
	require.True(tb, next())
	_, port, err := net.SplitHostPort(p.logs[0]["address"].(string))
	require.NoError(tb, err)
	p.url = "http://localhost:" + port
	read := make(chan struct{})
	go func() {
		defer close(read)
		for next() {
		}
	}()
	p.stop = func() int {
		http.DefaultClient.CloseIdleConnections() // it waits for callers to move
		cancel()
		<-read

		return <-status
	}
	tb.Cleanup(cancel)

	return p
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	status, body, err := fetch(t.Context(), url)
	require.NoError(t, err)

	return status, body
}

// fetch is get for goroutines that are not the test's.
func fetch(ctx context.Context, url string) (status int, body string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", err
	}
	b, err := io.ReadAll(res.Body)

	return res.StatusCode, string(b), errors.Join(err, res.Body.Close())
}

// standIn starts the stand-in for Google and returns the environment that leads
// to it.
func standIn(tb testing.TB, cfg googlebookstest.Config) (google *googlebookstest.Server, https, plain map[string]string) {
	tb.Helper()
	google = googlebookstest.NewServer(cfg)
	tb.Cleanup(google.Close)
	ca := filepath.Join(tb.TempDir(), "ca.pem")
	require.NoError(tb, os.WriteFile(ca, google.CAPEM, 0o600))

	return google, map[string]string{"GOOGLE_BOOKS_HOST": google.HTTPSAddr, "GOOGLE_BOOKS_CA_FILE": ca},
		map[string]string{"GOOGLE_BOOKS_HOST": google.HTTPAddr, "DO_NOT_ENCRYPT": "true"}
}

func TestBothWaysToGoogle(t *testing.T) {
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
			require.Len(t, requests, 1, "one call for the book, none at start and for health")
			assert.Equal(t, tc.tls, requests[0].TLS)
			assert.Equal(t, tc.proto, requests[0].Proto)
			require.GreaterOrEqual(t, len(p.logs), 2)
			assert.Equal(t, "details serves", p.logs[0]["msg"])
			assert.Equal(t, tc.mode, p.logs[0]["mode"])
			assert.Equal(t, tc.env["GOOGLE_BOOKS_HOST"], p.logs[0]["upstream"])
			assert.Equal(t, "/details/0", p.logs[1]["path"])
			assert.InDelta(t, 200, p.logs[1]["upstream_status"], 0)
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
	_, https, _ := standIn(t, googlebookstest.Config{Options: googlebookstest.Options{RequireKey: true, Keys: []string{"r1ght"}}})
	for name, tc := range map[string]struct {
		key    string
		status int
		body   string
	}{
		"none":  {"", http.StatusBadGateway, "set GOOGLE_BOOKS_API_KEY"},
		"wrong": {"wr0ng", http.StatusBadGateway, "correct GOOGLE_BOOKS_API_KEY"},
		"right": {"r1ght", http.StatusOK, comedy},
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

func TestCache(t *testing.T) {
	google, https, _ := standIn(t, googlebookstest.Config{})
	t.Setenv("CACHE_TTL", "1m")
	p := start(t, https)
	for range 3 {
		status, body := get(t, p.url+"/details/0")
		assert.Equal(t, http.StatusOK, status)
		assert.Equal(t, comedy, body)
	}
	assert.Zero(t, p.stop())
	assert.Len(t, google.Requests(), 1)
	assert.Equal(t, "miss", p.logs[1]["cache"])
	assert.Equal(t, "hit", p.logs[3]["cache"])
}

func TestPortInUse(t *testing.T) {
	t.Setenv("ENABLE_EXTERNAL_BOOK_SERVICE", "false")
	p := start(t, nil)
	_, port, _ := net.SplitHostPort(p.logs[0]["address"].(string))
	var stderr writer
	assert.Equal(t, exitFailure, run(t.Context(), []string{port}, io.Discard, &stderr))
	assert.Equal(t, "details: port "+port+" is in use by another program; choose one with PORT or the first argument\n", string(stderr))
	assert.Zero(t, p.stop())
}

type writer []byte

func (w *writer) Write(p []byte) (int, error) {
	*w = append(*w, p...)

	return len(p), nil
}

// breaking fails the first writes, as a full disk does.
type breaking struct {
	failures int
	written  writer
}

func (b *breaking) Write(p []byte) (int, error) {
	if b.failures > 0 {
		b.failures--

		return 0, errors.New("no space left on device")
	}

	return b.written.Write(p)
}

func TestLogGoesOnAfterAFailure(t *testing.T) {
	out := &breaking{failures: 1}
	sink := newLogSink(out, slog.LevelInfo)
	logger := sink.logger(nil)
	logger.Info("lost")
	sink.flush()
	logger.Info("kept")
	logger.Debug("not asked for")
	sink.flush()
	assert.Contains(t, string(out.written), `"msg":"kept"`)
	assert.Equal(t, 1, strings.Count(string(out.written), "\n"))
}

func TestLogIsWrittenSoon(t *testing.T) {
	read, write, err := os.Pipe()
	require.NoError(t, err)
	defer func() { require.NoError(t, errors.Join(read.Close(), write.Close())) }()
	newLogSink(write, slog.LevelInfo).logger(nil).Info("soon")
	require.NoError(t, read.SetReadDeadline(time.Now().Add(10*time.Second)))
	line, err := bufio.NewReader(read).ReadString('\n')
	require.NoError(t, err, "nobody flushed it, but it is there")
	assert.Contains(t, line, `"msg":"soon"`)
}
