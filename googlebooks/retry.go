package googlebooks

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"
)

// Shares of the timeout of a lookup. With 2.5 s, the first try may take 1.2 s,
// so that a connection that hangs leaves time for another try. A later try may
// take all the time that is left, and none starts in the last 350 ms. The wait
// before the second try is at most 100 ms, before the third 200 ms. This is
// exponential backoff with full jitter, which Google asks for after a 5xx.
const (
	maxTries        = 3
	firstTryShare   = 0.48
	noTryAfterShare = 0.86 // not 0.88: a timer may fire late
	backoffShare    = 0.04
)

// share returns a part of the timeout of a lookup.
func share(part float64, timeout time.Duration) time.Duration {
	return time.Duration(part * float64(timeout))
}

// retry calls try up to maxTries times, each with its number and its deadline,
// until it succeeds, fails permanently, or no time is left.
func (c *Client) retry(ctx context.Context, try func(number int, deadline time.Time) error) error {
	start := time.Now()
	deadline := start.Add(share(firstTryShare, c.timeout))
	for number := 1; ; number++ {
		err := try(number, deadline)
		left := share(noTryAfterShare, c.timeout) - time.Since(start)
		if !transient(err) || number == maxTries || left <= 0 {
			return err
		}
		longest := share(backoffShare, c.timeout) << (number - 1)
		select {
		case <-time.After(min(rand.N(longest), left)): //nolint:gosec // jitter is no secret
		case <-ctx.Done():
			return err
		}
		deadline = start.Add(c.timeout)
	}
}

// transient reports whether the same call may succeed a moment later. A quota
// that is used up (429) takes at least a minute to reset, so it is not
// transient.
func transient(err error) bool {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return false
	}
	switch e.Reason {
	case ReasonNoAnswer, ReasonReset, ReasonDNS, ReasonTruncated, ReasonNoItems:
		return true
	case ReasonCanceled:
		return false
	case ReasonProxy:
		if e.StatusCode == 0 {
			return noAnswer(e.Err)
		}
	}
	switch e.StatusCode {
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable:
		return true
	}
	return e.Timeout()
}
