package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"example.com/bookinfo/googlebooks/googlebookstest"
)

const comedyPath = "/books/v1/volumes?q=isbn:0486424618"

// asProgram makes the test's binary the program itself, for the tests of signals.
const asProgram = "TEST_AS_BOOKS_EMULATOR"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

func TestBadUsage(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		args []string
		want string
	}{
		"unknown flag":         {[]string{"--nope"}, "flag provided but not defined: -nope; --help tells the flags"},
		"argument":             {[]string{"serve"}, `unexpected argument "serve"; --help tells the flags`},
		"http":                 {[]string{"--http", "8080"}, `"8080" is not an address such as localhost:8080 or :8080`},
		"https":                {[]string{"--https", "x"}, `"x" is not an address such as localhost:8080 or :8080`},
		"cert alone":           {[]string{"--cert", "a"}, "--cert and --key go together"},
		"key alone":            {[]string{"--key", "a"}, "--cert and --key go together"},
		"ca-out with cert":     {[]string{"--cert", "a", "--key", "b", "--ca-out", "c"}, "--ca-out writes the throwaway CA: it can't go with --cert"},
		"delay":                {[]string{"--delay", "soon"}, `invalid value "soon" for flag -delay: parse error; --help tells the flags`},
		"negative delay":       {[]string{"--delay", "-1s"}, "--delay: -1s is below 0"},
		"unknown fault":        {[]string{"--fail", "rest:10"}, `--fail: there is no fault named "rest"; --help lists the faults`},
		"percent":              {[]string{"--fail", "reset:ten"}, `--fail: "ten" is not a percentage, in "reset:ten"`},
		"no percent":           {[]string{"--fail", "reset:"}, `--fail: "" is not a percentage, in "reset:"`},
		"more than all":        {[]string{"--fail", "reset,close:1"}, "--fail: the shares of the faults add up to 101 %, more than 100; --help lists the faults"},
		"certs without folder": {[]string{"certs"}, "certs: --out DIR says where to write ca.pem, tls.crt and tls.key"},
		"certs with argument":  {[]string{"certs", "dir"}, `unexpected argument "dir"; --help tells the flags`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			assert.Equal(t, 2, run(t.Context(), test.args, &stdout, &stderr))
			assert.Equal(t, "books-emulator: "+test.want+"\n", stderr.String())
			assert.Empty(t, stdout.String())
		})
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--help"}, {"-h"}, {"certs", "--help"}} {
		var stdout, stderr bytes.Buffer
		assert.Equal(t, 0, run(t.Context(), args, &stdout, &stderr))
		assert.Empty(t, stderr.String())
		for _, name := range []string{
			"--http", "--https", "--cert", "--key", "--ca-out", "--delay", "--fail", "--require-key", "--require-tls",
			"--help", "--version", "certs --out DIR", "/healthz",
		} {
			assert.Contains(t, stdout.String(), name)
		}
		for _, fault := range googlebookstest.Faults() {
			assert.Regexp(t, `(?m)^  `+fault.Name+` +`+regexp.QuoteMeta(fault.Doc)+`$`, stdout.String())
		}
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	assert.Equal(t, 0, run(t.Context(), []string{"--version"}, &stdout, &stderr))
	assert.Regexp(t, `^books-emulator dev, commit \w+, `+regexp.QuoteMeta(runtime.Version())+"\n$", stdout.String())
}

