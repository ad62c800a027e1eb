package main

import (
	"cmp"
	"crypto/tls"
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/bookinfo/googlebooks/googlebookstest"
)

// What the answers to faults say.
const (
	noAnswer    = "in a mesh, is there a ServiceEntry for it?"
	unreadable  = "answered 200, but not with volumes that can be read"
	late        = "no whole answer from"
	googleFails = "a failure at Google; try again"
	notGoogle   = "not in Google's words"
)

// outcome is what becomes of a request while a fault lasts.
type outcome struct {
	status   int
	text     string // in the error; "": the book
	upstream int    // status in the log, 0: no answer
	tries    int
}

// TestFaults is every fault that the stand-in knows, three times in a row, over
// HTTPS and over plain HTTP, from a socket on one side to a socket on the
// other.
func TestFaults(t *testing.T) {
	// Short for the faults that use it up, and long enough for the others to
	// need no second try on a busy machine.
	budgets := map[string]time.Duration{"slow-headers": time.Second, "slow-body": time.Second, "hang": time.Second}
	final := func(upstream int, text string) outcome { return outcome{http.StatusBadGateway, text, upstream, 1} }
	book := outcome{status: http.StatusOK, upstream: http.StatusOK, tries: 1}
	want := map[string]outcome{
		"ok":                           book,
		"early-hints":                  book,
		"duplicate-keys":               book,
		"gzip-bad":                     book, // nobody asked for gzip, so that the header is not believed
		"400-required":                 final(400, "Google Books answered 400 required"),
		"400-query-required":           final(400, "Google Books answered 400 queryRequired"),
		"400-invalid-parameter":        final(400, "Google Books answered 400 invalidParameter"),
		"400-api-key-invalid":          final(400, "correct GOOGLE_BOOKS_API_KEY"),
		"403-ssl-required":             final(403, "DO_NOT_ENCRYPT=true works only where a sidecar originates TLS"),
		"403-unknown-location":         final(403, "set GOOGLE_BOOKS_COUNTRY"),
		"403-access-not-configured":    final(403, "enable the Books API"),
		"403-daily-limit-exceeded":     final(403, "Google Books answered 403 dailyLimitExceeded"),
		"403-user-rate-limit-exceeded": final(403, "Google Books answered 403 userRateLimitExceeded"),
		"404-not-found":                final(404, "Google Books answered 404 notFound"),
		"429-keyless":                  final(429, "set GOOGLE_BOOKS_API_KEY"),
		"429-per-day":                  final(429, "set GOOGLE_BOOKS_API_KEY"), // so it says while there is no key
		"429-per-minute":               final(429, "set GOOGLE_BOOKS_API_KEY"),
		"503-backend-failed":           {502, googleFails, 503, 3},
		"503-backend-failed-old":       {502, googleFails, 503, 3},
		"500-html":                     {502, googleFails, 500, 3},
		"502-html":                     {502, googleFails, 502, 3},
		"503-html":                     {502, googleFails, 503, 3},
		"504-html":                     {502, googleFails, 504, 3},
		"502-empty":                    {502, noAnswer, 502, 3},
		"503-envoy":                    {502, noAnswer, 503, 3},
		"close":                        {502, noAnswer, 0, 3},
		"reset":                        {502, noAnswer, 0, 3},
		"not-http":                     {502, noAnswer, 0, 3},
		"slow-headers":                 {504, late, 0, 2},
		"slow-body":                    {504, late, 200, 2},
		"hang":                         {504, late, 0, 2},
		"html":                         final(200, unreadable),
		"empty":                        final(200, unreadable),
		"cut":                          final(200, unreadable),
		"cut-chunked":                  final(200, unreadable),
		"wrong-content-length":         final(200, unreadable),
		"trailing-rubbish":             final(200, unreadable),
		"deep-nesting":                 final(200, unreadable),
		"10-mb":                        final(200, unreadable),
		"invalid-utf-8":                final(200, unreadable),
		"lone-surrogate":               final(200, unreadable),
		"gzip-cut":                     final(200, unreadable),
		"reset-body":                   final(200, unreadable),
		"redirect":                     final(302, notGoogle),
	}
	for _, fault := range googlebookstest.Faults() {
		for mode, pick := range map[string]func(https, plain map[string]string) map[string]string{
			"HTTPS":      func(https, _ map[string]string) map[string]string { return https },
			"plain HTTP": func(_, plain map[string]string) map[string]string { return plain },
		} {
			t.Run(fault.Name+" over "+mode, func(t *testing.T) {
				want, ok := want[fault.Name]
				require.True(t, ok, "nobody says what shall become of this fault")
				budget := cmp.Or(budgets[fault.Name], 6*time.Second)
				t.Setenv("GOOGLE_BOOKS_TIMEOUT", budget.String())
				google, https, plain := standIn(t, googlebookstest.Config{})
				google.Script(slices.Repeat([]string{fault.Name}, 3)...)
				p := start(t, pick(https, plain))
				begin := time.Now()
				status, body := get(t, p.url+"/details/0")
				took := time.Since(begin)
				assert.Zero(t, p.stop())
				assert.Less(t, took, budget+500*time.Millisecond)
				checkOutcome(t, want, status, body, p.logs)
				assert.Len(t, google.Requests(), want.tries)
			})
		}
	}
}

