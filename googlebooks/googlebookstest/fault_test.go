package googlebookstest_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/bookinfo/googlebooks/googlebookstest"
)

// slow is what Options.Slow is in the tests of faults.
const slow = 200 * time.Millisecond

// arrival is what a client got.
type arrival struct {
	status  int // 0: no answer
	header  http.Header
	length  int64 // of Content-Length, -1 without one
	hints   int   // informational answers before
	headers time.Duration
	all     time.Duration
	body    string
	err     error // of the request
	bodyErr error // of reading the body
}

// faultTest is what a fault must bring; an entry without a check leaves the body to contains.
type faultTest struct {
	status   int
	reason   string   // of Google's error; the envelope is checked with it
	old      bool     // envelope
	contains []string // in the body
	wantErr  error    // of the request over HTTP/1.1; over HTTP/2 it fails, too
	bodyErr  error    // of the body over HTTP/1.1; over HTTP/2 it fails, too
	check    func(t *testing.T, a arrival)
}

func faultTests(t *testing.T) map[string]faultTest {
	t.Helper()
	comedy := sample(t, "0486424618")
	isGood := func(t *testing.T, a arrival) {
		t.Helper()
		assert.Equal(t, comedy, a.body)
	}
	isHalf := func(t *testing.T, a arrival) {
		t.Helper()
		assert.Equal(t, comedy[:len(comedy)/2], a.body)
	}
	isHTML := func(t *testing.T, a arrival) {
		t.Helper()
		assert.Equal(t, "text/html; charset=UTF-8", a.header.Get("Content-Type"))
		assert.True(t, strings.HasPrefix(a.body, "<!DOCTYPE html>"), a.body)
	}
	// goodBehind checks that the good answer follows a member at the front.
	goodBehind := func(t *testing.T, a arrival, member string) {
		t.Helper()
		rest, found := strings.CutPrefix(a.body, "{"+member+",")
		assert.True(t, found, "begins with the member")
		assert.Equal(t, comedy, "{"+rest)
	}

	return map[string]faultTest{
		"ok": {status: 200, check: func(t *testing.T, a arrival) {
			t.Helper()
			isGood(t, a)
			assert.Zero(t, a.hints)
		}},

		"400-required":                 {status: 400, reason: "required"},
		"400-query-required":           {status: 400, reason: "queryRequired"},
		"400-invalid-parameter":        {status: 400, reason: "invalidParameter"},
		"400-api-key-invalid":          {status: 400, reason: "badRequest", contains: []string{`"API_KEY_INVALID"`}},
		"403-ssl-required":             {status: 403, reason: "sslRequired"},
		"403-unknown-location":         {status: 403, reason: "unknownLocation", old: true},
		"403-access-not-configured":    {status: 403, reason: "accessNotConfigured", contains: []string{`"SERVICE_DISABLED"`}},
		"403-daily-limit-exceeded":     {status: 403, reason: "dailyLimitExceeded", old: true},
		"403-user-rate-limit-exceeded": {status: 403, reason: "userRateLimitExceeded", old: true},
		"404-not-found":                {status: 404, reason: "notFound"},
		"429-keyless": {
			status: 429, reason: "rateLimitExceeded", contains: []string{`"defaultPerDayPerProject"`, `"quota_limit_value": "0"`},
		},
		"429-per-day": {
			status: 429, reason: "rateLimitExceeded", contains: []string{`"defaultPerDayPerProject"`, `"quota_limit_value": "1000"`},
		},
		"429-per-minute": {
			status: 429, reason: "rateLimitExceeded", contains: []string{`"defaultPerMinutePerUser"`, `"quota_limit_value": "100"`},
		},
		"503-backend-failed":     {status: 503, reason: "backendFailed", contains: []string{`"UNAVAILABLE"`}},
		"503-backend-failed-old": {status: 503, reason: "backendFailed", old: true},

		"500-html": {status: 500, contains: []string{"Error 500 (Server Error)!!1"}, check: isHTML},
		"502-html": {status: 502, contains: []string{"Error 502 (Server Error)!!1"}, check: isHTML},
		"503-html": {status: 503, contains: []string{"Error 503 (Server Error)!!1"}, check: isHTML},
		"504-html": {status: 504, contains: []string{"Error 504 (Server Error)!!1"}, check: isHTML},
		"502-empty": {status: 502, check: func(t *testing.T, a arrival) {
			t.Helper()
			assert.Empty(t, a.body)
			assert.Zero(t, a.length)
			assert.Empty(t, a.header.Get("Content-Type"))
			assert.Equal(t, "envoy", a.header.Get("Server"))
		}},
		"503-envoy": {
			status: 503, contains: []string{"upstream connect error or disconnect/reset before headers"},
			check: func(t *testing.T, a arrival) {
				t.Helper()
				assert.Equal(t, "text/plain", a.header.Get("Content-Type"))
				assert.Equal(t, "envoy", a.header.Get("Server"))
				assert.Equal(t, int64(len(a.body)), a.length)
			},
		},

		"html": {status: 200, check: isHTML},
		"empty": {status: 200, check: func(t *testing.T, a arrival) {
			t.Helper()
			assert.Empty(t, a.body)
			assert.Zero(t, a.length)
		}},
		"cut": {status: 200, bodyErr: io.ErrUnexpectedEOF, check: func(t *testing.T, a arrival) {
			t.Helper()
			isHalf(t, a)
			assert.Equal(t, int64(len(comedy)), a.length)
		}},
		"cut-chunked": {status: 200, bodyErr: io.ErrUnexpectedEOF, check: func(t *testing.T, a arrival) {
			t.Helper()
			isHalf(t, a)
			assert.Equal(t, int64(-1), a.length)
		}},
		"wrong-content-length": {status: 200, check: func(t *testing.T, a arrival) {
			t.Helper()
			isHalf(t, a)
			assert.Equal(t, int64(len(comedy)/2), a.length)
		}},
		"trailing-rubbish": {status: 200, check: func(t *testing.T, a arrival) {
			t.Helper()
			assert.Equal(t, comedy+"}rubbish", a.body)
		}},
		"deep-nesting": {status: 200, check: func(t *testing.T, a arrival) {
			t.Helper()
			goodBehind(t, a, `"nested": `+strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000))
		}},
		"10-mb": {status: 200, check: func(t *testing.T, a arrival) {
			t.Helper()
			assert.Len(t, a.body, 10<<20+len(`"padding": "",`)+len(comedy))
		}},
		"invalid-utf-8": {status: 200, check: func(t *testing.T, a arrival) {
			t.Helper()
			assert.False(t, utf8.ValidString(a.body))
			goodBehind(t, a, "\"bytes\": \"\xff\xfe\"")
		}},
		"lone-surrogate": {status: 200, check: func(t *testing.T, a arrival) {
			t.Helper()
			goodBehind(t, a, `"lone": "\ud800"`)
		}},
		"duplicate-keys": {status: 200, check: func(t *testing.T, a arrival) {
			t.Helper()
			goodBehind(t, a, `"totalItems": 0, "items": []`)
			assert.Equal(t, 2, strings.Count(a.body, `"items":`))
		}},
		"gzip-bad": {status: 200, check: func(t *testing.T, a arrival) {
			t.Helper()
			assert.Equal(t, "gzip", a.header.Get("Content-Encoding"))
			isGood(t, a)
		}},
		"gzip-cut": {status: 200, check: func(t *testing.T, a arrival) {
			t.Helper()
			assert.Equal(t, "gzip", a.header.Get("Content-Encoding"))
			z, err := gzip.NewReader(strings.NewReader(a.body))
			require.NoError(t, err)
			_, err = io.Copy(io.Discard, z)
			assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
		}},
		"redirect": {status: 302, check: func(t *testing.T, a arrival) {
			t.Helper()
			assert.Equal(t, "https://elsewhere.invalid"+comedyPath, a.header.Get("Location"))
		}},
		"early-hints": {status: 200, check: func(t *testing.T, a arrival) {
			t.Helper()
			assert.Equal(t, 1, a.hints)
			assert.Empty(t, a.header.Get("Link"))
			isGood(t, a)
		}},

		"close":      {wantErr: io.EOF},
		"reset":      {wantErr: syscall.ECONNRESET},
		"reset-body": {status: 200, bodyErr: syscall.ECONNRESET, check: isHalf},
		"slow-headers": {status: 200, check: func(t *testing.T, a arrival) {
			t.Helper()
			assert.GreaterOrEqual(t, a.headers, slow)
			isGood(t, a)
		}},
		"slow-body": {status: 200, check: func(t *testing.T, a arrival) {
			t.Helper()
			assert.Less(t, a.headers, slow)
			assert.GreaterOrEqual(t, a.all, slow)
			isGood(t, a)
		}},
		"hang":     {wantErr: context.DeadlineExceeded},
		"not-http": {wantErr: errNotHTTP},
	}
}

