// Command details is version 2 of Bookinfo's details service: it answers
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
	"strings"
	"syscall"

	"example.com/bookinfo/cmd/internal/buildinfo"
	"example.com/bookinfo/cmd/internal/memlimit"
	"example.com/bookinfo/details"
	"example.com/bookinfo/googlebooks"
)

// Exit statuses.
const (
	exitOK      = 0
	exitFailure = 1 // runtime error, such as the port being in use
	exitUsage   = 2 // invalid environment or arguments
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)   // a second signal kills the process
	signal.Ignore(syscall.SIGPIPE) // a log whose reader has gone away is no reason to end
	useLowerCaseProxies()
	tuneGC()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// useLowerCaseProxies sets the variables of the proxies that are set only in lower
// case, which counts for other programs, too.
func useLowerCaseProxies() {
	for _, name := range []string{"HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"} {
		if os.Getenv(name) == "" {
			_ = os.Setenv(name, os.Getenv(strings.ToLower(name))) // the name is valid
		}
	}
}

// tuneGC sets what GOGC and GOMEMLIMIT leave unset. The heap is so small that Go
// would collect it a hundred times a second under load, at a quarter of the CPU
// time per request. The memory limit bounds the larger heap when there are
// thousands of connections. A lower limit would make Go collect all the time.
func tuneGC() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(300)
	}
	memlimit.Set(maxMemory)
}

// maxMemory is Go's memory limit in bytes, unless the container's is lower.
const maxMemory = 144 << 20

// run runs the program until ctx is done and returns its exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cfg, err := readConfig(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		usage(stdout)
		return exitOK
	case errors.Is(err, errVersion):
		fmt.Fprintf(stdout, "details %s, %s\n", buildinfo.Version(), runtime.Version())
		return exitOK
	case err != nil:
		printError(stderr, err)
		return exitUsage
	}
	if err := serve(ctx, cfg, stderr, slog.SetDefault); err != nil {
		printError(stderr, err)
		return exitFailure
	}
	return exitOK
}

// printError prints each line of an error.
func printError(w io.Writer, err error) {
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintf(w, "details: %s\n", line)
	}
}

// serve wires the service together and runs it until ctx is done. It gives
// setDefault the logger for what net/http logs through package log.
func serve(ctx context.Context, cfg config, stderr io.Writer, setDefault func(*slog.Logger)) error {
	metrics := details.NewMetrics(buildinfo.Version())
	w := newLogWriter(stderr, metrics.ObserveLostLine)
	defer w.close()
	logger := newLogger(stderr, w, cfg.LogLevel, nil)
	// net/http may quote a response, so redact the key there.
	setDefault(newLogger(stderr, w, cfg.LogLevel, redactAttr(string(cfg.APIKey))))

	service := details.Config{ISBNs: cfg.ISBNs, Tracing: cfg.PlainHTTP, Logger: logger, Metrics: metrics}
	clientConfig := cfg.client()
	clientConfig.Observe = func(t googlebooks.Try) {
		metrics.ObserveTry(t)
		logger.Debug("upstream call", "try", t.Number, "upstream_status", t.StatusCode, "reason", t.Reason,
			"upstream_ms", float64(t.Duration.Microseconds())/1000)
	}
	mode, upstream, proxyHost := "the fixed book of details-v1", "", ""
	if cfg.External {
		client, err := googlebooks.New(clientConfig)
		if err != nil {
			return err
		}
		service.Books, mode, upstream = client, "HTTPS", client.Upstream()
		if cfg.CacheTTL > 0 {
			service.Books = googlebooks.NewCache(client, cfg.CacheTTL, cfg.CacheStale)
		}
		if cfg.PlainHTTP {
			mode = "plain HTTP: only behind a sidecar that originates TLS"
		}
		if clientConfig.Proxy != nil {
			proxyHost = clientConfig.Proxy.Host
		}
	}

	// One socket for IPv4 and, if the machine has it, IPv6.
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", fmt.Sprintf(":%d", cfg.Port))
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("port %d is in use by another program; choose another with PORT or the argument", cfg.Port)
	}
	if err != nil {
		return err
	}
	logger.LogAttrs(ctx, slog.LevelInfo, "details is serving",
		slog.String("version", buildinfo.Version()),
		slog.String("address", listener.Addr().String()),
		slog.String("mode", mode),
		slog.String("upstream", upstream),
		slog.String("proxy", proxyHost),
		slog.Bool("api_key", cfg.APIKey != ""),
		slog.String("timeout", cfg.Timeout.String()),
		slog.String("cache_ttl", cfg.CacheTTL.String()),
		slog.String("cache_stale", cfg.CacheStale.String()),
		slog.Int("book_isbns", len(cfg.ISBNs)))
	if cfg.APIKey == "" && strings.HasPrefix(upstream, googlebooks.DefaultHost+":") {
		logger.Warn("Google refuses calls without an API key: set GOOGLE_BOOKS_API_KEY")
	}
	if cfg.External && cfg.PlainHTTP && cfg.APIKey != "" {
		logger.Warn("Over plain HTTP, only the mesh encrypts the API key: block unknown hosts, or set DO_NOT_ENCRYPT=false")
	}
	if cfg.External && cfg.PlainHTTP && cfg.HTTPProxy+cfg.HTTPSProxy != "" {
		logger.Warn("HTTP_PROXY and HTTPS_PROXY are not used: over plain HTTP, the sidecar is the proxy")
	}
	return newServer(details.New(service), logger).run(ctx, listener)
}
