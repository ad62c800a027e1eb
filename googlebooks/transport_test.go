package googlebooks

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// TestPingsScale: pings find a dead connection within the first try, whatever
// the timeout of a lookup.
func TestPingsScale(t *testing.T) {
	t.Parallel()
	for _, timeout := range []time.Duration{500 * time.Millisecond, time.Second, DefaultTimeout, 9 * time.Second} {
		transport := newTransport(nil, timeout, false)
		found := transport.HTTP2.SendPingTimeout + transport.HTTP2.PingTimeout
		assert.Less(t, found, share(firstTryShare, timeout), timeout)
	}
}
