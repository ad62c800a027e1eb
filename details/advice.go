package details

import (
	"net/http"
	"strings"

	"example.com/bookinfo/googlebooks"
)

// advice returns what a person should do about a failed lookup, given its
// status, its reason and the words of the API or a proxy. It returns "" if the
// words say enough.
func advice(e *googlebooks.Error) string {
	says := func(words string) bool { return strings.Contains(e.Words, words) }
	switch {
	// Google's reasons.
	case e.Reason == "sslRequired":
		return "Google refuses plain HTTP: set DO_NOT_ENCRYPT=true only where a sidecar originates TLS"
	case e.Reason == "unknownLocation":
		return "Set GOOGLE_BOOKS_COUNTRY, for example to US"
	case e.Reason == "API_KEY_INVALID":
		return "Correct GOOGLE_BOOKS_API_KEY"
	case e.Reason == "accessNotConfigured":
		return "Enable the Books API for the project of GOOGLE_BOOKS_API_KEY, and check the key's restrictions"
	case e.StatusCode == http.StatusTooManyRequests && e.NoKey:
		return "Set GOOGLE_BOOKS_API_KEY: Google refuses calls without a key"
	case e.Reason == "rateLimitExceeded" && says("per minute"):
		return "Try again in a minute; CACHE_TTL saves calls"
	case e.Reason == "rateLimitExceeded", e.Reason == "dailyLimitExceeded":
		return "The daily quota resets at midnight Pacific time; CACHE_TTL saves calls"

	// Answers of a sidecar or another proxy.
	case says("CERTIFICATE_VERIFY_FAILED"):
		return "The sidecar does not trust the upstream's certificate: check caCertificates, sni and subjectAltNames in the DestinationRule"
	case says("overflow"):
		return "The sidecar's circuit breaker is open: check connectionPool in the DestinationRule"
	case says("local_rate_limited"):
		return "The mesh's rate limit refused the call"
	case says("RBAC: access denied"):
		return "An AuthorizationPolicy of the mesh refused the call"
	case says("egress policy"): // of deploy/books-only
		return "The mesh's egress policy refused the call: see the VirtualService"
	case says("no healthy upstream"):
		return "The sidecar has no address for the upstream: check name resolution and the endpoints of its ServiceEntry"
	case says("connection termination"):
		return "The upstream closed the connection. Try again"
	case says("upstream connect error"): // Envoy 1.40 leaves out the reason, which may be a certificate
		return "The sidecar's access log says why it could not connect: check the endpoints of the ServiceEntry, and caCertificates, sni and subjectAltNames in the DestinationRule"
	case says("HTTP request to an HTTPS server"):
		return "Plain HTTP reached a TLS port: check that a DestinationRule originates TLS for it"

	// Failures on the way to Google.
	case e.Reason == googlebooks.ReasonTimeout:
		return "Try again; GOOGLE_BOOKS_TIMEOUT and the mesh's timeouts limit the wait"
	case e.Reason == googlebooks.ReasonDNS:
		return "Check name resolution: internet access and, in a cluster, its DNS"
	case e.Reason == googlebooks.ReasonProxy:
		return "Check the proxy that HTTPS_PROXY or HTTP_PROXY names"
	case e.Reason == googlebooks.ReasonCertificate:
		return "If you trust its CA, set GOOGLE_BOOKS_CA_FILE"
	case e.Reason == googlebooks.ReasonNotTLS:
		return "If a sidecar originates TLS, set DO_NOT_ENCRYPT=true or delete its DestinationRule"
	case e.Reason == googlebooks.ReasonNoAnswer:
		return "Check that it can be reached; in a mesh, check that it has a ServiceEntry"
	case e.Reason == googlebooks.ReasonBadAnswer:
		return "Check that GOOGLE_BOOKS_HOST is the Books API"
	case e.Reason == googlebooks.ReasonNotAPI && e.StatusCode == http.StatusForbidden:
		return "Check the policies of the mesh and of proxies on the way"
	case e.Reason == googlebooks.ReasonNotAPI && e.StatusCode < http.StatusInternalServerError:
		return "Check that GOOGLE_BOOKS_HOST is the Books API"
	case e.StatusCode >= http.StatusInternalServerError, e.Reason == googlebooks.ReasonTruncated:
		return "Try again"
	}
	return ""
}

// explain returns what happened and what to do about it.
func explain(e *googlebooks.Error) string {
	if a := advice(e); a != "" {
		return strings.TrimSuffix(e.Message, ".") + ". " + a + "."
	}
	return e.Message
}
