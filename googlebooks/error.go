package googlebooks

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"
)

// ErrNotFound reports that Google Books has no volume with an ISBN. The error
// of a lookup wraps it and names the ISBN.
var ErrNotFound = errors.New("Google Books has no volume with this ISBN")

// The reasons that this package sets itself. All others are the API's.
const (
	ReasonNoAnswer    = "noAnswer"    // no response
	ReasonDNS         = "dns"         // the host's name does not resolve
	ReasonProxy       = "proxy"       // the proxy cannot be reached, refused the host, or requires authentication
	ReasonTimeout     = "timeout"     // no complete response in time, or a proxy reported a timeout
	ReasonCanceled    = "canceled"    // the caller went away
	ReasonCertificate = "certificate" // the server's certificate is not trusted
	ReasonReset       = "reset"       // the server ended the HTTP/2 stream or connection without a response
	ReasonNotTLS      = "notTLS"      // the server does not speak TLS
	ReasonNotHTTP     = "notHTTP"     // something answered, but not with an HTTP response that this client accepts
	ReasonRedirect    = "redirect"    // a redirect, which is not followed
	ReasonNotAPI      = "notAPI"      // an error response that is not the API's, such as a proxy's
	ReasonEmpty       = "empty"       // an error response without a body, such as a proxy's
	ReasonTruncated   = "truncated"   // the response was cut off
	ReasonNoItems     = "noItems"     // 200 and hits, but no volumes
	ReasonBadAnswer   = "badAnswer"   // 200, but the body is not an answer of volumes.list
	ReasonOther       = "other"       // a reason of the API that this package does not know
)

// apiReasons returns the known reasons of the API, except those of keyReasons.
// The list is fixed so that a reason can be the label of a metric.
func apiReasons() []string {
	return []string{
		"accessNotConfigured", "backendFailed", "badRequest", "dailyLimitExceeded", "invalidParameter",
		"ipRefererBlocked", "keyExpired", "keyInvalid", "notFound", "queryRequired", "quotaExceeded",
		"rateLimitExceeded", "required", "sslRequired", "unknownLocation", "userRateLimitExceeded",
	}
}

// keyReasons returns the reasons of google.api.ErrorReason for an API key that is
// refused. In the older list of errors, they are all badRequest or forbidden.
func keyReasons() []string {
	return []string{
		"API_KEY_INVALID", "API_KEY_SERVICE_BLOCKED", "API_KEY_HTTP_REFERRER_BLOCKED", "API_KEY_IP_ADDRESS_BLOCKED",
		"API_KEY_ANDROID_APP_BLOCKED", "API_KEY_IOS_APP_BLOCKED",
	}
}

