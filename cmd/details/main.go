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

// shutdownTimeout is how long requests in flight may take to end after
// SIGTERM: longer than a look-up, shorter than Kubernetes' 30 s.
const shutdownTimeout = 10 * time.Second

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

	logger := newLogger(stderr, cfg.LogLevel)
	slog.SetDefault(logger) // for net/http's own words, which come over package log
	if err := serve(ctx, cfg, logger); err != nil {
		fmt.Fprintf(stderr, "details: %v\n", err)

		return exitFailure
	}

	return exitOK
}

// serve answers requests until ctx is done, and then those that have begun.
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
	server := &http.Server{
		Handler:           details.New(service),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      15 * time.Second,
		IdleTimeout:       75 * time.Second, // longer than Envoy keeps a request waiting, shorter than its hour of idling
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	logger.LogAttrs(ctx, slog.LevelInfo, "details serves",
		slog.String("address", listener.Addr().String()), slog.String("mode", mode), slog.String("upstream", upstream),
		slog.Bool("api_key", cfg.APIKey != ""))

	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}

	logger.Info("details ends: no new requests, those in flight are finished")
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(patience); err != nil {
		logger.Warn("details ends: not all requests were finished", "error", err.Error())

		return server.Close()
	}

	return nil
}

// newLogger writes JSON lines, or text where a person reads them.
func newLogger(w io.Writer, level slog.Level) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if f, ok := w.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			return slog.New(slog.NewTextHandler(w, options))
		}
	}

	return slog.New(slog.NewJSONHandler(w, options))
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
