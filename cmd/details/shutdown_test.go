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
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/bookinfo/details"
	"example.com/bookinfo/googlebooks"
	"example.com/bookinfo/googlebooks/googlebookstest"
)

const askForBook = "GET /details/0 HTTP/1.1\r\nHost: details\r\n\r\n"

// askInFlight asks for a book and returns when the stand-in has been called for
// it; the answer comes when it comes.
func askInFlight(t *testing.T, google *googlebookstest.Server, url string) <-chan string {
	t.Helper()
	answered := make(chan string, 1)
	go func() {
		_, body, err := fetch(t.Context(), url+"/details/0")
		assert.NoError(t, err)
		answered <- body
	}()
	require.Eventually(t, func() bool { return len(google.Requests()) == 1 }, 5*time.Second, time.Millisecond)

	return answered
}

// TestShutdown ends the program while a request is in flight: it is answered,
// and health until then.
func TestShutdown(t *testing.T) {
	google, https, _ := standIn(t, googlebookstest.Config{Options: googlebookstest.Options{Delay: time.Second}})
	p := start(t, https)
	answered := askInFlight(t, google, p.url)
	ended := make(chan int, 1)
	go func() { ended <- p.stop() }()
	for last := false; !last; {
		c := dial(t, p.url)
		_, err := io.WriteString(c, "GET /health HTTP/1.1\r\nHost: details\r\n\r\n")
		require.NoError(t, err)
		res := readAnswer(t, bufio.NewReader(c))
		assert.Equal(t, http.StatusOK, res.StatusCode)
		last = res.Close // it has heard of the end
		require.NoError(t, c.Close())
	}
	assert.Empty(t, answered)
	assert.Equal(t, comedy, <-answered)
	assert.Zero(t, <-ended)
}

// tally is what became of the requests of many callers.
type tally struct{ answered, moved, refused, closed, lost atomic.Int64 }

// TestShutdownLosesNothing ends the program under load. The callers keep their
// connections alive and, unlike net/http's, never ask twice: net/http's
// Shutdown alone loses the requests of up to all of them here.
func TestShutdownLosesNothing(t *testing.T) {
	const callers = 48
	for name, delay := range map[string]time.Duration{"quick look-ups": 0, "slow look-ups": 50 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			_, _, plain := standIn(t, googlebookstest.Config{Options: googlebookstest.Options{Delay: delay}})
			p := start(t, plain)
			var n tally
			var load sync.WaitGroup
			for range callers {
				load.Go(func() { n.ask(t.Context(), p.url) })
			}
			require.Eventually(t, func() bool { return n.answered.Load() > 4*callers }, 20*time.Second, time.Millisecond)
			assert.Zero(t, p.stop())
			load.Wait()
			assert.Zero(t, n.lost.Load(), "requests without an answer, or with half of one")
			assert.Zero(t, n.refused.Load())
			assert.Zero(t, n.closed.Load(), "nobody who asks often is hung up on")
			assert.EqualValues(t, callers, n.moved.Load(), "everybody is told to go elsewhere, along with an answer")
			logged := 0
			for _, line := range p.logs {
				if line["msg"] == "request" {
					logged++
				}
			}
			assert.EqualValues(t, n.answered.Load(), logged)
		})
	}
}

// ask asks for books over one connection until it is told to close it.
func (n *tally) ask(ctx context.Context, url string) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		n.refused.Add(1)

		return
	}
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		if seenClosed(c) {
			n.closed.Add(1)

			return
		}
		if _, err := io.WriteString(c, askForBook); err != nil {
			n.closed.Add(1)

			return
		}
		res, err := http.ReadResponse(r, nil)
		if err == nil {
			_, err = io.Copy(io.Discard, res.Body)
		}
		if err != nil || res.StatusCode != http.StatusOK {
			n.lost.Add(1)

			return
		}
		n.answered.Add(1)
		if res.Close {
			n.moved.Add(1)

			return
		}
		time.Sleep(time.Millisecond) // idle in the server's eyes, as callers are between two requests
	}
}

// seenClosed reports whether the other end has closed the connection, as far
// as this one can know: a request sent after that is the caller's own fault.
func seenClosed(c net.Conn) bool {
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return true
	}
	closed := true
	_ = raw.Control(func(fd uintptr) {
		_, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		closed = !errors.Is(err, syscall.EAGAIN)
	})

	return closed
}

// inProcess is a server of the program's own make, with other limits.
type inProcess struct {
	url string
	end context.CancelFunc
	err <-chan error // of server.serve, once
}

// serveWith serves books, after change has set the limits.
func serveWith(t *testing.T, books googlebooks.Source, change func(s *server)) *inProcess {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := newServer(details.New(details.Config{Books: books, Logger: logger, Metrics: details.NewMetrics("", "")}), logger)
	s.move = 50 * time.Millisecond
	change(s)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.serve(ctx, listener) }()
	t.Cleanup(cancel)

	return &inProcess{url: "http://" + listener.Addr().String(), end: cancel, err: ended}
}

// TestIdleCantHoldShutdown: who has nothing to ask is hung up on.
func TestIdleCantHoldShutdown(t *testing.T) {
	t.Parallel()
	s := serveWith(t, nil, func(s *server) { s.patience = time.Minute })
	c := dial(t, s.url)
	r := bufio.NewReader(c)
	_, err := io.WriteString(c, askForBook)
	require.NoError(t, err)
	assert.False(t, readAnswer(t, r).Close)
	s.end()
	_, err = r.ReadByte()
	assert.ErrorIs(t, err, io.EOF)
	assert.NoError(t, <-s.err)
}

