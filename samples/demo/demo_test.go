package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"example.com/bookinfo/googlebooks/googlebookstest"
)

// TestMain fails the package if a goroutine outlives its tests.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOnce(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	google := googlebookstest.Config{RequireKey: true, Keys: []string{fakeKey}}
	require.Equal(t, exitOK, run(t.Context(), google, []string{"--once"}, nil, &stdout, &stderr), stderr.String())
	assert.Empty(t, stderr.String())

	out := stdout.String()
	assert.NotContains(t, out, "\x1b", "a buffer is no terminal")
	assert.NotContains(t, out, fakeKey)
	for line := range strings.Lines(out) {
		assert.LessOrEqual(t, utf8.RuneCountInString(line), 61, line)
	}
	out = regexp.MustCompile(`[\d.]+( ms| bytes|/details)`).ReplaceAllString(out, "N$1")
	assert.Contains(t, out, `
    $ curl localhost:N/details/0
    {"id":0,"author":"William Shakespeare",
     "year":"2002-09-19","type":"paperback","pages":53,
     "publisher":"Courier Corporation","language":"English",
     "ISBN-10":"0486424618","ISBN-13":"9780486424613"}
    200 OK, in N ms

  network saw www.googleapis.com, N bytes
  Google log  GET /books/v1/volumes?q=isbn:0486424618 200
`)
	assert.Contains(t, out, `
    200 OK, in N ms

  sidecar log GET /books/v1/volumes?q=isbn:0486424618 200
  network saw www.googleapis.com, N bytes
  Google log  GET /books/v1/volumes?q=isbn:0486424618 200
`)
	assert.Contains(t, out, `
    {"error":"no answer from www.googleapis.com:443.
     Check that it can be reached; in a mesh,
     check its ServiceEntry and, in ambient, its waypoint."}
    502 Bad Gateway, in N ms

  mesh log    www.googleapis.com: no ServiceEntry, closed
  mesh log    www.googleapis.com: no ServiceEntry, closed
  mesh log    www.googleapis.com: no ServiceEntry, closed
`)
	assert.Contains(t, out, "✓ All as expected.")
	var inUse string
	if match := regexp.MustCompile(`Ports in use: (.*)\. The demo uses others\.\n`).FindStringSubmatch(stdout.String()); match != nil {
		inUse = match[1]
	}
	for _, sc := range scenarios() {
		used := strings.Contains(stdout.String(), "localhost:"+sc.port+"/")
		assert.NotEqual(t, used, strings.Contains(inUse, sc.port), "port %s is used, or said to be in use", sc.port)
	}
}

func TestNotAsExpected(t *testing.T) {
	t.Parallel()
	for want, google := range map[string]googlebookstest.Config{
		"demo: scenario 1: answer 502 .*API_KEY_INVALID": {Keys: []string{"another"}},
		"demo: scenario 1: answer 502 .*is not trusted":  {Leaf: googlebookstest.Leaf{Names: []string{"books.example.org"}}},
		"demo: listen tcp 192.0.2.1:0: ":                 {HTTPAddr: "192.0.2.1:0"},
	} {
		var stdout, stderr bytes.Buffer
		assert.Equal(t, exitFailure, run(t.Context(), google, []string{"--once"}, nil, &stdout, &stderr))
		assert.Regexp(t, want, stderr.String())
		assert.Equal(t, strings.Contains(want, "scenario"), strings.Contains(stdout.String(), "✗ not as expected"))
		assert.NotContains(t, stdout.String(), "✓")
	}
}

