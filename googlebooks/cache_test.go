package googlebooks

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	testTTL   = time.Minute
	testStale = time.Hour
)

var errGoogle = &Error{StatusCode: 503, Message: "a failure at Google"}

// fakeSource counts its calls and gives all of them the same answer, after a
// while.
type fakeSource struct {
	mu     sync.Mutex
	calls  int
	header http.Header // of the last call
	takes  time.Duration
	volume *Volume
	err    error
}

func (s *fakeSource) answer(takes time.Duration, v *Volume, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.takes, s.volume, s.err = takes, v, err
}

func (s *fakeSource) Volume(ctx context.Context, _ ISBN, header http.Header) (*Volume, error) {
	s.mu.Lock()
	s.calls++
	s.header = header
	takes, v, err := s.takes, s.volume, s.err
	s.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	traceTry(ctx, Try{Number: 1})
	return v, err
}

// result names the result of a lookup.
func result(v *Volume, err error) string {
	switch {
	case err == nil && v != nil:
		return "volume"
	case errors.Is(err, ErrNotFound):
		return "not found"
	case err != nil:
		return "failure"
	}
	return "nothing"
}

// TestCache makes several lookups of one ISBN: each step waits, changes what the
// source answers, and looks it up.
func TestCache(t *testing.T) {
	t.Parallel()
	type step struct {
		wait    time.Duration
		volume  *Volume // of the source
		err     error
		want    string
		outcome Outcome
		calls   int // so far
	}
	found := comedyVolume()
	for name, steps := range map[string][]step{
		"a volume is kept for the TTL": {
			{volume: found, want: "volume", outcome: OutcomeMiss, calls: 1},
			{wait: testTTL - 1, volume: found, want: "volume", outcome: OutcomeHit, calls: 1},
		},
		"after the TTL, it is served while it is refreshed": {
			{volume: found, want: "volume", outcome: OutcomeMiss, calls: 1},
			{wait: testTTL, volume: found, want: "volume", outcome: OutcomeStale, calls: 2},
			{wait: testTTL - 1, volume: found, want: "volume", outcome: OutcomeHit, calls: 2},
		},
		"it is served while calls fail, one every five seconds": {
			{volume: found, want: "volume", outcome: OutcomeMiss, calls: 1},
			{wait: testTTL, err: errGoogle, want: "volume", outcome: OutcomeStale, calls: 2},
			{wait: failureTTL - 1, err: errGoogle, want: "volume", outcome: OutcomeStale, calls: 2},
			{wait: 1, err: errGoogle, want: "volume", outcome: OutcomeStale, calls: 3},
			{wait: failureTTL, volume: found, want: "volume", outcome: OutcomeStale, calls: 4},
			{volume: found, want: "volume", outcome: OutcomeHit, calls: 4},
		},
		"but not past its stale time": {
			{volume: found, want: "volume", outcome: OutcomeMiss, calls: 1},
			{wait: testTTL + testStale, err: errGoogle, want: "failure", outcome: OutcomeMiss, calls: 2},
		},
		"it is dropped once the source has not found it": {
			{volume: found, want: "volume", outcome: OutcomeMiss, calls: 1},
			{wait: testTTL, err: ErrNotFound, want: "volume", outcome: OutcomeStale, calls: 2},
			{wait: 1, err: ErrNotFound, want: "not found", outcome: OutcomeHit, calls: 2},
			{wait: testTTL, err: errGoogle, want: "failure", outcome: OutcomeMiss, calls: 3},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := new(fakeSource)
				c := NewCache(s, testTTL, testStale)
				for i, step := range steps {
					time.Sleep(step.wait)
					s.answer(0, step.volume, step.err)
					var outcome Outcome
					ctx := WithTrace(t.Context(), &Trace{Looked: func(o Outcome, _ error) { outcome = o }})
					got := result(c.Volume(ctx, "0486424618", nil))
					synctest.Wait() // for a refresh in the background
					assert.Equal(t, step.want, got, "step %d", i)
					assert.Equal(t, step.outcome, outcome, "step %d", i)
					assert.Equal(t, step.calls, s.calls, "step %d", i)
				}
			})
		})
	}
}

