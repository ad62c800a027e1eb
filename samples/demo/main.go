// Command demo shows the two ways in which the details service reaches Google
// Books through a mesh, and what happens if the mesh blocks it. It needs no API
// key and no internet: a stand-in takes the place of Google Books, and a small
// proxy that of the sidecar.
package main

import (
	"bufio"
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
	exitFailure = 1 // an answer was not as expected
	exitUsage   = 2
)

// fakeKey is the API key. The stand-in refuses calls without it.
const fakeKey = "a-made-up-key"

const usage = `Usage: demo [--once] [--pause]

Shows how Bookinfo's details service gets its books through a
mesh, over HTTPS and over plain HTTP. All of it runs on this
machine. Then it keeps running until Ctrl-C, so that you can
try your own curl. With --once it ends after the last scene.
With --pause it waits for Enter after each scene. The exit
status is 1 if an answer was not as expected. NO_COLOR=1 turns
colours off.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	google := googlebookstest.Config{RequireKey: true, Keys: []string{fakeKey}}
	os.Exit(run(ctx, google, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run runs the program until ctx is done and returns its exit status.
func run(ctx context.Context, google googlebookstest.Config, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	once := flags.Bool("once", false, "")
	pause := flags.Bool("pause", false, "")
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
	out := newScreen(stdout)
	if *pause {
		out.input = bufio.NewReader(stdin)
	}
	err = show(ctx, out, google, *once)
	switch {
	case ctx.Err() != nil: // Ctrl-C is no error
		fmt.Fprintln(stdout, "\n  Stopped.")
	case err != nil:
		fmt.Fprintf(stderr, "demo: %v\n", err)
		return exitFailure
	}
	return exitOK
}
