package details

import (
	"errors"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"example.com/bookinfo/googlebooks"
)

// advice returns what a person should do about a failed lookup. It returns "" if
// the message says enough, or if the cause is not known.
func advice(e *googlebooks.Error) string {
	says := func(words string) bool { return !e.FromAPI && strings.Contains(e.Words, words) }
	target, err := url.Parse(e.Location)
	if err != nil { // "an invalid URL"
		target = new(url.URL)
	}
	switch {
	// Google's reasons.
	case e.Reason == "sslRequired":
		return clearText
	case e.Reason == "unknownLocation":
		return "Set GOOGLE_BOOKS_COUNTRY, for example to US"
	case e.Reason == "API_KEY_INVALID", e.Reason == "keyInvalid", e.Reason == "keyExpired":
		return "Compare GOOGLE_BOOKS_API_KEY with the key in the Google Cloud console, under Credentials"
	case e.Reason == "API_KEY_SERVICE_BLOCKED":
		return "In the Google Cloud console, add the Books API to the API restrictions of GOOGLE_BOOKS_API_KEY"
	case e.Reason == "API_KEY_IP_ADDRESS_BLOCKED":
		return "In the Google Cloud console, add your network's public address to the IP addresses of GOOGLE_BOOKS_API_KEY"
	case e.Reason == "API_KEY_HTTP_REFERRER_BLOCKED", e.Reason == "ipRefererBlocked",
		e.Reason == "API_KEY_ANDROID_APP_BLOCKED", e.Reason == "API_KEY_IOS_APP_BLOCKED":
		return "In the Google Cloud console, set the application restrictions of GOOGLE_BOOKS_API_KEY to None or IP addresses: this service is neither a website nor an app"
	case e.Reason == "accessNotConfigured":
		return "GOOGLE_BOOKS_API_KEY belongs to that project"
	case e.FromAPI && e.StatusCode == http.StatusTooManyRequests && !e.HasKey:
		return "Set GOOGLE_BOOKS_API_KEY: Google refuses calls without a key"
	case e.FromAPI && strings.Contains(e.Words, "per minute"), e.Reason == "userRateLimitExceeded":
		return "Try again in a minute; CACHE_TTL saves calls"
	case e.FromAPI && e.StatusCode == http.StatusTooManyRequests, e.Reason == "rateLimitExceeded", e.Reason == "quotaExceeded":
		return "The daily quota resets at midnight Pacific time; CACHE_TTL saves calls"
	case e.Reason == "dailyLimitExceeded": // Google's words say when it resets
		return "CACHE_TTL saves calls"

	// Answers of a sidecar or another proxy.
	case says("CERTIFICATE_VERIFY_FAILED"):
		return "The sidecar does not trust the upstream's certificate: check caCertificates, sni and subjectAltNames in the DestinationRule"
	case says("reset reason: overflow"):
		return "The sidecar's circuit breaker is open: check connectionPool in the DestinationRule"
	case says("local_rate_limited"):
		return "The mesh's rate limit refused the call"
	case says("RBAC: access denied"):
		return "An AuthorizationPolicy of the mesh refused the call"
	case says("egress policy: "): // of deploy/egress/books-only
		return "The mesh's egress policy refused the call: see the VirtualService"
	case says("no healthy upstream"):
		return "The sidecar has no address for the upstream: check name resolution and the endpoints of its ServiceEntry"
	case says("reset reason: connection termination"):
		return "The upstream closed the connection. Try again"
	case says("reset reason: remote connection failure"), says("reset reason: connection failure"): // since 1.38.1, Envoy leaves out why, which may be a certificate
		return "The sidecar's access log says why it could not connect: check the endpoints of the ServiceEntry, and caCertificates, sni and subjectAltNames in the DestinationRule"
	case says("HTTP request to an HTTPS server"), says(`malformed HTTP response "\x15\x03`): // a TLS alert
		return clearTextPort
	case e.Reason == googlebooks.ReasonEmpty && e.StatusCode == http.StatusNotFound:
		return "A gateway or waypoint answers like this if no route matches: check its HTTPRoute or VirtualService"
	case e.Reason == googlebooks.ReasonEmpty && (e.StatusCode == http.StatusBadGateway || e.StatusCode == http.StatusServiceUnavailable):
		return "A sidecar answers like this if it does not know the host: check its ServiceEntry"
	case !e.FromAPI && e.StatusCode == http.StatusTooManyRequests:
		return "This is not the API's quota but a rate limit on the way: the mesh's, a proxy's, or Google's for this network's address"
	case !e.FromAPI && e.StatusCode == http.StatusForbidden:
		return "Check the policies of the mesh and of proxies on the way"
	case e.StatusCode == http.StatusProxyAuthRequired && e.PlainHTTP:
		return clearTextProxy
	case e.StatusCode == http.StatusProxyAuthRequired:
		return "The proxy requires authentication: set HTTPS_PROXY to http://user:password@host:port"
	case e.Reason == googlebooks.ReasonRedirect && isGoogle(target.Hostname()) && strings.HasPrefix(target.Path, "/sorry/"):
		return "Google throttles this network's address: try later, or from another network"
	case e.Reason == googlebooks.ReasonRedirect && e.PlainHTTP && target.Scheme == "https" &&
		(target.Hostname() == googlebooks.DefaultHost || target.Hostname() == hostname(e.Host)):
		return clearText

	// Failures on the way to Google.
	case e.Reason == googlebooks.ReasonTimeout && !e.Proxied && isDial(e.Err):
		return "Nothing accepted the connection in time: look for a firewall or a NetworkPolicy and, in a mesh, check that the pod is part of it"
	case e.Timeout():
		return "Try again; GOOGLE_BOOKS_TIMEOUT and the mesh's timeouts limit the wait"
	case e.Reason == googlebooks.ReasonDNS:
		return "Check internet access and, in a cluster, its DNS"
	case e.Reason == googlebooks.ReasonProxy && says("x509: "):
		return "If you trust the proxy's CA, set GOOGLE_BOOKS_CA_FILE"
	case e.Reason == googlebooks.ReasonProxy,
		e.Proxied && (e.Reason == googlebooks.ReasonNotTLS || e.Reason == googlebooks.ReasonNoAnswer): // behind it
		return "Check the proxy that HTTPS_PROXY names"
	case e.Reason == googlebooks.ReasonCertificate:
		return "If you trust its CA, set GOOGLE_BOOKS_CA_FILE"
	case e.Reason == googlebooks.ReasonNotTLS:
		return "If a sidecar originates TLS, set DO_NOT_ENCRYPT=true or delete its DestinationRule"
	case e.Reason == googlebooks.ReasonNotHTTP && says("protocol version"):
		return "The server offers only TLS 1.1 or older, and the service needs TLS 1.2 or newer"
	case e.Reason == googlebooks.ReasonNoAnswer:
		return "Check that it can be reached; in a mesh, check its ServiceEntry and, in ambient, its waypoint"
	case e.StatusCode == http.StatusInternalServerError, e.StatusCode == http.StatusBadGateway,
		e.StatusCode == http.StatusServiceUnavailable, e.Reason == googlebooks.ReasonReset,
		e.Reason == googlebooks.ReasonTruncated, e.Reason == googlebooks.ReasonNoItems:
		return "Try again"
	case !e.FromAPI && e.Host != googlebooks.DefaultHost:
		return "Check that GOOGLE_BOOKS_HOST is the Books API"
	}
	return ""
}

