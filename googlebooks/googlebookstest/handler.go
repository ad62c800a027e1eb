package googlebookstest

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
)

// Request is a request that a Server received.
type Request struct {
	Method     string
	RequestURI string // the request target as sent: path and query, undecoded
	Host       string // header Host, or :authority in HTTP/2
	Proto      string // "HTTP/1.1" or "HTTP/2.0"
	RemoteAddr string // the same for all requests of one connection
	Header     http.Header
	TLS        bool
	ServerName string // the server name of the TLS handshake (SNI), "" if none was sent
}

// Script sets the faults of the next requests, one fault per request; "ok" is
// no fault. Requests after these succeed. Script panics on a name that Faults
// does not list.
func (s *Server) Script(names ...string) {
	script := make([]Fault, len(names))
	for i, name := range names {
		script[i] = s.fault(name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script = script
}

// fault returns the fault of that name. It panics if there is none.
func (s *Server) fault(name string) Fault {
	fault, ok := s.faults[name]
	if !ok {
		panic(fmt.Sprintf("googlebookstest: unknown fault %q", name))
	}
	return fault
}

// Requests returns the requests received by a Server from NewServer, oldest
// first.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// ServeHTTP answers one request. A fault may end it with
// panic(http.ErrAbortHandler), which net/http handles.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn, overTLS := r.Context().Value(tlsConnKey{}).(*tlsConn)
	if overTLS { // which net/http does not know
		state := conn.tls.ConnectionState()
		r.TLS = &state
	}
	if r.URL.Path == "/healthz" { // a probe of Kubernetes; Google has no such path
		fmt.Fprintln(w, "ok")
		return
	}
	line := &statusRecorder{ResponseWriter: w}
	defer s.log(r, line)
	fault := s.accept(r)
	e := &exchange{w: line, r: r, conn: conn, ok: s.answer(r), slow: s.cfg.Slow}
	e.wait(s.cfg.Delay)
	fault.serve(e)
	line.done = true
}

// accept records the request and picks its fault. Both happen under one lock,
// so that requests and script stay in the same order.
func (s *Server) accept(r *http.Request) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.recording {
		s.requests = append(s.requests, Request{
			Method:     r.Method,
			RequestURI: r.RequestURI,
			Host:       r.Host,
			Proto:      r.Proto,
			RemoteAddr: r.RemoteAddr,
			Header:     r.Header.Clone(),
			TLS:        r.TLS != nil,
			ServerName: cmp.Or(r.TLS, new(tls.ConnectionState)).ServerName,
		})
	}
	if len(s.script) > 0 {
		fault := s.script[0]
		s.script = s.script[1:]
		return fault
	}
	roll := rand.Float64() * 100 //nolint:gosec // chance, not a secret
	for _, share := range s.cfg.Shares {
		if roll < share.Percent {
			return share.Fault
		}
		roll -= share.Percent
	}
	return Fault{serve: (*exchange).good}
}

// answer returns Google's answer if nothing fails. The checks are in the order
// of Google's front end.
func (s *Server) answer(r *http.Request) answer {
	query := r.URL.Query()
	key := cmp.Or(r.Header.Get("X-Goog-Api-Key"), query.Get("key"))
	switch names := s.refusedHeaders(r.Header); {
	case names != "":
		return jsonAnswer(http.StatusBadRequest, fmt.Appendf(nil, `{"error": {"code": 400, "message": `+
			`"Refused: headers about the caller's cluster: %s", "errors": [{"reason": "badRequest"}]}}`, names))
	case r.Method != http.MethodGet || r.URL.Path != "/books/v1/volumes":
		return htmlError(http.StatusNotFound)
	case s.cfg.RequireTLS && r.TLS == nil:
		return s.fault("403-ssl-required").answer
	case s.cfg.RequireKey && key == "":
		return s.fault("429-keyless").answer
	case key != "" && len(s.cfg.Keys) > 0 && !slices.Contains(s.cfg.Keys, key):
		return s.fault("400-api-key-invalid").answer
	case !query.Has("q"):
		return s.fault("400-required").answer
	case strings.TrimSpace(query.Get("q")) == "":
		return s.fault("400-query-required").answer
	}
	return jsonAnswer(http.StatusOK, search(query.Get("q")))
}

// refusedHeaders returns the names of the headers that RefuseMeshHeaders
// refuses. It skips two that Envoy always sends and that do not describe the
// caller's cluster: the scheme, and the name of the upstream.
func (s *Server) refusedHeaders(h http.Header) string {
	if !s.cfg.RefuseMeshHeaders {
		return ""
	}
	var names []string
	for name := range h {
		switch {
		case name == "X-Forwarded-Proto", name == "X-Envoy-Decorator-Operation":
		case strings.HasPrefix(name, "X-Envoy-"), strings.HasPrefix(name, "X-Forwarded-"):
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
