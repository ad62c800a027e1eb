package googlebooks

import (
	"strconv"
	"testing"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// TestMain fails the package if a goroutine outlives its tests.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// mockClient returns a client whose calls all get this response.
func mockClient(t *testing.T, cfg Config, response httpmock.Responder) *Client {
	t.Helper()
	transport := httpmock.NewMockTransport()
	transport.RegisterNoResponder(response)
	cfg.Transport = transport
	c, err := New(cfg)
	require.NoError(t, err)
	return c
}

func TestNewRejectsHost(t *testing.T) {
	t.Parallel()
	for _, host := range []string{
		"http://x", "a/b", "a b", "user@host", "::1", ":443", "a?b", "host:port", "host:", "host:0", "host:65536", "[::1]:0",
		"*", "a,b", "*.googleapis.com", "a;b", "[host]", "[fe80::zz]", "h\xffst", "h\u00f6st", "%41",
	} {
		_, err := New(Config{Host: host})
		assert.EqualError(t, err, "invalid host "+strconv.Quote(host)+": want host or host:port, without http://")
	}
}

func TestUpstream(t *testing.T) {
	t.Parallel()
	for want, cfg := range map[string]Config{
		"www.googleapis.com:443": {},
		"www.googleapis.com:80":  {PlainHTTP: true},
		"localhost:8443":         {Host: "localhost:8443"},
		"my-books_1.example:443": {Host: "my-books_1.example"},
		"[::1]:443":              {Host: "[::1]"},
	} {
		c, err := New(cfg)
		require.NoError(t, err)
		assert.Equal(t, want, c.Upstream())
	}
}
