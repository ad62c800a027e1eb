package details

import (
	"cmp"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"example.com/bookinfo/googlebooks"
)

// log writes the line of one request. Whatever the caller or Google sent is an
// attribute's value, which slog's handlers quote: no line can be forged.
func (s *service) log(r *http.Request, level slog.Level, x *exchange, bytes int, took time.Duration, err error) {
	switch {
	case x.status >= http.StatusInternalServerError:
		level = slog.LevelError
	case x.status >= http.StatusBadRequest && x.status != statusCallerGone, x.hidden != nil:
		level = slog.LevelWarn
	}
	ctx := r.Context()
	if !s.Logger.Enabled(ctx, level) {
		return
	}

	// A record of our own, because Logger.LogAttrs looks up who called it.
	line := slog.NewRecord(time.Now(), level, "request", 0)
	line.AddAttrs(
		slog.String("method", clip(r.Method)),
		slog.String("path", clip(r.URL.Path)),
		slog.Int("status", x.status),
		slog.Int("bytes", bytes),
		slog.Float64("ms", milliseconds(took)),
	)
	if id := r.Header.Get("X-Request-Id"); id != "" {
		line.AddAttrs(slog.String("request_id", clip(id)))
	}
	if id := traceID(r.Header); id != "" {
		line.AddAttrs(slog.String("trace_id", clip(id)))
	}
	if x.upstream.Number > 0 {
		line.AddAttrs(
			slog.Int("upstream_status", x.upstream.StatusCode),
			slog.Float64("upstream_ms", milliseconds(x.upstream.Duration)),
			slog.Int("tries", x.upstream.Number),
		)
	} else if e, ok := errors.AsType[*googlebooks.Error](cmp.Or(err, x.hidden)); ok { // of a call that was shared
		line.AddAttrs(slog.Int("upstream_status", e.StatusCode))
	}
	if x.cache != "" {
		line.AddAttrs(slog.String("cache", string(x.cache)))
	}
	if err == nil {
		err = x.hidden
	}
	if err != nil {
		line.AddAttrs(slog.String("error", err.Error()))
		if cause := errors.Unwrap(err); cause != nil { // the network's or the decoder's words, which no caller is shown
			line.AddAttrs(slog.String("cause", clip(cause.Error())))
		}
	}
	_ = s.Logger.Handler().Handle(ctx, line) // as Logger does: where logging fails there is nobody to tell
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// clip makes what a caller or the network said fit for a log line: at most 256
// bytes, and nothing that a terminal would obey. slog quotes the controls of
// ASCII, but not those of C1.
func clip(s string) string {
	const limit = 256
	s = strings.Map(func(r rune) rune {
		if r >= 0x7f && r < 0xa0 {
			return utf8.RuneError
		}

		return r
	}, s)
	if len(s) <= limit {
		return s
	}

	return strings.ToValidUTF8(s[:limit], "") + "…"
}

// traceID is the id of the trace that the request belongs to, from B3's
// headers or from W3C's traceparent; "" without them.
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
