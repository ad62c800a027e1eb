package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"text/tabwriter"

	"example.com/bookinfo/googlebooks/googlebookstest"
)

const usageText = `books-emulator answers GET /books/v1/volumes?q=isbn:… as Google Books does, with sample volumes.

  books-emulator [flags]
  books-emulator certs --out DIR

Flags:
  --http ADDR       where to listen for plain HTTP (localhost:8080); GET /healthz answers 200 there
  --https ADDR      where to listen for TLS, HTTP/2 and HTTP/1.1 (localhost:8443)
  --cert FILE       certificate chain in PEM; without it a throwaway CA is made at each start
  --key FILE        key of the certificate in PEM
  --ca-out FILE     write the throwaway CA's certificate to FILE in PEM, over what is there
  --delay DURATION  wait before each answer, for example 500ms
  --fail FAULTS     NAME[:PERCENT][,NAME[:PERCENT]…]: faults for all requests or for a share of them
  --require-key     answer 429 to calls without an API key, as Google does
  --require-tls     answer 403 to plain HTTP, as Google does
  --help            this text
  --version         version, commit and Go version

books-emulator certs writes ca.pem, tls.crt and tls.key, valid for a year, to a folder; it never overwrites.

Faults:
`

// config is the command line.
type config struct {
	googlebookstest.Options

	httpAddr, httpsAddr string
	certFile, keyFile   string
	caOut               string
}

func usage(w io.Writer) {
	fmt.Fprint(w, usageText)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, fault := range googlebookstest.Faults() {
		fmt.Fprintf(table, "  %s\t%s\n", fault.Name, fault.Doc)
	}
	_ = table.Flush() // fails only as fmt.Fprint to w would
}

// readConfig returns flag.ErrHelp, errVersion or a *usageError where there is no way on.
func readConfig(args []string) (config, error) {
	var (
		cfg         config
		fail        string
		showVersion bool
	)
	flags := flag.NewFlagSet("books-emulator", flag.ContinueOnError)
	flags.StringVar(&cfg.httpAddr, "http", "localhost:8080", "")
	flags.StringVar(&cfg.httpsAddr, "https", "localhost:8443", "")
	flags.StringVar(&cfg.certFile, "cert", "", "")
	flags.StringVar(&cfg.keyFile, "key", "", "")
	flags.StringVar(&cfg.caOut, "ca-out", "", "")
	flags.DurationVar(&cfg.Delay, "delay", 0, "")
	flags.StringVar(&fail, "fail", "", "")
	flags.BoolVar(&cfg.RequireKey, "require-key", false, "")
	flags.BoolVar(&cfg.RequireTLS, "require-tls", false, "")
	flags.BoolVar(&showVersion, "version", false, "")
	if err := parse(flags, args); err != nil {
		return config{}, err
	}
	if showVersion {
		return config{}, errVersion
	}

	for _, addr := range []string{cfg.httpAddr, cfg.httpsAddr} {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return config{}, usageErrorf("%q is not an address such as localhost:8080 or :8080", addr)
		}
	}
	switch {
	case (cfg.certFile == "") != (cfg.keyFile == ""):
		return config{}, usageErrorf("--cert and --key go together")
	case cfg.certFile != "" && cfg.caOut != "":
		return config{}, usageErrorf("--ca-out writes the throwaway CA: it can't go with --cert")
	case cfg.Delay < 0:
		return config{}, usageErrorf("--delay: %v is below 0", cfg.Delay)
	}

	var err error
	cfg.Shares, err = parseShares(fail)

	return cfg, err
}

// parse reads args, which hold nothing but flags.
func parse(flags *flag.FlagSet, args []string) error {
	flags.SetOutput(io.Discard) // run says it in one line
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return err
	case err != nil:
		return usageErrorf("%v; --help tells the flags", err)
	case flags.NArg() > 0:
		return usageErrorf("unexpected argument %q; --help tells the flags", flags.Arg(0))
	}

	return nil
}

// parseShares reads --fail. That the names exist is checked by googlebookstest.NewHandler.
func parseShares(fail string) ([]googlebookstest.Share, error) {
	if fail == "" {
		return nil, nil
	}
	var shares []googlebookstest.Share
	for item := range strings.SplitSeq(fail, ",") {
		name, percent, found := strings.Cut(strings.TrimSpace(item), ":")
		share := googlebookstest.Share{Fault: name, Percent: 100}
		if found {
			var err error
			if share.Percent, err = strconv.ParseFloat(strings.TrimSuffix(percent, "%"), 64); err != nil {
				return nil, usageErrorf("--fail: %q is not a percentage, in %q", percent, item)
			}
		}
		shares = append(shares, share)
	}

	return shares, nil
}
