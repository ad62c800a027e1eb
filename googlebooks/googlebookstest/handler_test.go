package googlebookstest_test

import (
	"bytes"
	"context"
	"log" //nolint:depguard // Config.Log is one
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/bookinfo/googlebooks/googlebookstest"
)

func TestAnswersAsGoogleDoes(t *testing.T) {
	t.Parallel()
	comedy := sample("0486424618")
	none := "{\n  \"kind\": \"books#volumes\",\n  \"totalItems\": 0\n}\n"
	keyless := googlebookstest.Config{RequireKey: true}
	oneKey := googlebookstest.Config{RequireKey: true, Keys: []string{"good"}}
	noPlain := googlebookstest.Config{RequireTLS: true}
	noMesh := googlebookstest.Config{RefuseMeshHeaders: true}
	tests := map[string]struct {
		cfg    googlebookstest.Config
		method string // GET if empty
		target string // comedyPath if empty
		header string // a header to send, with the value "any"
		tls    bool
		status int    // 200 if 0
		want   string // the body, or a part of it if the status is not 200
	}{
		"ISBN-10": {
			want: comedy,
		},
		"ISBN-13 of an ISBN-10 file": {
			target: volumesPath + "?q=isbn:978-0-486-42461-3",
			want:   comedy,
		},
		"ISBN-10 of an ISBN-13 file, in upper case": {
			target: volumesPath + "?q=ISBN%3A0141439513",
			want:   sample("9780141439518"),
		},
		"unknown ISBN": {
			target: volumesPath + "?q=isbn:9789999999991",
			want:   none,
		},
		"other query": {
			target: volumesPath + "?q=0486424618",
			want:   none,
		},
		"no q": {
			target: volumesPath,
			status: 400,
			want:   `"required"`,
		},
		"empty q": {
			target: volumesPath + "?q=",
			status: 400,
			want:   `"queryRequired"`,
		},
		"maxResults": {
			target: comedyPath + "&maxResults=40",
			want:   comedy,
		},
		"maxResults too high": {
			target: comedyPath + "&maxResults=41",
			status: 400,
			want:   `Invalid value '41'`,
		},
		"maxResults not a number": {
			target: comedyPath + `&maxResults="`,
			status: 400,
			want:   `Invalid value '\"'`,
		},
		"other path": {
			target: "/books/v1",
			status: 404,
			want:   "Error 404 (Not Found)!!1",
		},
		"other method": {
			method: http.MethodPost,
			status: 404,
			want:   "Error 404 (Not Found)!!1",
		},
		"no key": {
			cfg:    keyless,
			status: 429,
			want:   `"quota_limit_value": "0"`,
		},
		"no key and no q": {
			cfg:    keyless,
			target: volumesPath,
			status: 429,
			want:   "RATE_LIMIT_EXCEEDED",
		},
		"key in the URL": {
			cfg:    keyless,
			target: comedyPath + "&key=any",
			want:   comedy,
		},
		"key in the header": {
			cfg:    keyless,
			header: "X-Goog-Api-Key",
			want:   comedy,
		},
		"valid key": {
			cfg:    oneKey,
			target: comedyPath + "&key=good",
			want:   comedy,
		},
		"wrong key": {
			cfg:    oneKey,
			header: "X-Goog-Api-Key",
			status: 400,
			want:   "API_KEY_INVALID",
		},
		"plain HTTP": {
			cfg:    noPlain,
			status: 403,
			want:   `"sslRequired"`,
		},
		"TLS": {
			cfg:  noPlain,
			tls:  true,
			want: comedy,
		},
		"mesh header": {
			cfg:    noMesh,
			header: "x-envoy-peer-metadata",
			status: 400,
			want:   "headers about the caller's cluster: X-Envoy-Peer-Metadata\"",
		},
		"certificate of the caller": {
			cfg:    noMesh,
			header: "x-forwarded-client-cert",
			status: 400,
			want:   `"reason": "badRequest"`,
		},
		"mesh header, not refused": {
			header: "x-envoy-peer-metadata",
			want:   comedy,
		},
		"scheme": {
			cfg:    noMesh,
			header: "x-forwarded-proto",
			want:   comedy,
		},
		"name of the upstream": {
			cfg:    noMesh,
			header: "x-envoy-decorator-operation",
			want:   comedy,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := newServer(t, test.cfg)
			url := "http://" + srv.HTTPAddr
			if test.tls {
				url = "https://" + srv.HTTPSAddr
			}
			if test.target == "" {
				test.target = comedyPath
			}
			req := newRequest(t, url+test.target)
			req.Method = test.method
			if test.header != "" {
				req.Header.Set(test.header, "any")
			}
			resp, body := do(t, newClient(t, srv), req)

			wantType := "application/json; charset=UTF-8"
			switch test.status {
			case 0:
				assert.Equal(t, http.StatusOK, resp.StatusCode)
				assert.Equal(t, test.want, body)
			case http.StatusNotFound:
				wantType = "text/html; charset=UTF-8"
				fallthrough
			default:
				assert.Equal(t, test.status, resp.StatusCode)
				assert.Contains(t, body, test.want)
			}
			assert.Equal(t, wantType, resp.Header.Get("Content-Type"))
			assert.Equal(t, "ESF", resp.Header.Get("Server"))
			assert.Equal(t, []string{"Origin", "X-Origin", "Referer"}, resp.Header.Values("Vary"))
			assert.Contains(t, resp.Header.Get("Alt-Svc"), "h3=")
			assert.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"))
			assert.Equal(t, "SAMEORIGIN", resp.Header.Get("X-Frame-Options"))
			assert.Equal(t, "0", resp.Header.Get("X-Xss-Protection"))
			assert.Equal(t, int64(-1), resp.ContentLength, "Google sends no Content-Length")
		})
	}
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
	assert.PanicsWithError(t, `unknown fault "503"`, func() { srv.Script("reset", "503") })
	for _, want := range []int{503, 200, 429, 200, 200} {
		resp, _ := get(t, srv, comedyPath)
		assert.Equal(t, want, resp.StatusCode)
	}
}

