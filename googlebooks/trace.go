package googlebooks

import (
	"context"
	"time"
)

// Trace is a set of hooks for the lookups of one context, like that of
// net/http/httptrace for requests. A hook may be nil. It must not block, and it
// must be safe for concurrent use: when a Cache refreshes a volume in the
// background, hooks run after Volume has returned.
type Trace struct {
	// Tried is called after each call to the API.
	Tried func(Try)
	// Looked is called for each lookup in a Cache, with the error of the last
	// call or nil.
	Looked func(Outcome, error)
}

// Try is one call to the API.
type Try struct {
	Number     int           // 1 for the first call of a lookup, 2 and 3 for its retries
	StatusCode int           // HTTP status of the response; 0: there was none
	Reason     string        // as in Error; "" for a volume or ErrNotFound
	Duration   time.Duration // from the call to the end of the response's body
}

// Outcome says where Cache.Volume got its answer.
type Outcome string

// The outcomes.
const (
	OutcomeHit    Outcome = "hit"    // the cache
	OutcomeMiss   Outcome = "miss"   // a call for this lookup
	OutcomeShared Outcome = "shared" // a call that was already in flight
	OutcomeStale  Outcome = "stale"  // the cache, past its TTL
)

type traceKey struct{}

// WithTrace returns a context whose lookups call the hooks of t.
func WithTrace(ctx context.Context, t *Trace) context.Context {
	return context.WithValue(ctx, traceKey{}, t)
}

func traceTry(ctx context.Context, t Try) {
	if trace, ok := ctx.Value(traceKey{}).(*Trace); ok && trace.Tried != nil {
		trace.Tried(t)
	}
}

func traceLookup(ctx context.Context, o Outcome, err error) {
	if trace, ok := ctx.Value(traceKey{}).(*Trace); ok && trace.Looked != nil {
		trace.Looked(o, err)
	}
}
