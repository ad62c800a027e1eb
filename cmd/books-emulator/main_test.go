package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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

const (
	comedyPath = "/books/v1/volumes?q=isbn:0486424618"
	// asProgram makes the test binary the program, for the tests of signals.
	asProgram = "TEST_AS_BOOKS_EMULATOR"
	// patience is for what must happen, however busy the machine is.
	patience = 30 * time.Second
)

// TestMain fails the package if a goroutine outlives its tests.
func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

func TestErrors(t *testing.T) {
	t.Parallel()
	other, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "localhost:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = other.Close() }) // after the parallel subtests
	caFile := filepath.Join(t.TempDir(), "ca.pem")
	tests := map[string]struct {
		args   []string
		status int    // 2 if 0
		want   string // the error, or its beginning with a status of 1
	}{
		"unknown flag": {
			args: []string{"--nope"},
			want: "flag provided but not defined: -nope; see --help",
		},
		"no port": {
			args:   []string{"--http", "8080"},
			status: 1,
			want:   "listen tcp: address 8080: missing port in address; choose another address with --http or --https\n",
		},
		"cert without key": {
			args: []string{"--cert", "a"},
			want: "--cert and --key need each other",
		},
		"ca-out with cert": {
			args: []string{"--cert", "a", "--key", "b", "--ca-out", "c"},
			want: "--ca-out is for the new CA, which --cert replaces",
		},
		"unknown fault": {
			args: []string{"--fail", "rest:10"},
			want: `--fail: unknown fault "rest"; see --help`,
		},
		"percentage": {
			args: []string{"--fail", "hang:abc"},
			want: `invalid value "hang:abc" for flag -fail: invalid percentage "abc": want a number; see --help`,
		},
		"certs without folder": {
			args: []string{"certs"},
			want: "missing --out DIR, the folder for ca.pem, tls.crt and tls.key",
		},
		"port in use": {
			args:   []string{"--http", "localhost:0", "--https", other.Addr().String(), "--ca-out", caFile},
			status: 1,
			want: "listen tcp " + other.Addr().String() +
				": bind: address already in use; choose another address with --http or --https\n",
		},
		"unknown host": {
			args:   []string{"--http", "books.invalid:0"},
			status: 1,
			want:   "listen tcp: lookup books.invalid",
		},
		"no such certificate": {
			args:   []string{"--cert", "no.crt", "--key", "no.key"},
			status: 1,
			want:   "--cert, --key: open no.crt: no such file or directory\n",
		},
		"ca-out is a folder": {
			args:   []string{"--http", "localhost:0", "--https", "localhost:0", "--ca-out", t.TempDir()},
			status: 1,
			want:   "--ca-out: open ",
		},
		"certs into a file": {
			args:   []string{"certs", "--out", "main.go"},
			status: 1,
			want:   "mkdir main.go: not a directory\n",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), patience) // if it starts after all
			defer cancel()
			var stdout, stderr bytes.Buffer
			status := run(ctx, test.args, &stdout, &stderr)
			if test.status == 0 {
				assert.Equal(t, exitUsage, status)
				assert.Equal(t, "books-emulator: "+test.want+"\n", stderr.String())
			} else {
				assert.Equal(t, test.status, status)
				assert.True(t, strings.HasPrefix(stderr.String(), "books-emulator: "+test.want), stderr.String())
				assert.Equal(t, 1, strings.Count(stderr.String(), "\n"), "one line")
			}
			assert.Empty(t, stdout.String())
			assert.NoFileExists(t, caFile, "the CA of the emulator that is running stays")
		})
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--help"}, {"certs", "--help"}} {
		var stdout bytes.Buffer
		assert.Equal(t, exitOK, run(t.Context(), args, &stdout, io.Discard))
		for _, fault := range googlebookstest.Faults() {
			assert.Regexp(t, `(?m)^  `+fault.Name+` +`+regexp.QuoteMeta(fault.Doc)+`$`, stdout.String())
		}
		for line := range strings.Lines(stdout.String()) {
			assert.LessOrEqual(t, len([]rune(strings.TrimSuffix(line, "\n"))), 80, line)
		}
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	var stdout bytes.Buffer
	assert.Equal(t, exitOK, run(t.Context(), []string{"--version"}, &stdout, io.Discard))
	assert.Regexp(t, `^books-emulator \S+, go1\.\S+\n$`, stdout.String())
}