func TestUntilCtrlC(t *testing.T) {
	t.Parallel()
	ctx, ctrlC := context.WithCancel(t.Context())
	defer ctrlC()
	stdout, err := os.Create(filepath.Join(t.TempDir(), "stdout"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = stdout.Close() })
	status := make(chan int, 1)
	go func() { status <- run(ctx, googlebookstest.Config{}, nil, nil, stdout, io.Discard) }()
	waitFor := func(text string) (output string) {
		t.Helper()
		require.Eventually(t, func() bool {
			b, err := os.ReadFile(stdout.Name())
			output = string(b)
			return err == nil && strings.Contains(output, text)
		}, 30*time.Second, 5*time.Millisecond, text)
		return output
	}
	urls := regexp.MustCompile(`curl (localhost:\d+/details)/1`).FindAllStringSubmatch(waitFor("Ctrl-C ends the demo"), -1)
	require.Len(t, urls, 3)
	for i, want := range []int{http.StatusOK, http.StatusOK, http.StatusBadGateway} {
		got, _, err := get(ctx, "http://"+urls[i][1]+"/4")
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	waitFor("sidecar log GET /books/v1/volumes?q=isbn:9780307474728 200")
	for line := range strings.Lines(waitFor("Google log  GET /books/v1/volumes?q=isbn:9780307474728 200")) {
		assert.LessOrEqual(t, utf8.RuneCountInString(line), 61, line)
	}
	ctrlC()
	assert.Equal(t, exitOK, <-status)
	assert.True(t, strings.HasSuffix(waitFor("Stopped"), "\n  Stopped.\n"))
	_, _, err = get(t.Context(), "http://"+urls[0][1]+"/0")
	assert.Error(t, err, "nothing is left running")
}

func TestCtrlCDuringTheShow(t *testing.T) {
	t.Parallel()
	ctx, ctrlC := context.WithCancel(t.Context())
	ctrlC()
	var stdout, stderr bytes.Buffer
	assert.Equal(t, exitOK, run(ctx, googlebookstest.Config{}, []string{"--once"}, nil, &stdout, &stderr))
	assert.True(t, strings.HasSuffix(stdout.String(), "\n  Stopped.\n"), stdout.String())
	assert.Empty(t, stderr.String())
}

// enter is called each time that the demo waits, and presses Enter.
type enter func() error

func (e enter) Read(b []byte) (int, error) { return copy(b, "\n"), e() }

func TestPause(t *testing.T) {
	t.Parallel()
	var stdout bytes.Buffer
	var shown []int
	count := enter(func() error {
		shown = append(shown, strings.Count(stdout.String(), "$ curl"))
		return nil
	})
	assert.Equal(t, exitOK, run(t.Context(), googlebookstest.Config{}, []string{"--once", "--pause"}, count, &stdout, io.Discard))
	assert.Equal(t, []int{1, 2, 3, 3}, shown)
}

func TestCtrlCInAPause(t *testing.T) {
	t.Parallel()
	ctx, ctrlC := context.WithCancel(t.Context())
	stopped := make(chan struct{})
	defer close(stopped)
	hang := enter(func() error {
		ctrlC()
		<-stopped
		return io.EOF
	})
	var stdout bytes.Buffer
	assert.Equal(t, exitOK, run(ctx, googlebookstest.Config{}, []string{"--once", "--pause"}, hang, &stdout, io.Discard))
	assert.Equal(t, 1, strings.Count(stdout.String(), "$ curl"))
	assert.True(t, strings.HasSuffix(stdout.String(), "\n  [Enter] \n  Stopped.\n"), stdout.String())
}

func TestArguments(t *testing.T) {
	t.Parallel()
	for arg, want := range map[string]string{
		"--help":  usage,
		"--twice": "demo: flag provided but not defined: -twice\n\n" + usage,
		"9080":    "demo: unknown argument \"9080\"\n\n" + usage,
	} {
		var stdout, stderr bytes.Buffer
		status := run(t.Context(), googlebookstest.Config{}, []string{arg}, nil, &stdout, &stderr)
		if arg == "--help" {
			assert.Equal(t, exitOK, status)
			assert.Equal(t, want, stdout.String())
		} else {
			assert.Equal(t, exitUsage, status)
			assert.Equal(t, want, stderr.String())
		}
	}
}

func TestPortInUse(t *testing.T) {
	t.Parallel()
	other, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = other.Close() }()
	_, port, err := net.SplitHostPort(other.Addr().String())
	require.NoError(t, err)
	sc := &scenario{port: port}
	s, err := start(t.Context(), googlebookstest.Config{}, []*scenario{sc})
	defer s.close()
	require.NoError(t, err)
	assert.NotEqual(t, port, sc.port)
	assert.Equal(t, []string{port}, s.taken)
}

// TestReadable proves that the network would tell if it could read a call.
func TestReadable(t *testing.T) {
	t.Parallel()
	call := "GET /books/v1/volumes?q=isbn:0486424618 HTTP/1.1\r\nHost: www.googleapis.com\r\nX-Goog-Api-Key: " + fakeKey
	seen := append([]byte(call), googlebookstest.Sample("0486424618")...)
	assert.Equal(t, "www.googleapis.com, "+fakeKey+", /books/v1/volumes?q=isbn:, volumeInfo", readable(seen))
}

func TestColours(t *testing.T) {
	t.Parallel()
	s := newScreen(io.Discard)
	assert.Equal(t, "text", s.paint(green, "text"))
	s.colour = true
	assert.Equal(t, "\x1b[32mtext\x1b[0m", s.paint(green, "text"))
}
