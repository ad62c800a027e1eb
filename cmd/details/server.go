package main

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// Shutdown timing: moveTimeout lets keep-alive clients reconnect elsewhere;
// shutdownTimeout limits requests in flight and exceeds the longest lookup.
// Together they stay below Kubernetes' 30 s.
const (
	moveTimeout     = 500 * time.Millisecond
	shutdownTimeout = 10 * time.Second
)

// maxKeptOpen limits the connections that are kept open between requests, at
// about 20 KB each. Above it, each connection is closed after its response.
const maxKeptOpen = 4096

// server is an http.Server whose shutdown loses no request.
type server struct {
	http.Server

	logger                       *slog.Logger
	moveTimeout, shutdownTimeout time.Duration
	maxKeptOpen                  int64
	stopping                     atomic.Bool
	open                         atomic.Int64 // connections
}

func newServer(h http.Handler, logger *slog.Logger) *server {
	s := &server{logger: logger, moveTimeout: moveTimeout, shutdownTimeout: shutdownTimeout, maxKeptOpen: maxKeptOpen}
	s.Server = http.Server{
		ReadHeaderTimeout: 5 * time.Second,
		// After the response, net/http waits for a body that may never come.
		ReadTimeout:  10 * time.Second,
		WriteTimeout: 15 * time.Second,
		// A sidecar drops an idle connection after an hour. If the server closed
		// it first, a request already on its way would be lost.
		IdleTimeout:                  65 * time.Minute,
		MaxHeaderBytes:               64 << 10,
		DisableGeneralOptionsHandler: true, // answer OPTIONS * like any other request
		ErrorLog:                     slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			// Request bodies are never read. net/http would drain one first, which
			// lets a slow client delay its response. After a body of ambiguous
			// length, the next bytes may be a smuggled request. HTTP/1.0 has no
			// chunks: net/http would read a chunked body as further requests.
			unreadBody := r.ContentLength != 0 || !r.ProtoAtLeast(1, 1)
			if unreadBody || s.stopping.Load() || s.open.Load() > s.maxKeptOpen {
				w.Header().Set("Connection", "close")
			}
			h.ServeHTTP(w, r)
		}),
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				s.open.Add(1)
			case http.StateClosed:
				s.open.Add(-1)
			default:
			}
		},
	}
	return s
}

// run answers requests until ctx is done and then finishes those in flight.
//
// http.Server.Shutdown alone loses requests: it closes idle connections while
// the next request is on its way, and drops connections not yet accepted. So
// for moveTimeout before Shutdown, the listener stays open and responses
// have Connection: close. A client that sends its next request just as the
// server closes may still see a reset; RFC 9112 section 9.5 tells it to retry.
func (s *server) run(ctx context.Context, listener net.Listener) error {
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}

	s.logger.Info("details is stopping: finishing requests in flight")
	s.stopping.Store(true)
	time.Sleep(s.moveTimeout)

	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.shutdownTimeout)
	defer cancel()
	err := s.Shutdown(ctx)
	<-ended //nolint:errcheck // http.ErrServerClosed
	if err != nil {
		s.logger.Warn("details has stopped: some requests were cut off", "error", err.Error())
		return s.Close()
	}
	s.logger.Info("details has stopped")
	return nil
}
