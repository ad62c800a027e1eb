package googlebooks

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// source is a Source of the test's making that counts its calls.
type source struct {
	mu     sync.Mutex
	calls  []http.Header
	answer func(ctx context.Context) (*Volume, error)
}

func (s *source) Volume(ctx context.Context, _ ISBN, header http.Header) (*Volume, error) {
	s.mu.Lock()
	s.calls = append(s.calls, header)
	answer := s.answer
	s.mu.Unlock()

	return answer(ctx)
}

// after answers in the given time, or when the call is cancelled.
func after(d time.Duration, v *Volume, err error) func(context.Context) (*Volume, error) {
	return func(ctx context.Context) (*Volume, error) {
		select {
		case <-time.After(d):
			return v, err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// outcomes counts what the cache's observer is told.
type outcomes struct {
	mu    sync.Mutex
	count map[Outcome]int
}

func (o *outcomes) observe(_ context.Context, outcome Outcome, _ error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.count == nil {
		o.count = make(map[Outcome]int)
	}
	o.count[outcome]++
}

const (
	testTTL   = time.Minute
	testStale = time.Hour
)

var errGoogle = &Error{StatusCode: 503, Message: "a failure at Google"}

func TestCacheKeepsAVolume(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var told outcomes
		s := &source{answer: after(0, comedyVolume(), nil)}
		c := NewCache(s, testTTL, testStale, told.observe)
		for _, wait := range []time.Duration{0, testTTL - 1, 1, testTTL - 1} {
			time.Sleep(wait)
			v, err := c.Volume(t.Context(), "0486424618", nil)
			require.NoError(t, err)
			assert.Equal(t, comedyVolume(), v)
		}
		assert.Len(t, s.calls, 2, "one call, and one when its volume was too old")
		assert.Equal(t, map[Outcome]int{Miss: 2, Hit: 2}, told.count)

		_, err := c.Volume(t.Context(), "9780141439518", nil)
		require.NoError(t, err)
		assert.Len(t, s.calls, 3, "another ISBN is another volume")
	})
}

func TestCacheKeepsNoErrors(t *testing.T) {
	t.Parallel()
	for name, failure := range map[string]error{"failure": errGoogle, "not found": ErrNotFound} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &source{answer: after(0, nil, failure)}
			c := NewCache(s, testTTL, testStale, nil)
			for range 3 {
				_, err := c.Volume(t.Context(), "0486424618", nil)
				require.ErrorIs(t, err, failure)
			}
			assert.Len(t, s.calls, 3)
		})
	}
}

func TestCacheServesAnOldVolumeWhileGoogleFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var told outcomes
		s := &source{answer: after(0, comedyVolume(), nil)}
		c := NewCache(s, testTTL, testStale, told.observe)
		_, err := c.Volume(t.Context(), "0486424618", nil)
		require.NoError(t, err)

		s.answer = after(0, nil, errGoogle)
		time.Sleep(testTTL + testStale - 1)
		v, err := c.Volume(t.Context(), "0486424618", nil)
		require.NoError(t, err, "old, but better than nothing")
		assert.Equal(t, comedyVolume(), v)
		assert.Equal(t, map[Outcome]int{Miss: 1, Stale: 1}, told.count)

		s.answer = after(0, nil, ErrNotFound)
		_, err = c.Volume(t.Context(), "0486424618", nil)
		require.ErrorIs(t, err, ErrNotFound, "Google did answer")

		s.answer = after(0, nil, errGoogle)
		time.Sleep(2 * time.Nanosecond)
		_, err = c.Volume(t.Context(), "0486424618", nil)
		require.ErrorIs(t, err, errGoogle, "too old")
	})
}

func TestCacheSharesACall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var told outcomes
		s := &source{answer: after(time.Second, comedyVolume(), nil)}
		c := NewCache(s, testTTL, testStale, told.observe)
		var all sync.WaitGroup
		for i := range 10 {
			all.Go(func() {
				time.Sleep(time.Duration(i)) // the first comes first
				v, err := c.Volume(t.Context(), "0486424618", http.Header{"Traceparent": {string(rune('0' + i))}})
				assert.NoError(t, err)
				assert.Equal(t, comedyVolume(), v)
			})
		}
		all.Wait()
		assert.Equal(t, []http.Header{{"Traceparent": {"0"}}}, s.calls, "one call, with the first caller's header")
		assert.Equal(t, map[Outcome]int{Miss: 1, Shared: 9}, told.count)
	})
}

func TestCacheCallOutlivesItsFirstCaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &source{answer: after(time.Second, comedyVolume(), nil)}
		c := NewCache(s, testTTL, testStale, nil)
		ctx, cancel := context.WithCancel(t.Context())
		first := make(chan error, 1)
		go func() {
			_, err := c.Volume(ctx, "0486424618", nil)
			first <- err
		}()
		synctest.Wait()
		second := make(chan error, 1)
		go func() {
			_, err := c.Volume(t.Context(), "0486424618", nil)
			second <- err
		}()
		synctest.Wait()
		cancel()
		require.ErrorIs(t, <-first, context.Canceled)
		require.NoError(t, <-second)
		assert.Len(t, s.calls, 1)
	})
}

func TestCacheCallEndsWithItsLastCaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		s := &source{answer: func(ctx context.Context) (*Volume, error) {
			<-ctx.Done()
			ended <- ctx.Err()

			return nil, ctx.Err()
		}}
		c := NewCache(s, testTTL, testStale, nil)
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				_, err := c.Volume(ctx, "0486424618", nil)
				assert.ErrorIs(t, err, context.Canceled)
			})
		}
		synctest.Wait()
		cancel()
		all.Wait()
		require.ErrorIs(t, <-ended, context.Canceled)

		s.mu.Lock()
		s.answer = after(0, comedyVolume(), nil)
		s.mu.Unlock()
		_, err := c.Volume(t.Context(), "0486424618", nil)
		require.NoError(t, err, "the next caller starts anew")
	})
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	c := NewCache(&source{answer: func(context.Context) (*Volume, error) { return comedyVolume(), nil }}, testTTL, testStale, nil)
	for i := range maxCached + 10 {
		_, err := c.Volume(t.Context(), ISBN(rune(i)), nil)
		require.NoError(t, err)
	}
	assert.Equal(t, maxCached, c.kept.Len())
}

func TestCacheOutlivesAPanic(t *testing.T) {
	t.Parallel()
	c := NewCache(&source{answer: func(context.Context) (*Volume, error) { panic("a defect") }}, testTTL, testStale, nil)
	for range 2 {
		_, err := c.Volume(t.Context(), "0486424618", nil)
		require.EqualError(t, err, "panic: a defect")
	}
}

// TestCacheCallsOnceForManyAtOnce has callers come just when the call lands.
func TestCacheCallsOnceForManyAtOnce(t *testing.T) {
	t.Parallel()
	for range 500 {
		s := &source{answer: func(context.Context) (*Volume, error) { return comedyVolume(), nil }}
		c := NewCache(s, testTTL, testStale, nil)
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				_, err := c.Volume(t.Context(), "0486424618", nil)
				assert.NoError(t, err)
			})
		}
		all.Wait()
		require.Len(t, s.calls, 1)
	}
}

func TestCacheReturnsTheCallersError(t *testing.T) {
	t.Parallel()
	c := NewCache(&source{answer: after(0, nil, errGoogle)}, testTTL, testStale, nil)
	_, err := c.Volume(t.Context(), "0486424618", nil)
	e, ok := errors.AsType[*Error](err)
	require.True(t, ok)
	assert.Same(t, errGoogle, e)
}
