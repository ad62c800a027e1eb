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
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"example.com/bookinfo/details"
	"example.com/bookinfo/googlebooks/googlebookstest"
)

const comedy = `{"id":0,"author":"William Shakespeare","year":"2002-09-19","type":"paperback","pages":53,` +
	`"publisher":"Courier Corporation","language":"English","ISBN-10":"0486424618","ISBN-13":"9780486424613"}`

const bookRequest = "GET /details/0 HTTP/1.1\r\nHost: details\r\n\r\n"

// nobody is an address on which nobody listens. A port that a test has closed may
// soon be another test's.
const nobody = "127.0.0.1:1"

// clientTimeout is longer than any step of a test takes on a busy machine.
const clientTimeout = 10 * time.Second

// asProgram is a variable that makes the test binary run the program, for tests
// that need a process: of signals, and of variables that are read only once.
const asProgram = "TEST_AS_DETAILS"

// TestMain runs the program or the tests. It fails if a goroutine outlives them.
func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

// program is the program while it runs, and its log.
type program struct {
	url    string           // of the service
	stop   func() error     // ends it as a signal does; nil for a process
	stderr []string         // the first line; all lines once read is closed
	logs   []map[string]any // the same lines, decoded
	read   chan struct{}
}

// newProgram returns after the first line of a program's log and reads the rest
// in the background.
func newProgram(tb testing.TB, stderr io.Reader) *program {
	tb.Helper()
	p := &program{read: make(chan struct{})}
	lines := bufio.NewScanner(stderr)
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
	go func() {
		defer close(p.read)
		for next() {
		}
	}()
	return p
}

// start runs the program with these settings, in the test's process.
func start(tb testing.TB, cfg config) *program {
	tb.Helper()
	ctx, cancel := context.WithCancel(tb.Context())
	tb.Cleanup(cancel)
	ended := make(chan error, 1)
	out, in := io.Pipe()
	go func() {
		ended <- serve(ctx, cfg, in, func(*slog.Logger) {}) // programs share the default logger
		_ = in.Close()
	}()
	p := newProgram(tb, out)
	p.stop = func() error {
		cancel()
		<-p.read
		return <-ended
	}
	return p
}

// lines returns the log lines with this message; call it after the end.
func (p *program) lines(msg string) []map[string]any {
	return slices.DeleteFunc(slices.Clone(p.logs), func(line map[string]any) bool { return line["msg"] != msg })
}

// process is the program in a process of its own.
type process struct {
	*program

	cmd *exec.Cmd
}

// spawn starts the program as a process, with these variables added to the
// environment.
func spawn(t *testing.T, env map[string]string) *process {
	t.Helper()
	p := &process{cmd: exec.CommandContext(t.Context(), os.Args[0], "0")}
	p.cmd.Env = append(os.Environ(), asProgram+"=1")
	for name, value := range env {
		p.cmd.Env = append(p.cmd.Env, name+"="+value)
	}
	stderr, err := p.cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	p.program = newProgram(t, stderr)
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
	_ = p.cmd.Wait() // the state says how it ended
	return p.cmd.ProcessState.String()
}

// inProcess is the program's server in the test's process.
type inProcess struct {
	url string
	end context.CancelFunc
	err <-chan error // of server.run, once
}

// serveWith runs a server whose limits each change may set.
func serveWith(t *testing.T, cfg details.Config, changes ...func(s *server)) *inProcess {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := newServer(details.New(cfg), slog.New(slog.DiscardHandler))
	s.moveTimeout = 50 * time.Millisecond
	for _, change := range changes {
		change(s)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx, listener) }()
	t.Cleanup(cancel)
	return &inProcess{url: "http://" + listener.Addr().String(), end: cancel, err: ended}
}

// standIn starts the stand-in for Google and returns the settings of a program
// that calls it.
func standIn(tb testing.TB, cfg googlebookstest.Config) (_ *googlebookstest.Server, https, plain config) {
	tb.Helper()
	google := googlebookstest.NewServer(cfg)
	tb.Cleanup(google.Close)
	https = settings(google.HTTPSAddr)
	https.CAFile = caFile{google.CertPool()}
	plain = settings(google.HTTPAddr)
	plain.PlainHTTP = true
	return google, https, plain
}

// settings returns the settings of a program that calls this address. With their
// timeout, no call needs a second try, even on a busy machine.
func settings(addr string) config {
	return config{External: true, Host: host(addr), Timeout: 9 * time.Second}
}

// plainEnv returns the environment of a program that calls this address over plain HTTP.
func plainEnv(addr string) map[string]string {
	return map[string]string{"GOOGLE_BOOKS_HOST": addr, "DO_NOT_ENCRYPT": "true", "GOOGLE_BOOKS_TIMEOUT": "9s"}
}

// awaitCall returns when the stand-in has been called.
func awaitCall(t *testing.T, google *googlebookstest.Server) {
	t.Helper()
	require.Eventually(t, func() bool { return len(google.Requests()) > 0 }, clientTimeout, time.Millisecond)
}

// get makes a request and reports its failure as the test's.
func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if !assert.NoError(t, err) { // not require: it may run in a goroutine
		return 0, ""
	}
	res, err := http.DefaultClient.Do(r)
	if !assert.NoError(t, err) {
		return 0, ""
	}
	b, err := io.ReadAll(res.Body)
	assert.NoError(t, errors.Join(err, res.Body.Close()))
	return res.StatusCode, string(b)
}

// dial opens a TCP connection.
func dial(t *testing.T, url string) *net.TCPConn {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(url, "http://"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(clientTimeout)))
	return c.(*net.TCPConn)
}

// write sends text over a connection.
func write(t *testing.T, c net.Conn, text string) {
	t.Helper()
	_, err := io.WriteString(c, text)
	require.NoError(t, err)
}

// readResponse reads a whole response and discards its body.
func readResponse(t *testing.T, r *bufio.Reader) *http.Response {
	t.Helper()
	res, err := http.ReadResponse(r, nil)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, res.Body)
	require.NoError(t, err)
	return res
}

// readToEnd reads until the server closes the connection.
func readToEnd(t *testing.T, r io.Reader) string {
	t.Helper()
	text, err := io.ReadAll(r)
	assert.False(t, isTimeout(err), "the connection stays open")
	return string(text)
}

func isTimeout(err error) bool {
	netErr, ok := errors.AsType[net.Error](err)
	return ok && netErr.Timeout()
}
