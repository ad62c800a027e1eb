package googlebooks

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// googleError is the newer form of the API's errors.
func googleError(reason, message, details string) string {
	return `{"error":{"code":1,"message":"` + message + `","errors":[{"message":"m","domain":"global","reason":"` + reason +
		`"}],"status":"STATUS","details":[` + details + `]}}`
}

// What Envoy answers for an open circuit breaker and, before 1.40, for a
// certificate that it does not trust.
const (
	overflow           = "upstream connect error or disconnect/reset before headers. reset reason: overflow"
	certificateFailure = "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure, " +
		"transport failure reason: TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:verify cert failed: " +
		"X509_verify_cert: certificate verification error at depth 0: unable to get local issuer certificate:TLS_error_end"
)

func TestErrors(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		key     string
		status  int
		body    string
		reason  string
		message string
		noKey   bool
	}{
		"no key": {
			status:  429,
			body:    googleError("rateLimitExceeded", "Quota exceeded.", ""),
			reason:  "rateLimitExceeded",
			message: "Google Books answered 429 rateLimitExceeded: Quota exceeded.",
			noKey:   true,
		},
		"an invalid key": {
			key:     "k3y",
			status:  400,
			body:    googleError("badRequest", "API key not valid.", `{"reason":"API_KEY_INVALID"}`),
			reason:  "API_KEY_INVALID",
			message: "Google Books answered 400 API_KEY_INVALID: API key not valid.",
		},
		"the older form": {
			key:     "k3y",
			status:  403,
			body:    `{"error":{"errors":[{"domain":"global","reason":"unknownLocation","message":"m"}],"code":403,"message":"m"}}`,
			reason:  "unknownLocation",
			message: "Google Books answered 403 unknownLocation: m",
		},
		"an unknown reason": {
			key:     "k3y",
			status:  400,
			body:    googleError("somethingNew", "words", ""),
			reason:  ReasonOther,
			message: "Google Books answered 400: somethingNew: words",
		},
		"only a status": {
			key:     "k3y",
			status:  403,
			body:    `{"error":{"status":"PERMISSION_DENIED","message":"m"}}`,
			reason:  ReasonOther,
			message: "Google Books answered 403: PERMISSION_DENIED: m",
		},
		"control characters": {
			key:     "k3y",
			status:  400,
			body:    googleError("required", `two\nlines \u001b[31m`, ""),
			reason:  "required",
			message: "Google Books answered 400 required: two lines  [31m",
		},
		"no words": {
			key:     "k3y",
			status:  400,
			body:    `{"error":{}}`,
			message: "Google Books answered 400",
		},
		"long words": {
			key:     "k3y",
			status:  400,
			body:    `{"error":{"message":"` + strings.Repeat("ä", 1000) + `"}}`,
			message: "Google Books answered 400: " + strings.Repeat("ä", 126) + "…",
		},
		"the key repeated": {
			key:     "k3y",
			status:  400,
			body:    googleError("badRequest", "the key k3y", ""),
			reason:  "badRequest",
			message: "Google Books answered 400 badRequest: the key [API key]",
		},
		"a key that is a letter": {
			key:     "e",
			status:  400,
			body:    googleError("badRequest", "rate exceeded, e", ""),
			reason:  "badRequest",
			message: "Google Books answered 400 badRequest: rate exceeded, [API key]",
		},
		"Google's HTML": {
			status:  502,
			body:    "<!DOCTYPE html>\n<title>Error 502 (Server Error)!!1</title>",
			reason:  ReasonNotAPI,
			message: "www.googleapis.com:443 answered 502 with an HTML page",
		},
		"a gateway without words": {
			status:  502,
			reason:  ReasonNoAnswer,
			message: "www.googleapis.com:443 answered 502 without a body",
		},
		"a gateway's words": {
			status:  503,
			body:    overflow + "\n",
			reason:  ReasonNotAPI,
			message: "www.googleapis.com:443 answered 503: " + overflow,
		},
		"a gateway's TLS failure": {
			status:  503,
			body:    certificateFailure,
			reason:  ReasonNotAPI,
			message: "www.googleapis.com:443 answered 503: " + certificateFailure[:200],
		},
		"a gateway's timeout": {
			status:  504,
			body:    "upstream request timeout",
			reason:  ReasonTimeout,
			message: "www.googleapis.com:443 answered 504: upstream request timeout",
		},
		"a policy": {
			status:  403,
			body:    "RBAC: access denied",
			reason:  ReasonNotAPI,
			message: "www.googleapis.com:443 answered 403: RBAC: access denied",
		},
		"a policy without words": {
			status:  403,
			reason:  ReasonNotAPI,
			message: "www.googleapis.com:443 answered 403 without a body",
		},
		"a redirect": {
			status:  302,
			reason:  ReasonNotAPI,
			message: "www.googleapis.com:443 answered 302 without a body",
		},
		"an error that is a string": {
			status:  500,
			body:    `{"error":"text"}`,
			reason:  ReasonNotAPI,
			message: `www.googleapis.com:443 answered 500: {"error":"text"}`,
		},
		"201 with a volume": {
			status:  201,
			body:    `{"totalItems":0}`,
			reason:  ReasonNotAPI,
			message: `www.googleapis.com:443 answered 201: {"totalItems":0}`,
		},
		"206 with half a volume": {
			status:  206,
			body:    comedy,
			reason:  ReasonNotAPI,
			message: "www.googleapis.com:443 answered 206: { ",
		},
		"200 without volumes": {
			status:  200,
			body:    "<html>",
			reason:  ReasonBadAnswer,
			message: "www.googleapis.com:443 answered 200, but not with volumes that can be read",
		},
		"200 without end": {
			status:  200,
			body:    `{"totalItems":0}` + strings.Repeat(" ", maxBody),
			reason:  ReasonBadAnswer,
			message: "www.googleapis.com:443 answered 200, but not with volumes that can be read",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, _ := mockClient(t, Config{APIKey: tc.key, Timeout: 50 * time.Millisecond}, httpmock.NewStringResponder(tc.status, tc.body))
			_, err := c.Volume(t.Context(), "0486424618", nil)
			e, ok := errors.AsType[*Error](err)
			require.True(t, ok, "%v", err)
			assert.Equal(t, tc.status, e.StatusCode)
			assert.Equal(t, tc.reason, e.Reason)
			assert.True(t, strings.HasPrefix(e.Message, tc.message), e.Message)
			assert.Contains(t, e.Message, e.Words)
			if tc.body == certificateFailure {
				assert.Contains(t, e.Words, "CERTIFICATE_VERIFY_FAILED")
			}
			assert.LessOrEqual(t, len(e.Words), maxWords)
			assert.Equal(t, tc.noKey, e.NoKey)
		})
	}
}

