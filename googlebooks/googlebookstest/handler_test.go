package googlebookstest_test

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"example.com/bookinfo/googlebooks/googlebookstest"
	"example.com/bookinfo/samples/volumes"
)

const (
	volumesPath = "/books/v1/volumes"
	comedyPath  = volumesPath + "?q=isbn:0486424618"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestHandlerAnswersAsGoogleDoes(t *testing.T) {
	t.Parallel()
	comedy := sample(t, "0486424618")
	none := "{\n  \"kind\": \"books#volumes\",\n  \"totalItems\": 0\n}\n"
	opts := map[string]googlebookstest.Options{
		"":           {},
		"RequireKey": {RequireKey: true},
		"Keys":       {RequireKey: true, Keys: []string{"good"}},
		"RequireTLS": {RequireTLS: true},
	}
	tests := map[string]struct {
		opts, method, target string
		header               map[string]string
		tls                  bool
		wantStatus           int
		want                 string // in the body; the whole body if it ends it
	}{
		"ISBN-10":                   {target: comedyPath, wantStatus: 200, want: comedy},
		"ISBN-13":                   {target: volumesPath + "?q=isbn:9780486424613", wantStatus: 200, want: comedy},
		"hyphens":                   {target: volumesPath + "?q=isbn:978-0-486-42461-3", wantStatus: 200, want: comedy},
		"ISBN-10 of a 13 file":      {target: volumesPath + "?q=isbn:0141439513", wantStatus: 200, want: sample(t, "9780141439518")},
		"escaped colon":             {target: volumesPath + "?q=isbn%3A0486424618", wantStatus: 200, want: comedy},
		"upper case":                {target: volumesPath + "?q=ISBN:0486424618", wantStatus: 200, want: comedy},
		"unknown ISBN":              {target: volumesPath + "?q=isbn:9789999999991", wantStatus: 200, want: none},
		"no ISBN":                   {target: volumesPath + "?q=isbn:hamlet", wantStatus: 200, want: none},
		"x in the middle":           {target: volumesPath + "?q=isbn:0486X24618", wantStatus: 200, want: none},
		"other query":               {target: volumesPath + "?q=turing", wantStatus: 200, want: none},
		"no q":                      {target: volumesPath, wantStatus: 400, want: `"required"`},
		"empty q":                   {target: volumesPath + "?q=", wantStatus: 400, want: `"queryRequired"`},
		"maxResults":                {target: comedyPath + "&maxResults=40", wantStatus: 200, want: comedy},
		"maxResults too high":       {target: comedyPath + "&maxResults=41", wantStatus: 400, want: `Invalid value '41'`},
		"maxResults not a number":   {target: comedyPath + "&maxResults=x", wantStatus: 400, want: `"invalidParameter"`},
		"other path":                {target: "/books/v1", wantStatus: 404, want: "Error 404 (Not Found)!!1"},
		"other method":              {method: "POST", target: comedyPath, wantStatus: 404, want: "Error 404 (Not Found)!!1"},
		"key not required":          {target: comedyPath + "&key=any", wantStatus: 200, want: comedy},
		"keyless":                   {opts: "RequireKey", target: comedyPath, wantStatus: 429, want: `"quota_limit_value": "0"`},
		"key in the URL":            {opts: "RequireKey", target: comedyPath + "&key=any", wantStatus: 200, want: comedy},
		"key in the header":         {opts: "RequireKey", target: comedyPath, header: map[string]string{"X-Goog-Api-Key": "any"}, wantStatus: 200, want: comedy},
		"valid key":                 {opts: "Keys", target: comedyPath + "&key=good", wantStatus: 200, want: comedy},
		"wrong key":                 {opts: "Keys", target: comedyPath + "&key=bad", wantStatus: 400, want: "API_KEY_INVALID"},
		"plain HTTP":                {opts: "RequireTLS", target: comedyPath, wantStatus: 403, want: `"sslRequired"`},
		"TLS":                       {opts: "RequireTLS", target: comedyPath, tls: true, wantStatus: 200, want: comedy},
		"no q, without a key":       {opts: "RequireKey", target: volumesPath, wantStatus: 429, want: "RATE_LIMIT_EXCEEDED"},
		"wrong path, without a key": {opts: "RequireKey", target: "/", wantStatus: 404, want: "Error 404"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := newServer(t, googlebookstest.Config{Options: opts[test.opts]})
			base := "http://" + srv.HTTPAddr
			if test.tls {
				base = "https://" + srv.HTTPSAddr
			}
			req := request(t, base+test.target)
			if test.method != "" {
				req.Method = test.method
			}
			for k, v := range test.header {
				req.Header.Set(k, v)
			}
			resp, body := do(t, client(t, srv), req)

			assert.Equal(t, test.wantStatus, resp.StatusCode)
			if test.wantStatus == http.StatusOK {
				assert.Equal(t, test.want, body)
			} else {
				assert.Contains(t, body, test.want)
			}
			wantType := "application/json; charset=UTF-8"
			if test.wantStatus == http.StatusNotFound {
				wantType = "text/html; charset=UTF-8"
			}
			assert.Equal(t, wantType, resp.Header.Get("Content-Type"))
			assert.Equal(t, "ESF", resp.Header.Get("Server"))
			assert.Equal(t, []string{"Origin", "X-Origin", "Referer"}, resp.Header.Values("Vary"))
			assert.Contains(t, resp.Header.Get("Alt-Svc"), "h3=")
			assert.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"))
			assert.Equal(t, "SAMEORIGIN", resp.Header.Get("X-Frame-Options"))
			assert.Equal(t, "0", resp.Header.Get("X-Xss-Protection"))
			assert.Empty(t, resp.Header.Get("Retry-After"), "Google sends none")
			assert.Equal(t, int64(-1), resp.ContentLength, "Google sends no Content-Length")
		})
	}
}