// errNotHTTP stands for net/http's untyped error.
var errNotHTTP = errors.New(`malformed HTTP response "SSH-2.0-OpenSSH_9.9"`)

func TestFaultsOnTheWire(t *testing.T) {
	t.Parallel()
	tests := faultTests(t)
	for _, fault := range googlebookstest.Faults() {
		test, ok := tests[fault.Name]
		require.True(t, ok, "fault %s is not tested", fault.Name)
		delete(tests, fault.Name)
		assert.NotEmpty(t, fault.Doc)
		assert.NotContains(t, fault.Doc, "\n")

		for _, proto := range []string{"HTTP/1.1", "HTTP/1.1 over TLS", "HTTP/2"} {
			t.Run(fault.Name+" over "+proto, func(t *testing.T) {
				t.Parallel()
				srv := newServer(t, googlebookstest.Config{Options: googlebookstest.Options{Slow: slow}})
				c, base := client(t, srv), "https://"+srv.HTTPSAddr
				switch proto {
				case "HTTP/1.1":
					base = "http://" + srv.HTTPAddr
				case "HTTP/1.1 over TLS":
					c.Transport.(*http.Transport).ForceAttemptHTTP2 = false
				}
				srv.Script(fault.Name)
				patience := time.Minute
				if fault.Name == "hang" {
					patience = slow
				}
				got := arrive(t, c, base+comedyPath, patience)
				test.assert(t, got, proto)

				next := arrive(t, c, base+comedyPath, time.Minute)
				require.NoError(t, next.err, "all is well again")
				assert.Equal(t, 200, next.status)
				assert.Len(t, srv.Requests(), 2, "nobody asks twice")
				wantProto := proto[:len("HTTP/2")] + ".0"
				if proto != "HTTP/2" {
					wantProto = "HTTP/1.1"
				}
				assert.Equal(t, wantProto, srv.Requests()[0].Proto)
			})
		}
	}
	assert.Empty(t, tests, "these are no faults")
}

