package details

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/bookinfo/googlebooks"
)

func TestAdvice(t *testing.T) {
	t.Parallel()
	const connectError = "upstream connect error or disconnect/reset before headers. "
	for name, tc := range map[string]struct {
		err  googlebooks.Error
		want string // part of the advice; "": none
	}{
		"no key": {
			err:  googlebooks.Error{StatusCode: 429, Reason: "rateLimitExceeded", NoKey: true, Words: "limit 'Queries per day'"},
			want: "Set GOOGLE_BOOKS_API_KEY",
		},
		"quota per minute": {
			err:  googlebooks.Error{StatusCode: 429, Reason: "rateLimitExceeded", Words: "limit 'Queries per minute per user'"},
			want: "in a minute",
		},
		"quota per day": {
			err:  googlebooks.Error{StatusCode: 429, Reason: "rateLimitExceeded", Words: "limit 'Queries per day'"},
			want: "midnight Pacific",
		},
		"invalid key": {
			err:  googlebooks.Error{StatusCode: 400, Reason: "API_KEY_INVALID"},
			want: "Correct GOOGLE_BOOKS_API_KEY",
		},
		"API not enabled": {
			err:  googlebooks.Error{StatusCode: 403, Reason: "accessNotConfigured"},
			want: "Enable the Books API",
		},
		"no country": {
			err:  googlebooks.Error{StatusCode: 403, Reason: "unknownLocation"},
			want: "GOOGLE_BOOKS_COUNTRY",
		},
		"plain HTTP": {
			err:  googlebooks.Error{StatusCode: 403, Reason: "sslRequired"},
			want: "only where a sidecar originates TLS",
		},
		"Google's backend": {
			err:  googlebooks.Error{StatusCode: 503, Reason: "backendFailed"},
			want: "Try again",
		},
		"Google's own words are enough": {
			err: googlebooks.Error{StatusCode: 400, Reason: "invalidParameter", Words: "Invalid value"},
		},
		"untrusted by the sidecar": {
			err: googlebooks.Error{
				StatusCode: 503,
				Reason:     googlebooks.ReasonNotAPI,
				Words:      connectError + "reset reason: remote connection failure, transport failure reason: TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:TLS_error_end",
			},
			want: "caCertificates",
		},
		"any failure to connect, in Envoy 1.40": {
			err:  googlebooks.Error{StatusCode: 503, Reason: googlebooks.ReasonNotAPI, Words: connectError + "reset reason: remote connection failure"},
			want: "caCertificates",
		},
		"closed by the upstream": {
			err:  googlebooks.Error{StatusCode: 503, Reason: googlebooks.ReasonNotAPI, Words: connectError + "reset reason: connection termination"},
			want: "closed the connection",
		},
		"plain HTTP to a TLS port": {
			err:  googlebooks.Error{StatusCode: 400, Reason: googlebooks.ReasonNotAPI, Words: "Client sent an HTTP request to an HTTPS server."},
			want: "originates TLS",
		},
		"circuit breaker": {
			err:  googlebooks.Error{StatusCode: 503, Reason: googlebooks.ReasonNotAPI, Words: connectError + "reset reason: overflow"},
			want: "circuit breaker",
		},
		"no healthy upstream": {
			err:  googlebooks.Error{StatusCode: 503, Reason: googlebooks.ReasonNotAPI, Words: "no healthy upstream"},
			want: "no address",
		},
		"rate limit of the mesh": {
			err:  googlebooks.Error{StatusCode: 429, Reason: googlebooks.ReasonNotAPI, Words: "local_rate_limited"},
			want: "mesh's rate limit",
		},
		"timeout of the mesh": {
			err:  googlebooks.Error{StatusCode: 504, Reason: googlebooks.ReasonTimeout, Words: "upstream request timeout"},
			want: "GOOGLE_BOOKS_TIMEOUT and the mesh's timeouts",
		},
		"authorization policy": {
			err:  googlebooks.Error{StatusCode: 403, Reason: googlebooks.ReasonNotAPI, Words: "RBAC: access denied"},
			want: "AuthorizationPolicy",
		},
		"egress policy": {
			err:  googlebooks.Error{StatusCode: 403, Reason: googlebooks.ReasonNotAPI, Words: "egress policy: only GET /books/v1/volumes may leave"},
			want: "egress policy",
		},
		"another 403": {
			err:  googlebooks.Error{StatusCode: 403, Reason: googlebooks.ReasonNotAPI},
			want: "policies of the mesh",
		},
		"another API": {
			err:  googlebooks.Error{StatusCode: 404, Reason: googlebooks.ReasonNotAPI},
			want: "GOOGLE_BOOKS_HOST",
		},
		"no answer": {
			err:  googlebooks.Error{Reason: googlebooks.ReasonNoAnswer},
			want: "ServiceEntry",
		},
		"an empty 502": {
			err:  googlebooks.Error{StatusCode: 502, Reason: googlebooks.ReasonNoAnswer},
			want: "ServiceEntry",
		},
		"DNS": {
			err:  googlebooks.Error{Reason: googlebooks.ReasonDNS},
			want: "name resolution",
		},
		"proxy": {
			err:  googlebooks.Error{Reason: googlebooks.ReasonProxy},
			want: "HTTPS_PROXY",
		},
		"certificate": {
			err:  googlebooks.Error{Reason: googlebooks.ReasonCertificate},
			want: "GOOGLE_BOOKS_CA_FILE",
		},
		"double TLS": {
			err:  googlebooks.Error{Reason: googlebooks.ReasonNotTLS},
			want: "DO_NOT_ENCRYPT=true",
		},
		"broken off": {
			err:  googlebooks.Error{StatusCode: 200, Reason: googlebooks.ReasonTruncated},
			want: "Try again",
		},
		"not volumes": {
			err:  googlebooks.Error{StatusCode: 200, Reason: googlebooks.ReasonBadAnswer},
			want: "GOOGLE_BOOKS_HOST",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := advice(&tc.err)
			assert.Contains(t, got, tc.want)
			assert.Equal(t, tc.want == "", got == "")
		})
	}
}
