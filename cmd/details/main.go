// Command details is Bookinfo's details service, version 2: it answers
// GET /details/{id} with a book from the Google Books API.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"example.com/bookinfo/details"
	"example.com/bookinfo/googlebooks"
)

// Set by the linker, see the Makefile; a plain go build knows the commit itself.
var version, commit = "dev", ""

// Exit statuses.
const (
	exitOK      = 0
	exitFailure = 1 // of running: the port is in use
	exitUsage   = 2 // of the environment or the arguments
)

// How long the program takes to end after SIGTERM: the time for callers to
// move off their kept-alive connections, and then, for the requests that are
// still in flight, longer than a look-up, together shorter than Kubernetes' 30 s.
const (
	moveTimeout     = 500 * time.Millisecond
	shutdownTimeout = 10 * time.Second
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the whole program, until ctx is done; it returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cfg, err := readConfig(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		usage(stdout)

		return exitOK
	case errors.Is(err, errVersion):
		v, c := build()
		fmt.Fprintf(stdout, "details %s, commit %s, %s\n", v, c, runtime.Version())

		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "details: %v\n", err)

		return exitUsage
	}

	logger := newLogger(stderr, cfg.LogLevel, nil)
	// For net/http's own words: they come over package log, and quote answers.
	slog.SetDefault(newLogger(stderr, cfg.LogLevel, without(string(cfg.APIKey))))
	if err := serve(ctx, cfg, logger); err != nil {
		fmt.Fprintf(stderr, "details: %v\n", err)

		return exitFailure
	}

	return exitOK
}

// serve is the service, from its settings to its end.
func serve(ctx context.Context, cfg config, logger *slog.Logger) error {
	metrics := details.NewMetrics(build())
	service := details.Config{ISBNs: cfg.ISBNs, Logger: logger, Metrics: metrics}
	mode, upstream := "the fixed book of details-v1", ""
	if cfg.External {
		client, err := googlebooks.New(cfg.client(metrics.ObserveTry))
		if err != nil {
			return err
		}
		service.Books, mode, upstream = client, "HTTPS", client.Upstream()
		if cfg.CacheTTL > 0 {
			service.Books = googlebooks.NewCache(client, time.Duration(cfg.CacheTTL), time.Duration(cfg.CacheStale), metrics.ObserveCache)
		}
		if cfg.PlainHTTP {
			mode = "plain HTTP: only behind a sidecar that originates TLS"
		}
	}

	// One socket for IPv4 and IPv6, where there is IPv6.
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", fmt.Sprintf(":%d", cfg.Port))
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("port %d is in use by another program; choose one with PORT or the first argument", cfg.Port)
	}
	if err != nil {
		return err
	}
	logger.LogAttrs(ctx, slog.LevelInfo, "details serves",
		slog.String("address", listener.Addr().String()), slog.String("mode", mode), slog.String("upstream", upstream),
		slog.Bool("api_key", cfg.APIKey != ""))

	return newServer(details.New(service), logger).serve(ctx, listener)
}

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
		IdleTimeout:       75 * time.Second, // longer than Envoy keeps a request waiting, shorter than its hour of idling
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
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

// newLogger writes JSON lines, or text where a person reads them.
func newLogger(w io.Writer, level slog.Level, replace func([]string, slog.Attr) slog.Attr) *slog.Logger {
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: replace}
	if f, ok := w.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			return slog.New(slog.NewTextHandler(w, options))
		}
	}

	return slog.New(slog.NewJSONHandler(w, options))
}

// without is a ReplaceAttr that takes a secret, if there is one, out of texts.
func without(secret string) func([]string, slog.Attr) slog.Attr {
	return func(_ []string, a slog.Attr) slog.Attr {
		if secret != "" && a.Value.Kind() == slog.KindString {
			a.Value = slog.StringValue(strings.ReplaceAll(a.Value.String(), secret, "[API key]"))
		}

		return a
	}
}

// build names the version and the commit that this program was built from.
func build() (string, string) {
	if commit != "" {
		return version, commit
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return version, s.Value
			}
		}
	}

	return version, "unknown"
}
