package googlebooks

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/jellydator/ttlcache/v3"
)

// maxCached bounds the cache, in volumes.
const maxCached = 10_000

// Source looks a volume up, as Client.Volume and Cache.Volume do.
type Source interface {
	// Volume returns the volume with this ISBN, or ErrNotFound, *Error or the
	// context's error; header goes to Google along with the call.
	Volume(ctx context.Context, isbn ISBN, header http.Header) (*Volume, error)
}

// Outcome tells where Cache.Volume had its answer from.
type Outcome string

// The outcomes.
const (
	Hit    Outcome = "hit"    // the cache
	Miss   Outcome = "miss"   // a call of its own
	Shared Outcome = "shared" // another caller's call
	Stale  Outcome = "stale"  // the cache, after its time, because Google failed
)

// Cache keeps the volumes that a Source finds. Callers that look for the same
// ISBN at once share one call. Errors are not kept. It is safe for concurrent
// use; volumes that it returns are shared and must not be changed.
type Cache struct {
	source  Source
	ttl     time.Duration
	stale   time.Duration
	observe func(context.Context, Outcome, error)
	kept    *ttlcache.Cache[ISBN, kept]

	mu      sync.Mutex
	flights map[ISBN]*flight
}

type kept struct {
	volume *Volume
	until  time.Time // fresh until then, good enough for a failure until the entry expires
}

// flight is one call that callers share. Cache.mu guards waiting; volume and
// err are there when done is closed.
type flight struct {
	done    chan struct{}
	cancel  context.CancelFunc
	waiting int
	volume  *Volume
	err     error
}

// NewCache makes a cache that keeps volumes for ttl, and for stale longer in
// case that Google fails by then. The observer, which may be nil, is told of
// each look-up that its caller waited for, with the caller's context: where it
// had its answer from, and for Stale what the failure was.
func NewCache(source Source, ttl, stale time.Duration, observe func(context.Context, Outcome, error)) *Cache {
	if observe == nil {
		observe = func(context.Context, Outcome, error) {}
	}

	return &Cache{
		source:  source,
		ttl:     ttl,
		stale:   stale,
		observe: observe,
		kept: ttlcache.New(
			ttlcache.WithTTL[ISBN, kept](ttl+stale),
			ttlcache.WithCapacity[ISBN, kept](maxCached),
			ttlcache.WithDisableTouchOnHit[ISBN, kept](),
		),
		flights: make(map[ISBN]*flight),
	}
}

// Volume looks the ISBN up, in the cache first. The call to the source has
// the header of the first caller, but not its context: it goes on while
// somebody waits for it.
func (c *Cache) Volume(ctx context.Context, isbn ISBN, header http.Header) (*Volume, error) {
	old, fresh := c.look(isbn)
	if fresh {
		c.observe(ctx, Hit, nil)

		return old, nil
	}

	f, outcome := c.board(isbn, header) //nolint:contextcheck // the call must outlive this caller if others wait for it
	select {
	case <-f.done:
	case <-ctx.Done():
		c.leave(isbn, f)

		return nil, ctx.Err()
	}
	// That there is no such volume is an answer; anything else is a failure.
	if f.err != nil && !errors.Is(f.err, ErrNotFound) && old != nil {
		c.observe(ctx, Stale, f.err)

		return old, nil
	}
	c.observe(ctx, outcome, f.err)

	return f.volume, f.err
}

// look finds a volume that is kept, or nil; fresh is one that needs no call.
func (c *Cache) look(isbn ISBN) (v *Volume, fresh bool) {
	item := c.kept.Get(isbn)
	if item == nil {
		return nil, false
	}

	return item.Value().volume, time.Now().Before(item.Value().until)
}

// board joins the flight for this ISBN, or starts one.
func (c *Cache) board(isbn ISBN, header http.Header) (*flight, Outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f, ok := c.flights[isbn]; ok {
		f.waiting++

		return f, Shared
	}
	if v, fresh := c.look(isbn); fresh { // it landed a moment ago
		f := &flight{done: make(chan struct{}), volume: v}
		close(f.done)

		return f, Hit
	}
	ctx, cancel := context.WithCancel(context.Background())
	f := &flight{done: make(chan struct{}), cancel: cancel, waiting: 1}
	c.flights[isbn] = f
	go c.fly(ctx, isbn, header, f)

	return f, Miss
}

func (c *Cache) fly(ctx context.Context, isbn ISBN, header http.Header, f *flight) {
	defer func() {
		// net/http keeps a panic to the request that it happened in; so here.
		if p := recover(); p != nil {
			f.err = fmt.Errorf("panic: %v", p)
		}
		f.cancel()
		c.mu.Lock()
		defer c.mu.Unlock()
		c.forget(isbn, f)
		close(f.done)
	}()
	f.volume, f.err = c.source.Volume(ctx, isbn, header)
	if f.err == nil {
		c.kept.Set(isbn, kept{volume: f.volume, until: time.Now().Add(c.ttl)}, ttlcache.DefaultTTL)
	}
}

// leave takes a caller off a flight; the last one ends it.
func (c *Cache) leave(isbn ISBN, f *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f.waiting--
	if f.waiting == 0 {
		f.cancel()
		c.forget(isbn, f)
	}
}

// forget lets the next caller start a new flight.
func (c *Cache) forget(isbn ISBN, f *flight) {
	if c.flights[isbn] == f {
		delete(c.flights, isbn)
	}
}
