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

	"example.com/bookinfo/googlebooks/googlebookstest"
)

const answer = `     {"id":0,"author":"William Shakespeare","year":"2002-09-19",
      "type":"paperback","pages":53,"publisher":"Courier Corporation",
      "language":"English","ISBN-10":"0486424618","ISBN-13":"9780486424613"}
     200 OK, in `

func TestRunOnce(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	begin := time.Now()
	require.Equal(t, exitOK, run(t.Context(), []string{"--once"}, &stdout, &stderr), stderr.String())
	assert.Less(t, time.Since(begin), 10*time.Second)
	assert.Empty(t, stderr.String())

	out := stdout.String()
	assert.NotContains(t, out, "\x1b", "no colours where nobody sees them")
	assert.NotContains(t, out, fakeKey)
	for line := range strings.Lines(out) {
		assert.LessOrEqual(t, utf8.RuneCountInString(strings.TrimRight(line, "\n")), 80, line)
	}

	intro, rest, ok := strings.Cut(out, "  1  HTTPS end to end")
	require.True(t, ok)
	assert.Contains(t, intro, "A stand-in plays Google Books")
	scene1, rest, ok := strings.Cut(rest, "  2  Plain HTTP, and a sidecar")
	require.True(t, ok)
	scene2, rest, ok := strings.Cut(rest, "  3  A mesh that lets nothing out")
	require.True(t, ok)
	scene3, end, ok := strings.Cut(rest, "  Side by side")
	require.True(t, ok)

	wire := regexp.MustCompile(`(?m)^     network saw  www\.googleapis\.com, \d{3,} bytes out, \d{3,} in; nothing else$`)
	curls := regexp.MustCompile(`\$ curl localhost:\d+/details/0`)
	assert.Regexp(t, wire, scene1)
	assert.Regexp(t, curls, scene1)
	assert.Contains(t, scene1, answer)
	assert.NotContains(t, scene1, "/books/v1", "the path is hidden")
	assert.NotContains(t, scene1, "sidecar")

	assert.Contains(t, scene2, "\n     sidecar log  GET /books/v1/volumes?q=isbn:0486424618 200\n")
	assert.Regexp(t, wire, scene2)
	assert.Regexp(t, curls, scene2)
	assert.Contains(t, scene2, answer)
	assert.Contains(t, scene2, "only plays the sidecar")

	assert.Equal(t, 3, strings.Count(scene3, "     mesh log     www.googleapis.com, no ServiceEntry for it: closed\n"), scene3)
	assert.Contains(t, scene3, `     {"error":"no answer from www.googleapis.com:443. Check that it can be
      reached; in a mesh, check that it has a ServiceEntry."}
     502 Bad Gateway, in `)

	assert.Contains(t, end, "✓ All as expected")
	assert.Contains(t, end, "GOOGLE_BOOKS_API_KEY=… go run ./cmd/details")
}

func TestRunOnceFails(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		google googlebookstest.Config
		stderr []string
		stdout string
	}{
		"the key is refused": {
			google: googlebookstest.Config{Options: googlebookstest.Options{Keys: []string{"another"}}},
			stderr: []string{"scene 1: answer 502", "scene 2: answer 502", "API_KEY_INVALID"},
			stdout: "sidecar log  GET /books/v1/volumes?q=isbn:0486424618 400",
		},
		"the certificate is another's": {
			google: googlebookstest.Config{Leaf: googlebookstest.Leaf{Names: []string{"books.example.org"}}},
			stderr: []string{"scene 1: answer 502", "scene 2: answer 502", "is not trusted"},
			stdout: "sidecar log  GET /books/v1/volumes?q=isbn:0486424618 502", // it verifies, too
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			assert.Equal(t, exitFailure, runWith(t.Context(), tt.google, []string{"--once"}, &stdout, &stderr))
			for _, want := range tt.stderr {
				assert.Contains(t, stderr.String(), want)
			}
			assert.NotContains(t, stderr.String(), "scene 3")
			assert.Contains(t, stdout.String(), tt.stdout)
			assert.Contains(t, stdout.String(), "✗ not as expected")
			assert.NotContains(t, stdout.String(), "✓")
		})
	}
}

