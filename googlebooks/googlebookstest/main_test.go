package googlebookstest_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"example.com/bookinfo/googlebooks/googlebookstest"
)

const (
	volumesPath = "/books/v1/volumes"
	comedyPath  = volumesPath + "?q=isbn:0486424618"
	// patience is for what must happen, however busy the machine is.
	patience = time.Minute
)

// TestMain fails the package if a goroutine outlives its tests.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newServer(t *testing.T, cfg googlebookstest.Config) *googlebookstest.Server {
	t.Helper()
	srv := googlebookstest.NewServer(cfg)
	t.Cleanup(srv.Close)
	return srv
}

// newClient returns a client that speaks HTTP/2 over TLS and shows what arrives:
// it follows no redirect, does not ask for gzip and keeps no connection.
func newClient(t *testing.T, srv *googlebookstest.Server) *http.Client {
	t.Helper()
	c := srv.Client()
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.Timeout = patience
	transport := c.Transport.(*http.Transport)
	transport.DisableCompression, transport.DisableKeepAlives, transport.MaxResponseHeaderBytes = true, true, 64<<10
	t.Cleanup(transport.CloseIdleConnections)
	return c
}

func newRequest(t *testing.T, url string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	require.NoError(t, err)
	return req
}

func do(t *testing.T, c *http.Client, req *http.Request) (*http.Response, string) {
	t.Helper()
	resp, err := c.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, string(body)
}

// get requests a path over plain HTTP.
func get(t *testing.T, srv *googlebookstest.Server, path string) (*http.Response, string) {
	t.Helper()
	return do(t, newClient(t, srv), newRequest(t, "http://"+srv.HTTPAddr+path))
}

func sample(isbn string) string { return string(googlebookstest.Sample(isbn)) }
