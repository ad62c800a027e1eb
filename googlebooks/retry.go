package googlebooks

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
)

// Shares of the time for a look-up; for 2.5 s: the first try has 1.2 s, so
// that one hung connection is not the end of it, a later try what is left,
// and none starts with less than 300 ms. Before the second try there are up
// to 100 ms of waiting, before the third up to 200 ms (exponential back-off
// with full jitter, as Google asks for on 5xx).
const (
	maxTries         = 3
	firstTryShare    = 0.48
	noTryAfterShare  = 0.86 // not 0.88: a timer may ring late
	meanBackoffShare = 0.02
)

// Shares of the time for a look-up in which HTTP/2's pings find a connection
// dead: together less than the first try has, so that the next one goes over
// another. For 2.5 s they are 300 and 600 ms; a shorter time-out drops
// connections that are only busy.
const (
	pingAfterShare   = 0.12
	pingTimeoutShare = 0.24
	minPing          = 50 * time.Millisecond
)

// share is a part of the time for a look-up.
func share(part float64, timeout time.Duration) time.Duration {
	return time.Duration(part * float64(timeout))
}

// retry goes on after the first try of a look-up that began at start ended in
// failure. The first one is made without the library, whose bookkeeping takes
// a twentieth of the time of a look-up that goes well.
func (c *Client) retry(ctx context.Context, start time.Time, failure error, isbn ISBN, header http.Header) (*Volume, error) {
	left := share(noTryAfterShare, c.timeout) - time.Since(start)
	if left <= 0 {
		return nil, failure
	}
	retries := retrypolicy.NewBuilder[*Volume]().
		HandleIf(func(_ *Volume, err error) bool { return transient(err) }).
		WithMaxAttempts(maxTries).
		WithMaxDuration(left).
		WithBackoff(share(meanBackoffShare, c.timeout), share(4*meanBackoffShare, c.timeout)).
		WithJitterFactor(1).
		ReturnLastFailure().
		Build()

	return failsafe.With(retries).WithContext(ctx).GetWithExecution(func(e failsafe.Execution[*Volume]) (*Volume, error) {
		if e.IsFirstAttempt() {
			return nil, failure
		}

		return c.try(ctx, start.Add(c.timeout), e.Attempts(), isbn, header)
	})
}

// transient reports whether the same call may go well the next moment. Spent
// quotas (429) come back in a minute at the earliest, so they are final.
func transient(err error) bool {
	e, ok := errors.AsType[*Error](err)
	if !ok || errors.Is(err, context.Canceled) {
		return false
	}
	switch e.StatusCode {
	case 0:
		return e.Reason == ReasonNoAnswer || e.Reason == ReasonTimeout
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}

	return e.Reason == ReasonTimeout
}
