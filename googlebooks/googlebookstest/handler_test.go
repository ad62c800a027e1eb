package googlebookstest_test

import (
	"bytes"
	"context"
	"log" //nolint:depguard // Config.Log is one
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/bookinfo/googlebooks/googlebookstest"
)

func TestQueries(t *testing.T) {
	t.Parallel()
	comedy := sample("0486424618")
	none := "{\n  \"kind\": \"books#volumes\",\n  \"totalItems\": 0\n}\n"
	srv := newServer(t, googlebookstest.Config{})
	for query, want := range map[string]string{ // the whole answer, or a part of an error
		"q=isbn:0486424618":        comedy,
		"q=isbn:978-0-486-42461-3": comedy,
		"q=ISBN%3A0141439513":      sample("9780141439518"),
		"q=isbn:9789999999991":     none,
		"q=0486424618":             none,
		"q=intitle:0486424618":     none,
		"":                         `"required"`,
		"q=":                       `"queryRequired"`,
	} {
		resp, body := get(t, srv, volumesPath+"?"+query)
		if strings.HasPrefix(want, "{") {
			assert.Equal(t, http.StatusOK, resp.StatusCode, query)
			assert.Equal(t, want, body, query)
		} else {
			assert.Equal(t, http.StatusBadRequest, resp.StatusCode, query)
			assert.Contains(t, body, want, query)
		}
		assert.Equal(t, "application/json; charset=UTF-8", resp.Header.Get("Content-Type"))
		assert.Equal(t, "ESF", resp.Header.Get("Server"))
		assert.Equal(t, []string{"Origin", "X-Origin", "Referer"}, resp.Header.Values("Vary"))
		assert.Contains(t, resp.Header.Get("Alt-Svc"), "h3=")
		assert.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"))
		assert.Equal(t, "SAMEORIGIN", resp.Header.Get("X-Frame-Options"))
		assert.Equal(t, "0", resp.Header.Get("X-Xss-Protection"))
		assert.Equal(t, int64(-1), resp.ContentLength, "Google sends no Content-Length")
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	const book = "9780486424613"
	keyless := newServer(t, googlebookstest.Config{RequireKey: true})
	oneKey := newServer(t, googlebookstest.Config{Keys: []string{"good"}})
	noPlain := newServer(t, googlebookstest.Config{RequireTLS: true})
	noMesh := newServer(t, googlebookstest.Config{RefuseMeshHeaders: true})
	for srv, tests := range map[*googlebookstest.Server]map[string]string{
		keyless: { // a part of the body by method, target and header
			"GET /books/v1":                         "Error 404 (Not Found)!!1",
			"POST " + comedyPath:                    "Error 404 (Not Found)!!1",
			"GET " + comedyPath:                     `"quota_limit_value": "0"`,
			"GET " + comedyPath + "&key=any":        book,
			"GET " + comedyPath + " X-Goog-Api-Key": book,
		},
		oneKey: {
			"GET " + comedyPath + "&key=good":       book,
			"GET " + comedyPath + " X-Goog-Api-Key": "API_KEY_INVALID",
		},
		noPlain: {
			"GET " + comedyPath: `"sslRequired"`,
		},
		noMesh: {
			"GET " + comedyPath + " X-Envoy-Peer-Metadata":       "the caller's cluster: X-Envoy-Peer-Metadata\"",
			"GET " + comedyPath + " X-Forwarded-Client-Cert":     "the caller's cluster: X-Forwarded-Client-Cert\"",
			"GET " + comedyPath + " X-Forwarded-Proto":           book,
			"GET " + comedyPath + " X-Envoy-Decorator-Operation": book,
		},
	} {
		for request, want := range tests {
			fields := append(strings.Fields(request), "Accept")
			req := newRequest(t, "http://"+srv.HTTPAddr+fields[1])
			req.Method = fields[0]
			req.Header.Set(fields[2], "any")
			_, body := do(t, newClient(t, srv), req)
			assert.Contains(t, body, want, request)
		}
	}
	_, body := do(t, newClient(t, noPlain), newRequest(t, "https://"+noPlain.HTTPSAddr+comedyPath))
	assert.Contains(t, body, book)
	_, body = do(t, newClient(t, noPlain), newRequest(t, "http://"+noPlain.HTTPSAddr+comedyPath))
	assert.Equal(t, "Client sent an HTTP request to an HTTPS server.\n", body)
}

// TestErrorsAreAsRecorded compares the errors with Google's own.
func TestErrorsAreAsRecorded(t *testing.T) {
	t.Parallel()
	folder := os.Getenv("GOOGLE_BOOKS_RECORDINGS")
	if folder == "" {
		t.Skip("GOOGLE_BOOKS_RECORDINGS is not set")
	}
	for fault, file := range map[string]string{
		"400-required":          "400-missing-q.json",
		"400-query-required":    "400-empty-q.json",
		"400-invalid-parameter": "400-max-results-too-high.json",
		"400-api-key-invalid":   "400-api-key-invalid.json",
		"403-ssl-required":      "403-ssl-required.json",
		"403-unknown-location":  "403-unknown-location.json",
		"429-keyless":           "429-queries-per-day-anonymous-limit-0.json",
	} {
		want, err := os.ReadFile(filepath.Join(folder, "errors", file))
		require.NoError(t, err)
		srv := newServer(t, googlebookstest.Config{})
		srv.Script(fault)
		_, got := get(t, srv, comedyPath)
		assert.JSONEq(t, string(want), got, fault)
	}
}

func TestScript(t *testing.T) {
	t.Parallel()
	srv := newServer(t, googlebookstest.Config{})
	srv.Script("reset", "reset")
	srv.Script("503-backend-failed", "ok", "429-per-day")
	assert.PanicsWithValue(t, `googlebookstest: unknown fault "503"`, func() { srv.Script("reset", "503") })
	for _, want := range []int{503, 200, 429, 200, 200} {
		resp, _ := get(t, srv, comedyPath)
		assert.Equal(t, want, resp.StatusCode)
	}
}

func TestShares(t *testing.T) {
	t.Parallel()
	shares, err := googlebookstest.ParseShares("429-per-day:50%, 503-backend-failed:50")
	require.NoError(t, err)
	srv := newServer(t, googlebookstest.Config{Shares: shares})
	seen := make(map[int]bool)
	for len(seen) < 2 && len(srv.Requests()) < 1000 { // ends early, with a probability of 1 - 2^-1000
		resp, _ := get(t, srv, comedyPath)
		seen[resp.StatusCode] = true
	}
	assert.Equal(t, map[int]bool{429: true, 503: true}, seen)
	srv.Script("ok")
	resp, _ := get(t, srv, comedyPath)
	assert.Equal(t, http.StatusOK, resp.StatusCode, "the script goes first")

	shares, err = googlebookstest.ParseShares("reset")
	require.NoError(t, err)
	assert.InDelta(t, 100, shares[0].Percent, 0)
	for text, want := range map[string]string{
		"":                   `unknown fault ""`,
		"rest:1":             `unknown fault "rest"`,
		"reset:abc":          `invalid percentage "abc": want a number above 0`,
		"reset:0":            `invalid percentage "0": want a number above 0`,
		"reset:NaN":          `invalid percentage "NaN": want a number above 0`,
		"reset:60, close:60": "the percentages add up to 120: want at most 100",
	} {
		_, err := googlebookstest.ParseShares(text)
		assert.EqualError(t, err, want)
	}
}

// TestRequests checks what is recorded. That it is complete is tested with the
// client of the service.
func TestRequests(t *testing.T) {
	t.Parallel()
	srv := newServer(t, googlebookstest.Config{})
	_, body := get(t, srv, "/healthz")
	assert.Equal(t, "ok\n", body)
	get(t, srv, comedyPath)
	assert.Len(t, srv.Requests(), 1, "without the probe")

	program, err := googlebookstest.Start(googlebookstest.Config{})
	require.NoError(t, err)
	defer program.Close()
	get(t, program, comedyPath)
	assert.Empty(t, program.Requests(), "a program records nothing")
}

func TestLog(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	srv := newServer(t, googlebookstest.Config{Log: log.New(&out, "", 0), RefuseMeshHeaders: true})
	ctx, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	logged := func(target, header string) string {
		req := httptest.NewRequestWithContext(ctx, http.MethodGet, comedyPath, nil)
		req.RequestURI = target
		req.Header.Set(header, "any")
		out.Reset()
		func() {
			defer func() { _ = recover() }() // http.ErrAbortHandler
			srv.ServeHTTP(httptest.NewRecorder(), req)
		}()
		return out.String()
	}
	for target, want := range map[string]string{
		comedyPath:             comedyPath,
		"/?a=1&key=secret&n=1": "/?a=1&key=REDACTED&n=1",
		"/?KEY=secret&%6bey=secret&k%65y=secret&key": "/?KEY=REDACTED&%6bey=REDACTED&k%65y=REDACTED&key=REDACTED",
		"/?k%zzy=secret": "/?k%zzy=REDACTED",
		// U+0085 ends a line; U+009B begins an escape sequence on some terminals.
		"/\"\u0085GET\u009b1m": `/\"\u0085GET\u009b1m`,
	} {
		assert.Equal(t, "GET "+want+" 200\n", logged(target, "Accept"))
	}
	assert.Equal(t, "GET / 400 (X-Envoy-Attempt-Count)\n", logged("/", "X-Envoy-Attempt-Count"))
	srv.Script("cut", "hang")
	assert.Equal(t, "GET / 200 (cut)\n", logged("/", "Accept"))
	hangUp()
	assert.Equal(t, "GET / -\n", logged("/", "Accept"))
}