func TestServe(t *testing.T) {
	t.Parallel()
	caFile := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(caFile, []byte("of an earlier start"), 0o600))
	e := start(t, "--ca-out", caFile)
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", e.https)
	require.NoError(t, err)
	require.NoError(t, conn.Close()) // as the probe of a port does

	resp, body, err := e.get(t, caFile, "https://"+e.https+comedyPath)
	require.NoError(t, err)
	assert.Equal(t, "HTTP/2.0", resp.Proto)
	assert.Contains(t, body, "9780486424613")
	resp, body, err = e.get(t, caFile, "http://"+e.http+comedyPath)
	require.NoError(t, err)
	assert.Equal(t, "HTTP/1.1", resp.Proto)
	assert.Contains(t, body, "9780486424613")
	_, _, err = e.get(t, "", "https://"+e.https+comedyPath)
	require.ErrorContains(t, err, "unknown authority")

	assert.Equal(t, exitOK, e.stop(t))
	plain := "  DO_NOT_ENCRYPT=true GOOGLE_BOOKS_HOST=" + e.http + " go run ./cmd/details\n"
	assert.Contains(t, e.stdout.String(),
		"  GOOGLE_BOOKS_HOST="+e.https+" GOOGLE_BOOKS_CA_FILE="+caFile+" go run ./cmd/details\n"+plain)
	_, log, _ := strings.Cut(e.stdout.String(), plain)
	assert.Equal(t, strings.Repeat("GET "+comedyPath+" 200\n", 2), log)
	assert.NotContains(t, e.stderr.String(), "EOF")
	assert.Contains(t, e.stderr.String(), "TLS handshake error", "what is no probe is logged")
}

func TestFlags(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		args       []string
		wantStatus int    // 0: no answer
		wantStart  string // in the first lines
	}{
		"none": {
			wantStatus: 200,
			wantStart:  "start again with --ca-out ca.pem",
		},
		"require-key": {
			args:       []string{"--require-key"},
			wantStatus: 429,
			wantStart:  "GOOGLE_BOOKS_API_KEY=any ",
		},
		"require-tls": {
			args:       []string{"--require-tls"},
			wantStatus: 403,
		},
		"refuse-mesh-headers": {
			args:       []string{"--refuse-mesh-headers"},
			wantStatus: 400,
		},
		"fail": {
			args:       []string{"--fail", "reset"},
			wantStatus: 0,
		},
		"fail by shares": {
			args:       []string{"--fail", "502-empty:50%, 502-html:50"},
			wantStatus: 502,
		},
		"small share": {
			args:       []string{"--fail", "502-empty:1e-9"},
			wantStatus: 200,
		},
		"delay": {
			args:       []string{"--delay", "1ms"},
			wantStatus: 200,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := start(t, test.args...)
			resp, _, err := e.get(t, "", "http://"+e.http+comedyPath)
			if test.wantStatus == 0 {
				assert.Error(t, err)
			} else {
				require.NoError(t, err)
				assert.Equal(t, test.wantStatus, resp.StatusCode)
			}
			assert.Equal(t, exitOK, e.stop(t))
			assert.Contains(t, e.stdout.String(), test.wantStart)
		})
	}
}

