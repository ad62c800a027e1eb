// Command books-emulator is a stand-in for the Google Books volumes API: with it, details runs on any laptop and in any
// cluster without an API key or the internet.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
)

// Set by the linker, see the Makefile; a plain go build knows the commit itself.
var version, commit = "dev", ""

// Exit statuses.
const (
	exitOK      = 0
	exitFailure = 1 // of running: a port is in use, a file can't be written
	exitUsage   = 2 // of the command line
)

// errVersion asks for the version, as flag.ErrHelp does for help.
var errVersion = errors.New("version asked for")

// usageError is a mistake on the command line.
type usageError struct{ message string }

func (e *usageError) Error() string { return e.message }

func usageErrorf(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the whole program, until ctx is done; it returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var err error
	if len(args) > 0 && args[0] == "certs" {
		err = certs(args[1:], stdout)
	} else {
		err = emulate(ctx, args, stdout, stderr)
	}

	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, flag.ErrHelp):
		usage(stdout)

		return exitOK
	case errors.Is(err, errVersion):
		fmt.Fprintf(stdout, "books-emulator %s, commit %s, %s\n", version, builtFrom(), runtime.Version())

		return exitOK
	}

	fmt.Fprintf(stderr, "books-emulator: %v\n", err)
	if _, ok := errors.AsType[*usageError](err); ok {
		return exitUsage
	}

	return exitFailure
}

// builtFrom names the commit that this program was built from.
func builtFrom() string {
	if commit != "" {
		return commit
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}

	return "unknown"
}
