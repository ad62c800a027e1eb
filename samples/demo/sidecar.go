package main

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httputil"
)

// newSidecar plays the sidecar of a mesh that originates TLS: it takes plain
// HTTP, writes an access log, and goes on over TLS, with the certificate
// verified by the transport.
func newSidecar(tell func(who, what string), transport http.RoundTripper) http.Handler {
	log := func(r *http.Request, status int) {
		tell("sidecar log", fmt.Sprintf("%s %s %d", r.Method, r.URL.RequestURI(), status))
	}

	return &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = "https", r.In.Host, r.In.Host
		},
		ModifyResponse: func(res *http.Response) error {
			log(res.Request, res.StatusCode)

			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, _ error) {
			log(r, http.StatusBadGateway)
			w.WriteHeader(http.StatusBadGateway)
		},
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
}
