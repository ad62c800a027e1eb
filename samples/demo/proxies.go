package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"

	"example.com/bookinfo/googlebooks"
)

// newSidecar returns a sidecar that originates TLS: it accepts plain HTTP,
// writes an access log and forwards the request over TLS. The transport
// verifies the certificate.
func newSidecar(report func(event string), transport http.RoundTripper) http.Handler {
	return &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = "https", r.In.Host, r.In.Host
		},
		ModifyResponse: func(res *http.Response) error {
			report(fmt.Sprintf("sidecar log %s %s %d", res.Request.Method, res.Request.URL.RequestURI(), res.StatusCode))
			return nil
		},
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // the service reports its 502
	}
}

// wire is a connection to Google Books. When it is closed, it reports what the
// network could read of it. If it is blocked, the mesh closes it at the first
// bytes, as BlackHoleCluster does.
type wire struct {
	net.Conn

	blocked bool
	report  func(event string)

	mu   sync.Mutex
	seen bytes.Buffer // in both directions
	once sync.Once
}

func (w *wire) Read(b []byte) (int, error) {
	if w.blocked {
		return 0, io.EOF
	}
	n, err := w.Conn.Read(b)
	w.see(b[:n])
	return n, err
}

func (w *wire) Write(b []byte) (int, error) {
	w.see(b)
	if w.blocked {
		return len(b), nil
	}
	return w.Conn.Write(b)
}

func (w *wire) see(b []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen.Write(b)
}

func (w *wire) Close() error {
	w.once.Do(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		event := fmt.Sprintf("network saw %s, %d bytes", readable(w.seen.Bytes()), w.seen.Len())
		if w.blocked {
			event = "mesh log    " + readable(w.seen.Bytes()) + ": no ServiceEntry, closed"
		}
		w.report(event)
	})
	return w.Conn.Close()
}

// readable returns what the network can read of a call. With TLS that is only
// the server name of the ClientHello (SNI, RFC 6066 section 3).
func readable(seen []byte) string {
	var found []string
	for _, word := range []string{googlebooks.DefaultHost, fakeKey, "/books/v1/volumes?q=isbn:", "volumeInfo"} {
		if bytes.Contains(seen, []byte(word)) {
			found = append(found, word)
		}
	}
	return strings.Join(found, ", ")
}
