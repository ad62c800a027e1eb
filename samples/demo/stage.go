package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"example.com/bookinfo/details"
	"example.com/bookinfo/googlebooks"
	"example.com/bookinfo/googlebooks/googlebookstest"
)

// fakeKey is the API key. The stand-in refuses calls without it, so it must arrive.
const fakeKey = "a-made-up-key"

// stage holds all that runs on this machine: the stand-in for Google Books
// and, for each way out, a details service and who stands in between.
type stage struct {
	google                *googlebookstest.Server
	https, plain, blocked door
	sightings             chan sighting
	cancel                context.CancelFunc
	running               sync.WaitGroup
}

// door is where a details service listens.
type door struct {
	port  string
	taken string // the port that it should have had, where another program has it
}

// sighting is what somebody in between saw of one call.
type sighting struct {
	port string // of the service that called
	who  string
	what string
}

// newStage starts everything; close ends it, after an error too.
func newStage(ctx context.Context, google googlebookstest.Config) (*stage, error) {
	ctx, cancel := context.WithCancel(ctx)
	s := &stage{
		google:    googlebookstest.NewServer(google), //nolint:contextcheck // like httptest's, it ends with Close
		sightings: make(chan sighting, 64),
		cancel:    cancel,
	}

	return s, errors.Join(
		s.open(ctx, &s.https, "9080", false, s.google.HTTPSAddr),
		s.open(ctx, &s.plain, "9081", true, s.google.HTTPSAddr),
		s.open(ctx, &s.blocked, "9082", false, ""),
	)
}

func (s *stage) close() {
	s.cancel()
	s.google.Close()
	s.running.Wait()
}

// open starts a details service, the network behind it, which leads to the
// address to, and with plainHTTP a sidecar between the two.
func (s *stage) open(ctx context.Context, d *door, port string, plainHTTP bool, to string) error {
	front, err := listen(ctx, d, port)
	if err != nil {
		return err
	}
	tell := func(who, what string) {
		select {
		case s.sightings <- sighting{d.port, who, what}:
		case <-ctx.Done():
		}
	}

	wire, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.serveTCP(ctx, wire, network{to, tell}.carry)
	next := s.transport(wire)
	if plainHTTP {
		side, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		s.serveHTTP(ctx, side, newSidecar(tell, next))
		next = s.transport(side)
	}

	client, err := googlebooks.New(googlebooks.Config{
		PlainHTTP: plainHTTP,
		APIKey:    fakeKey,
		UserAgent: "bookinfo-details/demo",
		Transport: next,
	})
	if err != nil {
		return err
	}
	s.serveHTTP(ctx, front, details.New(details.Config{
		Books: client,
		ISBNs: map[int64]googlebooks.ISBN{ // what samples/volumes has
			0: details.DefaultISBN, 1: "9780141439518", 2: "9780141439471",
			3: "9780486264783", 4: "9780307474728", 5: "9784101010137",
		},
		Logger:  slog.New(slog.DiscardHandler),
		Metrics: details.NewMetrics("demo"),
	}))

	return nil
}

// transport is the client's own but for two things: every name leads to one
// listener on this machine, which takes the place of DNS, and each call has
// its own connection, so that what was seen of it can be told at once.
func (s *stage) transport(to net.Listener) http.RoundTripper {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.google.CAPEM)

	return &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", to.Addr().String())
		},
		TLSClientConfig:   &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		ForceAttemptHTTP2: true,
		DisableKeepAlives: true,
	}
}

// listen takes the port, or a free one where another program has it, be it on
// one of the two addresses of localhost.
func listen(ctx context.Context, d *door, port string) (net.Listener, error) {
	other, err := new(net.Dialer).DialContext(ctx, "tcp", "localhost:"+port)
	if err == nil {
		_ = other.Close()
	} else if listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:"+port); err == nil {
		d.port = port

		return listener, nil
	}

	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err == nil {
		d.taken = port
		_, d.port, err = net.SplitHostPort(listener.Addr().String())
	}

	return listener, err
}

// serveTCP hands each connection to carry, until ctx is done.
func (s *stage) serveTCP(ctx context.Context, listener net.Listener, carry func(context.Context, net.Conn)) {
	context.AfterFunc(ctx, func() { _ = listener.Close() })
	s.running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			s.running.Go(func() {
				defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
				defer func() { _ = conn.Close() }()
				carry(ctx, conn)
			})
		}
	})
}

// serveHTTP answers requests until ctx is done.
func (s *stage) serveHTTP(ctx context.Context, listener net.Listener, handler http.Handler) {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	s.running.Go(func() { _ = server.Serve(listener) }) // it ends with an error that says just that
}
