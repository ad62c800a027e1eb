package googlebooks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// script gives each call the next answer. A call after the last one fails.
func script(answers ...httpmock.Responder) httpmock.Responder {
	var calls atomic.Int64
	return func(r *http.Request) (*http.Response, error) {
		call := int(calls.Add(1))
		if call > len(answers) {
			return nil, errors.New("one call too many")
		}
		return answers[call-1](r)
	}
}

func good() httpmock.Responder { return httpmock.NewStringResponder(http.StatusOK, comedy) }

func refused() httpmock.Responder { return httpmock.NewErrorResponder(syscall.ECONNREFUSED) }

func status(code int) httpmock.Responder {
	return httpmock.NewStringResponder(code, googleError("backendFailed", "message", ""))
}

// hangs returns when the call's context is done.
func hangs(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// hangsInBody is hangs after the beginning of a body.
func hangsInBody(r *http.Request) (*http.Response, error) {
	rest, end := io.Pipe()
	context.AfterFunc(r.Context(), func() { _ = end.CloseWithError(r.Context().Err()) })
	return answerWith(io.MultiReader(strings.NewReader(comedy[:100]), rest))(r)
}

// answerWith answers 200 with this body.
func answerWith(body io.Reader) httpmock.Responder {
	return func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(body)}, nil
	}
}

// text is a try as number:status:reason.
func text(x Try) string { return fmt.Sprintf("%d:%d:%s", x.Number, x.StatusCode, x.Reason) }

func TestTries(t *testing.T) {
	t.Parallel()
	brokenOff := func(r *http.Request) (*http.Response, error) {
		return answerWith(io.MultiReader(strings.NewReader(comedy[:100]), iotest.ErrReader(io.ErrUnexpectedEOF)))(r)
	}
	noName := httpmock.NewErrorResponder(&net.DNSError{IsNotFound: true})
	none := httpmock.NewStringResponder(http.StatusOK, `{"totalItems":0}`)
	noItems := httpmock.NewStringResponder(http.StatusOK, `{"totalItems":1}`)
	stream := httpmock.NewStringResponder(http.StatusRequestTimeout, "stream timeout")
	noProxy := httpmock.NewErrorResponder(&proxyError{err: syscall.ECONNREFUSED})
	noTLSProxy := httpmock.NewErrorResponder(&proxyError{err: errors.New(`malformed HTTP response "SSH"`)})
	proxy407 := httpmock.NewErrorResponder(&proxyError{407, errors.New("refused")})
	banner := httpmock.NewErrorResponder(errors.New(`malformed HTTP response "SSH-2.0"`))
	type answers []httpmock.Responder
	for name, tc := range map[string]struct {
		answers answers
		want    string // the text of the tries
		err     string // "": a volume
	}{
		"good at once":    {answers{good()}, "1:200:", ""},
		"refused twice":   {answers{refused(), refused(), good()}, "1:0:noAnswer 2:0:noAnswer 3:200:", ""},
		"refused":         {answers{refused(), refused(), refused()}, "1:0:noAnswer 2:0:noAnswer 3:0:noAnswer", "no answer"},
		"500 and 502":     {answers{status(500), status(502), good()}, "1:500:backendFailed 2:502:backendFailed 3:200:", ""},
		"503 and 504":     {answers{status(503), status(504), good()}, "1:503:backendFailed 2:504:backendFailed 3:200:", ""},
		"hangs once":      {answers{hangs, good()}, "1:0:timeout 2:200:", ""},
		"hangs":           {answers{hangs, hangs}, "1:0:timeout 2:0:timeout", "no complete answer"},
		"hangs in a body": {answers{hangsInBody, good()}, "1:200:timeout 2:200:", ""},
		"broken off": {
			answers{brokenOff, brokenOff, brokenOff}, "1:200:truncated 2:200:truncated 3:200:truncated", "was cut off",
		},
		"broken off once": {answers{brokenOff, good()}, "1:200:truncated 2:200:", ""},
		"no name once":    {answers{noName, good()}, "1:0:dns 2:200:", ""},
		"no proxy once":   {answers{noProxy, good()}, "1:0:proxy 2:200:", ""},
		"not a proxy":     {answers{noTLSProxy}, "1:0:proxy", "did not connect"},
		"proxy refuses":   {answers{proxy407}, "1:407:proxy", "it answered 407"},
		"no items once":   {answers{noItems, good()}, "1:200:noItems 2:200:", ""},
		"408 once":        {answers{stream, good()}, "1:408:timeout 2:200:", ""},
		"not HTTP":        {answers{banner}, "1:0:notHTTP", "answered, but not"},
		"501":             {answers{status(501)}, "1:501:backendFailed", "answered 501"},
		"not found":       {answers{none}, "1:200:", "no volume with this ISBN: 0486424618"},
		"503, then a 429": {answers{status(503), status(429)}, "1:503:backendFailed 2:429:backendFailed", "answered 429"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var tries []string
				var last Try
				c := mockClient(t, Config{Observe: func(x Try) { last, tries = x, append(tries, text(x)) }}, script(tc.answers...))
				start := time.Now()
				got, err := c.Lookup(t.Context(), "0486424618", nil)
				assert.LessOrEqual(t, time.Since(start), DefaultTimeout)
				assert.Equal(t, last, got.Last)
				assert.Equal(t, tc.err == "", got.Volume != nil)
				assert.Equal(t, tc.want, strings.Join(tries, " "))
				if tc.err == "" {
					require.NoError(t, err)
				} else {
					require.ErrorContains(t, err, tc.err)
				}
				if e, ok := errors.AsType[*Error](err); ok {
					assert.Equal(t, last.StatusCode, e.StatusCode)
				}
			})
		})
	}
}

