package googlebooks

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
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

// Envoy's answers for an open circuit breaker and, before 1.38.1, for a
// certificate that it does not trust.
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
		c := mockClient(t, Config{APIKey: key}, response)
		_, err := c.Lookup(t.Context(), "0486424618", nil)
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
		blockedKey = `{"reason":"x"},{"reason":"API_KEY_SERVICE_BLOCKED"}`
		longKey    = "AIzaSyNobodyMayEverSeeThis0123456789abc"
		withheld   = "[withheld: it contains a part of the API key]"
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
		"controls":    {"k3y", 400, googleError("required", `\na\nb \u001b[31m\u0096.`, ""), "required", "400 required: a b  [31m ."},
		"no words":    {"k3y", 400, `{"error":{}}`, "", "400"},
		"long words": {
			key:     "k3y",
			status:  400,
			body:    `{"error":{"message":"` + strings.Repeat("ä", 1000) + `"}}`,
			message: "400: " + strings.Repeat("ä", 126) + "…",
		},
		"repeated key":   {longKey, 400, googleError("required", "key "+longKey, ""), "required", "400 required: key [API key]"},
		"shortest key":   {"s3cretk3", 400, googleError("required", "s3cretk3", ""), "required", "400 required: [API key]"},
		"part of a key":  {longKey, 400, googleError("required", "…"+longKey[len(longKey)-minSecret:], ""), "required", "400 required: " + withheld},
		"dummy key":      {"any", 400, googleError("required", "any key", ""), "required", "400 required: any key"},
		"bad characters": {"k3y", 400, googleError("required", "a\xff\\ud83d", ""), "required", "400 required: a\ufffd\ufffd"},
		"blocked key":    {"k3y", 403, googleError("forbidden", "m", blockedKey), "API_KEY_SERVICE_BLOCKED", "403 API_KEY_SERVICE_BLOCKED: m"},
		"disabled API":   {"k3y", 403, googleError("forbidden", "m", `{"reason":"SERVICE_DISABLED"}`), "accessNotConfigured", "403 accessNotConfigured: m"},
		"newer limit":    {"k3y", 429, googleError("x", "m", `{"reason":"RATE_LIMIT_EXCEEDED"}`), "rateLimitExceeded", "429 rateLimitExceeded: m"},
		"gateway":        {"k3y", 504, googleError("backendFailed", "m", ""), "backendFailed", "504 backendFailed: m"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := errorOf(t, tc.key, httpmock.NewStringResponder(tc.status, tc.body))
			assert.Equal(t, tc.status, e.StatusCode)
			assert.Equal(t, tc.reason, e.Reason)
			assert.Equal(t, "Google Books answered "+tc.message, e.Message)
			assert.Contains(t, e.Message, e.Words)
			assert.Equal(t, tc.key != "", e.HasKey)
			assert.True(t, e.FromAPI)
			assert.Equal(t, tc.status == 504, e.Timeout())
		})
	}
}

