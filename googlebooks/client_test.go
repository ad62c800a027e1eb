package googlebooks

import (
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const comedyURL = "https://www.googleapis.com/books/v1/volumes?q=isbn:0486424618"

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

func TestVolume(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		country string
		url     string
	}{
		"as it is":     {url: comedyURL},
		"with country": {country: "DK", url: comedyURL + "&country=DK"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, transport := mockClient(t, Config{Country: tc.country}, nil)
			transport.RegisterResponder(http.MethodGet, tc.url, httpmock.NewStringResponder(http.StatusOK, comedy))
			got, err := c.Volume(t.Context(), "0486424618", nil)
			require.NoError(t, err)
			assert.Equal(t, comedyVolume(), got)
		})
	}
}

// TestCallersHeaderIsNotChanged: a caller may go on to log or forward it.
func TestCallersHeaderIsNotChanged(t *testing.T) {
	t.Parallel()
	c, _ := mockClient(t, Config{APIKey: "s3cret", UserAgent: "details/1"}, httpmock.NewStringResponder(http.StatusOK, comedy))
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
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			_, err := New(Config{Host: host})
			assert.EqualError(t, err, "invalid host "+strconv.Quote(host)+": want host or host:port, without http://")
		})
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

func TestBodyOfOneMebibyteIsRead(t *testing.T) {
	t.Parallel()
	c, _ := mockClient(t, Config{}, httpmock.NewStringResponder(http.StatusOK, comedy+strings.Repeat(" ", maxBody-len(comedy))))
	_, err := c.Volume(t.Context(), "0486424618", nil)
	require.NoError(t, err)
}

func TestEndlessBodyIsNotReadToItsEnd(t *testing.T) {
	t.Parallel()
	endless := &countingReader{}
	c, _ := mockClient(t, Config{}, func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(endless)}, nil
	})
	_, err := c.Volume(t.Context(), "0486424618", nil)
	require.Error(t, err)
	assert.LessOrEqual(t, endless.n, maxBody+1)
}

// countingReader is an endless body of spaces.
type countingReader struct{ n int }

func (r *countingReader) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	r.n += len(p)
	return len(p), nil
}
