package googlebooks

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/bookinfo/googlebooks/googlebookstest"
)

const comedyURL = "https://www.googleapis.com/books/v1/volumes?q=isbn:0486424618"

// mockClient is a client whose calls all get this answer; the transport counts
// them.
func mockClient(t *testing.T, cfg Config, answer httpmock.Responder) (*Client, *httpmock.MockTransport) {
	t.Helper()
	transport := httpmock.NewMockTransport()
	transport.RegisterNoResponder(answer)
	cfg.Transport = transport
	c, err := New(cfg)
	require.NoError(t, err)

	return c, transport
}

func TestVolume(t *testing.T) {
	t.Parallel()
	c, transport := mockClient(t, Config{}, nil)
	transport.RegisterResponder(http.MethodGet, comedyURL, httpmock.NewStringResponder(http.StatusOK, comedy))
	got, err := c.Volume(t.Context(), "0486424618", nil)
	require.NoError(t, err)
	assert.Equal(t, comedyVolume(), got)
}

// TestOnTheWire has real servers tell what arrives there.
func TestOnTheWire(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		cfg    Config
		header http.Header
		want   func(t *testing.T, r googlebookstest.Request)
	}{
		"HTTPS": {
			want: func(t *testing.T, r googlebookstest.Request) {
				t.Helper()
				assert.True(t, r.TLS)
				assert.Equal(t, "www.googleapis.com", r.ServerName)
				assert.Equal(t, "HTTP/2.0", r.Proto)
			},
		},
		"plain HTTP": {
			cfg: Config{PlainHTTP: true},
			want: func(t *testing.T, r googlebookstest.Request) {
				t.Helper()
				assert.False(t, r.TLS)
				assert.Equal(t, "HTTP/1.1", r.Proto)
			},
		},
		"default port given": {cfg: Config{Host: "www.googleapis.com:443"}},
		"key": {
			cfg: Config{APIKey: "s3cret"},
			want: func(t *testing.T, r googlebookstest.Request) {
				t.Helper()
				assert.Equal(t, []string{"s3cret"}, r.Header["X-Goog-Api-Key"])
			},
		},
		"no key": {
			want: func(t *testing.T, r googlebookstest.Request) {
				t.Helper()
				assert.NotContains(t, r.Header, "X-Goog-Api-Key")
			},
		},
		"header": {
			cfg:    Config{UserAgent: "details/1"},
			header: http.Header{"Traceparent": {"00-1-2-01"}, "X-Request-Id": {"a", "b"}},
			want: func(t *testing.T, r googlebookstest.Request) {
				t.Helper()
				assert.Equal(t, []string{"00-1-2-01"}, r.Header["Traceparent"])
				assert.Equal(t, []string{"a", "b"}, r.Header["X-Request-Id"])
				assert.Equal(t, []string{"details/1"}, r.Header["User-Agent"])
			},
		},
		"user agent of the caller": {
			cfg:    Config{UserAgent: "details/1"},
			header: http.Header{"User-Agent": {"curl/8"}},
			want: func(t *testing.T, r googlebookstest.Request) {
				t.Helper()
				assert.Equal(t, []string{"curl/8"}, r.Header["User-Agent"])
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			google := googlebookstest.NewServer(googlebookstest.Config{})
			defer google.Close()
			c := dialing(t, tc.cfg, google)
			v, err := c.Volume(t.Context(), "0486424618", tc.header)
			require.NoError(t, err)
			assert.Equal(t, int64(53), *v.PageCount)

			requests := google.Requests()
			require.Len(t, requests, 1)
			assert.Equal(t, http.MethodGet, requests[0].Method)
			assert.Equal(t, "/books/v1/volumes?q=isbn:0486424618", requests[0].RequestURI, "the colon as it is, nothing else")
			assert.Equal(t, "www.googleapis.com", requests[0].Host, "no port")
			if tc.want != nil {
				tc.want(t, requests[0])
			}
		})
	}
}

// dialing is a client that means www.googleapis.com and reaches the stand-in,
// over the transport that it would use for Google.
func dialing(t *testing.T, cfg Config, google *googlebookstest.Server) *Client {
	t.Helper()
	cfg.RootCAs = x509.NewCertPool()
	require.True(t, cfg.RootCAs.AppendCertsFromPEM(google.CAPEM))
	c, err := New(cfg)
	require.NoError(t, err)
	transport, ok := c.transport.(*http.Transport)
	require.True(t, ok)
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		standIn := map[string]string{"www.googleapis.com:80": google.HTTPAddr, "www.googleapis.com:443": google.HTTPSAddr}

		return new(net.Dialer).DialContext(ctx, network, standIn[address])
	}
	t.Cleanup(transport.CloseIdleConnections)

	return c
}

