package main

import (
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"example.com/bookinfo/googlebooks/googlebookstest"
)

const usageText = `books-emulator answers GET /books/v1/volumes?q=isbn:… as Google Books does,
with sample volumes.

  books-emulator [flags]
  books-emulator certs --out DIR

Flags:
  --http ADDR            address for plain HTTP (localhost:8080)
  --https ADDR           address for TLS, HTTP/2 and HTTP/1.1 (localhost:8443)
  --cert FILE            certificate chain in PEM; default: a new CA issues one
  --key FILE             private key of the certificate in PEM
  --ca-out FILE          write the certificate of the new CA to FILE
  --delay DURATION       time before each response, such as 500ms
  --fail FAULTS          NAME[:PERCENT][,NAME[:PERCENT]…]: let all requests,
                         or a share of them, fail
  --require-key          answer 429 to a call without an API key, as Google does
  --require-tls          answer 403 to plain HTTP, as Google does
  --refuse-mesh-headers  answer 400 to a call with a header that describes the
                         caller's cluster, such as X-Envoy-Peer-Metadata
  --help                 show this text
  --version              show the version

GET /healthz answers 200. Each other request is a line on standard output.

books-emulator certs writes ca.pem, tls.crt and tls.key to a folder, valid for a
year. It overwrites nothing.

Faults:
`

// config is the command line.
type config struct {
	googlebookstest.Config

	caOut string
}

// errVersion asks for the version, as flag.ErrHelp asks for help.
var errVersion = errors.New("version requested")

// usageError is a mistake on the command line.
type usageError struct{ message string }

func (e *usageError) Error() string { return e.message }

func usageErrorf(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

func usage(w io.Writer) {
	fmt.Fprint(w, usageText)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, fault := range googlebookstest.Faults() {
		fmt.Fprintf(table, "  %s\t%s\n", fault.Name, fault.Doc)
	}
	_ = table.Flush() // fails only as fmt.Fprint to w would
}

// readConfig returns flag.ErrHelp or errVersion if args ask for them.
func readConfig(args []string) (config, error) {
	var (
		cfg               config
		certFile, keyFile string
		version           bool
	)
	flags := flag.NewFlagSet("books-emulator", flag.ContinueOnError)
	flags.StringVar(&cfg.HTTPAddr, "http", "localhost:8080", "")
	flags.StringVar(&cfg.HTTPSAddr, "https", "localhost:8443", "")
	flags.StringVar(&certFile, "cert", "", "")
	flags.StringVar(&keyFile, "key", "", "")
	flags.StringVar(&cfg.caOut, "ca-out", "", "")
	flags.DurationVar(&cfg.Delay, "delay", 0, "")
	flags.Func("fail", "", func(value string) (err error) {
		cfg.Shares, err = parseShares(value)
		return err
	})
	flags.BoolVar(&cfg.RequireKey, "require-key", false, "")
	flags.BoolVar(&cfg.RequireTLS, "require-tls", false, "")
	flags.BoolVar(&cfg.RefuseMeshHeaders, "refuse-mesh-headers", false, "")
	flags.BoolVar(&version, "version", false, "")
	if err := parse(flags, args); err != nil {
		return config{}, err
	}

	switch {
	case version:
		return config{}, errVersion
	case (certFile == "") != (keyFile == ""):
		return config{}, usageErrorf("--cert and --key need each other")
	case certFile != "" && cfg.caOut != "":
		return config{}, usageErrorf("--ca-out is for the new CA, which --cert replaces")
	case certFile != "":
		cert, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			return config{}, fmt.Errorf("--cert, --key: %w", err)
		}
		cfg.Certificate = &cert
	}
	return cfg, nil
}

// parse reads args, which may hold nothing but flags.
func parse(flags *flag.FlagSet, args []string) error {
	flags.SetOutput(io.Discard) // run reports the error in one line
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return err
	case err != nil:
		return usageErrorf("%v; see --help", err)
	case flags.NArg() > 0:
		return usageErrorf("unknown argument %q; see --help", flags.Arg(0))
	}
	return nil
}

// parseShares reads the value of --fail. googlebookstest.Start checks the names.
func parseShares(value string) ([]googlebookstest.Share, error) {
	var shares []googlebookstest.Share
	for item := range strings.SplitSeq(value, ",") {
		name, percent, found := strings.Cut(strings.TrimSpace(item), ":")
		share := googlebookstest.Share{Fault: name, Percent: 100}
		if found {
			var err error
			if share.Percent, err = strconv.ParseFloat(strings.TrimSuffix(percent, "%"), 64); err != nil {
				return nil, fmt.Errorf("invalid percentage %q: want a number", percent)
			}
		}
		shares = append(shares, share)
	}
	return shares, nil
}
