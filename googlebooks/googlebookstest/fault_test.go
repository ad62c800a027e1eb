package googlebookstest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/bookinfo/googlebooks/googlebookstest"
)

// slow is Config.Slow in the tests of faults.
const slow = 200 * time.Millisecond

// arrival is what a client got.
type arrival struct {
	status  int
	header  http.Header
	length  int64 // of Content-Length, -1 without it
	hints   int   // informational responses
	body    string
	bodyErr error
	err     error // if there was no response
	took    time.Duration
}

// TestFaults checks that each fault is on the wire what its Fault says.
func TestFaults(t *testing.T) {
	t.Parallel()
	names := make(map[string]bool)
	for _, fault := range googlebookstest.Faults() {
		assert.False(t, names[fault.Name], "two faults %s", fault.Name)
		names[fault.Name] = true
		assert.Less(t, len("  403-user-rate-limit-exceeded  "+fault.Doc), 80, fault.Doc)
		for _, proto := range []string{"HTTP/1.1", "HTTP/1.1 over TLS", "HTTP/2.0"} {
			t.Run(fault.Name+" over "+proto, func(t *testing.T) {
				t.Parallel()
				srv := newServer(t, googlebookstest.Config{Slow: slow})
				c, base := newClient(t, srv), "https://"+srv.HTTPSAddr
				switch proto {
				case "HTTP/1.1":
					base = "http://" + srv.HTTPAddr
				case "HTTP/1.1 over TLS":
					c.Transport.(*http.Transport).ForceAttemptHTTP2 = false
				}
				srv.Script(fault.Name)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if fault.Name == "hang" {
					go func() {
						for len(srv.Requests()) == 0 && ctx.Err() == nil {
							time.Sleep(time.Millisecond)
						}
						cancel() // the client hangs up
					}()
				}
				got := receive(ctx, t, c, base+comedyPath)
				assertArrival(t, fault, got, proto)
				if check := checks()[fault.Name]; check != nil {
					check(t, got)
				}

				next := receive(t.Context(), t, c, base+comedyPath)
				require.NoError(t, next.err, "the next request succeeds")
				assert.Equal(t, 200, next.status)
				require.Len(t, srv.Requests(), 2)
				assert.Equal(t, proto[:len("HTTP/1.1")], srv.Requests()[0].Proto)
			})
		}
	}
	for name := range checks() {
		assert.True(t, names[name], "no fault %s", name)
	}
}

func assertArrival(t *testing.T, fault googlebookstest.Fault, got arrival, proto string) {
	t.Helper()
	if want := noResponse()[fault.Name]; want != "" {
		assert.Zero(t, fault.Status)
		if proto == "HTTP/2.0" && fault.Name != "hang" {
			want = "INTERNAL_ERROR" // the stream is reset
		}
		assert.ErrorContains(t, got.err, want)
		return
	}
	require.NoError(t, got.err)
	if fault.Slow {
		assert.GreaterOrEqual(t, got.took, slow)
	}
	switch {
	case !fault.BrokenOff:
		assert.NoError(t, got.bodyErr)
	case proto == "HTTP/2.0":
		assert.Error(t, got.bodyErr)
	case fault.Name == "reset-body":
		assert.ErrorIs(t, got.bodyErr, syscall.ECONNRESET)
	default:
		assert.ErrorIs(t, got.bodyErr, io.ErrUnexpectedEOF)
	}
	if fault.Name != "slow-headers" { // its status comes late
		assert.Equal(t, fault.Status, got.status)
	}
	switch {
	case fault.Reason != "":
		assertGoogleError(t, fault, got)
	case fault.Words != "":
		assert.Equal(t, fault.Words, got.body)
		assert.Equal(t, "text/plain", got.header.Get("Content-Type"))
		assert.Equal(t, "envoy", got.header.Get("Server"))
		assert.Equal(t, int64(len(got.body)), got.length)
	case strings.HasSuffix(fault.Name, "-html"):
		assert.Equal(t, "text/html; charset=UTF-8", got.header.Get("Content-Type"))
		assert.True(t, strings.HasPrefix(got.body, "<!DOCTYPE html>"), got.body)
	case fault.Book:
		assert.True(t, json.Valid([]byte(got.body)), got.body)
		assert.Contains(t, got.body, `"identifier": "9780486424613"`)
	case fault.BrokenOff:
		comedy := sample("0486424618")
		assert.Equal(t, comedy[:len(comedy)/2], got.body)
	}
}

