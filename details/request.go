package details

import (
	"context"
	"log/slog"
	"sync"

	"example.com/bookinfo/googlebooks"
)

// requestInfo holds what the lookup of one request reports, for its log line.
type requestInfo struct {
	mu     sync.Mutex // guards lookup: a background refresh may report late
	lookup lookupInfo
}

// lookupInfo describes a lookup.
type lookupInfo struct {
	last       googlebooks.Try     // the last call to Google; zero: none for this request
	outcome    googlebooks.Outcome // of the cache; "": there is no cache
	staleCause error               // Google's failure, if a stale book was served instead
}

// trace returns a context whose lookups report to the request and the metrics.
func (s *service) trace(ctx context.Context, info *requestInfo) context.Context {
	return googlebooks.WithTrace(ctx, &googlebooks.Trace{
		Tried: func(t googlebooks.Try) {
			s.Metrics.observeTry(t)
			s.Logger.LogAttrs(ctx, slog.LevelDebug, "upstream call",
				slog.Int("try", t.Number), slog.Int("upstream_status", t.StatusCode),
				slog.String("reason", t.Reason), slog.Float64("upstream_ms", milliseconds(t.Duration)))
			info.mu.Lock()
			defer info.mu.Unlock()
			info.lookup.last = t
		},
		Looked: func(outcome googlebooks.Outcome, err error) {
			s.Metrics.observeLookup(outcome)
			info.mu.Lock()
			defer info.mu.Unlock()
			info.lookup.outcome = outcome
			if outcome == googlebooks.OutcomeStale {
				info.lookup.staleCause = err
			}
		},
	})
}

// result returns what the lookup has reported so far.
func (i *requestInfo) result() lookupInfo {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.lookup
}