// checkOutcome compares an answer and the log of its program.
func checkOutcome(t *testing.T, want outcome, status int, body string, logs []map[string]any) {
	t.Helper()
	i := slices.IndexFunc(logs, func(line map[string]any) bool { return line["msg"] == "request" })
	require.GreaterOrEqual(t, i, 0)
	line := logs[i]
	assert.Equal(t, want.status, status)
	assert.InDelta(t, want.status, line["status"], 0)
	assert.InDelta(t, want.upstream, line["upstream_status"], 0)
	assert.InDelta(t, want.tries, line["tries"], 0)
	if want.text == "" {
		assert.Equal(t, comedy, body)
		assert.Equal(t, "INFO", line["level"])

		return
	}
	var answer map[string]string
	require.NoError(t, json.Unmarshal([]byte(body), &answer))
	assert.Contains(t, answer["error"], want.text)
	assert.Equal(t, answer["error"], line["error"], "the log says what the caller is told")
	assert.Equal(t, "ERROR", line["level"])
}

// TestTriesOverTheWire proves that a request fails only if three tries in a row
// do, whatever the two before were.
func TestTriesOverTheWire(t *testing.T) {
	for name, script := range map[string][]string{
		"reset and 503":       {"reset", "503-backend-failed"},
		"502 and close":       {"502-html", "close"},
		"empty 502 and Envoy": {"502-empty", "503-envoy"},
		"500 and 504":         {"500-html", "504-html"},
		"a hang alone":        {"hang"},
		"slow headers alone":  {"slow-headers"},
		"a slow body alone":   {"slow-body"},
		"a 503 and not HTTP":  {"503-html", "not-http"},
	} {
		t.Run(name, func(t *testing.T) {
			google, https, _ := standIn(t, googlebookstest.Config{})
			google.Script(script...)
			p := start(t, https)
			status, body := get(t, p.url+"/details/0")
			assert.Zero(t, p.stop())
			assert.Equal(t, http.StatusOK, status)
			assert.Equal(t, comedy, body)
			assert.Len(t, google.Requests(), len(script)+1)
		})
	}
}

// TestHandshakeFaults are the ways in which TLS cannot begin.
func TestHandshakeFaults(t *testing.T) {
	now := time.Now()
	for name, tc := range map[string]struct {
		cfg     googlebookstest.Config
		otherCA bool
		want    outcome
	}{
		"unknown CA":   {otherCA: true, want: outcome{502, "does not prove that it is Google", 0, 1}},
		"expired":      {cfg: googlebookstest.Config{Leaf: googlebookstest.Leaf{NotBefore: now.Add(-2 * time.Hour), NotAfter: now.Add(-time.Hour)}}, want: outcome{502, "expired", 0, 1}},
		"not yet":      {cfg: googlebookstest.Config{Leaf: googlebookstest.Leaf{NotBefore: now.Add(time.Hour), NotAfter: now.Add(2 * time.Hour)}}, want: outcome{502, "not yet valid", 0, 1}},
		"another name": {cfg: googlebookstest.Config{Leaf: googlebookstest.Leaf{Names: []string{"books.example"}}}, want: outcome{502, "does not prove that it is Google", 0, 1}},
		"TLS 1.1":      {cfg: googlebookstest.Config{MaxTLSVersion: tls.VersionTLS11}, want: outcome{502, noAnswer, 0, 3}},
	} {
		t.Run(name, func(t *testing.T) {
			google, https, _ := standIn(t, tc.cfg)
			if tc.otherCA {
				_, other, _ := standIn(t, googlebookstest.Config{})
				https["GOOGLE_BOOKS_CA_FILE"] = other["GOOGLE_BOOKS_CA_FILE"]
			}
			p := start(t, https)
			status, body := get(t, p.url+"/details/0")
			assert.Zero(t, p.stop())
			checkOutcome(t, tc.want, status, body, p.logs)
			assert.Empty(t, google.Requests(), "nothing is said to whom one does not trust")
		})
	}
}

// TestNobodyThere are the ways in which there is no connection, or to the wrong
// one: HTTPS to a port of plain HTTP, plain HTTP to a port of TLS.
func TestNobodyThere(t *testing.T) {
	closed, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	google, https, plain := standIn(t, googlebookstest.Config{})
	with := func(env map[string]string, host string) map[string]string {
		env = maps.Clone(env)
		env["GOOGLE_BOOKS_HOST"] = host

		return env
	}
	for name, tc := range map[string]struct {
		env  map[string]string
		want outcome
	}{
		"refused, HTTPS":      {with(https, closed.Addr().String()), outcome{502, "nothing answered for " + closed.Addr().String() + "; " + noAnswer, 0, 3}},
		"refused, plain HTTP": {with(plain, closed.Addr().String()), outcome{502, "nothing answered for " + closed.Addr().String() + "; " + noAnswer, 0, 3}},
		"HTTPS to plain HTTP": {with(https, google.HTTPAddr), outcome{502, "does not speak TLS; does a sidecar originate TLS a second time?", 0, 1}},
		"plain HTTP to HTTPS": {with(plain, google.HTTPSAddr), outcome{502, notGoogle, 400, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, tc.env)
			status, body := get(t, p.url+"/details/0")
			assert.Zero(t, p.stop())
			checkOutcome(t, tc.want, status, body, p.logs)
		})
	}
}