// TestHungUpstreamCantHoldShutdown: the deadline cuts what is in flight, and
// gives the call to Google up.
func TestHungUpstreamCantHoldShutdown(t *testing.T) {
	t.Parallel()
	google, gone := hangingUpstream(t)
	client, err := googlebooks.New(googlebooks.Config{Host: google, PlainHTTP: true, Timeout: time.Minute})
	require.NoError(t, err)
	s := serveWith(t, client, func(s *server) { s.patience = 100 * time.Millisecond })
	c := dial(t, s.url)
	_, err = io.WriteString(c, askForBook)
	require.NoError(t, err)
	<-gone.asked
	s.end()
	assert.NoError(t, <-s.err)
	<-gone.canceled
	rest, err := io.ReadAll(c)
	assert.NoError(t, err)
	assert.Empty(t, rest)
}

// lateListener accepts nothing before it may: until then, connections wait in
// the kernel's queue, as they do when the program is busy.
type lateListener struct {
	net.Listener

	may <-chan struct{}
}

func (l lateListener) Accept() (net.Conn, error) {
	<-l.may

	return l.Listener.Accept()
}

// TestShutdownAnswersWhatIsQueued: who was in the queue at the signal has an
// answer coming.
func TestShutdownAnswersWhatIsQueued(t *testing.T) {
	t.Parallel()
	logger := slog.New(slog.DiscardHandler)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := newServer(details.New(details.Config{Logger: logger, Metrics: details.NewMetrics("", "")}), logger)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.serve(ctx, lateListener{listener, ctx.Done()}) }()

	callers := make([]net.Conn, 32)
	for i := range callers {
		callers[i] = dial(t, "http://"+listener.Addr().String())
		_, err := io.WriteString(callers[i], askForBook)
		require.NoError(t, err)
	}
	cancel()
	for _, c := range callers {
		res := readAnswer(t, bufio.NewReader(c))
		assert.Equal(t, http.StatusOK, res.StatusCode)
		require.NoError(t, c.Close())
	}
	assert.NoError(t, <-ended)
}

// process is the program as a process of its own.
type process struct {
	url    string
	cmd    *exec.Cmd
	stderr []string // all lines, after wait
	read   chan struct{}
}

// spawn starts the program with the environment.
func spawn(t *testing.T, env map[string]string) *process {
	t.Helper()
	p := &process{cmd: exec.CommandContext(t.Context(), os.Args[0], "0"), read: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), asProgram+"=1")
	for name, value := range env {
		p.cmd.Env = append(p.cmd.Env, name+"="+value)
	}
	stderr, err := p.cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	lines := bufio.NewScanner(stderr)
	require.True(t, lines.Scan())
	p.stderr = append(p.stderr, lines.Text())
	var line struct{ Address string }
	require.NoError(t, json.Unmarshal(lines.Bytes(), &line), "%s", lines.Bytes())
	_, port, err := net.SplitHostPort(line.Address)
	require.NoError(t, err)
	p.url = "http://localhost:" + port
	go func() {
		defer close(p.read)
		for lines.Scan() {
			p.stderr = append(p.stderr, lines.Text())
		}
	}()

	return p
}

func (p *process) signal(t *testing.T, s os.Signal) {
	t.Helper()
	http.DefaultClient.CloseIdleConnections()
	require.NoError(t, p.cmd.Process.Signal(s))
}

// wait returns how the process ended.
func (p *process) wait() string {
	<-p.read
	_ = p.cmd.Wait() // the state tells how it ended

	return p.cmd.ProcessState.String()
}

func TestSignals(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]os.Signal{"SIGTERM": syscall.SIGTERM, "SIGINT": os.Interrupt} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			google, _, plain := standIn(t, googlebookstest.Config{Options: googlebookstest.Options{Delay: 200 * time.Millisecond}})
			p := spawn(t, plain)
			answered := askInFlight(t, google, p.url)
			p.signal(t, s)
			assert.Equal(t, comedy, <-answered)
			assert.Equal(t, "exit status 0", p.wait())
		})
	}
}

// TestSecondSignal: who asks twice does not want to wait.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	for want, s := range map[string]os.Signal{"signal: terminated": syscall.SIGTERM, "signal: interrupt": os.Interrupt} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			google, gone := hangingUpstream(t)
			p := spawn(t, map[string]string{"GOOGLE_BOOKS_HOST": google, "DO_NOT_ENCRYPT": "true", "GOOGLE_BOOKS_TIMEOUT": "9s"})
			c := dial(t, p.url)
			_, err := io.WriteString(c, askForBook)
			require.NoError(t, err)
			<-gone.asked
			begin := time.Now()
			p.signal(t, s)
			for ended := false; !ended; { // signals that come before the first one is taken are one
				select {
				case <-p.read:
					ended = true
				case <-time.After(20 * time.Millisecond):
					_ = p.cmd.Process.Signal(s) // it may have ended by now
				}
			}
			assert.Equal(t, want, p.wait())
			assert.Less(t, time.Since(begin), shutdownTimeout)
		})
	}
}
