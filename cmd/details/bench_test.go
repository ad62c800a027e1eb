package main

import (
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/bookinfo/googlebooks/googlebookstest"
)

// BenchmarkEndToEnd is a request over a real socket, a call over another with
// TLS and HTTP/2, and back. The stand-in for Google and the callers share the
// process and its processors, so that the time is not the service's alone.
func BenchmarkEndToEnd(b *testing.B) {
	google, https, plain := standIn(b, googlebookstest.Config{})
	for name, env := range map[string]map[string]string{"HTTPS": https, "PlainHTTP": plain} {
		b.Run(name, func(b *testing.B) {
			p := start(b, env)
			transport := &http.Transport{MaxIdleConnsPerHost: 256}
			defer transport.CloseIdleConnections()
			b.ReportAllocs()
			b.SetParallelism(16)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, p.url+"/details/0", http.NoBody)
					require.NoError(b, err)
					res, err := transport.RoundTrip(r)
					require.NoError(b, err)
					_, err = io.Copy(io.Discard, res.Body)
					require.NoError(b, err)
					require.NoError(b, res.Body.Close())
					require.Equal(b, http.StatusOK, res.StatusCode)
				}
			})
			b.StopTimer()
			require.Zero(b, p.stop())
		})
	}
	require.NotEmpty(b, google.Requests())
}
