package googlebooks

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// script gives each call the next answer. A call after the last one fails the
// test.
func script(t *testing.T, answers ...httpmock.Responder) httpmock.Responder {
	t.Helper()
	var mu sync.Mutex
	return func(r *http.Request) (*http.Response, error) {
		mu.Lock()
		if len(answers) == 0 {
			mu.Unlock()
			t.Error("one call too many")
			return nil, errors.New("one call too many")
		}
		next := answers[0]
		answers = answers[1:]
		mu.Unlock()
		return next(r)
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

// answerWith answers 200 with this body.
func answerWith(body io.Reader) httpmock.Responder {
	return func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(body)}, nil
	}
}

func TestTries(t *testing.T) {
	t.Parallel()
	brokenOff := answerWith(io.MultiReader(strings.NewReader(comedy[:100]), iotest.ErrReader(io.ErrUnexpectedEOF)))
	noName := httpmock.NewErrorResponder(&net.DNSError{IsNotFound: true})
	none := httpmock.NewStringResponder(http.StatusOK, `{"totalItems":0}`)
	noItems := httpmock.NewStringResponder(http.StatusOK, `{"totalItems":1}`)
	stream := httpmock.NewStringResponder(http.StatusRequestTimeout, "stream timeout")
	banner := httpmock.NewErrorResponder(errors.New(`malformed HTTP response "SSH-2.0"`))
	type answers []httpmock.Responder
	for name, tc := range map[string]struct {
		answers answers
		want    string // the tries, as number:status:reason
		err     string // "": a volume
	}{
		"good at once":    {answers{good()}, "1:200:", ""},
		"refused twice":   {answers{refused(), refused(), good()}, "1:0:noAnswer 2:0:noAnswer 3:200:", ""},
		"refused":         {answers{refused(), refused(), refused()}, "1:0:noAnswer 2:0:noAnswer 3:0:noAnswer", "no answer"},
		"500 and 502":     {answers{status(500), status(502), good()}, "1:500:backendFailed 2:502:backendFailed 3:200:", ""},
		"503 and 504":     {answers{status(503), status(504), good()}, "1:503:backendFailed 2:504:backendFailed 3:200:", ""},
		"hangs once":      {answers{hangs, good()}, "1:0:timeout 2:200:", ""},
		"hangs":           {answers{hangs, hangs}, "1:0:timeout 2:0:timeout", "no complete answer"},
		"broken off once": {answers{brokenOff, good()}, "1:200:truncated 2:200:", ""},
		"no name once":    {answers{noName, good()}, "1:0:dns 2:200:", ""},
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
				c, _ := mockClient(t, Config{Observe: func(x Try) {
					last = x
					tries = append(tries, strconv.Itoa(x.Number)+":"+strconv.Itoa(x.StatusCode)+":"+x.Reason)
				}}, script(t, tc.answers...))
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
			})
		})
	}
}

// roundTrip is a transport that runs in the caller's goroutine. httpmock starts
// one per call.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestTriesInTime: however long its tries take, a lookup ends within its
// timeout, the first try within 48 % of it, and no try begins in the last 12 %.
func TestTriesInTime(t *testing.T) {
	t.Parallel()
	for _, timeout := range []time.Duration{DefaultTimeout, 500 * time.Millisecond, 10 * time.Second} {
		for percent := 0; percent <= 120; percent += 5 {
			share := func(percent int) time.Duration { return time.Duration(percent) * timeout / 100 }
			t.Run(timeout.String()+", tries of "+strconv.Itoa(percent)+" %", func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					start := time.Now()
					var begun, ended []time.Duration
					c, err := New(Config{Timeout: timeout, Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
						begun = append(begun, time.Since(start))
						defer func() { ended = append(ended, time.Since(start)) }()
						select {
						case <-time.After(share(percent)):
							return nil, syscall.ECONNRESET
						case <-r.Context().Done():
							return nil, r.Context().Err()
						}
					})})
					require.NoError(t, err)
					_, err = c.Lookup(t.Context(), "0486424618", nil)
					require.Error(t, err)
					assert.LessOrEqual(t, time.Since(start), timeout)
					assert.LessOrEqual(t, ended[0], share(48))
					assert.LessOrEqual(t, len(begun), maxTries)
					for i, at := range begun {
						assert.LessOrEqual(t, at, share(88), "begin of try %d", i+1)
						if i > 0 {
							assert.LessOrEqual(t, at-ended[i-1], share(4*i), "wait before try %d", i+1)
						}
					}
					if percent <= 35 {
						assert.Len(t, begun, maxTries, "there was time for all tries")
					}
				})
			})
		}
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
		var longest [maxTries - 1]time.Duration
		for range 100 {
			begun = nil
			_, err := c.Lookup(t.Context(), "0486424618", nil)
			require.Error(t, err)
			require.Len(t, begun, maxTries)
			for i := range longest {
				longest[i] = max(longest[i], begun[i+1].Sub(begun[i]))
			}
		}
		for i, most := range []time.Duration{40 * time.Millisecond, 80 * time.Millisecond} {
			assert.LessOrEqual(t, longest[i], most)
			assert.Greater(t, longest[i], most/2, "at least one of a hundred waits is longer than half")
		}
	})
}

func TestCallerGoesAway(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]httpmock.Responder{
		"during a call":     hangs,
		"between two tries": status(503),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c, transport := mockClient(t, Config{Timeout: time.Minute}, answer)
				ctx, cancel := context.WithCancel(t.Context())
				go func() {
					synctest.Wait() // in the call, or in the back-off after it
					cancel()
				}()
				start := time.Now()
				got, err := c.Lookup(ctx, "0486424618", nil)
				require.Equal(t, context.Canceled, err)
				assert.Zero(t, time.Since(start))
				assert.Equal(t, 1, transport.GetTotalCallCount())
				if name == "during a call" {
					assert.Equal(t, ReasonCanceled, got.Last.Reason)
				}
			})
		})
	}
}

func TestDeadlineOfTheCaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, _ := mockClient(t, Config{}, hangs)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := c.Lookup(ctx, "0486424618", nil)
		require.Equal(t, context.DeadlineExceeded, err)
	})
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
}
