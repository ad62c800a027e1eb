package details

import (
	"cmp"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"example.com/bookinfo/googlebooks"
)

// requestLine is the content of one request's log line.
type requestLine struct {
	status int
	bytes  int // of the body
	took   time.Duration
	err    error // nil: the request succeeded
	lookup googlebooks.Result
}

// logRequest writes the line of one request. Text from the caller or Google is
// the value of an attribute, which slog's handlers quote, so it cannot forge a
// line.
func (s *service) logRequest(r *http.Request, level slog.Level, line requestLine) {
	lookup := line.lookup
	failure := cmp.Or(line.err, lookup.StaleCause)
	switch {
	case line.status >= http.StatusInternalServerError:
		level = slog.LevelError
	case line.status >= http.StatusBadRequest && line.status != statusCallerGone, lookup.StaleCause != nil:
		level = slog.LevelWarn
	}
	ctx := r.Context()
	if !s.Logger.Enabled(ctx, level) {
		return
	}

	attrs := make([]slog.Attr, 0, 13)
	attrs = append(attrs,
		slog.String("method", clip(r.Method)),
		slog.String("path", clip(r.URL.Path)),
		slog.Int("status", line.status),
		slog.Int("bytes", line.bytes),
		slog.Float64("ms", milliseconds(line.took)),
	)
	if id := r.Header.Get("X-Request-Id"); id != "" {
		attrs = append(attrs, slog.String("request_id", clip(id)))
	}
	if id := traceID(r.Header); id != "" {
		attrs = append(attrs, slog.String("trace_id", clip(id)))
	}
	if lookup.Last.Number > 0 {
		attrs = append(attrs,
			slog.Int("upstream_status", lookup.Last.StatusCode),
			slog.Float64("upstream_ms", milliseconds(lookup.Last.Duration)),
			slog.Int("tries", lookup.Last.Number),
		)
	} else if e, ok := errors.AsType[*googlebooks.Error](failure); ok { // of an earlier or a shared call
		attrs = append(attrs, slog.Int("upstream_status", e.StatusCode))
	}
	if lookup.Outcome != "" {
		attrs = append(attrs, slog.String("cache", string(lookup.Outcome)))
	}
	if failure != nil {
		attrs = append(attrs, errorAttrs(failure)...)
	}
	s.Logger.LogAttrs(ctx, level, "request", attrs...)
}

// errorAttrs returns the error message that the caller gets, and the cause: the
// error of the network or the decoder, which the caller does not get. After a
// panic, the caller gets neither the message nor the stack.
func errorAttrs(err error) []slog.Attr {
	e, ok := errors.AsType[*googlebooks.Error](err)
	if !ok {
		return []slog.Attr{slog.String("error", err.Error())}
	}
	attrs := []slog.Attr{slog.String("error", explain(e))}
	if e.Err != nil {
		attrs = append(attrs, slog.String("cause", clip(e.Err.Error())))
	}
	return attrs
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// clip makes untrusted text safe to log: at most 256 bytes, with U+FFFD for
// characters that cannot be printed. slog escapes only ASCII control
// characters.
func clip(s string) string {
	const limit = 256
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return utf8.RuneError
		}
		return r
	}, s)
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}

// traceID returns the id of the trace that the request belongs to, from B3's
// headers or from W3C's traceparent, or "".
func traceID(h http.Header) string {
	if id := h.Get("X-B3-Traceid"); id != "" {
		return id
	}
	if id, _, ok := strings.Cut(h.Get("B3"), "-"); ok { // traceid-spanid-sampled-parent; a lone 0, 1 or d has no id
		return id
	}
	if _, rest, ok := strings.Cut(h.Get("Traceparent"), "-"); ok { // version-traceid-parentid-flags
		id, _, _ := strings.Cut(rest, "-")
		return id
	}
	return ""
}
