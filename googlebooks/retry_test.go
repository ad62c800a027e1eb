package googlebooks

import (
	"context"
	"crypto/tls"
	"crypto/x509"
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

// script answers one call after the other; a call past its end fails the test.
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

// hangs answers when the call's time is over.
func hangs(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// brokenOff ends in the middle of the body.
func brokenOff(*http.Request) (*http.Response, error) {
	body := io.MultiReader(strings.NewReader(comedy[:100]), iotest.ErrReader(io.ErrUnexpectedEOF))
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(body)}, nil
}

func TestTries(t *testing.T) {
	t.Parallel()
	untrusted := httpmock.NewErrorResponder(&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}})
	for name, tc := range map[string]struct {
		answers []httpmock.Responder
		want    string // the tries, as number:status:backendFailed
		err     string // "": a volume
	}{
		"good at once": {[]httpmock.Responder{good()}, "1:200:", ""},
		"refused once": {[]httpmock.Responder{refused(), good()}, "1:0:noAnswer 2:200:", ""},
		"refused twice": {
			answers: []httpmock.Responder{refused(), refused(), good()},
			want:    "1:0:noAnswer 2:0:noAnswer 3:200:",
		},
		"refused three times": {
			answers: []httpmock.Responder{refused(), refused(), refused()},
			want:    "1:0:noAnswer 2:0:noAnswer 3:0:noAnswer",
			err:     "no answer from",
		},
		"500, 502, then good": {
			answers: []httpmock.Responder{status(500), status(502), good()},
			want:    "1:500:backendFailed 2:502:backendFailed 3:200:",
		},
		"503, 504, then good": {
			answers: []httpmock.Responder{status(503), status(504), good()},
			want:    "1:503:backendFailed 2:504:backendFailed 3:200:",
		},
		"503, then refused": {
			answers: []httpmock.Responder{status(503), refused(), status(503)},
			want:    "1:503:backendFailed 2:0:noAnswer 3:503:backendFailed",
			err:     "answered 503",
		},
		"hangs once":      {[]httpmock.Responder{hangs, good()}, "1:0:timeout 2:200:", ""},
		"hangs twice":     {[]httpmock.Responder{hangs, hangs}, "1:0:timeout 2:0:timeout", "no whole answer"},
		"429 is final":    {[]httpmock.Responder{status(429)}, "1:429:backendFailed", "answered 429"},
		"400 is final":    {[]httpmock.Responder{status(400)}, "1:400:backendFailed", "answered 400"},
		"403 is final":    {[]httpmock.Responder{status(403)}, "1:403:backendFailed", "answered 403"},
		"501 is final":    {[]httpmock.Responder{status(501)}, "1:501:backendFailed", "answered 501"},
		"broken off once": {[]httpmock.Responder{brokenOff, good()}, "1:200:truncated 2:200:", ""},
		"no name once": {
			answers: []httpmock.Responder{httpmock.NewErrorResponder(&net.DNSError{IsNotFound: true}), good()},
			want:    "1:0:dns 2:200:",
		},
		"a bad answer is final": {
			answers: []httpmock.Responder{httpmock.NewStringResponder(200, "x")},
			want:    "1:200:badAnswer",
			err:     "not with volumes",
		},
		"not found is final": {
			answers: []httpmock.Responder{httpmock.NewStringResponder(200, `{"totalItems":0}`)},
			want:    "1:200:",
			err:     "has no volume",
		},
		"a certificate is final": {[]httpmock.Responder{untrusted}, "1:0:certificate", "is not trusted"},
		"no TLS is final": {
			answers: []httpmock.Responder{httpmock.NewErrorResponder(tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"})},
			want:    "1:0:notTLS",
			err:     "does not speak TLS",
		},
		"429 after 503 is final": {
			answers: []httpmock.Responder{status(503), status(429)},
			want:    "1:503:backendFailed 2:429:backendFailed",
			err:     "answered 429",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var tries []string
				ctx := WithTrace(t.Context(), &Trace{Tried: func(x Try) {
					tries = append(tries, strconv.Itoa(x.Number)+":"+strconv.Itoa(x.StatusCode)+":"+x.Reason)
				}})
				c, _ := mockClient(t, Config{}, script(t, tc.answers...))
				start := time.Now()
				_, err := c.Volume(ctx, "0486424618", nil)
				assert.LessOrEqual(t, time.Since(start), DefaultTimeout)
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

// roundTrip is a transport that calls in the caller's goroutine; httpmock's
// has one of its own for each call.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestTriesInTime has failures take all sorts of times: whatever they take, the
// look-up ends within its budget, the first try within 48 % of it, and no try
// begins in the last 12 %.
func TestTriesInTime(t *testing.T) {
	t.Parallel()
	for _, budget := range []time.Duration{DefaultTimeout, 500 * time.Millisecond, 10 * time.Second} {
		for percent := 0; percent <= 120; percent += 5 {
			share := func(percent int) time.Duration { return time.Duration(percent) * budget / 100 }
			t.Run(budget.String()+" with tries of "+strconv.Itoa(percent)+" %", func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					start := time.Now()
					var begun, ended []time.Duration
					c, err := New(Config{Timeout: budget, Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
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
					_, err = c.Volume(t.Context(), "0486424618", nil)
					require.Error(t, err)
					assert.LessOrEqual(t, time.Since(start), budget)
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

// TestBackoff: the waits before a second and a third try are spread over up to
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
			_, err := c.Volume(t.Context(), "0486424618", nil)
			require.Error(t, err)
			require.Len(t, begun, maxTries)
			for i := range longest {
				longest[i] = max(longest[i], begun[i+1].Sub(begun[i]))
			}
		}
		for i, most := range []time.Duration{40 * time.Millisecond, 80 * time.Millisecond} {
			assert.LessOrEqual(t, longest[i], most)
			assert.Greater(t, longest[i], most/2, "of a hundred waits one is longer than half")
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
				var last Try
				c, transport := mockClient(t, Config{Timeout: time.Minute}, answer)
				ctx, cancel := context.WithCancel(WithTrace(t.Context(), &Trace{Tried: func(x Try) { last = x }}))
				go func() {
					synctest.Wait() // in the call, or in the back-off after it
					cancel()
				}()
				start := time.Now()
				_, err := c.Volume(ctx, "0486424618", nil)
				require.ErrorIs(t, err, context.Canceled)
				assert.Zero(t, time.Since(start))
				assert.Equal(t, 1, transport.GetTotalCallCount())
				if name == "during a call" {
					assert.Equal(t, ReasonCanceled, last.Reason)
				}
			})
		})
	}
}

func TestCallersDeadlineIsATimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, _ := mockClient(t, Config{}, hangs)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := c.Volume(ctx, "0486424618", nil)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}