func assertGoogleError(t *testing.T, fault googlebookstest.Fault, got arrival) {
	t.Helper()
	var body struct {
		Error struct {
			Code    int
			Message string
			Errors  []struct{ Message, Domain, Reason string }
		}
	}
	require.NoError(t, json.Unmarshal([]byte(got.body), &body))
	assert.Equal(t, fault.Status, body.Error.Code)
	assert.NotEmpty(t, body.Error.Message)
	require.Len(t, body.Error.Errors, 1)
	assert.Equal(t, fault.Reason, body.Error.Errors[0].Reason)
	assert.Equal(t, body.Error.Message, body.Error.Errors[0].Message)
	assert.NotEmpty(t, body.Error.Errors[0].Domain)
	assert.Empty(t, got.header.Get("Retry-After"), "Google sends none")
}

// noResponse is the error of a client over HTTP/1.1, by fault.
func noResponse() map[string]string {
	return map[string]string{
		"close":    "EOF",
		"reset":    "connection reset by peer",
		"not-http": `malformed HTTP response "SSH-2.0-OpenSSH_9.9"`,
		"hang":     context.Canceled.Error(),
	}
}

// checks returns what the fields of a Fault do not tell.
func checks() map[string]func(t *testing.T, a arrival) {
	comedy := sample("0486424618")
	// inserted checks that the good answer follows members at its front.
	inserted := func(members string) func(t *testing.T, a arrival) {
		return func(t *testing.T, a arrival) {
			t.Helper()
			assert.Equal(t, "{"+members+","+comedy[1:], a.body)
		}
	}
	bodyIs := func(want string) func(t *testing.T, a arrival) {
		return func(t *testing.T, a arrival) {
			t.Helper()
			assert.Equal(t, want, a.body)
		}
	}
	lengthIs := func(want int) func(t *testing.T, a arrival) {
		return func(t *testing.T, a arrival) {
			t.Helper()
			assert.Equal(t, int64(want), a.length)
		}
	}
	contains := func(want string) func(t *testing.T, a arrival) {
		return func(t *testing.T, a arrival) {
			t.Helper()
			assert.Contains(t, a.body, want)
		}
	}
	return map[string]func(t *testing.T, a arrival){
		"ok":                        bodyIs(comedy),
		"400-api-key-invalid":       contains(`"API_KEY_INVALID"`),
		"403-access-not-configured": contains(`"SERVICE_DISABLED"`),
		"403-daily-limit-exceeded":  contains("{\n \"error\": {\n  \"errors\":"), // the old envelope
		"429-keyless":               contains(`"quota_limit_value": "0"`),
		"429-per-day":               contains(`"quota_limit_value": "1000"`),
		"429-per-minute":            contains(`"defaultPerMinutePerUser"`),
		"503-backend-failed":        contains("{\n  \"error\": {\n    \"code\":"),
		"500-html":                  contains("Error 500 (Server Error)!!1"),
		"502-empty":                 lengthIs(0),
		"202-accepted":              bodyIs(comedy),
		"206-partial-content":       bodyIs(comedy),
		"html":                      contains("Log in to this network."),
		"empty":                     lengthIs(0),
		"cut":                       lengthIs(len(comedy)),
		"cut-chunked":               lengthIs(-1),
		"reset-body":                contains(`"books#volumes"`),
		"wrong-content-length":      bodyIs(comedy[:len(comedy)/2]),
		"trailing-rubbish":          bodyIs(comedy + "}rubbish"),
		"deep-nesting":              inserted(`"nested": ` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000)),
		"invalid-utf-8":             inserted("\"bytes\": \"\xff\xfe\""),
		"lone-surrogate":            inserted(`"lone": "\ud800"`),
		"duplicate-keys":            inserted(`"totalItems": 0, "items": []`),
		"another-volume-odd-field":  contains(`, {"volumeInfo": {"title": "Odd", "pageCount": 80.0}}`),
		"slow-headers":              bodyIs(comedy),
		"slow-body":                 bodyIs(comedy),
		"10-mb": func(t *testing.T, a arrival) {
			t.Helper()
			assert.Len(t, a.body, 10<<20+len(`"padding": "",`)+len(comedy))
			assert.True(t, strings.HasPrefix(a.body, `{"padding": "xxx`))
			assert.True(t, strings.HasSuffix(a.body, `xxx",`+comedy[1:]), "only its size is wrong")
		},
		"redirect": func(t *testing.T, a arrival) {
			t.Helper()
			assert.Equal(t, "https://elsewhere.invalid"+comedyPath, a.header.Get("Location"))
		},
		"early-hints": func(t *testing.T, a arrival) {
			t.Helper()
			assert.Equal(t, 1, a.hints)
			assert.Empty(t, a.header.Get("Link"))
		},
	}
}

