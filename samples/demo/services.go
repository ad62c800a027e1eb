package main

import (
	"context"
	"crypto/tls"
	"log" //nolint:depguard // googlebookstest.Config.Log is one
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"example.com/bookinfo/details"
	"example.com/bookinfo/googlebooks"
	"example.com/bookinfo/googlebooks/googlebookstest"
)

// services is everything that runs: the stand-in for Google Books and, per
// scenario, a details service and the proxy in between.
type services struct {
	google  *googlebookstest.Server
	servers []*httptest.Server
	taken   []string    // preferred ports that other programs use
	events  chan string // what each party saw of a call to Google Books
}

// start starts the services of the scenarios and sets their ports. The caller
// must call close, even after an error.
func start(ctx context.Context, cfg googlebookstest.Config, scenarios []*scenario) (s *services, err error) {
	s = &services{events: make(chan string, 64)}
	cfg.Log = log.New(s, "Google log  ", 0)
	if s.google, err = googlebookstest.Start(cfg); err != nil { //nolint:contextcheck // it ends with close
		return s, err
	}
	for _, sc := range scenarios {
		if err := s.open(ctx, sc); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s *services) close() {
	if s.google != nil {
		s.google.Close()
	}
	for _, server := range s.servers {
		server.Close()
	}
}

// report drops the event if nobody reads events.
func (s *services) report(event string) {
	select {
	case s.events <- event:
	default:
	}
}

// Write reports a line of the log of the stand-in.
func (s *services) Write(line []byte) (int, error) {
	s.report(strings.TrimSpace(string(line)))
	return len(line), nil
}

// open starts a details service and, for plain HTTP, its sidecar.
func (s *services) open(ctx context.Context, sc *scenario) error {
	front, err := s.listen(ctx, sc.port)
	if err != nil {
		return err
	}
	_, sc.port, _ = net.SplitHostPort(front.Addr().String())
	transport := s.transport(s.google.HTTPSAddr, func(conn net.Conn) net.Conn {
		return &wire{Conn: conn, blocked: sc.blocked, report: s.report}
	})
	if sc.plainHTTP {
		sidecar, err := s.listen(ctx, "0")
		if err != nil {
			return err
		}
		s.serve(sidecar, newSidecar(s.report, transport))
		transport = s.transport(sidecar.Addr().String(), func(conn net.Conn) net.Conn { return conn })
	}
	client, err := googlebooks.New(googlebooks.Config{
		PlainHTTP: sc.plainHTTP,
		APIKey:    fakeKey,
		UserAgent: "bookinfo-details/demo",
		Transport: transport,
	})
	if err != nil {
		return err
	}
	s.serve(front, details.New(details.Config{
		Books: client,
		ISBNs: map[int64]googlebooks.ISBN{ // the sample volumes of the stand-in
			0: details.DefaultISBN, 1: "9780141439518", 2: "9780141439471",
			3: "9780486264783", 4: "9780307474728", 5: "9784101010137",
		},
		Metrics: details.NewMetrics("demo"),
	}))
	return nil
}

// transport connects every name to addr, without DNS, and wraps the connection.
// Each call has its own connection, so that its end can be seen.
func (s *services) transport(addr string, wrap func(net.Conn) net.Conn) http.RoundTripper {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
			if err != nil {
				return nil, err
			}
			return wrap(conn), nil
		},
		TLSClientConfig:   &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: s.google.CertPool()},
		ForceAttemptHTTP2: true,
		DisableKeepAlives: true,
	}
}

// listen listens on port. If another program uses that port on any address of
// localhost, it listens on a free one.
func (s *services) listen(ctx context.Context, port string) (net.Listener, error) {
	if other, err := new(net.Dialer).DialContext(ctx, "tcp", "localhost:"+port); err == nil {
		_ = other.Close()
	} else if listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:"+port); err == nil {
		return listener, nil
	}
	s.taken = append(s.taken, port)
	return new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
}

func (s *services) serve(listener net.Listener, handler http.Handler) {
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}}
	server.Start()
	s.servers = append(s.servers, server)
}
