package details

import (
	"errors"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/bookinfo/googlebooks"
)

func TestAdvice(t *testing.T) {
	t.Parallel()
	const (
		quota   = "rateLimitExceeded"
		notAPI  = googlebooks.ReasonNotAPI
		empty   = googlebooks.ReasonEmpty
		connect = "upstream connect error or disconnect/reset before headers. reset reason: "
	)
	api := func(status int, reason, words string) googlebooks.Error {
		return googlebooks.Error{StatusCode: status, Reason: reason, Words: words, FromAPI: true, HasKey: true}
	}
	other := func(status int, reason, words string) googlebooks.Error {
		return googlebooks.Error{StatusCode: status, Reason: reason, Words: words}
	}
	redirect := func(location string, plainHTTP bool) googlebooks.Error {
		return googlebooks.Error{StatusCode: 302, Reason: googlebooks.ReasonRedirect, Location: location, PlainHTTP: plainHTTP}
	}
	for name, tc := range map[string]struct {
		e    googlebooks.Error
		want string // part of the advice; "": none
	}{
		"quota per minute":    {api(429, quota, "limit 'Queries per minute per user'"), "in a minute"},
		"quota per day":       {api(429, quota, "limit 'Queries per day'"), "midnight Pacific"},
		"quota, old":          {api(403, "quotaExceeded", ""), "CACHE_TTL"},
		"daily limit":         {api(403, "dailyLimitExceeded", "reset at midnight"), "CACHE_TTL saves calls"},
		"limit per user":      {api(403, "userRateLimitExceeded", ""), "in a minute"},
		"no key":              {googlebooks.Error{StatusCode: 429, Reason: quota, FromAPI: true}, "Set GOOGLE_BOOKS_API_KEY"},
		"invalid key":         {api(400, "API_KEY_INVALID", ""), "under Credentials"},
		"invalid key, old":    {api(400, "keyInvalid", ""), "under Credentials"},
		"expired key":         {api(400, "keyExpired", ""), "under Credentials"},
		"key for websites":    {api(403, "API_KEY_HTTP_REFERRER_BLOCKED", ""), "application restrictions"},
		"key for Android":     {api(403, "API_KEY_ANDROID_APP_BLOCKED", ""), "application restrictions"},
		"key for iOS":         {api(403, "API_KEY_IOS_APP_BLOCKED", ""), "application restrictions"},
		"key blocked, old":    {api(403, "ipRefererBlocked", ""), "application restrictions"},
		"key for another API": {api(403, "API_KEY_SERVICE_BLOCKED", ""), "API restrictions"},
		"key for addresses":   {api(403, "API_KEY_IP_ADDRESS_BLOCKED", ""), "IP addresses"},
		"API not enabled":     {api(403, "accessNotConfigured", ""), "belongs to that project"},
		"no country":          {api(403, "unknownLocation", ""), "GOOGLE_BOOKS_COUNTRY"},
		"plain HTTP":          {api(403, "sslRequired", ""), "Clear text"},
		"Google's backend":    {api(503, "backendFailed", ""), "Try again"},
		"words suffice":       {api(400, "invalidParameter", "Invalid value"), ""},
		"words at a host":     {googlebooks.Error{StatusCode: 400, FromAPI: true, Host: "localhost"}, ""},
		"unknown refusal":     {api(403, googlebooks.ReasonOther, ""), ""},
		"unknown limit":       {api(429, googlebooks.ReasonOther, ""), "midnight Pacific"},
		"words of the API":    {api(400, "", "egress policy: per hour, RBAC: access denied"), ""},

		"untrusted by the sidecar": {other(503, notAPI, connect+"TLS_error: CERTIFICATE_VERIFY_FAILED"), "does not trust"},
		"unknown connect error":    {other(503, notAPI, connect+"remote connection failure"), "access log"},
		"another reset":            {other(503, notAPI, connect+"protocol error"), "Try again"},
		"closed by the upstream":   {other(503, notAPI, connect+"connection termination"), "closed the connection"},
		"plain HTTP to a TLS port": {other(400, notAPI, "Client sent an HTTP request to an HTTPS server."), "originates TLS"},
		"TLS alert":                {other(0, googlebooks.ReasonNotHTTP, `malformed HTTP response "\x15\x03\x01"`), "originates TLS"},
		"circuit breaker":          {other(503, notAPI, connect+"overflow"), "circuit breaker"},
		"no healthy upstream":      {other(503, notAPI, "no healthy upstream"), "no address"},
		"rate limit of the mesh":   {other(429, notAPI, "local_rate_limited"), "mesh's rate limit"},
		"rate limit, HTML":         {other(429, notAPI, ""), "a rate limit on the way"},
		"rate limit, empty":        {other(429, empty, ""), "a rate limit on the way"},
		"authorization policy":     {other(403, notAPI, "RBAC: access denied"), "AuthorizationPolicy"},
		"egress policy":            {other(403, notAPI, "egress policy: only GET /books/v1/volumes may leave"), "egress policy"},
		"403 without words":        {other(403, empty, ""), "policies of the mesh"},
		"no route":                 {other(404, empty, ""), "HTTPRoute"},
		"policy of a proxy":        {other(403, notAPI, "see the egress policy"), "policies of the mesh"},
		"words in a status":        {other(404, notAPI, "protocol version; 5 per minute"), ""},
		"words of another failure": {other(503, notAPI, "database connection failure"), "Try again"},
		"404 with words":           {other(404, notAPI, "nothing here"), ""},
		"no such host":             {other(502, empty, ""), "ServiceEntry"},
		"no such cluster":          {other(503, empty, ""), "ServiceEntry"},
		"502 with words":           {other(502, notAPI, "bad"), "Try again"},
		"misdirected":              {other(421, notAPI, "Misdirected Request"), ""},

		"proxy on the way":      {googlebooks.Error{StatusCode: 407, Reason: googlebooks.ReasonProxy, PlainHTTP: true}, "a proxy that requires authentication"},
		"proxy's certificate":   {other(0, googlebooks.ReasonProxy, "tls: failed to verify certificate: x509: unknown"), "the proxy's CA"},
		"no TLS behind a proxy": {googlebooks.Error{Reason: googlebooks.ReasonNotTLS, Proxied: true}, "the proxy that HTTPS_PROXY names"},
		"cut behind a proxy":    {googlebooks.Error{Reason: googlebooks.ReasonNoAnswer, Proxied: true}, "the proxy that HTTPS_PROXY names"},
		"proxy's credentials":   {other(407, googlebooks.ReasonProxy, ""), "HTTPS_PROXY to http://user:password@"},
		"proxy":                 {other(0, googlebooks.ReasonProxy, ""), "the proxy that HTTPS_PROXY names"},
		"to https":              {redirect("https://www.googleapis.com/books", true), "Clear text"},
		"to https, from https":  {redirect("https://elsewhere.example/", false), ""},
		"Google, not sorry":     {redirect("https://www.google.com/", false), ""},
		"sorry, elsewhere":      {redirect("https://www.google.com.example/sorry/index", false), ""},
		"to https at a host":    {googlebooks.Error{Host: "a:80", Reason: googlebooks.ReasonRedirect, Location: "https://a/b", PlainHTTP: true}, "Clear text"},
		"to https at Google":    {googlebooks.Error{Host: "a:80", Reason: googlebooks.ReasonRedirect, Location: "https://www.googleapis.com/b", PlainHTTP: true}, "Clear text"},
		"to another https":      {redirect("https://accounts.google.com/ServiceLogin", true), ""},
		"to the same in http":   {redirect("http://www.googleapis.com/b", true), ""},
		"to nowhere":            {redirect("an invalid URL", true), ""},
		"sorry":                 {redirect("https://www.google.com/sorry/index", false), "throttles"},
		"sorry, another domain": {redirect("http://ipv4.google.de/sorry/index", true), "throttles"},

		"no connection": {
			googlebooks.Error{Reason: googlebooks.ReasonTimeout, Err: &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}},
			"check that the pod is part of it",
		},
		"a silent server": {
			googlebooks.Error{Reason: googlebooks.ReasonTimeout, Err: &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}},
			"the mesh's timeouts",
		},
		"a silent proxy": {
			googlebooks.Error{Reason: googlebooks.ReasonTimeout, Proxied: true, Err: &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}},
			"the mesh's timeouts",
		},
		"timeout of the mesh": {other(504, googlebooks.ReasonTimeout, "upstream request timeout"), "the mesh's timeouts"},
		"408":                 {other(408, googlebooks.ReasonTimeout, "stream timeout"), "the mesh's timeouts"},
		"no answer":           {other(0, googlebooks.ReasonNoAnswer, ""), "ServiceEntry and, in ambient, its waypoint"},
		"DNS":                 {other(0, googlebooks.ReasonDNS, ""), "DNS"},
		"certificate":         {other(0, googlebooks.ReasonCertificate, ""), "GOOGLE_BOOKS_CA_FILE"},
		"double TLS":          {other(0, googlebooks.ReasonNotTLS, ""), "DO_NOT_ENCRYPT=true"},
		"old TLS":             {other(0, googlebooks.ReasonNotHTTP, "tls: server selected unsupported protocol version 302"), "TLS 1.2"},
		"broken off":          {other(200, googlebooks.ReasonTruncated, ""), "Try again"},
		"broken off, HTTP/2":  {other(0, googlebooks.ReasonReset, ""), "Try again"},
		"not retried":         {other(501, notAPI, "no"), ""},
		"hits, but no items":  {other(200, googlebooks.ReasonNoItems, ""), "Try again"},
		"not volumes":         {other(200, googlebooks.ReasonBadAnswer, ""), ""},
		"not HTTP":            {other(0, googlebooks.ReasonNotHTTP, "SSH"), ""},
		"not HTTP at a host":  {googlebooks.Error{Host: "localhost:22", Reason: googlebooks.ReasonNotHTTP}, "GOOGLE_BOOKS_HOST"},
		"404 at a host":       {googlebooks.Error{Host: "localhost", StatusCode: 404, Reason: notAPI}, "GOOGLE_BOOKS_HOST"},
	} {
		if tc.e.Host == "" {
			tc.e.Host = googlebooks.DefaultHost
		}
		got := advice(&tc.e)
		assert.Contains(t, got, tc.want, name)
		assert.Equal(t, tc.want == "", got == "", name)
	}
}

