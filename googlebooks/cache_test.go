package googlebooks

import (
	"context"
	"net/http"
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
// second.
type fakeSource struct {
	calls  int
	ctx    context.Context //nolint:containedctx // of the last call
	header http.Header     // of the last call
	volume *Volume
	err    error
}

func (s *fakeSource) Lookup(ctx context.Context, _ ISBN, header http.Header) (Result, error) {
	s.calls++
	s.ctx, s.header = ctx, header
	result, err := Result{Volume: s.volume, Last: Try{Number: 1}}, s.err
	time.Sleep(time.Second)
	return result, err
}

// TestCache makes several lookups of one ISBN: each step waits, changes what the
// source answers, looks it up and lets a refresh in the background end. Only a
// miss waits for a call.
func TestCache(t *testing.T) {
	t.Parallel()
	type step struct {
		wait    time.Duration
		volume  *Volume // of the source
		err     error
		want    error // nil: the volume
		outcome Outcome
		cause   error // why it is stale
		calls   int   // so far
	}
	found := comedyVolume()
	for name, steps := range map[string][]step{
		"a volume is kept for the TTL": {
			{volume: found, outcome: OutcomeMiss, calls: 1},
			{wait: testTTL - 1, volume: found, outcome: OutcomeHit, calls: 1},
		},
		"after the TTL, it is served while it is refreshed": {
			{volume: found, outcome: OutcomeMiss, calls: 1},
			{wait: testTTL, volume: found, outcome: OutcomeStale, calls: 2},
			{wait: testTTL - 1, volume: found, outcome: OutcomeHit, calls: 2},
		},
		"it is served while calls fail, one every five seconds": {
			{volume: found, outcome: OutcomeMiss, calls: 1},
			{wait: testTTL, err: errGoogle, outcome: OutcomeStale, calls: 2},
			{wait: failureTTL - 1, err: errGoogle, outcome: OutcomeStale, cause: errGoogle, calls: 2},
			{wait: 1, err: errGoogle, outcome: OutcomeStale, cause: errGoogle, calls: 3},
			{wait: failureTTL, volume: found, outcome: OutcomeStale, cause: errGoogle, calls: 4},
			{volume: found, outcome: OutcomeHit, calls: 4},
		},
		"but not past its stale time": {
			{volume: found, outcome: OutcomeMiss, calls: 1},
			{wait: testTTL + testStale, err: errGoogle, want: errGoogle, outcome: OutcomeMiss, calls: 2},
		},
		"it is dropped once the source has not found it": {
			{volume: found, outcome: OutcomeMiss, calls: 1},
			{wait: testTTL, err: ErrNotFound, outcome: OutcomeStale, calls: 2},
			{wait: 1, err: ErrNotFound, want: ErrNotFound, outcome: OutcomeHit, calls: 2},
			{wait: testTTL, err: errGoogle, want: errGoogle, outcome: OutcomeMiss, calls: 3},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := new(fakeSource)
				c := NewCache(s, testTTL, testStale)
				for i, step := range steps {
					time.Sleep(step.wait)
					s.volume, s.err = step.volume, step.err
					start, calls := time.Now(), s.calls
					got, err := c.Lookup(t.Context(), "0486424618", nil)
					assert.Equal(t, step.outcome == OutcomeMiss, time.Since(start) > 0, "step %d", i)
					synctest.Wait()
					if step.outcome == OutcomeStale && s.calls > calls {
						time.Sleep(time.Second)
						synctest.Wait()
					}
					assert.Equal(t, step.want, err, "step %d", i)
					assert.Equal(t, step.want == nil, got.Volume != nil, "step %d", i)
					assert.Equal(t, step.outcome, got.Outcome, "step %d", i)
					assert.Equal(t, step.cause, got.StaleCause, "step %d", i)
					assert.Equal(t, step.outcome == OutcomeMiss, got.Last.Number == 1, "step %d: a call for this lookup", i)
					assert.Equal(t, step.calls, s.calls, "step %d", i)
				}
			})
		})
	}
}

// TestCacheOfErrors: an error is cached for the TTL, but ErrNotFound for at
// most an hour and a failure for at most five seconds.
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
		synctest.Test(t, func(t *testing.T) {
			s := &fakeSource{err: tc.err}
			c := NewCache(s, tc.ttl, 0)
			for i, wait := range []time.Duration{0, tc.kept - 1, 1} {
				time.Sleep(wait)
				_, err := c.Lookup(t.Context(), "0486424618", nil)
				require.ErrorIs(t, err, tc.err, name)
				assert.Equal(t, 1+i/2, s.calls, name)
			}
		})
	}
}

// TestCacheSharesACall: lookups of one ISBN wait for one call. It carries nothing
// of the caller that started it, and continues if that caller leaves.
func TestCacheSharesACall(t *testing.T) {
	t.Parallel()
	type key struct{}
	synctest.Test(t, func(t *testing.T) {
		s := &fakeSource{volume: comedyVolume()}
		c := NewCache(s, testTTL, testStale)
		first, leave := context.WithTimeout(context.WithValue(t.Context(), key{}, "of the first"), time.Minute)
		var all sync.WaitGroup
		all.Go(func() {
			_, err := c.Lookup(first, "0486424618", http.Header{"Traceparent": {"x"}})
			assert.ErrorIs(t, err, context.Canceled)
		})
		synctest.Wait()
		assert.Empty(t, s.header)
		assert.Nil(t, s.ctx.Value(key{}))
		_, hasDeadline := s.ctx.Deadline()
		assert.False(t, hasDeadline)
		for range 5 {
			all.Go(func() {
				got, err := c.Lookup(t.Context(), "0486424618", nil)
				assert.NoError(t, err)
				assert.Equal(t, Result{Volume: comedyVolume(), Outcome: OutcomeShared}, got)
			})
		}
		synctest.Wait()
		leave()
		all.Wait()
		assert.Equal(t, 1, s.calls)
	})
}

// TestCacheOfNoTime: a volume that is too old at once is still the answer of the
// lookup that waited for it.
func TestCacheOfNoTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := NewCache(&fakeSource{volume: comedyVolume()}, 0, 0)
		for range 2 {
			got, err := c.Lookup(t.Context(), "0486424618", nil)
			require.NoError(t, err)
			assert.Equal(t, Result{Volume: comedyVolume(), Outcome: OutcomeMiss, Last: Try{Number: 1}}, got)
		}
	})
}
