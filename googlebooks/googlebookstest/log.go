package googlebookstest

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// log writes method, request target and status. The status is "-" if there was
// no HTTP answer, and is followed by "(cut)" if the answer was cut off. The
// names of refused headers follow. The target is quoted, so that it cannot
// forge a line, and contains no API key.
func (s *Server) log(r *http.Request, line *statusRecorder) {
	status := "-"
	if line.status != 0 {
		status = strconv.Itoa(line.status)
		if !line.done {
			status += " (cut)"
		}
	}
	if names := s.refusedHeaders(r.Header); names != "" {
		status += " (" + names + ")"
	}
	target := strconv.Quote(redactKey(r.RequestURI))
	s.cfg.Log.Printf("%s %s %s", r.Method, target[1:len(target)-1], status)
}

// redactKey replaces the value of the parameter key, in any spelling.
func redactKey(target string) string {
	path, query, found := strings.Cut(target, "?")
	if !found {
		return target
	}
	params := strings.Split(query, "&")
	for i, param := range params {
		name, _, _ := strings.Cut(param, "=")
		if decoded, err := url.QueryUnescape(name); err != nil || strings.EqualFold(decoded, "key") {
			params[i] = name + "=REDACTED"
		}
	}
	return path + "?" + strings.Join(params, "&")
}

// statusRecorder keeps the status of a response.
type statusRecorder struct {
	http.ResponseWriter

	status int  // 0: none was sent
	done   bool // the response is complete
}

func (s *statusRecorder) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController flush and hijack.
func (s *statusRecorder) Unwrap() http.ResponseWriter { return s.ResponseWriter }
