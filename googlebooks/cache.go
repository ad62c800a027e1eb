package googlebooks

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"sync"
	"time"
)

const (
	notFoundTTL = time.Hour       // at most: a book may be added
	failureTTL  = 5 * time.Second // at most
)

// Source looks up volumes, as Client.Lookup and Cache.Lookup do.
type Source interface {
	// Lookup returns the volume with this ISBN, or ErrNotFound, an *Error or the
	// context's error. The header, which may be nil, is sent with each call.
	Lookup(ctx context.Context, isbn ISBN, header http.Header) (Result, error)
}

// Cache caches the answers of a Source: a volume for its TTL, ErrNotFound for
// the TTL but at most an hour, any other error for at most five seconds. A
// volume past its TTL is stale: for a while, it is still served at once, while
// one call refreshes it in the background. It is dropped if that call returns
// ErrNotFound. Lookups of the same ISBN share one call. A Cache never drops
// an ISBN, so ISBNs must come from a configuration, not from callers. It is
// safe for concurrent use; the volumes that it returns are shared and must not
// be changed.
type Cache struct {
	source     Source
	ttl, stale time.Duration

	mu      sync.Mutex
	entries map[ISBN]*entry
}

// entry is the state of one ISBN, guarded by Cache.mu.
type entry struct {
	volume *Volume   // the last one found; nil: none
	expiry time.Time // when the volume is no longer served
	err    error     // of the last call; nil: it found the volume
	fresh  time.Time // no new call until then
	call   *call     // in flight; nil: there is none
}

// call is a call of the Source that lookups share.
type call struct {
	done   chan struct{} // closed when result and err are set
	result Result
	err    error
}

// NewCache returns a cache that serves a volume for ttl, and for up to stale
// longer while it is being refreshed or the refresh fails.
func NewCache(source Source, ttl, stale time.Duration) *Cache {
	return &Cache{source: source, ttl: ttl, stale: stale, entries: make(map[ISBN]*entry)}
}

// Lookup looks up the ISBN, in the cache first. Lookups of the same ISBN share
// a call to the Source. So the call gets neither the header nor ctx, and
// continues if a caller leaves.
func (c *Cache) Lookup(ctx context.Context, isbn ISBN, _ http.Header) (Result, error) {
	c.mu.Lock()
	e, ok := c.entries[isbn]
	if !ok {
		e = new(entry)
		c.entries[isbn] = e
	}
	now := time.Now()
	outcome := OutcomeHit
	if !now.Before(e.fresh) {
		outcome = OutcomeShared
		if e.call == nil {
			outcome = OutcomeMiss
			e.call = &call{done: make(chan struct{})}
			go c.run(isbn, e) //nolint:contextcheck // lookups share the call
		}
	}
	v, err, shared := e.volume, e.err, e.call
	if !now.Before(e.expiry) {
		v = nil
	}
	c.mu.Unlock()

	switch {
	case v != nil && (err != nil || outcome != OutcomeHit):
		return Result{Volume: v, Outcome: OutcomeStale, StaleCause: err}, nil //nolint:nilerr // the stale volume is the answer
	case outcome == OutcomeHit:
		return Result{Volume: v, Outcome: outcome}, err
	}
	select {
	case <-shared.done:
	case <-ctx.Done():
		return Result{Outcome: outcome}, ctx.Err()
	}
	result := Result{Volume: shared.result.Volume, Outcome: outcome}
	if outcome == OutcomeMiss {
		result.Last = shared.result.Last
	}
	return result, shared.err
}

// run looks up the ISBN in the source, keeps the answer in e and gives it to the
// lookups that wait for e.call.
func (c *Cache) run(isbn ISBN, e *entry) {
	result, err := c.lookUp(isbn)
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	switch {
	case err == nil:
		e.volume, e.expiry, e.fresh = result.Volume, now.Add(c.ttl+c.stale), now.Add(c.ttl)
	case errors.Is(err, ErrNotFound):
		e.volume, e.fresh = nil, now.Add(min(c.ttl, notFoundTTL))
	default:
		e.fresh = now.Add(min(c.ttl, failureTTL))
	}
	e.call.result, e.call.err = result, err
	close(e.call.done)
	e.err, e.call = err, nil
}

// lookUp calls the source. Like net/http, it confines a panic to the lookup
// that caused it.
func (c *Cache) lookUp(isbn ISBN) (result Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return c.source.Lookup(context.Background(), isbn, nil)
}
