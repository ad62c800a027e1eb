package googlebookstest_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/bookinfo/googlebooks/googlebookstest"
)

func TestSmoke(t *testing.T) {
	t.Parallel()
	srv := googlebookstest.NewServer(googlebookstest.Config{})
	defer srv.Close()
	resp, err := http.Get("http://" + srv.HTTPAddr + "/books/v1/volumes?q=isbn:0486424618")
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	assert.Contains(t, string(b), "9780486424613")
}