func TestCountry(t *testing.T) {
	t.Parallel()
	c, transport := mockClient(t, Config{Country: "DK"}, nil)
	transport.RegisterResponder(http.MethodGet, comedyURL+"&country=DK", httpmock.NewStringResponder(http.StatusOK, comedy))
	_, err := c.Volume(t.Context(), "0486424618", nil)
	require.NoError(t, err)
}

func TestConnectionsAreKeptForASecond(t *testing.T) {
	t.Parallel()
	google := googlebookstest.NewServer(googlebookstest.Config{})
	defer google.Close()
	c := dialing(t, Config{PlainHTTP: true}, google)
	for i := range 3 {
		if i == 2 {
			time.Sleep(idleTimeout + 300*time.Millisecond)
		}
		_, err := c.Volume(t.Context(), "0486424618", nil)
		require.NoError(t, err)
	}
	requests := google.Requests()
	require.Len(t, requests, 3)
	assert.Equal(t, requests[0].RemoteAddr, requests[1].RemoteAddr, "at once: the same connection")
	assert.NotEqual(t, requests[1].RemoteAddr, requests[2].RemoteAddr, "later: a new one")
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"http://x", "a/b", "a b", "user@host", "::1", ":443", "a?b", "host:port", "host:", "host:0", "host:65536", "[::1]:0"} {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			_, err := New(Config{Host: host})
			assert.ErrorContains(t, err, "is no host or host:port")
		})
	}
}

func TestUpstream(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		cfg  Config
		want string
	}{
		"default":      {Config{}, "www.googleapis.com:443"},
		"plain HTTP":   {Config{PlainHTTP: true}, "www.googleapis.com:80"},
		"another host": {Config{Host: "localhost:8443"}, "localhost:8443"},
		"IPv6":         {Config{Host: "[::1]"}, "[::1]:443"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := New(tc.cfg)
			require.NoError(t, err)
			assert.Equal(t, tc.want, c.Upstream())
		})
	}
}

// googleError is the newer of Google's two envelopes.
func googleError(reason, message, details string) string {
	return `{"error":{"code":1,"message":"` + message + `","errors":[{"message":"m","domain":"global","reason":"` + reason +
		`"}],"status":"STATUS","details":[` + details + `]}}`
}