func TestShares(t *testing.T) {
	t.Parallel()
	srv := newServer(t, googlebookstest.Config{
		Shares: []googlebookstest.Share{{"429-per-day", 50}, {"503-backend-failed", 50}},
	})
	seen := make(map[int]bool)
	for len(seen) < 2 { // ends, with a probability of 1 - 2^-1000
		resp, _ := get(t, srv, comedyPath)
		seen[resp.StatusCode] = true
		require.Less(t, len(srv.Requests()), 1000)
	}
	assert.Equal(t, map[int]bool{429: true, 503: true}, seen)

	srv.Script("ok")
	resp, _ := get(t, srv, comedyPath)
	assert.Equal(t, http.StatusOK, resp.StatusCode, "the script goes first")
}

func TestDelay(t *testing.T) {
	t.Parallel()
	const delay = 100 * time.Millisecond
	srv := newServer(t, googlebookstest.Config{Delay: delay})
	begin := time.Now()
	resp, _ := get(t, srv, comedyPath)
	assert.GreaterOrEqual(t, time.Since(begin), delay)
	assert.Equal(t, http.StatusOK, resp.StatusCode)
}

func TestRequests(t *testing.T) {
	t.Parallel()
	srv := newServer(t, googlebookstest.Config{})
	c := newClient(t, srv)
	c.Transport.(*http.Transport).DisableKeepAlives = false
	c.Transport.(*http.Transport).TLSClientConfig.ServerName = "www.googleapis.com"
	plain := newRequest(t, "http://"+srv.HTTPAddr+comedyPath)
	plain.Host = "www.googleapis.com"
	plain.Header.Set("X-Request-Id", "1")
	do(t, c, plain)
	do(t, c, newRequest(t, "https://"+srv.HTTPSAddr+"/a%2Fb"))
	do(t, c, newRequest(t, "https://"+srv.HTTPSAddr+"/c"))
	_, body := get(t, srv, "/healthz")
	assert.Equal(t, "ok\n", body)

	got := srv.Requests()
	require.Len(t, got, 3, "without the probe")
	assert.Equal(t, "GET", got[0].Method)
	assert.Equal(t, comedyPath, got[0].RequestURI)
	assert.Equal(t, "www.googleapis.com", got[0].Host)
	assert.Equal(t, "HTTP/1.1", got[0].Proto)
	assert.Equal(t, "1", got[0].Header.Get("X-Request-Id"))
	assert.False(t, got[0].TLS)
	assert.Empty(t, got[0].ServerName)

	assert.Equal(t, "/a%2Fb", got[1].RequestURI)
	assert.Equal(t, srv.HTTPSAddr, got[1].Host)
	assert.Equal(t, "HTTP/2.0", got[1].Proto)
	assert.True(t, got[1].TLS)
	assert.Equal(t, "www.googleapis.com", got[1].ServerName)
	assert.NotEqual(t, got[0].RemoteAddr, got[1].RemoteAddr)
	assert.Equal(t, got[1].RemoteAddr, got[2].RemoteAddr, "one connection")

	for range 1000 {
		srv.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	}
	got = srv.Requests()
	require.Len(t, got, 1000, "the oldest are dropped")
	assert.Equal(t, "/", got[0].RequestURI)
}

func TestLog(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		fault  string
		target string // comedyPath if empty
		header string // to send
		want   string
	}{
		"answer": {
			want: "GET " + comedyPath + " 200\n",
		},
		"no answer": {
			fault: "hang",
			want:  "GET " + comedyPath + " -\n",
		},
		"broken off": {
			fault: "cut",
			want:  "GET " + comedyPath + " 200 (cut)\n",
		},
		"key": {
			target: "/?a=1&key=secret&n=1",
			want:   "GET /?a=1&key=REDACTED&n=1 404\n",
		},
		"key in another spelling": {
			target: "/?KEY=secret&%6bey=secret&k%65y=secret&key",
			want:   "GET /?KEY=REDACTED&%6bey=REDACTED&k%65y=REDACTED&key=REDACTED 404\n",
		},
		"key behind a bad escape": {
			target: "/?k%zzy=secret",
			want:   "GET /?k%zzy=REDACTED 404\n",
		},
		// U+0085 ends a line; U+009B begins an escape sequence on some terminals.
		"forged line": {
			target: "/\"\u0085GET\u009b1m",
			want:   `GET /\"\u0085GET\u009b1m 404` + "\n",
		},
		"probe": {
			target: "/healthz",
			want:   "",
		},
		"mesh headers": {
			header: "X-Envoy-Attempt-Count",
			want:   "GET " + comedyPath + " 400 (X-Envoy-Attempt-Count)\n",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			srv := newServer(t, googlebookstest.Config{Log: log.New(&out, "", 0), RefuseMeshHeaders: true})
			if test.fault != "" {
				srv.Script(test.fault)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if test.fault == "hang" {
				cancel() // the client hangs up
			}
			req := httptest.NewRequestWithContext(ctx, http.MethodGet, comedyPath, nil)
			if test.target != "" {
				req.RequestURI, req.URL.Path = test.target, test.target
			}
			if test.header != "" {
				req.Header.Set(test.header, "any")
			}
			func() {
				defer func() { _ = recover() }() // http.ErrAbortHandler
				srv.ServeHTTP(httptest.NewRecorder(), req)
			}()
			assert.Equal(t, test.want, out.String())
		})
	}
}
