package googlebooks

import (
	"errors"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// TestMain fails the package if a goroutine outlives its tests.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// mockClient returns a client whose calls all get this response.
func mockClient(t *testing.T, cfg Config, response httpmock.Responder) (*Client, *httpmock.MockTransport) {
	t.Helper()
	transport := httpmock.NewMockTransport()
	transport.RegisterNoResponder(response)
	cfg.Transport = transport
	c, err := New(cfg)
	require.NoError(t, err)
	return c, transport
}

// TestCallersHeaderIsNotChanged: a caller may go on to log or forward it.
func TestCallersHeaderIsNotChanged(t *testing.T) {
	t.Parallel()
	c, _ := mockClient(t, Config{APIKey: "s3cret", UserAgent: "details/1"}, good())
	header := http.Header{"Traceparent": {"x"}}
	before := maps.Clone(header)
	_, err := c.Volume(t.Context(), "0486424618", header)
	require.NoError(t, err)
	assert.Equal(t, before, header)
}

func TestNewRejectsHost(t *testing.T) {
	t.Parallel()
	for _, host := range []string{
		"http://x", "a/b", "a b", "user@host", "::1", ":443", "a?b", "host:port", "host:", "host:0", "host:65536", "[::1]:0",
	} {
		_, err := New(Config{Host: host})
		assert.EqualError(t, err, "invalid host "+strconv.Quote(host)+": want host or host:port, without http://")
	}
}

func TestUpstream(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		cfg  Config
		want string
	}{
		"default":      {Config{}, "www.googleapis.com:443"},
		"plain HTTP":   {Config{PlainHTTP: true}, "www.googleapis.com:80"},
		"another host": {Config{Host: "localhost:8443"}, "localhost:8443"},
		"IPv6":         {Config{Host: "[::1]"}, "[::1]:443"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := New(tc.cfg)
			require.NoError(t, err)
			assert.Equal(t, tc.want, c.Upstream())
		})
	}
}

func TestLongBodies(t *testing.T) {
	t.Parallel()
	body := func(length int) *strings.Reader {
		return strings.NewReader(comedy + strings.Repeat(" ", length-len(comedy)))
	}
	longest, tooLong := body(maxBody), body(2*maxBody)
	c, _ := mockClient(t, Config{Timeout: time.Minute}, script(t, answerWith(longest), answerWith(tooLong)))
	_, err := c.Volume(t.Context(), "0486424618", nil)
	require.NoError(t, err)

	_, err = c.Volume(t.Context(), "0486424618", nil)
	e, ok := errors.AsType[*Error](err)
	require.True(t, ok)
	assert.Equal(t, ReasonBadAnswer, e.Reason)
	assert.Equal(t, maxBody-1, tooLong.Len(), "the rest is not read")
}
