package main

import (
	"bufio"
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
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"example.com/bookinfo/googlebooks/googlebookstest"
)

const (
	comedyPath = "/books/v1/volumes?q=isbn:0486424618"
	// asProgram makes the test binary the program.
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
	inUse, dir := other.Addr().String(), t.TempDir()
	caFile := filepath.Join(dir, "ca.pem")
	for status, tests := range map[int]map[string]string{
		exitUsage: { // the error by command line
			"--nope":                      "unknown flag --nope; see --help",
			"cert":                        `unknown argument "cert"; see --help`,
			"--cert a":                    "--cert and --key must be used together; see --help",
			"--cert a --key b --ca-out c": "--ca-out cannot be used with --cert, which replaces the new CA; see --help",
			"--cert a --key b":            "--cert, --key: open a: no such file or directory; see --help",
			"--fail rest:10":              `invalid value "rest:10" for flag --fail: unknown fault "rest"; see --help`,
			"--fail close --fail reset": `invalid value "reset" for flag --fail: ` +
				"the percentages add up to 200: want at most 100; see --help",
			"--delay -1s":                `invalid value "-1s" for --delay: want 0 or more; see --help`,
			"--http 8080":                `invalid value "8080" for --http: want host:port or :port; see --help`,
			"--https=":                   `invalid value "" for --https: want host:port or :port; see --help`,
			"--http :http":               `invalid value ":http" for --http: want host:port or :port; see --help`,
			"certs":                      "certs needs --out; see --help",
			"certs --out a --fail close": "unknown flag --fail; see --help",
			"certs --out a b":            `unknown argument "b"; see --help`,
			"--out a":                    "unknown flag --out; see --help",
		},
		exitFailure: {
			"certs --out " + dir + "/": "--out: mkdir " + dir + ": file exists; name a folder that does not exist yet",
			"--http localhost:0 --https " + inUse + " --ca-out " + caFile: "listen tcp " + inUse +
				": bind: address already in use; choose another address with --http or --https",
			"--http localhost:0 --https localhost:0 --ca-out " + dir: "--ca-out: open " + dir + ": is a directory",
		},
	} {
		for args, want := range tests {
			t.Run(args, func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithTimeout(t.Context(), patience) // if it starts after all
				defer cancel()
				var stdout, stderr bytes.Buffer
				assert.Equal(t, status, run(ctx, strings.Fields(args), &stdout, &stderr))
				assert.Equal(t, "books-emulator: "+want+"\n", stderr.String())
				assert.Empty(t, stdout.String())
				assert.NoFileExists(t, caFile, "the emulator that is running has its own")
			})
		}
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	var help, certsHelp, version bytes.Buffer
	assert.Equal(t, exitOK, run(t.Context(), []string{"--help"}, &help, io.Discard))
	for _, fault := range googlebookstest.Faults() {
		assert.Regexp(t, `(?m)^  `+fault.Name+` +`+regexp.QuoteMeta(fault.Doc)+`$`, help.String())
	}
	for _, isbn := range googlebookstest.Samples() {
		assert.Regexp(t, `(?m)^  `+isbn+` +\S`, help.String())
	}
	assert.Regexp(t, `\n  --http address\n .*; default: localhost:8080\n`, help.String())
	assert.NotRegexp(t, `(?m)^ +-\w`, help.String(), "two hyphens")
	for line := range strings.Lines(help.String()) {
		assert.LessOrEqual(t, utf8.RuneCountInString(line), 81, line)
	}
	assert.Equal(t, exitOK, run(t.Context(), []string{"certs", "--help"}, &certsHelp, io.Discard))
	assert.Equal(t, help.String(), certsHelp.String())
	assert.Equal(t, exitOK, run(t.Context(), []string{"--version"}, &version, io.Discard))
	assert.Regexp(t, `^books-emulator \S+, go1\.\S+\n$`, version.String())
}

func TestReadConfig(t *testing.T) {
	t.Parallel()
	cfg, err := readConfig(strings.Fields("--http :1 --https [::1]:2 --require-key --require-tls --refuse-mesh-headers"+
		" --delay 100ms --fail reset:0.2,close:86.9 --fail cut:12.9"), io.Discard)
	require.NoError(t, err)
	percent := make(map[string]float64)
	for _, share := range cfg.Shares {
		percent[share.Fault.Name] = share.Percent
	}
	assert.Equal(t, map[string]float64{"reset": 0.2, "close": 86.9, "cut": 12.9}, percent)
	cfg.Shares = nil
	assert.Equal(t, config{Config: googlebookstest.Config{
		HTTPAddr:          ":1",
		HTTPSAddr:         "[::1]:2",
		RequireKey:        true,
		RequireTLS:        true,
		RefuseMeshHeaders: true,
		Delay:             100 * time.Millisecond,
	}}, cfg)
}

