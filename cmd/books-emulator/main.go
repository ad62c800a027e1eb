// Command books-emulator is a stand-in for the Google Books volumes API. With
// it, details runs on any laptop and in any cluster, without an API key and
// without internet.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log" //nolint:depguard // http.Server.ErrorLog is one
	"math"
	"net"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"example.com/bookinfo/cmd/internal/buildinfo"
	"example.com/bookinfo/cmd/internal/memlimit"
	"example.com/bookinfo/googlebooks/googlebookstest"
)

// Exit statuses.
const (
	exitOK      = 0
	exitFailure = 1 // runtime error, such as a port in use
	exitUsage   = 2
)

// shutdownTimeout limits responses in progress. Those that hang on purpose are
// then cut off.
const shutdownTimeout = 2 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	memlimit.Set(math.MaxInt64)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run runs the program until ctx is done and returns its exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cfg, err := readConfig(args, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "books-emulator: %v; see --help\n", err)
		return exitUsage
	case cfg.version:
		fmt.Fprintf(stdout, "books-emulator %s, %s\n", buildinfo.Version(), runtime.Version())
		return exitOK
	case cfg.certsOut != "":
		err = certs(cfg.certsOut, stdout)
	default:
		cfg.Log, cfg.ErrorLog = log.New(stdout, "", 0), log.New(stderr, "books-emulator: ", 0)
		err = serve(ctx, cfg, stdout)
	}
	if err != nil {
		fmt.Fprintf(stderr, "books-emulator: %v\n", err)
		return exitFailure
	}
	return exitOK
}

// serve answers requests until ctx is done.
func serve(ctx context.Context, cfg config, stdout io.Writer) error {
	server, err := googlebookstest.Start(cfg.Config) //nolint:contextcheck // it ends with Shutdown
	if err != nil {
		return fmt.Errorf("%w; choose another address with --http or --https", err)
	}
	defer server.Close()
	// Only now: a second emulator, which cannot listen, must not overwrite the CA
	// of the first.
	if cfg.caOut != "" {
		if err := os.WriteFile(cfg.caOut, server.CAPEM, 0o644); err != nil { //nolint:gosec // a certificate is public
			return fmt.Errorf("--ca-out: %w", err)
		}
	}
	greet(stdout, cfg, server)
	<-ctx.Done()

	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	server.Shutdown(ctx)
	return nil
}

// greet says where the emulator listens and how to point details at it.
func greet(w io.Writer, cfg config, server *googlebookstest.Server) {
	plain, encrypted := localhost(server.HTTPAddr), localhost(server.HTTPSAddr)
	fmt.Fprintf(w, "A stand-in for Google Books: https://%s and http://%s\nTo point details at it:\n", encrypted, plain)
	key := ""
	if cfg.RequireKey {
		key = "GOOGLE_BOOKS_API_KEY=any "
	}
	ca := cfg.caOut
	if cfg.Certificate != nil {
		ca = "<its CA>"
	}
	if ca == "" {
		fmt.Fprintln(w, "  over TLS: start again with --ca-out ca.pem, which details must trust")
	} else {
		fmt.Fprintf(w, "  %sGOOGLE_BOOKS_HOST=%s GOOGLE_BOOKS_CA_FILE=%s go run ./cmd/details\n", key, encrypted, ca)
	}
	fmt.Fprintf(w, "  %sDO_NOT_ENCRYPT=true GOOGLE_BOOKS_HOST=%s go run ./cmd/details\n", key, plain)
}

// localhost returns addr. It replaces a loopback address, or that of all
// interfaces, with the name that is in the certificate.
func localhost(addr string) string {
	host, port, _ := net.SplitHostPort(addr) // a listener's address is valid
	if ip := net.ParseIP(host); ip.IsLoopback() || ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}
