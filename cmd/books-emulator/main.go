// Command books-emulator is a stand-in for the Google Books volumes API. With
// it, details runs on any laptop and in any cluster, without an API key and
// without internet.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log" //nolint:depguard // http.Server.ErrorLog is one
	"net"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"example.com/bookinfo/cmd/internal/buildinfo"
	"example.com/bookinfo/googlebooks/googlebookstest"
)

// Exit statuses.
const (
	exitOK      = 0
	exitFailure = 1 // runtime error, such as a port in use
	exitUsage   = 2
)

// shutdownTimeout bounds responses in progress; those that hang on purpose are
// then cut.
const shutdownTimeout = 2 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run runs the program until ctx is done and returns its exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var err error
	if len(args) > 0 && args[0] == "certs" {
		err = certs(args[1:], stdout)
	} else {
		err = serve(ctx, args, stdout, stderr)
	}
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, flag.ErrHelp):
		usage(stdout)
		return exitOK
	case errors.Is(err, errVersion):
		fmt.Fprintf(stdout, "books-emulator %s, %s\n", buildinfo.Version(), runtime.Version())
		return exitOK
	}
	fmt.Fprintf(stderr, "books-emulator: %v\n", err)
	if _, ok := errors.AsType[*usageError](err); ok {
		return exitUsage
	}
	return exitFailure
}

// serve answers requests until ctx is done.
func serve(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	cfg, err := readConfig(args)
	if err != nil {
		return err
	}
	cfg.Log = log.New(stdout, "", 0)
	cfg.ErrorLog = log.New(probeFilter{stderr}, "books-emulator: ", 0)
	server, err := googlebookstest.Start(cfg.Config) //nolint:contextcheck // it ends with Shutdown
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return fmt.Errorf("%w; choose another address with --http or --https", err)
	}
	if err != nil {
		return usageErrorf("--fail: %v; see --help", err)
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
	plain, encrypted := reachable(cfg.HTTPAddr, server.HTTPAddr), reachable(cfg.HTTPSAddr, server.HTTPSAddr)
	fmt.Fprintf(w, "A stand-in for Google Books: https://%s and http://%s\nTo point details at it:\n", encrypted, plain)
	key := ""
	if cfg.RequireKey {
		key = "GOOGLE_BOOKS_API_KEY=any "
	}
	switch {
	case cfg.caOut != "":
		fmt.Fprintf(w, "  %sGOOGLE_BOOKS_HOST=%s GOOGLE_BOOKS_CA_FILE=%s go run ./cmd/details\n", key, encrypted, cfg.caOut)
	case cfg.Certificate != nil:
		fmt.Fprintf(w, "  %sGOOGLE_BOOKS_HOST=%s GOOGLE_BOOKS_CA_FILE=<its CA> go run ./cmd/details\n", key, encrypted)
	default:
		fmt.Fprintln(w, "  over TLS: start again with --ca-out ca.pem, which details must trust")
	}
	fmt.Fprintf(w, "  %sDO_NOT_ENCRYPT=true GOOGLE_BOOKS_HOST=%s go run ./cmd/details\n", key, plain)
}

// reachable returns the host of the address that was requested, with the port
// that the server got. For all addresses it returns localhost, which is in the
// certificate.
func reachable(requested, actual string) string {
	host, _, _ := net.SplitHostPort(requested) // valid: the server listens there
	_, port, _ := net.SplitHostPort(actual)
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}

// probeFilter drops the error of a TLS connection that ends before its
// handshake, as the probe of a port does.
type probeFilter struct{ io.Writer }

func (f probeFilter) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte("TLS handshake error")) && bytes.HasSuffix(line, []byte(": EOF\n")) {
		return len(line), nil
	}
	return f.Writer.Write(line)
}
