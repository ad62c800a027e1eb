package googlebooks

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// ErrNotFound is the answer for an ISBN of which Google Books has no volume.
var ErrNotFound = errors.New("Google Books has no volume with this ISBN")

// The reasons that this package gives itself. All others are Google's.
const (
	ReasonNoAnswer    = "noAnswer"    // nothing answered, or something that is not Google
	ReasonTimeout     = "timeout"     // the time for it was over
	ReasonCanceled    = "canceled"    // the caller did not wait for it
	ReasonCertificate = "certificate" // whoever answered could not prove to be Google
	ReasonNotTLS      = "notTLS"      // HTTPS was answered by something else
	ReasonBadAnswer   = "badAnswer"   // 200, but not with volumes
)

// Error is a call that brought no volume for another cause than ErrNotFound.
type Error struct {
	StatusCode int    // HTTP status of the answer; 0: there was none
	Reason     string // Google's reason, such as rateLimitExceeded, or one of the constants above; may be empty
	Message    string // what happened and what to do about it, on one line, without secrets
	Err        error  // the cause where the network or the decoder has one, without secrets, for a log; may be nil
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// envelope is the body of Google's errors: the one with status and details,
// and the older one without.
type envelope struct {
	Error *struct {
		Message string `json:"message"`
		Status  string `json:"status"`
		Errors  []struct {
			Reason string `json:"reason"`
		} `json:"errors"`
		Details []struct {
			Reason   string `json:"reason"`
			Metadata struct {
				QuotaLimit string `json:"quota_limit"`
			} `json:"metadata"`
		} `json:"details"`
	} `json:"error"`
}

// refusal makes the Error of an answer that is not 200. The status is never
// lost, whatever the body is.
func (c *Client) refusal(status int, body []byte) *Error {
	var e envelope
	err := json.Unmarshal(body, &e, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if err != nil || e.Error == nil {
		return c.foreign(status, body)
	}

	reason, quota := e.Error.Status, ""
	if len(e.Error.Errors) > 0 {
		reason = e.Error.Errors[0].Reason
	}
	for _, d := range e.Error.Details {
		if d.Reason == "API_KEY_INVALID" { // the only thing that tells it from other bad requests
			reason = d.Reason
		}
		if d.Metadata.QuotaLimit != "" {
			quota = d.Metadata.QuotaLimit
		}
	}
	reason = printable(c.redact(reason), 64)
	what := fmt.Sprintf("Google Books answered %d", status)
	if reason != "" {
		what += " " + reason
	}

	return &Error{
		StatusCode: status,
		Reason:     reason,
		Message:    what + ": " + c.advice(status, reason, quota, printable(c.redact(e.Error.Message), 300)),
	}
}

// advice says what to do about one of Google's errors; where there is nothing
// better to say, it is Google's own message.
func (c *Client) advice(status int, reason, quota, message string) string {
	switch {
	case reason == "sslRequired":
		return "it refuses plain HTTP; DO_NOT_ENCRYPT=true works only where a sidecar originates TLS"
	case reason == "unknownLocation":
		return "it cannot tell this address's country; set GOOGLE_BOOKS_COUNTRY, for example to US"
	case reason == "API_KEY_INVALID":
		return "it does not know the API key; correct GOOGLE_BOOKS_API_KEY"
	case reason == "accessNotConfigured":
		return "enable the Books API for the project of GOOGLE_BOOKS_API_KEY, and check the key's restrictions"
	case status == http.StatusTooManyRequests && c.apiKey == "":
		return "it refuses calls without an API key; set GOOGLE_BOOKS_API_KEY"
	case status == http.StatusTooManyRequests && strings.Contains(quota, "PerMinute"):
		return "more calls than the key may make in a minute; try again in one"
	case status == http.StatusTooManyRequests:
		return "the key's calls are spent, until midnight Pacific time if these were the day's; ask for less, or for a higher quota"
	case status >= http.StatusInternalServerError:
		return "a failure at Google; try again"
	case message == "":
		return "no reason given"
	}

	return message
}

// foreign makes the Error of an answer without Google's JSON: Google's front
// end speaks HTML; anything else is a proxy's, most often the sidecar's.
func (c *Client) foreign(status int, body []byte) *Error {
	html := bytes.HasPrefix(bytes.TrimSpace(body), []byte("<"))
	switch {
	case html && status >= http.StatusInternalServerError:
		return &Error{StatusCode: status, Message: fmt.Sprintf("Google Books answered %d: a failure at Google; try again", status)}
	case !html && status >= http.StatusBadGateway:
		return &Error{StatusCode: status, Reason: ReasonNoAnswer, Message: c.noAnswer()}
	case status == http.StatusForbidden:
		return &Error{StatusCode: status, Message: fmt.Sprintf("%s answered 403, not in Google's words; does a policy of the mesh or a proxy refuse the call?", c.upstream)}
	}

	return &Error{StatusCode: status, Message: fmt.Sprintf("%s answered %d, not in Google's words; is it Google Books?", c.upstream, status)}
}

func (c *Client) noAnswer() string {
	return fmt.Sprintf("nothing answered for %s; in a mesh, is there a ServiceEntry for it?", c.upstream)
}

// redact takes the API key out of a text that came from outside.
func (c *Client) redact(s string) string {
	if c.apiKey == "" {
		return s
	}

	return strings.ReplaceAll(s, c.apiKey, "[API key]")
}

// cause is err without the API key in its text: net/http and the decoder
// quote what they can't read, and a proxy's answer may repeat the request.
func (c *Client) cause(err error) error {
	text := err.Error()
	if redacted := c.redact(text); redacted != text {
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

// printable makes a text from outside fit for one line: no control characters,
// at most limit bytes.
func printable(s string, limit int) string {
	s = strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}

		return ' '
	}, s), "")
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "…"
	}

	return s
}