func TestHandlerPacksIfAsked(t *testing.T) {
	t.Parallel()
	srv := newServer(t, googlebookstest.Config{})
	tests := map[string]struct {
		acceptEncoding []string
		wantPacked     bool
	}{
		"nothing":        {nil, false},
		"identity":       {[]string{"identity"}, false},
		"gzip":           {[]string{"gzip"}, true},
		"among others":   {[]string{"br, GZIP;q=0.5"}, true},
		"in second line": {[]string{"br", "gzip"}, true},
		"refused":        {[]string{"gzip; q=0"}, false},
		"refused long":   {[]string{"gzip;q=0.000"}, false},
		"other coding":   {[]string{"xgzip"}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req := request(t, "http://"+srv.HTTPAddr+comedyPath)
			req.Header["Accept-Encoding"] = test.acceptEncoding
			resp, body := do(t, client(t, srv), req)
			if test.wantPacked {
				assert.Equal(t, "gzip", resp.Header.Get("Content-Encoding"))
				z, err := gzip.NewReader(bytes.NewReader([]byte(body)))
				require.NoError(t, err)
				unpacked, err := io.ReadAll(z)
				require.NoError(t, err)
				body = string(unpacked)
			} else {
				assert.Empty(t, resp.Header.Get("Content-Encoding"))
			}
			assert.Equal(t, sample(t, "0486424618"), body)
		})
	}
}

func TestNewHandlerRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		opts googlebookstest.Options
		want string
	}{
		"unknown fault": {
			googlebookstest.Options{Shares: []googlebookstest.Share{{"rest", 1}}}, `there is no fault named "rest"`,
		},
		"no share": {
			googlebookstest.Options{Shares: []googlebookstest.Share{{"reset", 0}}}, "fault reset: its share of 0 % is not above 0",
		},
		"not a share": {
			googlebookstest.Options{Shares: []googlebookstest.Share{{"reset", math.NaN()}}}, "is not above 0",
		},
		"more than all": {
			googlebookstest.Options{Shares: []googlebookstest.Share{{"reset", 60}, {"close", 60}}}, "add up to 120 %, more than 100",
		},
		"name is no ISBN": {
			googlebookstest.Options{Volumes: fstest.MapFS{"comedy.json": {}}}, "comedy.json is not named <ISBN>.json",
		},
		"one ISBN twice": {
			googlebookstest.Options{Volumes: fstest.MapFS{"0486424618.json": {}, "9780486424613.json": {}}}, "has the same ISBN",
		},
		"unreadable": {
			googlebookstest.Options{Volumes: os.DirFS(unreadable(t))}, "volumes: open 0486424618.json",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := googlebookstest.NewHandler(test.opts)
			require.ErrorContains(t, err, test.want)
			assert.Panics(t, func() { googlebookstest.NewServer(googlebookstest.Config{Options: test.opts}) })
		})
	}
}

// unreadable is a folder with a dangling link in the place of an answer.
func unreadable(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	require.NoError(t, os.Symlink("nowhere", filepath.Join(folder, "0486424618.json")))

	return folder
}

func TestVolumesAreServedByteForByte(t *testing.T) {
	t.Parallel()
	srv := newServer(t, googlebookstest.Config{Options: googlebookstest.Options{
		Volumes: fstest.MapFS{"072253955x.json": {Data: []byte("{not JSON")}, "README.md": {}},
	}})
	for _, isbn := range []string{"072253955X", "072253955x", "9780722539552"} {
		_, body := get(t, srv, "http://"+srv.HTTPAddr+volumesPath+"?q=isbn:"+isbn)
		assert.Equal(t, "{not JSON", body, isbn)
	}
}