// Error reports a failed lookup, for any cause other than ErrNotFound. None of
// its texts contains the API key or a control character.
type Error struct {
	Host       string // host or host:port that was called
	PlainHTTP  bool   // it was called over plain HTTP
	Proxied    bool   // it was called through Config.Proxy
	StatusCode int    // HTTP status of the response, or of the proxy's answer to CONNECT; 0: there was none
	Reason     string // the API's reason, such as rateLimitExceeded, or a Reason constant; may be empty
	Words      string // what the API, a proxy or another server said, at most 256 bytes; may be empty
	Location   string // target of a redirect: scheme, host and path; may be empty
	FromAPI    bool   // the API's own error
	HasKey     bool   // the call had an API key
	Message    string // what happened, on one line, Words and Location included
	Err        error  // the error of the network or the decoder, for a log; may be nil
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// Unwrap returns the error of the network or the decoder.
func (e *Error) Unwrap() error { return e.Err }

// Timeout reports whether the response came too late, or a proxy reported a
// timeout.
func (e *Error) Timeout() bool {
	return e.Reason == ReasonTimeout ||
		e.StatusCode == http.StatusRequestTimeout || e.StatusCode == http.StatusGatewayTimeout
}

// maxWords limits Error.Words, in bytes. Envoy names a TLS failure about 200
// bytes into its text.
const maxWords = 256

// newError returns an Error about the client's host.
func (c *Client) newError(status int, reason, message string) *Error {
	return &Error{
		Host:       c.base.Host,
		PlainHTTP:  c.base.Scheme == "http",
		Proxied:    c.proxied,
		HasKey:     c.apiKey != "",
		StatusCode: status,
		Reason:     reason,
		Message:    message,
	}
}

// errNoResponse returns the Error of a call that got no response.
func (c *Client) errNoResponse(err error) *Error {
	e := c.newError(0, "", "")
	e.Err = c.redactError(err)
	_, noName := errors.AsType[*net.DNSError](err)
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	_, notTLS := errors.AsType[tls.RecordHeaderError](err)
	proxy, isProxy := errors.AsType[*proxyError](err)
	switch {
	case errors.Is(err, context.Canceled):
		e.Reason, e.Message = ReasonCanceled, "the caller went away"
	case isProxy:
		e.StatusCode, e.Reason, e.Message = proxy.status, ReasonProxy, "the proxy did not connect to "+c.upstream
		if proxy.status != 0 {
			e.Message += fmt.Sprintf(": it answered %d", proxy.status)
		}
		switch {
		case untrusted:
			e.Words = c.printable(err.Error())
			e = e.withWords()
		case proxy.status == 0 && !noName && timedOut(err):
			e.Reason = ReasonTimeout
		}
	case noName:
		e.Reason, e.Message = ReasonDNS, c.base.Hostname()+" does not resolve"
	case timedOut(err):
		e.Reason, e.Message = ReasonTimeout, fmt.Sprintf("no complete answer from %s within %s", c.upstream, c.timeout)
	case untrusted:
		e.Reason, e.Words = ReasonCertificate, c.printable(err.Error())
		e.Message = fmt.Sprintf("the certificate of %s is not trusted: %s", c.upstream, e.Words)
	case notTLS:
		e.Reason, e.Message = ReasonNotTLS, c.upstream+" does not speak TLS"
	case cutOff(err):
		e.Reason, e.Message = ReasonTruncated, "the answer of "+c.upstream+" was cut off"
	case resetByServer(err):
		e.Reason, e.Message = ReasonReset, c.upstream+" broke off the call"
	case noAnswer(err):
		e.Reason, e.Message = ReasonNoAnswer, "no answer from "+c.upstream
	default:
		e.Reason = ReasonNotHTTP
		e.Words = c.printable(strings.TrimPrefix(err.Error(), "net/http: HTTP/1.x transport connection broken: "))
		e.Message = fmt.Sprintf("%s answered, but not as the Books API does: %s", c.upstream, e.Words)
	}
	return e
}

// cutOff reports whether the connection ended within a response's header. In the
// middle of a line, net/http takes the rest for a malformed one.
func cutOff(err error) bool {
	return errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(err.Error(), "malformed MIME header: missing colon")
}

// resetByServer reports whether the server ended the HTTP/2 stream (RST_STREAM)
// or connection (GOAWAY). net/http does not export these errors.
func resetByServer(err error) bool {
	text := err.Error()
	return errors.Is(err, errTooManyDials) || strings.HasSuffix(text, "received from peer") ||
		strings.HasPrefix(text, "http2: ") && strings.Contains(text, "GOAWAY")
}

// noAnswer reports whether the connection failed before a response began. The
// texts are those of net/http for a connection that ends while it is idle, or
// that no longer answers pings. A TLS alert is an answer.
func noAnswer(err error) bool {
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return e.Op != "remote error" && e.Op != "local error" // TLS alerts
	}
	_, isErrno := errors.AsType[syscall.Errno](err)
	text := err.Error()
	return isErrno || errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) ||
		strings.HasSuffix(text, "server closed idle connection") || strings.HasPrefix(text, "http2: client conn")
}

// errBody returns the Error of a response with status 200 whose body could not
// be read.
func (c *Client) errBody(err error) *Error {
	if bad, ok := errors.AsType[*bodyError](err); ok {
		return c.newError(http.StatusOK, ReasonBadAnswer, c.upstream+" answered 200 with "+c.printable(bad.what))
	}
	e := c.errNoResponse(err)
	e.StatusCode = http.StatusOK
	if !e.Timeout() && e.Reason != ReasonCanceled {
		e.Reason, e.Message, e.Words = ReasonTruncated, "the answer of "+c.upstream+" was cut off", ""
	}
	return e
}

// errBadAnswer returns the Error of a response with status 200 that is not an
// answer of volumes.list.
func (c *Client) errBadAnswer(err error) *Error {
	e := c.newError(http.StatusOK, ReasonBadAnswer, c.upstream+" answered 200, but not with a valid list of volumes")
	if errors.Is(err, errNoItems) {
		e.Reason, e.Message = ReasonNoItems, c.upstream+" answered 200 with hits, but without a volume"
	}
	e.Err = c.redactError(err)
	return e
}

// apiError is the body of the API's errors. The older form has no status and
// no details.
type apiError struct {
	Error *struct {
		Message string `json:"message"`
		Status  string `json:"status"`
		Errors  []struct {
			Reason string `json:"reason"`
		} `json:"errors"`
		Details []struct {
			Reason string `json:"reason"`
		} `json:"details"`
	} `json:"error"`
}