func (test faultTest) assert(t *testing.T, got arrival, proto string) {
	t.Helper()
	if test.wantErr != nil {
		require.Error(t, got.err)
		switch {
		case proto == "HTTP/2" && !errors.Is(test.wantErr, context.DeadlineExceeded):
			assert.ErrorContains(t, got.err, "INTERNAL_ERROR", "the stream is reset")
		case errors.Is(test.wantErr, errNotHTTP):
			assert.ErrorContains(t, got.err, test.wantErr.Error())
		default:
			assert.ErrorIs(t, got.err, test.wantErr)
		}

		return
	}

	require.NoError(t, got.err)
	assert.Equal(t, test.status, got.status)
	switch {
	case test.bodyErr == nil:
		require.NoError(t, got.bodyErr)
	case proto == "HTTP/2":
		require.Error(t, got.bodyErr)
	default:
		require.ErrorIs(t, got.bodyErr, test.bodyErr)
	}
	for _, text := range test.contains {
		assert.Contains(t, got.body, text)
	}
	if test.check != nil {
		test.check(t, got)
	}
	if test.reason != "" {
		test.assertEnvelope(t, got)
	}
}

func (test faultTest) assertEnvelope(t *testing.T, got arrival) {
	t.Helper()
	var body struct {
		Error struct {
			Code    int
			Message string
			Errors  []struct{ Message, Domain, Reason string }
		}
	}
	require.NoError(t, json.Unmarshal([]byte(got.body), &body))
	assert.Equal(t, test.status, body.Error.Code)
	assert.NotEmpty(t, body.Error.Message)
	require.Len(t, body.Error.Errors, 1)
	assert.Equal(t, test.reason, body.Error.Errors[0].Reason)
	assert.Equal(t, body.Error.Message, body.Error.Errors[0].Message)
	assert.NotEmpty(t, body.Error.Errors[0].Domain)
	begin := "{\n  \"error\": {\n    \"code\":"
	if test.old {
		begin = "{\n \"error\": {\n  \"errors\":"
	}
	assert.True(t, strings.HasPrefix(got.body, begin), got.body)
	assert.Empty(t, got.header.Get("Retry-After"), "Google sends none")
}

// arrive makes one request, and gives up after patience.
func arrive(t *testing.T, c *http.Client, url string, patience time.Duration) arrival {
	t.Helper()
	var got arrival
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	begin := time.Now()
	req := request(t, url).WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		Got1xxResponse: func(int, textproto.MIMEHeader) error {
			got.hints++

			return nil
		},
	}))
	resp, err := c.Do(req)
	got.headers = time.Since(begin)
	if err != nil {
		got.err = err

		return got
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	got.status, got.header, got.length = resp.StatusCode, resp.Header, resp.ContentLength
	got.body, got.bodyErr, got.all = string(body), err, time.Since(begin)

	return got
}