// TestReplaceKey: an API key that was sent in clear text must be replaced,
// whichever server reports the clear text.
func TestReplaceKey(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		plainHTTP bool
		answer    httpmock.Responder
		clear     bool
	}{
		"Google": {
			plainHTTP: true,
			answer:    httpmock.NewStringResponder(403, `{"error":{"errors":[{"reason":"sslRequired"}]}}`),
			clear:     true,
		},
		"redirect to https": {
			plainHTTP: true,
			answer: httpmock.NewStringResponder(301, "").
				HeaderSet(http.Header{"Location": {"https://www.googleapis.com/books/v1/volumes"}}),
			clear: true,
		},
		"TLS port": {
			plainHTTP: true,
			answer:    httpmock.NewStringResponder(400, "Client sent an HTTP request to an HTTPS server."),
			clear:     true,
		},
		"TLS alert": {
			plainHTTP: true,
			answer:    httpmock.NewErrorResponder(errors.New("malformed HTTP response \"\\x15\\x03\\x01\"")),
			clear:     true,
		},
		"proxy on the way": {plainHTTP: true, answer: httpmock.NewStringResponder(407, ""), clear: true},
		"proxy, HTTPS":     {answer: httpmock.NewStringResponder(407, "")},
		"policy":           {plainHTTP: true, answer: httpmock.NewStringResponder(403, "RBAC: access denied")},
		"no such API":      {plainHTTP: true, answer: httpmock.NewStringResponder(403, `{"error":{"errors":[{"reason":"accessNotConfigured"}]}}`)},
	} {
		for _, key := range []string{"", "s3cret-s3cret"} {
			transport := httpmock.NewMockTransport()
			transport.RegisterNoResponder(tc.answer)
			client, err := googlebooks.New(googlebooks.Config{PlainHTTP: tc.plainHTTP, APIKey: key, Transport: transport})
			require.NoError(t, err)
			h, log := newService(Config{Books: client})
			answer := ask(t, h, http.MethodGet, "/details/0", nil).Body.String()
			assert.Equal(t, tc.clear, strings.Contains(answer, "Clear text reached a"), name)
			assert.Equal(t, tc.clear && key != "", strings.Contains(answer, "Replace the API key"), name)
			assert.Equal(t, tc.clear && key != "", strings.Contains(log.String(), "Replace the API key"), name)
		}
	}
}

// TestAdviceIsDocumented: the page for troubleshooting has every advice.
func TestAdviceIsDocumented(t *testing.T) {
	t.Parallel()
	code, err := os.ReadFile("advice.go")
	require.NoError(t, err)
	page, err := os.ReadFile("../samples/troubleshooting.md")
	require.NoError(t, err)
	advices := regexp.MustCompile(`(?m)^\t+(?:return|\w+ +=) "(.+)"$`).FindAllStringSubmatch(string(code), -1)
	require.Greater(t, len(advices), 20)
	for _, match := range advices {
		if !strings.Contains(string(page), match[1]) {
			t.Error(match[1]) // assert.Contains would print the page
		}
	}
}