func TestNetworkErrors(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		err     error
		reason  string
		message string
	}{
		"refused": {
			err:     syscall.ECONNREFUSED,
			reason:  ReasonNoAnswer,
			message: "no answer from www.googleapis.com:443",
		},
		"closed": {
			err:     io.EOF,
			reason:  ReasonNoAnswer,
			message: "no answer from www.googleapis.com:443",
		},
		"no such name": {
			err:     &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "www.googleapis.com", IsNotFound: true}},
			reason:  ReasonDNS,
			message: "www.googleapis.com does not resolve",
		},
		"no such proxy": {
			err:     &net.OpError{Op: "proxyconnect", Err: &net.DNSError{Err: "no such host", Name: "proxy", IsNotFound: true}},
			reason:  ReasonProxy,
			message: "no way through the proxy to www.googleapis.com:443",
		},
		"deadline": {
			err:     context.DeadlineExceeded,
			reason:  ReasonTimeout,
			message: "no whole answer from www.googleapis.com:443 within 50ms",
		},
		"certificate": {
			err:     &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}},
			reason:  ReasonCertificate,
			message: "the certificate of www.googleapis.com:443 is not trusted: tls: failed to verify certificate: x509: certificate signed by unknown authority",
		},
		"not TLS": {
			err:     tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"},
			reason:  ReasonNotTLS,
			message: "www.googleapis.com:443 does not speak TLS",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, _ := mockClient(t, Config{Timeout: 50 * time.Millisecond}, httpmock.NewErrorResponder(tc.err))
			_, err := c.Volume(t.Context(), "0486424618", nil)
			e, ok := errors.AsType[*Error](err)
			require.True(t, ok, "%v", err)
			assert.Zero(t, e.StatusCode)
			assert.Equal(t, tc.reason, e.Reason)
			assert.Equal(t, tc.message, e.Message)
			assert.ErrorIs(t, err, tc.err)
		})
	}
}

func TestNotFound(t *testing.T) {
	t.Parallel()
	c, transport := mockClient(t, Config{}, httpmock.NewStringResponder(http.StatusOK, `{"totalItems":0}`))
	_, err := c.Volume(t.Context(), "0486424618", nil)
	require.ErrorIs(t, err, ErrNotFound)
	assert.Equal(t, 1, transport.GetTotalCallCount())
}

// FuzzErrors feeds error responses to a client: an error is one printable line
// and has no key in it.
func FuzzErrors(f *testing.F) {
	const key = "AIzaSyK3y"
	for _, body := range []string{googleError("required", "AIzaSyK3y", ""), overflow, "<html>", "", "AIzaSyK3y\x1b[2J", `{"error":{"message":"\u0041IzaSyK3y"}}`} {
		f.Add(503, body)
	}
	c, err := New(Config{APIKey: key})
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, status int, body string) {
		e := c.errStatus(status, []byte(body))
		assert.NotContains(t, e.Message, key)
		assert.LessOrEqual(t, len(e.Words), maxWords)
		assert.False(t, strings.ContainsFunc(e.Message, func(r rune) bool { return !unicode.IsPrint(r) }), "%q", e.Message)
	})
}

// TestKnowsNothingAboveIt: this package says what happened; what to do about it
// depends on the program and where it runs.
func TestKnowsNothingAboveIt(t *testing.T) {
	t.Parallel()
	above := regexp.MustCompile(`(?i)GOOGLE_BOOKS_|DO_NOT_ENCRYPT|BOOK_ISBNS|CACHE_TTL|ServiceEntry|DestinationRule|productpage|Bookinfo|\b(sidecar|mesh)\b`)
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		code, err := os.ReadFile(file)
		require.NoError(t, err)
		assert.NotRegexp(t, above, string(code), file)
	}
}