// roundTrip is a transport that runs in the caller's goroutine. httpmock starts
// one per call.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestTriesInTime: the first try has 48 % of the timeout, a later one the rest.
// None begins in the last 14 %.
func TestTriesInTime(t *testing.T) {
	t.Parallel()
	const never = 1e6
	for name, tc := range map[string]struct {
		fail []int   // when each try fails, in milliseconds since the start
		want []int64 // when it ends
	}{
		"all hang":             {[]int{never, never}, []int64{4800, 10_000}},
		"time for a third try": {[]int{4000, 8500, never}, []int64{4000, 8500, 10_000}},
		"no time for a third":  {[]int{4000, 8700}, []int64{4000, 8700}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				for range 30 { // the waits are random
					start := time.Now()
					var ended []int64
					c, err := New(Config{Timeout: 10 * time.Second, Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
						begin := time.Since(start)
						assert.LessOrEqual(t, begin, 8600*time.Millisecond)
						require.Less(t, len(ended), len(tc.fail), "one try too many")
						select {
						case <-time.After(time.Duration(tc.fail[len(ended)])*time.Millisecond - begin):
						case <-r.Context().Done():
						}
						ended = append(ended, time.Since(start).Milliseconds())
						return nil, syscall.ECONNRESET
					})})
					require.NoError(t, err)
					_, err = c.Lookup(t.Context(), "0486424618", nil)
					require.Error(t, err)
					assert.Equal(t, tc.want, ended)
				}
			})
		})
	}
}

// TestBackoff: the waits before the second and the third try are random, up to
// 4 and 8 % of the timeout.
func TestBackoff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var begun []time.Time
		c, err := New(Config{Timeout: time.Second, Transport: roundTrip(func(*http.Request) (*http.Response, error) {
			begun = append(begun, time.Now())
			return nil, syscall.ECONNREFUSED
		})})
		require.NoError(t, err)
		var waits [maxTries - 1][]time.Duration
		for range 100 {
			begun = nil
			_, err := c.Lookup(t.Context(), "0486424618", nil)
			require.Error(t, err)
			require.Len(t, begun, maxTries)
			for i := range waits {
				waits[i] = append(waits[i], begun[i+1].Sub(begun[i]))
			}
		}
		for i, most := range []time.Duration{40 * time.Millisecond, 80 * time.Millisecond} {
			assert.LessOrEqual(t, slices.Max(waits[i]), most)
			assert.Greater(t, slices.Max(waits[i]), most/2, "at least one of a hundred waits is longer than half")
			assert.Less(t, slices.Min(waits[i]), most/2)
		}
	})
}

// TestCallerGoesAway: the error is the context's own.
func TestCallerGoesAway(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		answer httpmock.Responder
		tries  string // as in TestTries
	}{
		"before the answer": {hangs, "1:0:canceled"},
		"in the answer":     {hangsInBody, "1:200:canceled"},
		"between two tries": {status(503), "1:503:backendFailed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var tries []string
				observe := func(x Try) { tries = append(tries, text(x)) }
				c := mockClient(t, Config{Timeout: time.Minute, Observe: observe}, tc.answer)
				ctx, cancel := context.WithCancel(t.Context())
				go func() {
					synctest.Wait() // in the call, or in the back-off after it
					cancel()
				}()
				start := time.Now()
				_, err := c.Lookup(ctx, "0486424618", nil)
				assert.Equal(t, context.Canceled, err)
				assert.Zero(t, time.Since(start))
				assert.Equal(t, tc.tries, strings.Join(tries, " "))

				ctx, cancel = context.WithTimeout(t.Context(), time.Microsecond) // less than any back-off
				defer cancel()
				_, err = c.Lookup(ctx, "0486424618", nil)
				assert.Equal(t, context.DeadlineExceeded, err)
			})
		})
	}
}

// TestPingsScale: pings find a dead connection within the first try, for any
// timeout of a lookup.
func TestPingsScale(t *testing.T) {
	t.Parallel()
	for _, timeout := range []time.Duration{500 * time.Millisecond, time.Second, DefaultTimeout, 9 * time.Second} {
		transport := newTransport(Config{}, timeout, nil)
		found := transport.HTTP2.SendPingTimeout + transport.HTTP2.PingTimeout
		assert.Less(t, found, share(firstTryShare, timeout), timeout)
	}
	assert.Equal(t, minPing, newTransport(Config{}, 10*time.Millisecond, nil).HTTP2.SendPingTimeout)
}