// errStatus returns the Error of a response whose status is not 200, with the
// results of readBody.
func (c *Client) errStatus(res *http.Response, body []byte, err error) *Error {
	var a apiError
	if unmarshal(body, &a) != nil || a.Error == nil {
		return c.errNotAPI(res, body, err)
	}

	reason := a.Error.Status
	if len(a.Error.Errors) > 0 {
		reason = a.Error.Errors[0].Reason
	}
	known := slices.Contains(apiReasons(), reason)
	for _, d := range a.Error.Details {
		switch {
		case slices.Contains(keyReasons(), d.Reason):
			reason, known = d.Reason, true
		case d.Reason == "SERVICE_DISABLED":
			reason, known = "accessNotConfigured", true
		case d.Reason == "RATE_LIMIT_EXCEEDED":
			reason, known = "rateLimitExceeded", true
		}
	}
	words := a.Error.Message
	if reason != "" && !known {
		reason, words = ReasonOther, reason+": "+words
	}
	e := c.newError(res.StatusCode, reason, fmt.Sprintf("Google Books answered %d", res.StatusCode))
	e.FromAPI, e.Words = true, c.printable(words)
	if reason != "" && reason != ReasonOther {
		e.Message += " " + reason
	}
	return e.withWords()
}

// errNotAPI returns the Error of an error response without the API's JSON. It
// treats HTML as a page of Google's front end, and any other text as the words
// of a proxy.
func (c *Client) errNotAPI(res *http.Response, body []byte, err error) *Error {
	e := c.newError(res.StatusCode, ReasonNotAPI, fmt.Sprintf("%s answered %d", c.upstream, res.StatusCode))
	switch location := res.Header.Get("Location"); {
	case res.StatusCode == http.StatusProxyAuthRequired:
		e.Reason = ReasonProxy
	case e.Timeout():
		e.Reason = ReasonTimeout
	case location != "" && slices.Contains([]int{301, 302, 303, 307, 308}, res.StatusCode):
		e.Reason, e.Location = ReasonRedirect, c.location(location)
		e.Message += ", a redirect to " + e.Location
		return e
	}
	body = bytes.TrimSpace(body)
	bad, isBad := errors.AsType[*bodyError](err)
	switch {
	case isBad:
		e.Message += " with " + c.printable(bad.what)
	case isHTML(body):
		e.Message += " with an HTML page"
	case !isText(body):
		e.Message += " with a body that is not text" // compressed, perhaps
	case len(body) == 0 && err != nil:
		e.Message += " with a body that was cut off"
	case len(body) == 0:
		e.Message += " without a body"
		if e.Reason == ReasonNotAPI {
			e.Reason = ReasonEmpty
		}
	default:
		e.Words = c.printable(string(body))
	}
	return e.withWords()
}

func isHTML(body []byte) bool {
	start := bytes.ToLower(body[:min(len(body), 512)])
	return bytes.HasPrefix(start, []byte("<!doctype html")) || bytes.Contains(start, []byte("<html"))
}

// isText reports whether a body has no control characters and at most a few bytes
// that are not UTF-8.
func isText(body []byte) bool {
	invalid := 0
	for _, r := range string(body) {
		switch {
		case r == utf8.RuneError:
			invalid++
		case unicode.IsControl(r) && !unicode.IsSpace(r):
			return false
		}
	}
	return invalid <= len(body)/8
}

// location returns the target of a redirect, without what may hold a secret:
// query, fragment and user information.
func (c *Client) location(target string) string {
	u, err := c.base.Parse(target)
	if err != nil {
		return "an invalid URL"
	}
	return c.printable((&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String())
}

// withWords appends the words to the message.
func (e *Error) withWords() *Error {
	if e.Words != "" {
		e.Message += ": " + e.Words
	}
	return e
}

func timedOut(err error) bool {
	t, ok := errors.AsType[net.Error](err)
	return errors.Is(err, context.DeadlineExceeded) || ok && t.Timeout()
}

// minSecret is the length in bytes from which a part of the API key counts as
// secret. A shorter key, such as a dummy "any", is not secret.
const minSecret = 8

// Redact returns text without the API key. A text that still holds a part of the
// key, for example because it was truncated, is withheld.
func Redact(text, apiKey string) string {
	if len(apiKey) < minSecret {
		return text
	}
	text = strings.ReplaceAll(text, apiKey, "[API key]")
	for i := range len(apiKey) - minSecret + 1 {
		if strings.Contains(text, apiKey[i:i+minSecret]) {
			return "[withheld: it contains a part of the API key]"
		}
	}
	return text
}

// redactError returns err without the API key in its text: net/http and the
// decoder quote what they cannot parse, and a proxy may echo the request.
func (c *Client) redactError(err error) error {
	text := err.Error()
	if redacted := Redact(text, c.apiKey); redacted != text {
		return &redactedError{err, redacted}
	}
	return err
}

type redactedError struct {
	err  error
	text string
}

func (e *redactedError) Error() string { return e.text }
func (e *redactedError) Unwrap() error { return e.err }

// printable makes a text from outside printable: one line of at most maxWords
// bytes, without the API key and control characters.
func (c *Client) printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, Redact(s, c.apiKey))
	s = strings.TrimSpace(strings.ToValidUTF8(s, ""))
	if len(s) > maxWords {
		s = strings.ToValidUTF8(s[:maxWords-len("…")], "") + "…"
	}
	return s
}