func TestServesBothWays(t *testing.T) {
	t.Parallel()
	caFile := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(caFile, []byte("of an earlier start"), 0o600))
	e := start(t, "--ca-out", caFile)

	https := e.client(t, caFile)
	resp, body := get(t, https, "https://"+e.https+comedyPath)
	assert.Equal(t, "HTTP/2.0", resp.Proto)
	assert.Contains(t, body, "9780486424613")
	resp, body = get(t, https, "http://"+e.http+comedyPath+"&key=secret&n=1")
	assert.Equal(t, "HTTP/1.1", resp.Proto)
	assert.Contains(t, body, "9780486424613")
	get(t, https, "http://"+e.http+"/nope\"%0A%E2%80%A8\u2028")
	resp, body = get(t, https, "http://"+e.http+"/healthz")
	assert.Equal(t, http.StatusOK, resp.StatusCode)
	assert.Equal(t, "ok\n", body)
	resp, _ = get(t, https, "https://"+e.https+"/healthz")
	assert.Equal(t, http.StatusNotFound, resp.StatusCode, "on the HTTP port alone")

	assert.Equal(t, 0, e.stop(t))
	out := e.stdout.String()
	assert.Contains(t, out, "  GOOGLE_BOOKS_HOST="+e.https+" GOOGLE_BOOKS_CA_FILE="+caFile+" go run ./cmd/details\n")
	assert.Contains(t, out, "  DO_NOT_ENCRYPT=true GOOGLE_BOOKS_HOST="+e.http+" go run ./cmd/details\n")
	_, log, found := strings.Cut(out, "DO_NOT_ENCRYPT=true GOOGLE_BOOKS_HOST="+e.http+" go run ./cmd/details\n")
	require.True(t, found)
	assert.Equal(t, "GET "+comedyPath+" 200\n"+
		"GET "+comedyPath+"&key=REDACTED&n=1 200\n"+
		"GET /nope%22%0A%E2%80%A8%E2%80%A8 404\n"+
		"GET /healthz 404\n", log)
}

func TestLogLinesAreNotForged(t *testing.T) {
	t.Parallel()
	e := start(t)
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", e.http)
	require.NoError(t, err)
	defer conn.Close()
	// U+0085 ends a line, U+009B begins an escape sequence on some terminals.
	_, err = io.WriteString(conn, "GET /\"a\u0085GET\u009b1m HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, conn)
	require.NoError(t, err)
	assert.Equal(t, 0, e.stop(t))
	assert.Contains(t, e.stdout.String(), `GET /\"a\u0085GET\u009b1m 404`+"\n")
}

func TestFlagsReachTheStandIn(t *testing.T) {
	t.Parallel()
	const hundred = 100 * time.Millisecond
	tests := map[string]struct {
		args       []string
		key        string
		wantStatus int
		want       string        // in the body
		wantLog    string        // status in the log
		wantGreet  string        // in the first lines
		least      time.Duration // that an answer takes
	}{
		"nothing":               {wantStatus: 200, want: "9780486424613", wantLog: "200", wantGreet: "--ca-out ca.pem"},
		"require-key":           {args: []string{"--require-key"}, wantStatus: 429, want: "rateLimitExceeded", wantLog: "429", wantGreet: "GOOGLE_BOOKS_API_KEY=any "},
		"require-key and a key": {args: []string{"--require-key"}, key: "any", wantStatus: 200, want: "9780486424613", wantLog: "200"},
		"require-tls":           {args: []string{"--require-tls"}, wantStatus: 403, want: "sslRequired", wantLog: "403"},
		"fail":                  {args: []string{"--fail", "503-backend-failed"}, wantStatus: 503, want: "backendFailed", wantLog: "503"},
		"fail by shares":        {args: []string{"--fail", "502-empty:50%, 502-html:50"}, wantStatus: 502, wantLog: "502"},
		"fail with a share":     {args: []string{"--fail", "502-empty:1e-9"}, wantStatus: 200, wantLog: "200"},
		"fail without answer":   {args: []string{"--fail", "reset"}, wantLog: "-"},
		"fail within answer":    {args: []string{"--fail", "cut"}, wantLog: "200 (cut)"},
		"delay":                 {args: []string{"--delay", "100ms"}, wantStatus: 200, wantLog: "200", least: hundred},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := start(t, test.args...)
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+e.http+comedyPath, http.NoBody)
			require.NoError(t, err)
			if test.key != "" {
				req.Header.Set("X-Goog-Api-Key", test.key)
			}
			begin := time.Now()
			status, body, err := ask(e.client(t, ""), req)
			if test.wantStatus == 0 {
				assert.Error(t, err)
			} else {
				require.NoError(t, err)
				assert.Equal(t, test.wantStatus, status)
				assert.Contains(t, body, test.want)
			}
			assert.GreaterOrEqual(t, time.Since(begin), test.least)

			// The line comes after the answer; where a fault took the connection over, the shutdown does not wait for it.
			line := "\nGET " + comedyPath + " " + test.wantLog + "\n"
			assert.Eventually(t, func() bool { return strings.HasSuffix(e.stdout.String(), line) }, 20*time.Second, 5*time.Millisecond)
			assert.Equal(t, 0, e.stop(t))
			assert.Contains(t, e.stdout.String(), test.wantGreet)
		})
	}
}