// Advice on calls in clear text.
const (
	clearText      = "Clear text reached a server: set DO_NOT_ENCRYPT=true only where the mesh originates TLS"
	clearTextPort  = "Clear text reached a TLS port: check that a DestinationRule originates TLS for it"
	clearTextProxy = "Clear text reached a proxy that requires authentication"
	replaceKey     = "Replace the API key: it was sent in clear text"
)

// isGoogle reports whether a host is one that shows Google's page /sorry.
func isGoogle(host string) bool {
	return regexp.MustCompile(`^(www|ipv4|ipv6)\.google\.(com|[a-z]{2}|com?\.[a-z]{2})$`).MatchString(host)
}

// isDial reports whether err is a failure to connect.
func isDial(err error) bool {
	e, ok := errors.AsType[*net.OpError](err)
	return ok && e.Op == "dial"
}

// hostname returns a host without its port.
func hostname(host string) string { return (&url.URL{Host: host}).Hostname() }

// explain returns what happened and what to do about it.
func explain(e *googlebooks.Error) string {
	a := advice(e)
	switch {
	case a == "":
		return e.Message
	case e.HasKey && slices.Contains([]string{clearText, clearTextPort, clearTextProxy}, a):
		a += ". " + replaceKey
	}
	return strings.TrimSuffix(e.Message, ".") + ". " + a + "."
}
