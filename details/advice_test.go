package details

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/bookinfo/googlebooks"
)

func TestAdvice(t *testing.T) {
	t.Parallel()
	const (
		quota   = "rateLimitExceeded"
		notAPI  = googlebooks.ReasonNotAPI
		connect = "upstream connect error or disconnect/reset before headers. reset reason: "
	)
	for name, tc := range map[string]struct {
		status int
		reason string
		words  string
		want   string // part of the advice; "": none
	}{
		"quota per minute": {429, quota, "limit 'Queries per minute per user'", "in a minute"},
		"quota per day":    {429, quota, "limit 'Queries per day'", "midnight Pacific"},
		"invalid key":      {400, "API_KEY_INVALID", "", "Correct GOOGLE_BOOKS_API_KEY"},
		"API not enabled":  {403, "accessNotConfigured", "", "Enable the Books API"},
		"no country":       {403, "unknownLocation", "", "GOOGLE_BOOKS_COUNTRY"},
		"plain HTTP":       {403, "sslRequired", "", "only where a sidecar originates TLS"},
		"Google's backend": {503, "backendFailed", "", "Try again"},
		"words suffice":    {400, "invalidParameter", "Invalid value", ""},

		"untrusted by the sidecar": {503, notAPI, connect + "TLS_error: CERTIFICATE_VERIFY_FAILED", "does not trust"},
		"unknown connect error":    {503, notAPI, connect + "remote connection failure", "access log"},
		"closed by the upstream":   {503, notAPI, connect + "connection termination", "closed the connection"},
		"plain HTTP to a TLS port": {400, notAPI, "Client sent an HTTP request to an HTTPS server.", "originates TLS"},
		"circuit breaker":          {503, notAPI, connect + "overflow", "circuit breaker"},
		"no healthy upstream":      {503, notAPI, "no healthy upstream", "no address"},
		"rate limit of the mesh":   {429, notAPI, "local_rate_limited", "mesh's rate limit"},
		"authorization policy":     {403, notAPI, "RBAC: access denied", "AuthorizationPolicy"},
		"egress policy":            {403, notAPI, "egress policy: only GET /books/v1/volumes may leave", "egress policy"},
		"403 without words":        {403, notAPI, "", "policies of the mesh"},
		"another API":              {404, notAPI, "", "GOOGLE_BOOKS_HOST"},

		"timeout of the mesh": {504, googlebooks.ReasonTimeout, "upstream request timeout", "the mesh's timeouts"},
		"no answer":           {0, googlebooks.ReasonNoAnswer, "", "ServiceEntry"},
		"DNS":                 {0, googlebooks.ReasonDNS, "", "name resolution"},
		"proxy":               {0, googlebooks.ReasonProxy, "", "HTTPS_PROXY"},
		"certificate":         {0, googlebooks.ReasonCertificate, "", "GOOGLE_BOOKS_CA_FILE"},
		"double TLS":          {0, googlebooks.ReasonNotTLS, "", "DO_NOT_ENCRYPT=true"},
		"broken off":          {200, googlebooks.ReasonTruncated, "", "Try again"},
		"not volumes":         {200, googlebooks.ReasonBadAnswer, "", "GOOGLE_BOOKS_HOST"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := advice(&googlebooks.Error{StatusCode: tc.status, Reason: tc.reason, Words: tc.words})
			assert.Contains(t, got, tc.want)
			assert.Equal(t, tc.want == "", got == "")
		})
	}
	assert.Contains(t, advice(&googlebooks.Error{StatusCode: 429, Reason: quota, NoKey: true}), "Set GOOGLE_BOOKS_API_KEY")
}
