package googlebookstest

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// answer is a whole answer, before anything goes wrong with it.
type answer struct {
	status      int
	contentType string
	body        []byte
}

func jsonAnswer(status int, body []byte) answer {
	return answer{status: status, contentType: "application/json; charset=UTF-8", body: body}
}

// htmlError is the page of Google's front end, for what never reaches the API.
func htmlError(status int) answer {
	text, sorry := http.StatusText(status), "The requested URL was not found on this server."
	if status >= http.StatusInternalServerError {
		text, sorry = "Server Error", "The server encountered a temporary error and could not complete your request."
	}
	body := fmt.Appendf(nil, `<!DOCTYPE html>
<html lang=en>
  <meta charset=utf-8>
  <title>Error %d (%s)!!1</title>
  <p><b>%d.</b> <ins>That's an error.</ins>
  <p>%s  <ins>That's all we know.</ins>
`, status, text, status, sorry)

	return answer{status: status, contentType: "text/html; charset=UTF-8", body: body}
}

// errorItem is one element of the errors array, in both of Google's envelopes.
type errorItem struct {
	Message      string `json:"message"`
	Domain       string `json:"domain"`
	Reason       string `json:"reason"`
	Location     string `json:"location,omitempty"`
	LocationType string `json:"locationType,omitempty"`
	ExtendedHelp string `json:"extendedHelp,omitempty"`
}

// newEnvelope is the error of today; the API's own checks leave out status and details.
type newEnvelope struct {
	Code    int         `json:"code"`
	Message string      `json:"message"`
	Errors  []errorItem `json:"errors"`
	Status  string      `json:"status,omitempty"`
	Details []any       `json:"details,omitempty"`
}

// oldEnvelope is the error of before 2020, still seen.
type oldEnvelope struct {
	Errors  []errorItem `json:"errors"`
	Code    int         `json:"code"`
	Message string      `json:"message"`
}

// errorInfo is google.rpc.ErrorInfo of https://google.aip.dev/193.
type errorInfo struct {
	Type     string            `json:"@type"`
	Reason   string            `json:"reason"`
	Domain   string            `json:"domain"`
	Metadata map[string]string `json:"metadata"`
}

func newError(status int, rpcStatus string, item errorItem, details ...any) answer {
	return jsonAnswer(status, marshalError(newEnvelope{
		Code: status, Message: item.Message, Errors: []errorItem{item}, Status: rpcStatus, Details: details,
	}, "  "))
}

func oldError(status int, item errorItem) answer {
	return jsonAnswer(status, marshalError(oldEnvelope{
		Errors: []errorItem{item}, Code: status, Message: item.Message,
	}, " "))
}

func marshalError(envelope any, indent string) []byte {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", indent)
	if err := encoder.Encode(map[string]any{"error": envelope}); err != nil {
		panic(err) // strings and numbers only: can't fail
	}

	return body.Bytes()
}

func missingQuery() answer {
	return newError(http.StatusBadRequest, "", errorItem{
		Message: "Required parameter: q", Domain: "global", Reason: "required",
	})
}

func emptyQuery() answer {
	return newError(http.StatusBadRequest, "", errorItem{
		Message: "Missing query.", Domain: "global", Reason: "queryRequired", Location: "q", LocationType: "parameter",
	})
}

func invalidMaxResults(value string) answer {
	return newError(http.StatusBadRequest, "", errorItem{
		Message: fmt.Sprintf("Invalid value '%s'. Values must be within the range: [, value: %d\n]", value, maxResults),
		Domain:  "global", Reason: "invalidParameter",
	})
}

func apiKeyInvalid() answer {
	const message = "API key not valid. Please pass a valid API key."

	return newError(http.StatusBadRequest, "INVALID_ARGUMENT",
		errorItem{Message: message, Domain: "global", Reason: "badRequest"},
		errorInfo{
			Type: "type.googleapis.com/google.rpc.ErrorInfo", Reason: "API_KEY_INVALID", Domain: "googleapis.com",
			Metadata: map[string]string{"service": "books.googleapis.com"},
		},
		map[string]string{
			"@type": "type.googleapis.com/google.rpc.LocalizedMessage", "locale": "en-US", "message": message,
		})
}

func sslRequired() answer {
	return newError(http.StatusForbidden, "PERMISSION_DENIED", errorItem{
		Message: "SSL is required to perform this operation.", Domain: "global", Reason: "sslRequired",
	})
}

func unknownLocation() answer {
	return oldError(http.StatusForbidden, errorItem{
		Domain: "global", Reason: "unknownLocation",
		Message: "Cannot determine user location for geographically restricted operation.",
	})
}

