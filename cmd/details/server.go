package main

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// How long the program takes to end after SIGTERM: the time for callers to
// move off their kept-alive connections, and then, for the requests that are
// still in flight, longer than a look-up, together shorter than Kubernetes' 30 s.
const (
	moveTimeout     = 500 * time.Millisecond
	shutdownTimeout = 10 * time.Second
)

// server is net/http's, with an end that loses no request.
type server struct {
	http.Server

	logger         *slog.Logger
	move, patience time.Duration // moveTimeout and shutdownTimeout
	ending         atomic.Bool
	open           atomic.Int64 // connections
}

func newServer(h http.Handler, logger *slog.Logger) *server {
	s := &server{logger: logger, move: moveTimeout, patience: shutdownTimeout}
	s.Server = http.Server{
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      15 * time.Second,
		// Longer than the hour after which a sidecar drops an idle connection:
		// whoever hangs up first may cut off a request that is on its way.
		IdleTimeout:                  65 * time.Minute,
		MaxHeaderBytes:               64 << 10,
		DisableGeneralOptionsHandler: true, // OPTIONS * is answered as any other
		ErrorLog:                     slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			// No answer here depends on a body: to read one, as net/http would
			// before it answers, lets a caller hold the answer back, and what
			// follows one of disputed length may be no request of its sender's.
			// HTTP/1.0 knows no chunks: net/http takes theirs for requests.
			if s.ending.Load() || r.ContentLength != 0 || !r.ProtoAtLeast(1, 1) {
				w.Header()["Connection"] = []string{"close"}
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

// serve answers requests until ctx is done, and then those that have begun.
// Shutdown alone would lose some: it hangs up on idle callers even while the
// next request is on its way, and on those who wait to be accepted. So there
// is a moment before it in which answers say Connection: close, with the
// listener open, and one more for those who were let in last. It can't help a
// caller that was silent all the while and asks in the instant of the end:
// RFC 9112 section 9.5 has him ask again.
func (s *server) serve(ctx context.Context, listener net.Listener) error {
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}

	s.logger.Info("details ends: requests in flight are finished")
	s.ending.Store(true)
	s.settle()
	_ = listener.Close() // an error would be that it is closed
	<-ended              //nolint:errcheck // it says that the listener is closed
	s.settle()

	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.patience)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		s.logger.Warn("details ends: not all requests were finished", "error", err.Error())

		return s.Close()
	}

	return nil
}

// settle waits until no connection is open, for s.move at most.
func (s *server) settle() {
	for begin := time.Now(); time.Since(begin) < s.move; {
		time.Sleep(10 * time.Millisecond)
		if s.open.Load() == 0 {
			return
		}
	}
}
