package googlebookstest_test

import (
	"encoding/json"
	"errors"
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
}

// TestFaults checks that each fault is on the wire what its Fault says.
func TestFaults(t *testing.T) {
	t.Parallel()
	names, wholes := make(map[string]bool), bodies()
	for _, fault := range googlebookstest.Faults() {
		assert.False(t, names[fault.Name], "two faults %s", fault.Name)
		names[fault.Name] = true
		if fault.Name == "hang" {
			continue // see TestCloseEndsFaultsThatWait
		}
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
				got := receive(t, c, base+comedyPath)
				assertArrival(t, fault, got, proto, wholes)
				next := receive(t, c, base+comedyPath)
				require.NoError(t, next.err, "the next request succeeds")
				assert.Equal(t, 200, next.status)
				require.Len(t, srv.Requests(), 2)
				assert.Equal(t, proto[:len("HTTP/1.1")], srv.Requests()[0].Proto)
			})
		}
	}
}

func assertArrival(t *testing.T, fault googlebookstest.Fault, got arrival, proto string, wholes map[string]string) {
	t.Helper()
	if want := noResponse()[fault.Name]; want != "" {
		assert.Zero(t, fault.Status)
		if proto == "HTTP/2.0" {
			want = "INTERNAL_ERROR" // the stream is reset
		}
		assert.ErrorContains(t, got.err, want)
		return
	}
	require.NoError(t, got.err)
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
	want, whole := wholes[fault.Name]
	switch {
	case whole:
		if want != got.body {
			assert.Fail(t, "another body", "%.100s", got.body) // Equal would print up to 20 MB
		}
	case fault.Reason != "":
		assertGoogleError(t, fault, got)
	case fault.Words != "":
		assert.Equal(t, fault.Words, got.body)
		assert.Equal(t, "text/plain", got.header.Get("Content-Type"))
		assert.Equal(t, "envoy", got.header.Get("Server"))
		assert.Equal(t, int64(len(got.body)), got.length)
	case strings.HasSuffix(fault.Name, "html"):
		assert.Equal(t, "text/html; charset=UTF-8", got.header.Get("Content-Type"))
		assert.True(t, strings.HasPrefix(got.body, "<!DOCTYPE html>"), got.body)
	case fault.Book:
		assert.True(t, json.Valid([]byte(got.body)), got.body)
		assert.Contains(t, got.body, `"identifier": "9780486424613"`)
	}
	assert.Contains(t, got.body, parts()[fault.Name])
	lengths := map[string]int{"502-empty": 0, "empty": 0, "cut": len(wholes["ok"]), "cut-chunked": -1}
	if want, ok := lengths[fault.Name]; ok {
		assert.Equal(t, int64(want), got.length)
	}
	if fault.Name == "redirect" {
		assert.Equal(t, "https://elsewhere.invalid"+comedyPath, got.header.Get("Location"))
	}
	if fault.Name == "early-hints" {
		assert.Equal(t, 1, got.hints)
		assert.Empty(t, got.header.Get("Link"))
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
	require.Len(t, body.Error.Errors, 1)
	assert.Equal(t, fault.Reason, body.Error.Errors[0].Reason)
	assert.NotEmpty(t, body.Error.Message)
	assert.Equal(t, body.Error.Message, body.Error.Errors[0].Message)
	assert.NotEmpty(t, body.Error.Errors[0].Domain)
}

// noResponse is the error of a client over HTTP/1.1, by fault.
func noResponse() map[string]string {
	return map[string]string{
		"close":    "EOF",
		"reset":    "connection reset by peer",
		"not-http": `malformed HTTP response "SSH-2.0-OpenSSH_9.9"`,
	}
}

// bodies are the whole bodies of some faults.
func bodies() map[string]string {
	comedy := sample("0486424618")
	half := comedy[:len(comedy)/2]
	after := func(members string) string { return "{" + members + "," + comedy[1:] }
	return map[string]string{
		"ok":                   comedy,
		"202-accepted":         comedy,
		"206-partial-content":  comedy,
		"empty":                "",
		"wrong-content-length": half,
		"trailing-rubbish":     comedy + "}rubbish",
		"deep-nesting":         after(`"nested": ` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000)),
		"10-mb":                after(`"padding": "` + strings.Repeat("x", 10<<20) + `"`),
		"invalid-utf-8":        after("\"bytes\": \"\xff\xfe\""),
		"lone-surrogate":       after(`"lone": "\ud800"`),
		"duplicate-keys":       after(`"totalItems": 0, "items": []`),
		"cut":                  half,
		"cut-chunked":          half,
		"reset-body":           half,
		"slow-headers":         comedy,
		"slow-body":            comedy,
	}
}

// parts are in the bodies of other faults.
func parts() map[string]string {
	return map[string]string{
		"400-api-key-invalid":       `"API_KEY_INVALID"`,
		"403-access-not-configured": `"SERVICE_DISABLED"`,
		"403-daily-limit-exceeded":  "{\n  \"error\": {\n    \"errors\":", // the old envelope
		"429-keyless":               `"quota_limit_value": "0"`,
		"429-per-day":               `"quota_limit_value": "1000"`,
		"429-per-minute":            `"defaultPerMinutePerUser"`,
		"500-html":                  "Error 500 (Server Error)!!1",
		"html":                      "Log in to this network.",
		"another-volume-odd-field":  `, {"volumeInfo": {"title": "Odd", "pageCount": 80.0}}`,
	}
}

// receive makes one request.
func receive(t *testing.T, c *http.Client, url string) (got arrival) {
	t.Helper()
	resp, err := c.Do(newRequest(t, url).WithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(int, textproto.MIMEHeader) error {
			got.hints++
			return nil
		},
	})))
	if err != nil {
		got.err = err
		return got
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	got.status, got.header, got.length = resp.StatusCode, resp.Header, resp.ContentLength
	got.body, got.bodyErr = string(body), err
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
	response, err := io.ReadAll(conn)
	require.NoError(t, err)
	assert.Contains(t, string(response), "\r\n\r\n"+sample("0486424618"))
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
	for _, fault := range []string{"hang", "slow-headers", "slow-body"} {
		srv := newServer(t, googlebookstest.Config{Slow: time.Hour})
		srv.Script(fault)
		go func() {
			for len(srv.Requests()) == 0 {
				time.Sleep(time.Millisecond)
			}
			srv.Close()
		}()
		got := receive(t, newClient(t, srv), "https://"+srv.HTTPSAddr+comedyPath)
		assert.Error(t, errors.Join(got.err, got.bodyErr), fault)
	}
}