func TestCerts(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new", "certs")
	var stdout, stderr bytes.Buffer
	require.Equal(t, exitOK, run(t.Context(), []string{"certs", "--out", dir}, &stdout, &stderr), stderr.String())
	assert.Contains(t, stdout.String(), "--cert="+dir+"/tls.crt --key="+dir+"/tls.key\n")
	assert.Contains(t, stdout.String(), "--from-file="+dir+"/ca.pem\n")
	info, err := os.Stat(filepath.Join(dir, "tls.key"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	e := start(t, "--cert", filepath.Join(dir, "tls.crt"), "--key", filepath.Join(dir, "tls.key"))
	resp, _, err := e.get(t, filepath.Join(dir, "ca.pem"), "https://"+e.https+comedyPath)
	require.NoError(t, err)
	assert.NoError(t, resp.TLS.PeerCertificates[0].VerifyHostname("www.googleapis.com"))
	assert.Equal(t, exitOK, e.stop(t))
	assert.Contains(t, e.stdout.String(), "GOOGLE_BOOKS_CA_FILE=<its CA>")
}

func TestCertsOverwritesNothing(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"ca.pem", "tls.crt", "tls.key"} {
		dir := t.TempDir()
		path := filepath.Join(dir, name)
		require.NoError(t, os.Symlink("nowhere", path))
		var stderr bytes.Buffer
		assert.Equal(t, exitFailure, run(t.Context(), []string{"certs", "--out", dir}, io.Discard, &stderr))
		assert.Equal(t, "books-emulator: "+path+" already exists\n", stderr.String())
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		assert.Len(t, entries, 1, "all three or none")
	}
}

func TestSignals(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		signal os.Signal
		again  bool   // send it again while a response is in progress
		want   string // how the process ended
	}{
		"SIGTERM": {
			signal: syscall.SIGTERM,
			want:   "exit status 0",
		},
		"SIGINT": {
			signal: os.Interrupt,
			want:   "exit status 0",
		},
		"SIGTERM twice": {
			signal: syscall.SIGTERM,
			again:  true,
			want:   "signal: terminated",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := []string{"--http", "localhost:0", "--https", "localhost:0", "--fail", "hang"}
			cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
			cmd.Env = append(os.Environ(), asProgram+"=1")
			e := new(emulator)
			cmd.Stdout, cmd.Stderr = &e.stdout, &e.stderr
			require.NoError(t, cmd.Start())
			e.waitUntilReady(t)
			conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", e.http)
			require.NoError(t, err)
			defer conn.Close()
			if test.again {
				_, err = io.WriteString(conn, "GET "+comedyPath+" HTTP/1.1\r\nHost: localhost\r\n\r\n")
				require.NoError(t, err)
			}

			require.NoError(t, cmd.Process.Signal(test.signal))
			if test.again {
				go func() {
					for range time.Tick(100 * time.Millisecond) {
						if cmd.Process.Signal(test.signal) != nil {
							return // it has ended
						}
					}
				}()
			}
			_ = cmd.Wait() // the state says how it ended
			assert.Equal(t, test.want, cmd.ProcessState.String())
			assert.Empty(t, e.stderr.String())
		})
	}
}

// emulator is a run of the program.
type emulator struct {
	http, https    string // addresses
	stdout, stderr lockedBuffer
	cancel         context.CancelFunc
	status         chan int
}

// start runs the program on free ports and waits until it listens.
func start(t *testing.T, args ...string) *emulator {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	e := &emulator{cancel: cancel, status: make(chan int, 1)}
	go func() {
		e.status <- run(ctx, append([]string{"--http", "localhost:0", "--https", ":0"}, args...), &e.stdout, &e.stderr)
	}()
	e.waitUntilReady(t)
	return e
}

func (e *emulator) waitUntilReady(t *testing.T) {
	t.Helper()
	greeting := regexp.MustCompile(`https://(localhost:\d+) and http://(localhost:\d+)\n(?s:.*)go run ./cmd/details\n`)
	require.Eventually(t, func() bool {
		match := greeting.FindStringSubmatch(e.stdout.String())
		if match != nil {
			e.https, e.http = match[1], match[2]
		}
		return match != nil
	}, patience, 5*time.Millisecond)
}

// stop ends the program as a signal does and returns its exit status.
func (e *emulator) stop(t *testing.T) int {
	t.Helper()
	e.cancel()
	select {
	case status := <-e.status:
		return status
	case <-time.After(patience):
		require.Fail(t, "the program does not end")
		return -1
	}
}

// get makes a request over a connection of its own. It trusts the CA in caFile.
func (e *emulator) get(t *testing.T, caFile, url string) (*http.Response, string, error) {
	t.Helper()
	roots := x509.NewCertPool()
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		require.NoError(t, err)
		require.True(t, roots.AppendCertsFromPEM(pem))
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	require.NoError(t, err)
	req.Header.Set("X-Envoy-Attempt-Count", "1")
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: roots},
		ForceAttemptHTTP2: true,
		DisableKeepAlives: true,
	}
	resp, err := (&http.Client{Transport: transport, Timeout: patience}).Do(req)
	if err != nil {
		return nil, "", err
	}
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), errors.Join(err, resp.Body.Close())
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
