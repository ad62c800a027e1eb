package googlebooks

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
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

// Envoy's answers for an open circuit breaker and, before 1.40, for a certificate
// that it does not trust.
const (
	overflow           = "upstream connect error or disconnect/reset before headers. reset reason: overflow"
	certificateFailure = "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure, " +
		"transport failure reason: TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:verify cert failed: " +
		"X509_verify_cert: certificate verification error at depth 0: unable to get local issuer certificate:TLS_error_end"
)

// errorOf returns the error of a lookup whose calls all get this response.
func errorOf(t *testing.T, key string, response httpmock.Responder) (e *Error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c, _ := mockClient(t, Config{APIKey: key}, response)
		_, err := c.Volume(t.Context(), "0486424618", nil)
		var ok bool
		e, ok = errors.AsType[*Error](err)
		require.True(t, ok, "%v", err)
	})
	return e
}

func TestErrorsOfTheAPI(t *testing.T) {
	t.Parallel()
	const (
		invalidKey = `{"reason":"API_KEY_INVALID"}`
		olderForm  = `{"error":{"errors":[{"reason":"unknownLocation","message":"m"}],"code":403,"message":"m"}}`
	)
	for name, tc := range map[string]struct {
		key     string // "": none
		status  int
		body    string
		reason  string
		message string // after "Google Books answered "
	}{
		"no key":      {"", 429, googleError("rateLimitExceeded", "m", ""), "rateLimitExceeded", "429 rateLimitExceeded: m"},
		"invalid key": {"k3y", 400, googleError("badRequest", "m", invalidKey), "API_KEY_INVALID", "400 API_KEY_INVALID: m"},
		"older form":  {"k3y", 403, olderForm, "unknownLocation", "403 unknownLocation: m"},
		"new reason":  {"k3y", 400, googleError("somethingNew", "m", ""), ReasonOther, "400: somethingNew: m"},
		"status only": {"k3y", 403, `{"error":{"status":"DENIED","message":"m"}}`, ReasonOther, "403: DENIED: m"},
		"controls":    {"k3y", 400, googleError("required", `a\nb \u001b[31m`, ""), "required", "400 required: a b  [31m"},
		"no words":    {"k3y", 400, `{"error":{}}`, "", "400"},
		"long words": {
			key:     "k3y",
			status:  400,
			body:    `{"error":{"message":"` + strings.Repeat("ä", 1000) + `"}}`,
			message: "400: " + strings.Repeat("ä", 126) + "…",
		},
		"repeated key":   {"k3y", 400, googleError("required", "key k3y", ""), "required", "400 required: key [API key]"},
		"one-letter key": {"e", 400, googleError("required", "key e", ""), "required", "400 required: key [API key]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := errorOf(t, tc.key, httpmock.NewStringResponder(tc.status, tc.body))
			assert.Equal(t, tc.status, e.StatusCode)
			assert.Equal(t, tc.reason, e.Reason)
			assert.Equal(t, "Google Books answered "+tc.message, e.Message)
			assert.Contains(t, e.Message, e.Words)
			assert.Equal(t, tc.key == "", e.NoKey)
		})
	}
}

// TestErrorsOfOthers has responses that are not the API's: they come from
// Google's front end or from a proxy on the way.
func TestErrorsOfOthers(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		status int
		body   string
		reason string
		want   string // after the status in the message
	}{
		"HTML":                  {502, "<!DOCTYPE html>\n<title>Error 502</title>", ReasonNotAPI, " with an HTML page"},
		"gateway without words": {502, "", ReasonNoAnswer, " without a body"},
		"policy without words":  {403, "", ReasonNotAPI, " without a body"},
		"gateway's words":       {503, overflow + "\n", ReasonNotAPI, ": " + overflow},
		"gateway's TLS failure": {503, certificateFailure, ReasonNotAPI, ": " + certificateFailure[:253] + "…"},
		"gateway's timeout":     {504, "upstream request timeout", ReasonTimeout, ": upstream request timeout"},
		"error is a string":     {500, `{"error":"text"}`, ReasonNotAPI, `: {"error":"text"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := errorOf(t, "", httpmock.NewStringResponder(tc.status, tc.body))
			assert.Equal(t, tc.status, e.StatusCode)
			assert.Equal(t, tc.reason, e.Reason)
			assert.Equal(t, fmt.Sprintf("www.googleapis.com:443 answered %d%s", tc.status, tc.want), e.Message)
			assert.Contains(t, e.Message, e.Words)
			assert.False(t, e.NoKey)
			if tc.body == certificateFailure {
				assert.Contains(t, e.Words, "CERTIFICATE_VERIFY_FAILED")
			}
		})
	}
}

func TestNetworkErrors(t *testing.T) {
	t.Parallel()
	noName := &net.DNSError{Err: "no such host", Name: "www.googleapis.com", IsNotFound: true}
	for name, tc := range map[string]struct {
		err     error
		reason  string
		message string
	}{
		"refused":      {syscall.ECONNREFUSED, ReasonNoAnswer, "no answer from www.googleapis.com:443"},
		"no such name": {&net.OpError{Op: "dial", Err: noName}, ReasonDNS, "www.googleapis.com does not resolve"},
		"no such proxy": {
			err:     &net.OpError{Op: "proxyconnect", Err: noName},
			reason:  ReasonProxy,
			message: "the proxy did not connect to www.googleapis.com:443",
		},
		"name server hangs": {
			err:     &net.OpError{Op: "dial", Err: &net.DNSError{Err: "i/o timeout", Name: "www.googleapis.com", IsTimeout: true}},
			reason:  ReasonDNS,
			message: "www.googleapis.com does not resolve",
		},
		"proxy hangs": {
			err:     &net.OpError{Op: "proxyconnect", Err: os.ErrDeadlineExceeded},
			reason:  ReasonProxy,
			message: "the proxy did not connect to www.googleapis.com:443",
		},
		"deadline": {context.DeadlineExceeded, ReasonTimeout, "no complete answer from www.googleapis.com:443 within 2.5s"},
		"not TLS":  {tls.RecordHeaderError{Msg: "no TLS"}, ReasonNotTLS, "www.googleapis.com:443 does not speak TLS"},
		"certificate": {
			err:    &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}},
			reason: ReasonCertificate,
			message: "the certificate of www.googleapis.com:443 is not trusted: " +
				"tls: failed to verify certificate: x509: certificate signed by unknown authority",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := errorOf(t, "", httpmock.NewErrorResponder(tc.err))
			assert.Zero(t, e.StatusCode)
			assert.Equal(t, tc.reason, e.Reason)
			assert.Equal(t, tc.message, e.Message)
			assert.ErrorIs(t, e, tc.err)
		})
	}
}

// FuzzErrors: an error is one printable line without the key.
func FuzzErrors(f *testing.F) {
	const key = "AIzaSyK3y"
	f.Add(503, googleError("required", key, ""))
	f.Add(502, key+"\x1b[2J")
	f.Add(400, `{"error":{"message":"\u0041IzaSyK3y"}}`)
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
	above := regexp.MustCompile(`(?i)GOOGLE_BOOKS_|DO_NOT_ENCRYPT|BOOK_ISBNS|CACHE_TTL|ServiceEntry|DestinationRule|` +
		`productpage|Bookinfo|\b(sidecar|mesh)\b`)
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
