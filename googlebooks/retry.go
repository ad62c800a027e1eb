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
// to 100 ms of waiting, before the third up to 200 ms (full jitter).
const (
	maxTries         = 3
	firstTryShare    = 0.48
	noTryAfterShare  = 0.86 // not 0.88: a timer may ring late
	meanBackoffShare = 0.02
)

// newRetries makes the policy: which failures are tried again, how often, and
// when. Google asks for truncated exponential back-off on 5xx; its spent
// quotas (429) come back in a minute at the earliest, so they are final.
func newRetries(budget time.Duration) failsafe.Executor[*Volume] {
	share := func(s float64) time.Duration { return time.Duration(s * float64(budget)) }

	return failsafe.With(retrypolicy.NewBuilder[*Volume]().
		HandleIf(func(_ *Volume, err error) bool { return transient(err) }).
		WithMaxAttempts(maxTries).
		WithMaxDuration(share(noTryAfterShare)).
		WithBackoff(share(meanBackoffShare), share(4*meanBackoffShare)).
		WithJitterFactor(1).
		ReturnLastFailure().
		Build())
}

// transient reports whether the same call may go well the next moment.
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

// tryWithin gives a try its share of what the look-up has from start on.
func (c *Client) tryWithin(ctx context.Context, start time.Time, number int) (context.Context, context.CancelFunc) {
	deadline := start.Add(c.timeout)
	if number == 1 {
		deadline = start.Add(time.Duration(firstTryShare * float64(c.timeout)))
	}

	return context.WithDeadline(ctx, deadline)
}