// receive makes one request.
func receive(ctx context.Context, t *testing.T, c *http.Client, url string) (got arrival) {
	t.Helper()
	begin := time.Now()
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		Got1xxResponse: func(int, textproto.MIMEHeader) error {
			got.hints++
			return nil
		},
	}), http.MethodGet, url, http.NoBody)
	require.NoError(t, err)
	resp, err := c.Do(req)
	if err != nil {
		got.err = err
		return got
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	got.status, got.header, got.length = resp.StatusCode, resp.Header, resp.ContentLength
	got.body, got.bodyErr, got.took = string(body), err, time.Since(begin)
	return got
}

// TestWrongContentLength reads what net/http's client hides: the bytes after the
// announced length.
func TestWrongContentLength(t *testing.T) {
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
	all, err := io.ReadAll(io.MultiReader(resp.Body, r))
	require.NoError(t, err)
	assert.Equal(t, sample("0486424618"), string(all))
}

// TestEgressPolicy compares the fault with the policy itself.
func TestEgressPolicy(t *testing.T) {
	t.Parallel()
	policy, err := os.ReadFile("../../deploy/books-only/virtual-service.yaml")
	require.NoError(t, err)
	for _, fault := range googlebookstest.Faults() {
		if fault.Name == "403-egress-policy" {
			assert.Contains(t, string(policy), strings.TrimSpace(fault.Words))
		}
	}
}

// TestCloseEndsFaultsThatWait relies on goleak for what Close leaves behind.
func TestCloseEndsFaultsThatWait(t *testing.T) {
	t.Parallel()
	for _, fault := range []string{"hang", "slow-headers", "slow-body", "ok"} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			cfg := googlebookstest.Config{Slow: time.Hour}
			if fault == "ok" {
				cfg.Delay = time.Hour
			}
			srv := newServer(t, cfg)
			srv.Script(fault)
			go func() {
				for len(srv.Requests()) == 0 {
					time.Sleep(time.Millisecond)
				}
				if fault != "slow-body" { // its headers come at once
					srv.Close()
				}
			}()
			resp, err := newClient(t, srv).Do(newRequest(t, "https://"+srv.HTTPSAddr+comedyPath))
			if fault == "slow-body" {
				require.NoError(t, err)
				defer resp.Body.Close()
				srv.Close()
				_, err = io.ReadAll(resp.Body)
			}
			assert.Error(t, err)
		})
	}
}
