package googlebooks

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// ErrNotFound is the answer for an ISBN that Google Books has no volume for.
var ErrNotFound = errors.New("Google Books has no volume with this ISBN")

// The reasons that this package sets itself. All others are the API's.
const (
	ReasonNoAnswer    = "noAnswer"    // no response, or a gateway error without a body
	ReasonDNS         = "dns"         // the host's name does not resolve
	ReasonProxy       = "proxy"       // the proxy set in the environment cannot be reached, or refuses
	ReasonTimeout     = "timeout"     // no complete response in time, or a proxy reports a timeout
	ReasonCanceled    = "canceled"    // the caller did not wait
	ReasonCertificate = "certificate" // the server's certificate is not trusted
	ReasonNotTLS      = "notTLS"      // the server does not speak TLS
	ReasonNotAPI      = "notAPI"      // an error response that is not the API's, such as a proxy's
	ReasonTruncated   = "truncated"   // 200, but the body was cut off
	ReasonBadAnswer   = "badAnswer"   // 200, but the body is not an answer of volumes.list
	ReasonOther       = "other"       // a reason of the API's that this package does not know
)

// apiReasons returns the known reasons of the API. The list is fixed so that a
// reason can be the label of a metric.
func apiReasons() []string {
	return []string{
		"API_KEY_INVALID", "accessNotConfigured", "backendFailed", "badRequest",
		"dailyLimitExceeded", "invalidParameter", "notFound", "queryRequired",
		"rateLimitExceeded", "required", "sslRequired", "unknownLocation",
		"userRateLimitExceeded",
	}
}

// Error reports a failed lookup, for any cause other than ErrNotFound. None of
// its texts contains the API key or a control character.
type Error struct {
	StatusCode int    // HTTP status of the response; 0: there was none
	Reason     string // the API's reason, such as rateLimitExceeded, or a Reason constant; may be empty
	Words      string // what the API or a proxy said, at most 256 bytes; may be empty
	NoKey      bool   // an error of the API, for a call without an API key
	Message    string // what happened, on one line, Words included
	Err        error  // the error of the network or the decoder, for a log; may be nil
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// Unwrap returns the error of the network or the decoder.
func (e *Error) Unwrap() error { return e.Err }

// maxWords limits Error.Words, in bytes. Envoy names a TLS failure about 200
// bytes into its text.
const maxWords = 256

// opProxy is the Op of net/http's errors about the proxy set in the
// environment.
const opProxy = "proxyconnect"

// errNoResponse returns the Error of a call that got no response.
func (c *Client) errNoResponse(err error) *Error {
	e := &Error{Reason: ReasonNoAnswer, Message: "no answer from " + c.upstream, Err: c.redactError(err)}
	_, noName := errors.AsType[*net.DNSError](err)
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	_, notTLS := errors.AsType[tls.RecordHeaderError](err)
	netErr, isNet := errors.AsType[*net.OpError](err)
	switch {
	case errors.Is(err, context.Canceled):
		e.Reason, e.Message = ReasonCanceled, "the caller went away"
	case isNet && netErr.Op == opProxy:
		e.Reason, e.Message = ReasonProxy, "the proxy did not connect to "+c.upstream
	case noName:
		e.Reason, e.Message = ReasonDNS, c.base.Hostname()+" does not resolve"
	case timedOut(err):
		e.Reason, e.Message = ReasonTimeout, fmt.Sprintf("no complete answer from %s within %s", c.upstream, c.timeout)
	case untrusted:
		e.Reason, e.Words = ReasonCertificate, c.printable(err.Error())
		e.Message = fmt.Sprintf("the certificate of %s is not trusted: %s", c.upstream, e.Words)
	case notTLS:
		e.Reason, e.Message = ReasonNotTLS, c.upstream+" does not speak TLS"
	}
	return e
}

// errBody returns the Error of a response with status 200 whose body could not
// be read completely.
func (c *Client) errBody(err error) *Error {
	e := c.errNoResponse(err)
	if e.Reason != ReasonTimeout && e.Reason != ReasonCanceled {
		e.Reason, e.Message = ReasonTruncated, "the answer of "+c.upstream+" was cut off"
	}
	e.StatusCode = http.StatusOK
	return e
}

// errBadAnswer returns the Error of a response with status 200 that is not an
// answer of volumes.list.
func (c *Client) errBadAnswer(err error) *Error {
	return &Error{
		StatusCode: http.StatusOK,
		Reason:     ReasonBadAnswer,
		Message:    c.upstream + " answered 200, but not with a valid list of volumes",
		Err:        c.redactError(err),
	}
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

// errStatus returns the Error of a response whose status is not 200.
func (c *Client) errStatus(status int, body []byte) *Error {
	var a apiError
	err := json.Unmarshal(body, &a, lastKeyWins(), jsontext.AllowInvalidUTF8(true))
	if err != nil || a.Error == nil {
		return c.errNotAPI(status, body)
	}

	reason := a.Error.Status
	if len(a.Error.Errors) > 0 {
		reason = a.Error.Errors[0].Reason
	}
	for _, d := range a.Error.Details {
		if d.Reason == "API_KEY_INVALID" { // nothing else distinguishes it from other bad requests
			reason = d.Reason
		}
	}
	words := a.Error.Message
	if reason != "" && !slices.Contains(apiReasons(), reason) {
		reason, words = ReasonOther, reason+": "+words
	}
	e := &Error{
		StatusCode: status,
		Reason:     reason,
		Words:      c.printable(words),
		NoKey:      c.apiKey == "",
		Message:    fmt.Sprintf("Google Books answered %d", status),
	}
	if reason != "" && reason != ReasonOther {
		e.Message += " " + reason
	}
	return e.withWords()
}

// errNotAPI returns the Error of an error response without the API's JSON. It
// takes HTML for a page of Google's front end and everything else for the words
// of a proxy on the way.
func (c *Client) errNotAPI(status int, body []byte) *Error {
	e := &Error{StatusCode: status, Reason: ReasonNotAPI, Message: fmt.Sprintf("%s answered %d", c.upstream, status)}
	body = bytes.TrimSpace(body)
	switch {
	case bytes.HasPrefix(body, []byte("<")):
		e.Message += " with an HTML page"
		return e
	case len(body) == 0:
		e.Message += " without a body"
		if status >= http.StatusBadGateway {
			e.Reason = ReasonNoAnswer
		}
	}
	if status == http.StatusGatewayTimeout {
		e.Reason = ReasonTimeout
	}
	e.Words = c.printable(string(body))
	return e.withWords()
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

// Redact replaces the API key in a text from outside. It replaces a short key,
// such as a dummy "x", only where it is a whole word: anywhere else it is just a
// letter. Without a key the text is returned as it is.
func Redact(text, apiKey string) string {
	const placeholder = "[API key]"
	if apiKey == "" {
		return text
	}
	if len(apiKey) >= 8 {
		return strings.ReplaceAll(text, apiKey, placeholder)
	}
	pattern := wordBoundary(apiKey[0]) + regexp.QuoteMeta(apiKey) + wordBoundary(apiKey[len(apiKey)-1])
	return regexp.MustCompile(pattern).ReplaceAllLiteralString(text, placeholder)
}

// wordBoundary returns the pattern of a word boundary beside c, or "" if c is
// punctuation, which has none.
func wordBoundary(c byte) string {
	if c == '_' || unicode.IsLetter(rune(c)) || unicode.IsDigit(rune(c)) {
		return `\b`
	}
	return ""
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