func TestErrors(t *testing.T) {
	t.Parallel()
	const (
		quota     = `{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"RATE_LIMIT_EXCEEDED","metadata":{"quota_limit":`
		noService = "nothing answered for www.googleapis.com:443; in a mesh, is there a ServiceEntry for it?"
	)
	for name, tc := range map[string]struct {
		key     string
		status  int
		body    string
		reason  string
		message string
	}{
		"no key": {
			status: 429, body: googleError("rateLimitExceeded", "Quota exceeded", quota+`"defaultPerDayPerProject"}}`), reason: "rateLimitExceeded",
			message: "Google Books answered 429 rateLimitExceeded: it refuses calls without an API key; set GOOGLE_BOOKS_API_KEY",
		},
		"the day's quota is spent": {
			key: "k3y", status: 429, body: googleError("rateLimitExceeded", "Quota exceeded", quota+`"defaultPerDayPerProject"}}`), reason: "rateLimitExceeded",
			message: "until midnight Pacific time",
		},
		"the minute's quota is spent": {
			key: "k3y", status: 429, body: googleError("rateLimitExceeded", "Quota exceeded", quota+`"defaultPerMinutePerUser"}}`), reason: "rateLimitExceeded",
			message: "try again in one",
		},
		"a wrong key": {
			key: "k3y", status: 400, body: googleError("badRequest", "API key not valid.", `{"reason":"API_KEY_INVALID"}`), reason: "API_KEY_INVALID",
			message: "Google Books answered 400 API_KEY_INVALID: it does not know the API key; correct GOOGLE_BOOKS_API_KEY",
		},
		"the API is not enabled": {
			key: "k3y", status: 403, body: googleError("accessNotConfigured", "x", ""), reason: "accessNotConfigured",
			message: "enable the Books API for the project of GOOGLE_BOOKS_API_KEY",
		},
		"plain HTTP": {
			status: 403, body: googleError("sslRequired", "SSL is required to perform this operation.", ""), reason: "sslRequired",
			message: "it refuses plain HTTP; DO_NOT_ENCRYPT=true works only where a sidecar originates TLS",
		},
		"no country, in the old envelope": {
			status: 403, body: `{"error":{"errors":[{"domain":"global","reason":"unknownLocation","message":"m"}],"code":403,"message":"m"}}`,
			reason: "unknownLocation", message: "set GOOGLE_BOOKS_COUNTRY",
		},
		"Google's own words": {
			status: 400, body: googleError("invalidParameter", `Invalid value '100'.\nValues must be less: \u001b[31m`, ""), reason: "invalidParameter",
			message: "Google Books answered 400 invalidParameter: Invalid value '100'. Values must be less:  [31m",
		},
		"no words": {status: 400, body: `{"error":{}}`, message: "Google Books answered 400: no reason given"},
		"only a status": {
			status: 403, body: `{"error":{"status":"PERMISSION_DENIED","message":"m"}}`, reason: "PERMISSION_DENIED", message: "answered 403 PERMISSION_DENIED: m",
		},
		"long words":     {status: 400, body: `{"error":{"message":"` + strings.Repeat("ä", 1000) + `"}}`, message: strings.Repeat("ä", 150) + "…"},
		"the key echoed": {key: "k3y", status: 400, body: googleError("badRequest", "the key k3y", ""), reason: "badRequest", message: "the key [API key]"},
		"backend":        {status: 503, body: googleError("backendFailed", "Service temporarily unavailable.", ""), reason: "backendFailed", message: "503 backendFailed: a failure at Google"},
		"HTML 502":       {status: 502, body: "<!DOCTYPE html>\n<title>Error 502 (Server Error)!!1</title>", message: "Google Books answered 502: a failure at Google"},
		"HTML 404":       {status: 404, body: "<html>", message: "www.googleapis.com:443 answered 404, not in Google's words"},
		"empty 502":      {status: 502, reason: ReasonNoAnswer, message: noService},
		"Envoy's 503": {
			status: 503, body: "upstream connect error or disconnect/reset before headers. reset reason: connection failure", reason: ReasonNoAnswer, message: noService,
		},
		"a policy of the mesh":    {status: 403, body: "RBAC: access denied", message: "does a policy of the mesh or a proxy refuse the call?"},
		"a policy without words":  {status: 403, message: "does a policy of the mesh or a proxy refuse the call?"},
		"a redirect":              {status: 302, body: comedy, message: "www.googleapis.com:443 answered 302"},
		"an error that is a text": {status: 500, body: `{"error":"text"}`, message: "www.googleapis.com:443 answered 500, not in Google's words"},
		"a cut error":             {status: 429, body: googleError("rateLimitExceeded", "x", "")[:40], message: "www.googleapis.com:443 answered 429, not in Google's words"},
		"200 without volumes":     {status: 200, body: "<html>", reason: ReasonBadAnswer, message: "answered 200, but not with volumes that can be read"},
		"200 without end":         {status: 200, body: `{"totalItems":0}` + strings.Repeat(" ", maxBody), reason: ReasonBadAnswer, message: "answered 200, but not with volumes that can be read"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, _ := mockClient(t, Config{APIKey: tc.key, Timeout: time.Second}, httpmock.NewStringResponder(tc.status, tc.body))
			_, err := c.Volume(t.Context(), "0486424618", nil)
			e, ok := errors.AsType[*Error](err)
			require.True(t, ok, "%v", err)
			assert.Equal(t, tc.status, e.StatusCode)
			assert.Equal(t, tc.reason, e.Reason)
			assert.Contains(t, e.Message, tc.message)
			assert.NotContains(t, e.Message, "\n")
			assert.NotContains(t, e.Message, "k3y")
		})
	}
}

func TestBodyOfOneMebibyteIsRead(t *testing.T) {
	t.Parallel()
	c, _ := mockClient(t, Config{}, httpmock.NewStringResponder(http.StatusOK, comedy+strings.Repeat(" ", maxBody-len(comedy))))
	_, err := c.Volume(t.Context(), "0486424618", nil)
	require.NoError(t, err)
}

func TestEndlessBodyIsNotReadToItsEnd(t *testing.T) {
	t.Parallel()
	endless := &countingReader{}
	c, _ := mockClient(t, Config{}, func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(endless)}, nil
	})
	_, err := c.Volume(t.Context(), "0486424618", nil)
	require.Error(t, err)
	assert.LessOrEqual(t, endless.n, maxBody+1)
}

// countingReader is a body of blanks without end.
type countingReader struct{ n int }

func (r *countingReader) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	r.n += len(p)

	return len(p), nil
}

func TestNotFound(t *testing.T) {
	t.Parallel()
	c, transport := mockClient(t, Config{}, httpmock.NewStringResponder(http.StatusOK, `{"totalItems":0}`))
	_, err := c.Volume(t.Context(), "0486424618", nil)
	require.ErrorIs(t, err, ErrNotFound)
	assert.Equal(t, 1, transport.GetTotalCallCount())
}