func TestScriptThenAllIsWell(t *testing.T) {
	t.Parallel()
	srv := newServer(t, googlebookstest.Config{})
	srv.Script("503-backend-failed", "ok")
	srv.Script("429-per-day")
	for _, want := range []int{503, 200, 429, 200, 200} {
		resp, _ := get(t, srv, "http://"+srv.HTTPAddr+comedyPath)
		assert.Equal(t, want, resp.StatusCode)
	}
	assert.PanicsWithError(t, `there is no fault named "503"`, func() { srv.Script("reset", "503") })
	resp, _ := get(t, srv, "http://"+srv.HTTPAddr+comedyPath)
	assert.Equal(t, http.StatusOK, resp.StatusCode, "a refused script leaves nothing")
}

func TestSharesAreByChance(t *testing.T) {
	t.Parallel()
	srv := newServer(t, googlebookstest.Config{Options: googlebookstest.Options{
		Shares: []googlebookstest.Share{{"429-per-day", 50}, {"503-backend-failed", 50}},
	}})
	seen := make(map[int]bool)
	for len(seen) < 2 { // ends, but for one chance in 2^1000 that the recorder's bound stops it
		resp, _ := get(t, srv, "http://"+srv.HTTPAddr+comedyPath)
		seen[resp.StatusCode] = true
		require.Less(t, len(srv.Requests()), 1000)
	}
	assert.Equal(t, map[int]bool{429: true, 503: true}, seen)

	srv.Script("ok")
	resp, _ := get(t, srv, "http://"+srv.HTTPAddr+comedyPath)
	assert.Equal(t, http.StatusOK, resp.StatusCode, "the script goes before chance")
}

func TestRequestsTellWhatArrived(t *testing.T) {
	t.Parallel()
	srv := newServer(t, googlebookstest.Config{})
	c := client(t, srv)
	c.Transport.(*http.Transport).DisableKeepAlives = false
	c.Transport.(*http.Transport).TLSClientConfig.ServerName = "www.googleapis.com"

	plain := request(t, "http://"+srv.HTTPAddr+comedyPath)
	plain.Host = "www.googleapis.com"
	plain.Header.Set("X-Request-Id", "1")
	do(t, c, plain)
	do(t, c, request(t, "https://"+srv.HTTPSAddr+"/a%2Fb"))
	do(t, c, request(t, "https://"+srv.HTTPSAddr+"/c"))

	got := srv.Requests()
	require.Len(t, got, 3)
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
}

func TestRequestsAreBounded(t *testing.T) {
	t.Parallel()
	handler, err := googlebookstest.NewHandler(googlebookstest.Options{})
	require.NoError(t, err)
	for i := range 1001 {
		req := request(t, "http://localhost/")
		req.RequestURI = string(rune('a' + i%2))
		handler.ServeHTTP(discard{}, req)
	}
	got := handler.Requests()
	require.Len(t, got, 1000)
	assert.Equal(t, "b", got[0].RequestURI, "the oldest is gone")
	assert.Equal(t, "a", got[999].RequestURI)
}

// discard is an http.ResponseWriter that keeps nothing.
type discard struct{}

func (discard) Header() http.Header         { return make(http.Header) }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             {}

func TestDelay(t *testing.T) {
	t.Parallel()
	const delay = 100 * time.Millisecond
	srv := newServer(t, googlebookstest.Config{Options: googlebookstest.Options{Delay: delay}})
	begin := time.Now()
	resp, _ := get(t, srv, "http://"+srv.HTTPAddr+comedyPath)
	assert.GreaterOrEqual(t, time.Since(begin), delay)
	assert.Equal(t, http.StatusOK, resp.StatusCode)
}

func newServer(t *testing.T, cfg googlebookstest.Config) *googlebookstest.Server {
	t.Helper()
	srv := googlebookstest.NewServer(cfg)
	t.Cleanup(srv.Close)

	return srv
}

// client trusts the server, speaks HTTP/2 over TLS, and shows what arrives: no redirects, no unpacking, no connection kept.
func client(t *testing.T, srv *googlebookstest.Server) *http.Client {
	t.Helper()
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(srv.CAPEM))
	transport := &http.Transport{
		TLSClientConfig:    &tls.Config{RootCAs: roots},
		ForceAttemptHTTP2:  true,
		DisableCompression: true,
		DisableKeepAlives:  true,
	}
	t.Cleanup(transport.CloseIdleConnections)

	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       time.Minute,
	}
}

func request(t *testing.T, url string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	require.NoError(t, err)

	return req
}

func do(t *testing.T, c *http.Client, req *http.Request) (*http.Response, string) {
	t.Helper()
	resp, err := c.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)

	return resp, string(body)
}

func get(t *testing.T, srv *googlebookstest.Server, url string) (*http.Response, string) {
	t.Helper()

	return do(t, client(t, srv), request(t, url))
}

func sample(t *testing.T, isbn string) string {
	t.Helper()
	body, err := volumes.FS.ReadFile(isbn + ".json")
	require.NoError(t, err)

	return string(body)
}
