// Command demo shows both ways in which the details service reaches Google
// Books through a mesh, and what happens where the mesh lets nothing out. It
// needs no API key and no internet: a stand-in plays Google Books, small
// proxies on this machine play the network and the sidecar.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"example.com/bookinfo/googlebooks/googlebookstest"
)

// Exit statuses.
const (
	exitOK      = 0
	exitFailure = 1 // an answer was not the expected one
	exitUsage   = 2
)

const usage = `Usage: demo [--once]

Shows how Bookinfo's details service gets its books through a mesh, over HTTPS
and over plain HTTP, with nothing but this machine. Then it stays for your own
curl, until Ctrl-C; with --once it ends after the show.

Colours are for terminals; NO_COLOR=1 turns them off. Exit status: 0 where all
was answered as expected, 1 where it was not, 2 for an unknown argument.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the whole program, until ctx is done; it returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return runWith(ctx, googlebookstest.Config{RequireKey: true, Keys: []string{fakeKey}}, args, stdout, stderr)
}

// runWith is run with any stand-in for Google Books.
func runWith(ctx context.Context, google googlebookstest.Config, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	once := flags.Bool("once", false, "")
	err := flags.Parse(args)
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("unknown argument %q", flags.Arg(0))
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, usage)

		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "demo: %v\n\n%s", err, usage)

		return exitUsage
	}

	err = perform(ctx, newScreen(stdout), google, *once)
	if err != nil && ctx.Err() == nil { // after Ctrl-C nothing is owed
		fmt.Fprintf(stderr, "demo: %v\n", err)

		return exitFailure
	}

	return exitOK
}
