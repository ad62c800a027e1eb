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
	maxCached   = 10_000          // ISBNs
	notFoundTTL = time.Hour       // at most: a book may be added
	failureTTL  = 5 * time.Second // at most
)

// Source looks up volumes, as Client.Volume and Cache.Volume do.
type Source interface {
	// Volume returns the volume with this ISBN, or ErrNotFound, an *Error or the
	// context's error. The header, which may be nil, is sent with each call.
	Volume(ctx context.Context, isbn ISBN, header http.Header) (*Volume, error)
}

// Cache caches the answers of a Source: a volume for its TTL, ErrNotFound for
// the TTL but at most an hour, any other error for at most five seconds. A
// volume past its TTL is stale: for a while, it is still served at once, while
// one call refreshes it in the background. It is dropped if that call returns
// ErrNotFound. Lookups of the same ISBN share one call. A Cache is safe for
// concurrent use; the volumes that it returns are shared and must not be
// changed.
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
	done   chan struct{} // closed when volume and err are set
	volume *Volume
	err    error
}

// NewCache returns a cache that serves a volume for ttl, and for up to stale
// longer while it is being refreshed or the refresh fails.
func NewCache(source Source, ttl, stale time.Duration) *Cache {
	return &Cache{source: source, ttl: ttl, stale: stale, entries: make(map[ISBN]*entry)}
}

// Volume looks up the ISBN, in the cache first. A call to the Source has the
// header and the context values of the first caller. The call continues if that
// caller leaves, because its answer is cached.
func (c *Cache) Volume(ctx context.Context, isbn ISBN, header http.Header) (*Volume, error) {
	c.mu.Lock()
	e := c.entry(isbn)
	now := time.Now()
	outcome := OutcomeHit
	if !now.Before(e.fresh) {
		outcome = OutcomeShared
		if e.call == nil {
			outcome = OutcomeMiss
			e.call = &call{done: make(chan struct{})}
			go c.run(context.WithoutCancel(ctx), isbn, header, e)
		}
	}
	v, err, shared := e.volume, e.err, e.call
	if !now.Before(e.expiry) {
		v = nil
	}
	c.mu.Unlock()

	if v != nil && (err != nil || outcome != OutcomeHit) {
		traceLookup(ctx, OutcomeStale, err)
		return v, nil
	}
	if outcome != OutcomeHit {
		select {
		case <-shared.done:
			v, err = shared.volume, shared.err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	traceLookup(ctx, outcome, err)
	return v, err
}

// entry returns the entry of an ISBN. If the cache is full, a new entry
// replaces an arbitrary one.
func (c *Cache) entry(isbn ISBN) *entry {
	e, ok := c.entries[isbn]
	if ok {
		return e
	}
	if len(c.entries) >= maxCached {
		for other := range c.entries {
			delete(c.entries, other)
			break
		}
	}
	e = new(entry)
	c.entries[isbn] = e
	return e
}

// run looks up the ISBN in the source, keeps the answer in e and gives it to the
// lookups that wait for e.call. The header is the first caller's, without its
// user agent: others get the answer too.
func (c *Cache) run(ctx context.Context, isbn ISBN, header http.Header, e *entry) {
	header = header.Clone()
	header.Del("User-Agent")
	v, err := c.lookUp(ctx, isbn, header)
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	switch {
	case err == nil:
		e.volume, e.expiry, e.fresh = v, now.Add(c.ttl+c.stale), now.Add(c.ttl)
	case errors.Is(err, ErrNotFound):
		e.volume, e.fresh = nil, now.Add(min(c.ttl, notFoundTTL))
	default:
		e.fresh = now.Add(min(c.ttl, failureTTL))
	}
	e.call.volume, e.call.err = v, err
	close(e.call.done)
	e.err, e.call = err, nil
}

// lookUp calls the source. Like net/http, it confines a panic to the lookup
// that caused it.
func (c *Cache) lookUp(ctx context.Context, isbn ISBN, header http.Header) (v *Volume, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return c.source.Volume(ctx, isbn, header)
}
