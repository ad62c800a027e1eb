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

// How garbage is collected: when it is half as much as what is in use, so that
// thousands of connections fit into memory. At rest so little is in use that
// this would happen a hundred times a second under load, so there is a ballast:
// it counts as in use, but is never touched and takes no memory.
const (
	gcPercent   = 50
	ballastSize = 12 << 20
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	ballast := make([]byte, ballastSize)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	runtime.KeepAlive(ballast)
	os.Exit(status)
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

	log := newLogSink(stderr, cfg.LogLevel)
	// For net/http's own words: they come over package log, and quote answers.
	slog.SetDefault(log.logger(without(string(cfg.APIKey))))
	err = serve(ctx, cfg, log.logger(nil))
	log.flush()
	if err != nil {
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
	if cfg.External && cfg.APIKey == "" && cfg.Host == googlebooks.DefaultHost {
		logger.Warn("Google answers calls without an API key with 429: set GOOGLE_BOOKS_API_KEY")
	}

	return newServer(details.New(service), logger).serve(ctx, listener)
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