// TestCacheOfErrors: an error is kept for the TTL, but not found for at most an
// hour and a failure for at most five seconds.
func TestCacheOfErrors(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		ttl  time.Duration
		err  error
		kept time.Duration
	}{
		"not found, long TTL":  {24 * time.Hour, ErrNotFound, time.Hour},
		"not found, short TTL": {time.Second, ErrNotFound, time.Second},
		"failure, long TTL":    {24 * time.Hour, errGoogle, 5 * time.Second},
		"failure, short TTL":   {time.Second, errGoogle, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &fakeSource{err: tc.err}
				c := NewCache(s, tc.ttl, 0)
				_, err := c.Volume(t.Context(), "0486424618", nil)
				require.ErrorIs(t, err, tc.err)
				s.answer(0, comedyVolume(), nil)
				time.Sleep(tc.kept - 1)
				_, err = c.Volume(t.Context(), "0486424618", nil)
				require.ErrorIs(t, err, tc.err)
				time.Sleep(time.Nanosecond)
				_, err = c.Volume(t.Context(), "0486424618", nil)
				require.NoError(t, err)
				assert.Equal(t, 2, s.calls)
			})
		})
	}
}

// TestCacheServesStaleAtOnce: while Google hangs, callers do not wait, and one
// call is made for all.
func TestCacheServesStaleAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &fakeSource{volume: comedyVolume()}
		c := NewCache(s, testTTL, testStale)
		_, err := c.Volume(t.Context(), "0486424618", nil)
		require.NoError(t, err)
		time.Sleep(testTTL)
		s.answer(DefaultTimeout, nil, errGoogle)
		start := time.Now()
		for range 10 {
			_, err := c.Volume(t.Context(), "0486424618", nil)
			require.NoError(t, err)
		}
		assert.Zero(t, time.Since(start))
		time.Sleep(DefaultTimeout) // the refresh ends
		synctest.Wait()
		assert.Equal(t, 2, s.calls)
	})
}

func TestCacheSharesACall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &fakeSource{takes: time.Second, volume: comedyVolume()}
		c := NewCache(s, testTTL, testStale)
		var mu sync.Mutex
		outcomes, tries := make(map[Outcome]int), 0
		ctx := WithTrace(t.Context(), &Trace{
			Tried: func(Try) { mu.Lock(); tries++; mu.Unlock() },
			Looked: func(o Outcome, err error) {
				assert.NoError(t, err)
				mu.Lock()
				outcomes[o]++
				mu.Unlock()
			},
		})
		first, leave := context.WithCancel(ctx)
		var all sync.WaitGroup
		all.Go(func() {
			_, err := c.Volume(first, "0486424618", nil)
			assert.ErrorIs(t, err, context.Canceled)
		})
		synctest.Wait()
		for range 5 {
			all.Go(func() {
				v, err := c.Volume(ctx, "0486424618", nil)
				assert.NoError(t, err)
				assert.Equal(t, comedyVolume(), v)
			})
		}
		synctest.Wait()
		leave() // the others still get the answer to its call
		all.Wait()
		assert.Equal(t, 1, s.calls)
		assert.Equal(t, 1, tries)
		assert.Equal(t, map[Outcome]int{OutcomeShared: 5}, outcomes)
	})
}

// TestCacheCallsForAll: what is kept for all does not depend on the user agent of
// one.
func TestCacheCallsForAll(t *testing.T) {
	t.Parallel()
	s := &fakeSource{volume: comedyVolume()}
	header := http.Header{"User-Agent": {"odd"}, "Traceparent": {"x"}}
	_, err := NewCache(s, testTTL, testStale).Volume(t.Context(), "0486424618", header)
	require.NoError(t, err)
	assert.Equal(t, http.Header{"Traceparent": {"x"}}, s.header)
	assert.Len(t, header, 2, "the caller's header is its own")
}

// TestCacheOfNoTime: a volume that is too old at once is still the answer of the
// lookups that waited for it.
func TestCacheOfNoTime(t *testing.T) {
	t.Parallel()
	c := NewCache(&fakeSource{volume: comedyVolume()}, 1, 0)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 200 {
				v, err := c.Volume(t.Context(), "0486424618", nil)
				assert.NoError(t, err)
				assert.NotNil(t, v)
			}
		})
	}
	all.Wait()
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	c := NewCache(&fakeSource{volume: comedyVolume()}, testTTL, testStale)
	for i := range maxCached + 10 {
		_, err := c.Volume(t.Context(), ISBN(strconv.Itoa(i)), nil)
		require.NoError(t, err)
	}
	assert.Len(t, c.entries, maxCached)
}