func TestRunUntilCtrlC(t *testing.T) {
	t.Parallel()
	ctx, ctrlC := context.WithCancel(t.Context())
	var stdout safeBuffer
	status := make(chan int, 1)
	go func() { status <- run(ctx, nil, &stdout, io.Discard) }()
	waitFor := func(text string) {
		t.Helper()
		require.Eventually(t, func() bool { return strings.Contains(stdout.String(), text) }, 5*time.Second, 5*time.Millisecond, text)
	}

	waitFor("Ctrl-C ends it")
	addresses := regexp.MustCompile(`curl (?:-i )?(localhost:\d+/details)/1`).FindAllStringSubmatch(stdout.String(), -1)
	require.Len(t, addresses, 3)
	for i, want := range []int{http.StatusOK, http.StatusOK, http.StatusBadGateway} {
		got, _, err := curl(ctx, "http://"+addresses[i][1]+"/4")
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	waitFor("sidecar log  GET /books/v1/volumes?q=isbn:9780307474728 200")
	assert.Equal(t, exitOK, func() int { ctrlC(); return <-status }())
	assert.True(t, strings.HasSuffix(stdout.String(), "\n  Stopped.\n"))

	_, _, err := curl(t.Context(), "http://"+addresses[0][1]+"/0")
	require.Error(t, err, "nothing is left running")
}

func TestRunCtrlCWithinTheShow(t *testing.T) {
	t.Parallel()
	ctx, ctrlC := context.WithCancel(t.Context())
	ctrlC()
	var stderr bytes.Buffer
	assert.Equal(t, exitOK, run(ctx, []string{"--once"}, io.Discard, &stderr))
	assert.Empty(t, stderr.String())
}

func TestRunArguments(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		args           []string
		status         int
		stdout, stderr string
	}{
		"help":             {args: []string{"--help"}, status: exitOK, stdout: usage},
		"unknown flag":     {args: []string{"--twice"}, status: exitUsage, stderr: "demo: flag provided but not defined: -twice\n\n" + usage},
		"unknown argument": {args: []string{"9080"}, status: exitUsage, stderr: "demo: unknown argument \"9080\"\n\n" + usage},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			assert.Equal(t, tt.status, run(t.Context(), tt.args, &stdout, &stderr))
			assert.Equal(t, tt.stdout, stdout.String())
			assert.Equal(t, tt.stderr, stderr.String())
		})
	}
}

func TestListenWherePortIsTaken(t *testing.T) {
	t.Parallel()
	other, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = other.Close() }()
	_, port, err := net.SplitHostPort(other.Addr().String())
	require.NoError(t, err)

	var d door
	ours, err := listen(t.Context(), &d, port)
	require.NoError(t, err)
	defer func() { _ = ours.Close() }()
	assert.Equal(t, port, d.taken)
	assert.Equal(t, "127.0.0.1:"+d.port, ours.Addr().String())
}

// The network must be able to tell that it can read something, or that it
// can't would mean nothing.
func TestNetworkReadsPlainText(t *testing.T) {
	t.Parallel()
	google := googlebookstest.NewServer(googlebookstest.Config{})
	defer google.Close()
	client, server := net.Pipe()
	saw := make(chan string, 1)
	go network{to: google.HTTPAddr, tell: func(_, what string) { saw <- what }}.carry(t.Context(), server)

	_, err := io.WriteString(client, "GET "+query+" HTTP/1.0\r\nHost: www.googleapis.com\r\n\r\n")
	require.NoError(t, err)
	for got := ""; !strings.Contains(got, "volumeInfo"); {
		b := make([]byte, 1024)
		n, err := client.Read(b)
		require.NoError(t, err)
		got += string(b[:n])
	}
	require.NoError(t, client.Close())
	assert.Regexp(t, `^no server name, \d+ bytes out, \d+ in; and reads volumeInfo$`, <-saw)
}

func TestScreenInColour(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	s := newScreen(&out)
	require.False(t, s.colour, "a buffer is no terminal")
	s.colour = true
	s.drawing("a ── HTTP ──▶ b ══ TLS ══▶ c ──✗ d")
	s.json(`{"id":0}`)
	assert.Equal(t, "     a \x1b[33m── HTTP ──▶\x1b[0m b \x1b[32m══ TLS ══▶\x1b[0m c \x1b[31m──✗\x1b[0m d\n"+
		"     {\x1b[36m\"id\":\x1b[0m0}\n", out.String())
}

// safeBuffer is a buffer that is read while it is written.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()

	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()

	return s.b.String()
}