// TestErrorsOfOthers has responses that are not the API's: they come from
// Google's front end or from a proxy on the way.
func TestErrorsOfOthers(t *testing.T) {
	t.Parallel()
	codings := http.Header{"Content-Encoding": {"br", "X"}}
	const secretTarget = "https://user:secret@www.google.com/sorry/index?q=secret#secret"
	for name, tc := range map[string]struct {
		status int
		header http.Header
		body   string
		reason string
		want   string // after the status in the message
	}{
		"HTML":                  {502, nil, "<!DOCTYPE html>\n<title>Error 502</title>", ReasonNotAPI, " with an HTML page"},
		"gateway without words": {502, nil, "", ReasonEmpty, " without a body"},
		"policy without words":  {403, nil, " \n", ReasonEmpty, " without a body"},
		"gateway's words":       {503, nil, overflow + "\n", ReasonNotAPI, ": " + overflow},
		"policy's words":        {403, nil, "a\n\tb", ReasonNotAPI, ": a  b"},
		"gateway's TLS failure": {503, nil, certificateFailure, ReasonNotAPI, ": " + certificateFailure[:253] + "…"},
		"gateway's timeout":     {504, nil, "upstream request timeout", ReasonTimeout, ": upstream request timeout"},
		"timeout, no words":     {408, nil, "", ReasonTimeout, " without a body"},
		"error is a string":     {500, nil, `{"error":"text"}`, ReasonNotAPI, `: {"error":"text"}`},
		"proxy":                 {407, nil, "<html>", ReasonProxy, " with an HTML page"},
		"XML":                   {403, nil, "<?xml?><Error/>", ReasonNotAPI, ": <?xml?><Error/>"},
		"compressed":            {503, nil, "x\xda\xab\xe5KL$\xc3\xf1", ReasonNotAPI, " with a body that is not text"},
		"not text":              {429, nil, "\x1f\x8b\x08\x00words", ReasonNotAPI, " with a body that is not text"},
		"other coding":          {429, codings, "words", ReasonNotAPI, ` with the content coding "br, X", which was not requested`},
		"invalid gzip":          {503, http.Header{"Content-Encoding": {"gzip"}}, "words", ReasonNotAPI, " with a body that is not valid gzip"},
		"redirect": {
			301, http.Header{"Location": {secretTarget}}, "", ReasonRedirect, ", a redirect to https://www.google.com/sorry/index",
		},
		"relative redirect":  {302, http.Header{"Location": {"/a?secret"}}, "", ReasonRedirect, ", a redirect to https://www.googleapis.com/a"},
		"permanent redirect": {308, http.Header{"Location": {"/a"}}, "", ReasonRedirect, ", a redirect to https://www.googleapis.com/a"},
		"invalid redirect":   {302, http.Header{"Location": {"http://%zz"}}, "", ReasonRedirect, ", a redirect to an invalid URL"},
		"no redirect":        {201, http.Header{"Location": {"/a"}}, "", ReasonEmpty, " without a body"},
		"no redirect, 4xx":   {403, http.Header{"Location": {"/a"}}, "", ReasonEmpty, " without a body"},
		"no target":          {304, nil, "", ReasonEmpty, " without a body"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := errorOf(t, "", func(*http.Request) (*http.Response, error) {
				res := httpmock.NewStringResponse(tc.status, tc.body)
				maps.Copy(res.Header, tc.header)
				return res, nil
			})
			assert.Equal(t, tc.status, e.StatusCode)
			assert.Equal(t, tc.reason, e.Reason)
			assert.Equal(t, fmt.Sprintf("www.googleapis.com:443 answered %d%s", tc.status, tc.want), e.Message)
			assert.Contains(t, e.Message, e.Words)
			assert.Contains(t, e.Message, e.Location)
			assert.Equal(t, DefaultHost, e.Host)
			assert.Equal(t, tc.reason == ReasonTimeout, e.Timeout())
			assert.False(t, e.HasKey)
			assert.False(t, e.FromAPI)
		})
	}
}

// closable is a body that knows whether it was closed.
type closable struct {
	io.Reader

	closed bool
}

func (c *closable) Close() error {
	c.closed = true
	return nil
}

// TestBodies has responses with status 200 and a content coding or a size that
// was not expected.
func TestBodies(t *testing.T) {
	t.Parallel()
	zipped := func(text string) string {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = w.Write([]byte(text))
		require.NoError(t, w.Close())
		return b.String()
	}
	padded := func(length int) string { return comedy + strings.Repeat(" ", length-len(comedy)) }
	for name, tc := range map[string]struct {
		coding string
		body   string
		want   string // the message after "www.googleapis.com:443 answered 200"; "": a volume
	}{
		"gzip":                {"gzip", zipped(comedy), ""},
		"GZIP":                {"GZIP", zipped(comedy), ""},
		"x-gzip":              {" x-gzip ,", zipped(comedy), ""},
		"identity":            {"identity", comedy, ""},
		"several members":     {"gzip", zipped(comedy[:100]) + zipped(comedy[100:]), ""},
		"the longest":         {"", padded(maxBody), ""},
		"the longest in gzip": {"gzip", zipped(padded(maxBody)), ""},
		"too long":            {"", padded(maxBody + 1), " with more than 1 MiB"},
		"too long decoded":    {"gzip", zipped(padded(maxBody + 1)), " with more than 1 MiB"},
		"too long encoded":    {"gzip", strings.Repeat(zipped(""), maxBody/20), " with more than 1 MiB"},
		"not gzip":            {"gzip", comedy, " with a body that is not valid gzip"},
		"wrong checksum":      {"gzip", zipped(comedy)[:len(zipped(comedy))-8] + "checksum", " with a body that is not valid gzip"},
		"br":                  {"br", comedy, ` with the content coding "br", which was not requested`},
		"gzip twice":          {"gzip, gzip", comedy, ` with the content coding "gzip, gzip", which was not requested`},
		"empty in gzip":       {"gzip", "", ", but not with a valid list of volumes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body := &closable{Reader: strings.NewReader(tc.body)}
			c := mockClient(t, Config{Timeout: time.Minute}, func(*http.Request) (*http.Response, error) {
				return &http.Response{
					StatusCode: http.StatusOK,
					Header:     http.Header{"Content-Encoding": {tc.coding}},
					Body:       body,
				}, nil
			})
			got, err := c.Lookup(t.Context(), "0486424618", nil)
			assert.True(t, body.closed)
			if tc.want == "" {
				require.NoError(t, err)
				assert.Equal(t, comedyVolume(), got.Volume)
				return
			}
			require.EqualError(t, err, "www.googleapis.com:443 answered 200"+tc.want)
			assert.Equal(t, ReasonBadAnswer, got.Last.Reason)
			assert.Equal(t, 1, got.Last.Number, "no second try")
		})
	}
}