func TestCertsForKubernetes(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new", "certs")
	var stdout, stderr bytes.Buffer
	require.Equal(t, 0, run(t.Context(), []string{"certs", "--out", dir}, &stdout, &stderr), stderr.String())
	assert.Contains(t, stdout.String(),
		"kubectl create secret tls books-emulator-tls -n books-emulator --cert="+dir+"/tls.crt --key="+dir+"/tls.key\n")
	assert.Contains(t, stdout.String(), "kubectl create configmap books-emulator-ca --from-file="+dir+"/ca.pem\n")
	info, err := os.Stat(filepath.Join(dir, "tls.key"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	e := start(t, "--cert", filepath.Join(dir, "tls.crt"), "--key", filepath.Join(dir, "tls.key"))
	resp, _ := get(t, e.client(t, filepath.Join(dir, "ca.pem")), "https://"+e.https+comedyPath)
	assert.WithinDuration(t, time.Now().AddDate(1, 0, 0), resp.TLS.PeerCertificates[0].NotAfter, 2*24*time.Hour)
	assert.NoError(t, resp.TLS.PeerCertificates[0].VerifyHostname("www.googleapis.com"))
	assert.Equal(t, 0, e.stop(t))
	assert.Contains(t, e.stdout.String(), "GOOGLE_BOOKS_CA_FILE=<CA of "+dir+"/tls.crt>")
}

func TestCertsNeverOverwrites(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"ca.pem", "tls.crt", "tls.key"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, name)
			require.NoError(t, os.WriteFile(path, []byte("mine"), 0o600))
			var stdout, stderr bytes.Buffer
			assert.Equal(t, 1, run(t.Context(), []string{"certs", "--out", dir}, &stdout, &stderr))
			assert.Equal(t, "books-emulator: certs: "+path+" is there already, and is not overwritten\n", stderr.String())
			content, err := os.ReadFile(path)
			require.NoError(t, err)
			assert.Equal(t, "mine", string(content))
			entries, err := os.ReadDir(dir)
			require.NoError(t, err)
			assert.Len(t, entries, 1, "all or nothing")
		})
	}
}

func TestRunTimeErrors(t *testing.T) {
	t.Parallel()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "localhost:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() }) // not deferred: the subtests run after this function
	taken := listener.Addr().String()
	caFile := filepath.Join(t.TempDir(), "ca.pem")

	tests := map[string]struct {
		args []string
		want string
	}{
		"http in use":       {[]string{"--http", taken}, taken + " is in use by another program; choose another address with --http\n"},
		"https in use":      {[]string{"--http", "localhost:0", "--https", taken, "--ca-out", caFile}, taken + " is in use by another program; choose another address with --https\n"},
		"no such host":      {[]string{"--http", "books.invalid:0"}, "--http: listen tcp"},
		"no such cert":      {[]string{"--cert", "no.crt", "--key", "no.key"}, "--cert, --key: open no.crt: no such file or directory\n"},
		"ca-out nowhere":    {[]string{"--http", "localhost:0", "--https", "localhost:0", "--ca-out", t.TempDir()}, "--ca-out: open "},
		"certs into a file": {[]string{"certs", "--out", "main.go"}, "mkdir main.go: not a directory\n"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // for a start that wrongly succeeds
			defer cancel()
			var stdout, stderr bytes.Buffer
			assert.Equal(t, 1, run(ctx, test.args, &stdout, &stderr))
			assert.True(t, strings.HasPrefix(stderr.String(), "books-emulator: "+test.want), stderr.String())
			assert.Equal(t, 1, strings.Count(stderr.String(), "\n"), "one line")
			assert.Empty(t, stdout.String())
			assert.NoFileExists(t, caFile, "the CA of the emulator that runs stays")
		})
	}
}

// What is slow by order can't hold the program.
func TestShutdownCutsWhatIsSlow(t *testing.T) {
	t.Parallel()
	e := start(t, "--fail", "slow-body")
	answer := e.slowAnswer(t)
	assert.Equal(t, 0, e.stop(t))
	_, err := io.ReadAll(answer)
	require.Error(t, err)
	// The shutdown cuts the connection, and does not wait for what the handler then still writes.
	assert.Eventually(t, func() bool {
		return strings.HasSuffix(e.stdout.String(), "\nGET "+comedyPath+" 200 (cut)\n")
	}, 20*time.Second, 5*time.Millisecond)
}

