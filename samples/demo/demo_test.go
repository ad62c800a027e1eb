package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
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
	require.Equal(t, exitOK, run(t.Context(), google, []string{"--once"}, &stdout, &stderr), stderr.String())
	assert.Empty(t, stderr.String())

	out := stdout.String()
	assert.NotContains(t, out, "\x1b", "a buffer is no terminal")
	assert.NotContains(t, out, fakeKey)
	for line := range strings.Lines(out) {
		assert.LessOrEqual(t, utf8.RuneCountInString(line), 61, line)
	}
	out = regexp.MustCompile(`[\d.]+( ms| bytes|/details| s\.)`).ReplaceAllString(out, "N$1")
	assert.Contains(t, out, `
    $ curl localhost:N/details/0
    {"id":0,"author":"William Shakespeare",
     "year":"2002-09-19","type":"paperback","pages":53,
     "publisher":"Courier Corporation","language":"English",
     "ISBN-10":"0486424618","ISBN-13":"9780486424613"}
    200 OK, in N ms

    network saw  www.googleapis.com in N bytes
    Google log   GET /books/v1/volumes?q=isbn:0486424618 200
`)
	assert.Contains(t, out, `
    200 OK, in N ms

    sidecar log  GET /books/v1/volumes?q=isbn:0486424618 200
    network saw  www.googleapis.com in N bytes
    Google log   GET /books/v1/volumes?q=isbn:0486424618 200
`)
	assert.Contains(t, out, `
    {"error":"no answer from www.googleapis.com:443.
     Check that it can be reached; in a mesh,
     check that it has a ServiceEntry."}
    502 Bad Gateway, in N ms

    mesh log     www.googleapis.com: no ServiceEntry, closed
    mesh log     www.googleapis.com: no ServiceEntry, closed
    mesh log     www.googleapis.com: no ServiceEntry, closed
`)
	assert.Contains(t, out, "✓ All as expected, in N s.")
}

func TestNotAsExpected(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		google googlebookstest.Config
		stderr []string
		stdout string
	}{
		"wrong key": {
			google: googlebookstest.Config{Keys: []string{"another"}},
			stderr: []string{"scenario 1: answer 502", "API_KEY_INVALID"},
			stdout: "Google log   GET /books/v1/volumes?q=isbn:0486424618 400",
		},
		"wrong certificate": {
			google: googlebookstest.Config{Leaf: googlebookstest.Leaf{Names: []string{"books.example.org"}}},
			stderr: []string{"scenario 1: answer 502", "is not trusted"},
			stdout: "✗ not as expected",
		},
		"no address": {
			google: googlebookstest.Config{HTTPAddr: "192.0.2.1:0"},
			stderr: []string{"demo: listen tcp 192.0.2.1:0: "},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			assert.Equal(t, exitFailure, run(t.Context(), test.google, []string{"--once"}, &stdout, &stderr))
			for _, want := range test.stderr {
				assert.Contains(t, stderr.String(), want)
			}
			assert.Contains(t, stdout.String(), test.stdout)
			assert.NotContains(t, stdout.String(), "✓")
		})
	}
}

func TestUntilCtrlC(t *testing.T) {
	t.Parallel()
	ctx, ctrlC := context.WithCancel(t.Context())
	defer ctrlC()
	var stdout lockedBuffer
	status := make(chan int, 1)
	go func() { status <- run(ctx, googlebookstest.Config{}, nil, &stdout, io.Discard) }()
	waitFor := func(text string) {
		t.Helper()
		seen := func() bool { return strings.Contains(stdout.String(), text) }
		require.Eventually(t, seen, 30*time.Second, 5*time.Millisecond, text)
	}
	waitFor("Ctrl-C ends the demo")
	urls := regexp.MustCompile(`curl (localhost:\d+/details)/1`).FindAllStringSubmatch(stdout.String(), -1)
	require.Len(t, urls, 3)
	for i, want := range []int{http.StatusOK, http.StatusOK, http.StatusBadGateway} {
		got, _, err := get(ctx, "http://"+urls[i][1]+"/4")
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	waitFor("sidecar log  GET /books/v1/volumes?q=isbn:9780307474728 200")
	ctrlC()
	assert.Equal(t, exitOK, <-status)
	assert.True(t, strings.HasSuffix(stdout.String(), "\n  Stopped.\n"))
	_, _, err := get(t.Context(), "http://"+urls[0][1]+"/0")
	assert.Error(t, err, "nothing is left running")
}

func TestCtrlCDuringTheShow(t *testing.T) {
	t.Parallel()
	ctx, ctrlC := context.WithCancel(t.Context())
	ctrlC()
	var stderr bytes.Buffer
	assert.Equal(t, exitOK, run(ctx, googlebookstest.Config{}, []string{"--once"}, io.Discard, &stderr))
	assert.Empty(t, stderr.String())
}

func TestArguments(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		arg    string
		status int
		stdout string
		stderr string
	}{
		"help": {
			arg:    "--help",
			status: exitOK,
			stdout: usage,
		},
		"unknown flag": {
			arg:    "--twice",
			status: exitUsage,
			stderr: "demo: flag provided but not defined: -twice\n\n" + usage,
		},
		"unknown argument": {
			arg:    "9080",
			status: exitUsage,
			stderr: "demo: unknown argument \"9080\"\n\n" + usage,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			assert.Equal(t, test.status, run(t.Context(), googlebookstest.Config{}, []string{test.arg}, &stdout, &stderr))
			assert.Equal(t, test.stdout, stdout.String())
			assert.Equal(t, test.stderr, stderr.String())
		})
	}
}

func TestPortInUse(t *testing.T) {
	t.Parallel()
	other, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = other.Close() }()
	_, port, err := net.SplitHostPort(other.Addr().String())
	require.NoError(t, err)
	ours, err := listen(t.Context(), port)
	require.NoError(t, err)
	defer func() { _ = ours.Close() }()
	assert.NotEqual(t, other.Addr(), ours.Addr())
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

// lockedBuffer is a buffer that a test reads while the program writes.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