// TestNetworkErrors has what the stand-in cannot cause. For the rest, see
// TestFaults, TestNoConnection and TestProxies of the program.
func TestNetworkErrors(t *testing.T) {
	t.Parallel()
	const (
		noAnswer = "no answer from www.googleapis.com:443"
		proxy    = "the proxy did not connect to www.googleapis.com:443"
		odd      = "www.googleapis.com:443 answered, but not as the Books API does: "
	)
	op := func(op string, err error) error { return &net.OpError{Op: op, Err: err} }
	nameServerHangs := &net.DNSError{Err: "i/o timeout", Name: "www.googleapis.com", IsTimeout: true}
	for name, tc := range map[string]struct {
		err     error
		reason  string
		message string
	}{
		"name server hangs": {op("dial", nameServerHangs), ReasonDNS, "www.googleapis.com does not resolve"},
		"no such proxy":     {&proxyError{err: &net.DNSError{IsNotFound: true}}, ReasonProxy, proxy},
		"proxy hangs":       {&proxyError{err: os.ErrDeadlineExceeded}, ReasonTimeout, proxy},
		"untrusted proxy": {
			&proxyError{err: &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}}, ReasonProxy,
			proxy + ": proxy: tls: failed to verify certificate: x509: certificate signed by unknown authority",
		},
		"dial hangs": {
			err:     op("dial", os.ErrDeadlineExceeded),
			reason:  ReasonTimeout,
			message: "no complete answer from www.googleapis.com:443 within 2.5s",
		},
		"header cut off":  {io.ErrUnexpectedEOF, ReasonTruncated, "the answer of www.googleapis.com:443 was cut off"},
		"closed, idle":    {errors.New("http: server closed idle connection"), ReasonNoAnswer, noAnswer},
		"closed, pooled":  {fmt.Errorf("write: %w", net.ErrClosed), ReasonNoAnswer, noAnswer},
		"HTTP/2, no ping": {errors.New("http2: client connection lost"), ReasonNoAnswer, noAnswer},
		"cut in a line":   {errors.New(`malformed MIME header: missing colon: "Conte"`), ReasonTruncated, "the answer of www.googleapis.com:443 was cut off"},
		"own TLS alert":   {op("local error", tls.AlertError(42)), ReasonNotHTTP, odd + "local error: tls: bad certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := errorOf(t, "", httpmock.NewErrorResponder(tc.err))
			assert.Equal(t, tc.reason, e.Reason)
			assert.Equal(t, tc.message, e.Message)
			assert.ErrorIs(t, e, tc.err)
		})
	}
}

// FuzzErrors: an error is one printable line without the key, and the target of
// a redirect has no query.
func FuzzErrors(f *testing.F) {
	const key = "AIzaSyK3y"
	f.Add(503, "", googleError("required", key, ""))
	f.Add(502, "", key+"\x1b[2J")
	f.Add(400, "", `{"error":{"message":"\u0041IzaSyK3y"}}`)
	f.Add(301, "//user:pw@host/"+key+"?q#f", "")
	f.Add(302, "mailto:a?b", "")
	c, err := New(Config{APIKey: key})
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, status int, location, body string) {
		e := c.errStatus(&http.Response{StatusCode: status, Header: http.Header{"Location": {location}}}, []byte(body), nil)
		assert.NotContains(t, e.Message, key)
		assert.LessOrEqual(t, len(e.Words), maxWords)
		assert.False(t, strings.ContainsFunc(e.Message, func(r rune) bool { return !unicode.IsPrint(r) }), "%q", e.Message)
		assert.NotContains(t, e.Location, "?")
		assert.NotContains(t, e.Location, "#")
	})
}