// What net/http's client hides: the bytes behind the length that was said.
func TestWrongContentLengthSendsTheRest(t *testing.T) {
	t.Parallel()
	srv := newServer(t, googlebookstest.Config{})
	srv.Script("wrong-content-length")
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", srv.HTTPAddr)
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "GET "+comedyPath+" HTTP/1.1\r\nHost: localhost\r\n\r\n")
	require.NoError(t, err)

	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	rest, err := io.ReadAll(r)
	require.NoError(t, err)
	assert.NotEmpty(t, rest)
	assert.Equal(t, sample(t, "0486424618"), string(body)+string(rest))
}

// A client that asks for gzip gets a big answer in few bytes: only a limit on what is unpacked stops it.
func TestTenMegabytesPackWell(t *testing.T) {
	t.Parallel()
	srv := newServer(t, googlebookstest.Config{})
	srv.Script("10-mb")
	req := request(t, "http://"+srv.HTTPAddr+comedyPath)
	req.Header.Set("Accept-Encoding", "gzip")
	_, body := do(t, client(t, srv), req)
	assert.Less(t, len(body), 100<<10)
	z, err := gzip.NewReader(bytes.NewReader([]byte(body)))
	require.NoError(t, err)
	unpacked, err := io.ReadAll(z)
	require.NoError(t, err)
	assert.Greater(t, len(unpacked), 10<<20)
	assert.True(t, json.Valid(unpacked), "nothing is wrong with it but its size")
}

// Whatever waits is let go when the server closes; goleak finds what is not.
func TestCloseEndsFaultsThatWait(t *testing.T) {
	t.Parallel()
	for _, fault := range []string{"hang", "slow-headers", "slow-body", "ok"} {
		for _, scheme := range []string{"http", "https"} {
			t.Run(fault+" over "+scheme, func(t *testing.T) {
				t.Parallel()
				cfg := googlebookstest.Config{Options: googlebookstest.Options{Slow: time.Hour}}
				if fault == "ok" {
					cfg.Delay = time.Hour
				}
				srv := newServer(t, cfg)
				srv.Script(fault)
				addr := srv.HTTPAddr
				if scheme == "https" {
					addr = srv.HTTPSAddr
				}
				req, c := request(t, scheme+"://"+addr+comedyPath), client(t, srv)
				failed := make(chan error, 1)
				go func() {
					resp, err := c.Do(req)
					if err == nil {
						_, err = io.Copy(io.Discard, resp.Body)
						resp.Body.Close()
					}
					failed <- err
				}()
				require.Eventually(t, func() bool { return len(srv.Requests()) == 1 }, 20*time.Second, time.Millisecond)

				srv.Close()
				select {
				case err := <-failed:
					assert.Error(t, err)
				case <-time.After(20 * time.Second):
					assert.Fail(t, "the client still waits")
				}
			})
		}
	}
}

// The errors are Google's own, wherever one was recorded.
func TestErrorsAreAsRecorded(t *testing.T) {
	t.Parallel()
	folder := os.Getenv("GOOGLE_BOOKS_RECORDINGS")
	if folder == "" {
		t.Skip("GOOGLE_BOOKS_RECORDINGS names no folder")
	}
	tests := map[string]string{
		"400-required":          "400-missing-q.json",
		"400-query-required":    "400-empty-q.json",
		"400-invalid-parameter": "400-max-results-too-high.json",
		"400-api-key-invalid":   "400-api-key-invalid.json",
		"403-ssl-required":      "403-ssl-required.json",
		"403-unknown-location":  "403-unknown-location.json",
		"429-keyless":           "429-queries-per-day-anonymous-limit-0.json",
	}
	for fault, file := range tests {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			want, err := os.ReadFile(filepath.Join(folder, "errors", file))
			require.NoError(t, err)
			srv := newServer(t, googlebookstest.Config{})
			srv.Script(fault)
			_, got := get(t, srv, "http://"+srv.HTTPAddr+comedyPath)
			assert.JSONEq(t, string(want), got)
		})
	}
}

func TestFaultsHaveOneNameEach(t *testing.T) {
	t.Parallel()
	var names []string
	for _, fault := range googlebookstest.Faults() {
		names = append(names, fault.Name)
	}
	slices.Sort(names)
	assert.Equal(t, slices.Compact(slices.Clone(names)), names)
}