func accessNotConfigured() answer {
	const page = "https://console.developers.google.com/apis/api/books.googleapis.com/overview?project=100000000001"

	return newError(http.StatusForbidden, "PERMISSION_DENIED",
		errorItem{
			Message: "Books API has not been used in project 100000000001 before or it is disabled. " +
				"Enable it by visiting " + page + " then retry.",
			Domain: "usageLimits", Reason: "accessNotConfigured", ExtendedHelp: "https://console.developers.google.com",
		},
		errorInfo{
			Type: "type.googleapis.com/google.rpc.ErrorInfo", Reason: "SERVICE_DISABLED", Domain: "googleapis.com",
			Metadata: map[string]string{"service": "books.googleapis.com", "consumer": "projects/100000000001"},
		})
}

func dailyLimitExceeded() answer {
	return oldError(http.StatusForbidden, errorItem{
		Domain: "usageLimits", Reason: "dailyLimitExceeded",
		Message: "Daily Limit Exceeded. The quota will be reset at midnight Pacific Time (PT).",
	})
}

func userRateLimitExceeded() answer {
	return oldError(http.StatusForbidden, errorItem{
		Domain: "usageLimits", Reason: "userRateLimitExceeded", Message: "User Rate Limit Exceeded",
	})
}

func volumeNotFound() answer {
	return newError(http.StatusNotFound, "", errorItem{
		Message: "The volume ID could not be found.", Domain: "global", Reason: "notFound",
	})
}

// quotaKeyless is what every call without a key has got since 2026: the quota of the project that Google counts such
// calls for, 624717413613, is 0 a day.
func quotaKeyless() answer {
	return quotaExceeded("Queries per day", "defaultPerDayPerProject", "1/d/{project}", "0", "624717413613")
}

func quotaPerDay() answer {
	return quotaExceeded("Queries per day", "defaultPerDayPerProject", "1/d/{project}", "1000", "100000000001")
}

func quotaPerMinute() answer {
	return quotaExceeded(
		"Queries per minute per user", "defaultPerMinutePerUser", "1/min/{project}/{user}", "100", "100000000001")
}

// quotaExceeded is a 429: the kinds of quota are told apart by quota_limit alone, and none comes with Retry-After.
func quotaExceeded(limit, quotaLimit, unit, value, project string) answer {
	return newError(http.StatusTooManyRequests, "RESOURCE_EXHAUSTED",
		errorItem{
			Message: "Quota exceeded for quota metric 'Queries' and limit '" + limit +
				"' of service 'books.googleapis.com' for consumer 'project_number:" + project + "'.",
			Domain: "global", Reason: "rateLimitExceeded",
		},
		errorInfo{
			Type: "type.googleapis.com/google.rpc.ErrorInfo", Reason: "RATE_LIMIT_EXCEEDED", Domain: "googleapis.com",
			Metadata: map[string]string{
				"consumer":          "projects/" + project,
				"quota_limit":       quotaLimit,
				"quota_limit_value": value,
				"quota_location":    "global",
				"quota_metric":      "books.googleapis.com/default",
				"quota_unit":        unit,
				"service":           "books.googleapis.com",
			},
		},
		map[string]any{
			"@type": "type.googleapis.com/google.rpc.Help",
			"links": []map[string]string{{
				"description": "Request a higher quota limit.",
				"url":         "https://cloud.google.com/docs/quotas/help/request_increase",
			}},
		})
}

func backendFailed() errorItem {
	return errorItem{Message: "Service temporarily unavailable.", Domain: "global", Reason: "backendFailed"}
}

// header sets the headers that came with Google's answers in 2026.
func (a answer) header(h http.Header) {
	h.Set("Content-Type", a.contentType)
	h["Vary"] = []string{"Origin", "X-Origin", "Referer"}
	h.Set("Server", "ESF")
	h.Set("X-XSS-Protection", "0")
	h.Set("X-Frame-Options", "SAMEORIGIN")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Alt-Svc", `h3=":443"; ma=2592000,h3-29=":443"; ma=2592000`)
}

// write sends the answer as Google does: packed if gzip is asked for, and without Content-Length.
func (a answer) write(w http.ResponseWriter, r *http.Request) {
	a.header(w.Header())
	if !acceptsGzip(r.Header) {
		w.WriteHeader(a.status)
		flush(w)
		send(w, a.body)

		return
	}
	w.Header().Set("Content-Encoding", "gzip")
	w.WriteHeader(a.status)
	flush(w)
	send(w, packed(a.body))
}

func packed(body []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(body) // a bytes.Buffer can't fail
	_ = z.Close()

	return b.Bytes()
}

// acceptsGzip reads Accept-Encoding of RFC 9110 section 12.5.3, where q=0 refuses a coding.
func acceptsGzip(h http.Header) bool {
	for line := range strings.SplitSeq(strings.Join(h.Values("Accept-Encoding"), ","), ",") {
		coding, params, _ := strings.Cut(line, ";")
		if !strings.EqualFold(strings.TrimSpace(coding), "gzip") {
			continue
		}
		weight, found := strings.CutPrefix(strings.ReplaceAll(params, " ", ""), "q=")
		q, err := strconv.ParseFloat(weight, 64)

		return !found || err == nil && q > 0
	}

	return false
}