func TestGreet(t *testing.T) {
	t.Parallel()
	server := &googlebookstest.Server{HTTPAddr: "[::]:80", HTTPSAddr: "192.0.2.1:443"}
	for want, cfg := range map[string]config{
		"https://192.0.2.1:443 and http://localhost:80\n": {},
		"start again with --ca-out ca.pem":                {},
		"  GOOGLE_BOOKS_API_KEY=any DO_NOT_ENCRYPT=true GOOGLE_BOOKS_HOST=localhost:80 go": {
			Config: googlebookstest.Config{RequireKey: true},
		},
		"  GOOGLE_BOOKS_HOST=192.0.2.1:443 GOOGLE_BOOKS_CA_FILE=ca.pem go run ./cmd/details": {caOut: "ca.pem"},
	} {
		var out bytes.Buffer
		greet(&out, cfg, server)
		assert.Contains(t, out.String(), want)
	}
}

func TestServe(t *testing.T) {
	t.Parallel()
	caFile := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(caFile, []byte("of an earlier start"), 0o600))
	e := start(t, "--ca-out", caFile)
	for _, url := range []string{"http://" + e.http, "https://" + e.https} {
		body, err := get(t, caFile, url+comedyPath)
		require.NoError(t, err)
		assert.Contains(t, body, "9780486424613")
	}
	_, err := get(t, "", "https://"+e.https+comedyPath)
	require.ErrorContains(t, err, "unknown authority")

	output := e.stop(t, os.Interrupt)
	assert.Contains(t, output, " GOOGLE_BOOKS_CA_FILE="+caFile+" ")
	assert.Equal(t, 2, strings.Count(output, "GET "+comedyPath+" 200\n"))
	assert.Contains(t, output, "\nbooks-emulator: http: TLS handshake error")
}

func TestCerts(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new", "certs")
	ca, cert, key := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	var stdout, stderr bytes.Buffer
	require.Equal(t, exitOK, run(t.Context(), []string{"certs", "--out", dir}, &stdout, &stderr), stderr.String())
	assert.Contains(t, stdout.String(), " --cert="+cert+" --key="+key+"\n")
	assert.Contains(t, stdout.String(), " --from-file="+ca+"\n")
	info, err := os.Stat(key)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	e := start(t, "--cert", cert, "--key", key)
	_, err = get(t, ca, "https://"+e.https+comedyPath)
	require.NoError(t, err)
	assert.Contains(t, e.stop(t, syscall.SIGTERM), "GOOGLE_BOOKS_CA_FILE=<its CA>")
}

// TestSignals ends the program while a response takes longer than it waits.
func TestSignals(t *testing.T) {
	t.Parallel()
	for again, want := range map[bool]string{false: "exit status 0", true: "signal: terminated"} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			e := start(t, "--fail", "slow-body")
			conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", e.http)
			require.NoError(t, err)
			defer conn.Close()
			_, err = io.WriteString(conn, "GET "+comedyPath+" HTTP/1.1\r\nHost: localhost\r\n\r\n")
			require.NoError(t, err)
			_, err = conn.Read(make([]byte, 1))
			require.NoError(t, err, "the response has begun")
			go func() {
				for e.cmd.Process.Signal(syscall.SIGTERM) == nil && again { // until it has ended
					time.Sleep(100 * time.Millisecond)
				}
			}()
			_ = e.cmd.Wait() // the state says how it ended
			assert.Equal(t, want, e.cmd.ProcessState.String())
			rest, _ := io.ReadAll(conn) // it may be reset
			assert.NotContains(t, string(rest), "\r\n0\r\n\r\n", "the response is cut")
		})
	}
}

// emulator is a run of the program.
type emulator struct {
	cmd         *exec.Cmd
	greeting    string
	rest        io.Reader // of standard output and standard error
	http, https string    // addresses
}

// start runs the program on free ports and waits until it listens.
func start(t *testing.T, args ...string) *emulator {
	t.Helper()
	args = append([]string{"--http", "localhost:0", "--https", ":0"}, args...)
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = cmd.Stdout
	require.NoError(t, cmd.Start())
	output, greeting := bufio.NewReader(stdout), ""
	for !strings.Contains(greeting, "DO_NOT_ENCRYPT") { // its last line
		line, err := output.ReadString('\n')
		require.NoError(t, err, line)
		greeting += line
	}
	match := regexp.MustCompile(`https://(localhost:\d+) and http://(localhost:\d+)\n`).FindStringSubmatch(greeting)
	require.NotNil(t, match, greeting)
	return &emulator{cmd: cmd, greeting: greeting, rest: output, https: match[1], http: match[2]}
}

// stop ends the program and returns its output.
func (e *emulator) stop(t *testing.T, signal os.Signal) string {
	t.Helper()
	require.NoError(t, e.cmd.Process.Signal(signal))
	rest, err := io.ReadAll(e.rest)
	assert.NoError(t, errors.Join(err, e.cmd.Wait()))
	return e.greeting + string(rest)
}

// get makes a request over a connection of its own. It trusts the CA in caFile.
func get(t *testing.T, caFile, url string) (body string, err error) {
	t.Helper()
	roots := x509.NewCertPool()
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		require.NoError(t, err)
		require.True(t, roots.AppendCertsFromPEM(pem))
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	require.NoError(t, err)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: transport, Timeout: patience}).Do(req)
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(resp.Body)
	return string(b), errors.Join(err, resp.Body.Close())
}
