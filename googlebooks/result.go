package googlebooks

import "time"

// Result is the result of a lookup. After an error, Volume is nil and the rest
// says how far the lookup came.
type Result struct {
	Volume *Volume
	// Last is the last call that was made for this lookup. Its Number is the
	// number of calls; 0: the answer came from a Cache.
	Last Try
	// Outcome says where a Cache got the answer; "": there is no cache.
	Outcome Outcome
	// StaleCause is why the last refresh of a stale volume failed; nil: it did
	// not fail, or the volume is not stale.
	StaleCause error
}

// Try is one call to the API.
type Try struct {
	Number     int           // 1 for the first call of a lookup, 2 and 3 for its retries
	StatusCode int           // HTTP status of the response; 0: there was none
	Reason     string        // as in Error; "" for a volume or ErrNotFound
	Duration   time.Duration // from the call to the end of the response's body
}

// Outcome says where Cache.Lookup got its answer.
type Outcome string

// The outcomes.
const (
	OutcomeHit    Outcome = "hit"    // the cache
	OutcomeMiss   Outcome = "miss"   // a call for this lookup
	OutcomeShared Outcome = "shared" // a call that was already in flight
	OutcomeStale  Outcome = "stale"  // the cache, past its TTL
)