func TestSignals(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		signal os.Signal
		busy   bool   // and the signal comes again
		want   string // what the process ended with
	}{
		"SIGTERM":      {signal: syscall.SIGTERM, want: "exit status 0"},
		"SIGINT":       {signal: os.Interrupt, want: "exit status 0"},
		"SIGTERM more": {signal: syscall.SIGTERM, busy: true, want: "signal: terminated"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "--http", "localhost:0", "--https", "localhost:0", "--fail", "slow-body")
			cmd.Env = append(os.Environ(), asProgram+"=1")
			e := &emulator{stdout: new(lockedBuffer), stderr: new(lockedBuffer)}
			cmd.Stdout, cmd.Stderr = e.stdout, e.stderr
			require.NoError(t, cmd.Start())
			e.ready(t)
			if test.busy {
				e.slowAnswer(t)
			}

			require.NoError(t, cmd.Process.Signal(test.signal))
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_ = cmd.Wait() // the state below tells how it ended
			}()
			again := time.NewTicker(100 * time.Millisecond)
			defer again.Stop()
			for running := true; running; {
				select {
				case <-ended:
					running = false
				case <-again.C:
					if test.busy {
						_ = cmd.Process.Signal(test.signal) // it may have ended by now
					}
				}
			}
			assert.Equal(t, test.want, cmd.ProcessState.String())
			assert.Empty(t, e.stderr.String())
		})
	}
}

// emulator is a run of the program.
type emulator struct {
	http, https    string // addresses
	stdout, stderr *lockedBuffer
	cancel         context.CancelFunc
	status         chan int
}

// start runs the program on ports of its own, and waits until it listens.
func start(t *testing.T, args ...string) *emulator {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	e := &emulator{stdout: new(lockedBuffer), stderr: new(lockedBuffer), cancel: cancel, status: make(chan int, 1)}
	go func() {
		e.status <- run(ctx, append([]string{"--http", "localhost:0", "--https", ":0"}, args...), e.stdout, e.stderr)
	}()
	e.ready(t)

	return e
}

// ready waits for the addresses in the first line.
func (e *emulator) ready(t *testing.T) {
	t.Helper()
	line := regexp.MustCompile(`https://(localhost:\d+) and http://(localhost:\d+)\.(?s:.*)go run ./cmd/details\n`)
	require.Eventually(t, func() bool {
		match := line.FindStringSubmatch(e.stdout.String())
		if match == nil {
			return false
		}
		e.https, e.http = match[1], match[2]

		return true
	}, 20*time.Second, 5*time.Millisecond, "it does not start")
}

// stop ends the program as a signal does and returns its exit status.
func (e *emulator) stop(t *testing.T) int {
	t.Helper()
	e.cancel()
	select {
	case status := <-e.status:
		return status
	case <-time.After(20 * time.Second):
		require.Fail(t, "it does not end")

		return -1
	}
}

// slowAnswer begins a request and returns when its headers are there: the program is busy with the body.
func (e *emulator) slowAnswer(t *testing.T) io.Reader {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+e.http+comedyPath, http.NoBody)
	require.NoError(t, err)
	resp, err := e.client(t, "").Do(req)
	require.NoError(t, err)
	t.Cleanup(func() { _ = resp.Body.Close() })

	return resp.Body
}

// client trusts the CA in caFile, if there is one, and keeps no connection.
func (e *emulator) client(t *testing.T, caFile string) *http.Client {
	t.Helper()
	roots := x509.NewCertPool()
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		require.NoError(t, err)
		require.True(t, roots.AppendCertsFromPEM(pem))
	}
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: roots},
		ForceAttemptHTTP2: true,
		DisableKeepAlives: true,
	}
	t.Cleanup(transport.CloseIdleConnections)

	return &http.Client{Transport: transport, Timeout: time.Minute}
}

func get(t *testing.T, c *http.Client, url string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	require.NoError(t, err)
	resp, err := c.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)

	return resp, string(body)
}

func ask(c *http.Client, req *http.Request) (status int, body string, err error) {
	resp, err := c.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)

	return resp.StatusCode, string(b), err
}

// lockedBuffer takes the program's output while the test reads it.
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
