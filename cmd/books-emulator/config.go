package main

import (
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"text/tabwriter"

	"example.com/bookinfo/googlebooks/googlebookstest"
)

// config is the command line.
type config struct {
	googlebookstest.Config

	caOut    string
	certsOut string // folder of the subcommand certs
	version  bool
}

// readConfig parses args. On --help it prints the usage to w and returns
// flag.ErrHelp.
func readConfig(args []string, w io.Writer) (config, error) {
	var cfg config
	var certFile, keyFile string
	flags := flag.NewFlagSet("books-emulator", flag.ContinueOnError)
	flags.StringVar(&cfg.HTTPAddr, "http", "localhost:8080", "`address` for plain HTTP")
	flags.StringVar(&cfg.HTTPSAddr, "https", "localhost:8443", "`address` for TLS, HTTP/2 and HTTP/1.1")
	flags.StringVar(&certFile, "cert", "", "`file` with the certificate chain in PEM; default: a new CA issues one")
	flags.StringVar(&keyFile, "key", "", "`file` with the private key of the certificate in PEM")
	flags.StringVar(&cfg.caOut, "ca-out", "", "write the certificate of the new CA to `file`")
	flags.DurationVar(&cfg.Delay, "delay", 0, "time before each response, such as 500ms")
	flags.Func("fail", "`faults` as NAME[:PERCENT][,NAME[:PERCENT]…]\n"+
		"a name without a percentage applies to every request", func(value string) (err error) {
		cfg.Shares, err = googlebookstest.ParseShares(value)
		return err
	})
	flags.BoolVar(&cfg.RequireKey, "require-key", false, "answer 429 to a request without an API key, as Google does")
	flags.BoolVar(&cfg.RequireTLS, "require-tls", false, "answer 403 to plain HTTP, as Google does")
	flags.BoolVar(&cfg.RefuseMeshHeaders, "refuse-mesh-headers", false,
		"answer 400 to a request with a header that describes\nthe caller's cluster, such as X-Envoy-Peer-Metadata")
	flags.StringVar(&cfg.certsOut, "out", "", "new `folder` for the files of certs")
	flags.BoolVar(&cfg.version, "version", false, "show the version")

	certs := len(args) > 0 && args[0] == "certs"
	if certs {
		args = args[1:]
	}
	flags.SetOutput(io.Discard) // run reports an error in one line
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		flags.SetOutput(w)
		usage(flags)
		return cfg, err
	case err != nil:
		return cfg, err
	case flags.NArg() > 0:
		return cfg, fmt.Errorf("unknown argument %q", flags.Arg(0))
	case certs != (cfg.certsOut != ""):
		return cfg, errors.New("certs and --out need each other")
	case (certFile == "") != (keyFile == ""):
		return cfg, errors.New("--cert and --key need each other")
	case certFile != "" && cfg.caOut != "":
		return cfg, errors.New("--ca-out cannot be used with --cert, which replaces the new CA")
	case certFile != "":
		cert, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			return cfg, fmt.Errorf("--cert, --key: %w", err)
		}
		cfg.Certificate = &cert
	}
	return cfg, nil
}

func usage(flags *flag.FlagSet) {
	fmt.Fprint(flags.Output(), `books-emulator answers GET /books/v1/volumes?q=isbn:… as Google Books does,
with sample volumes. GET /healthz answers 200. Every other request is logged as
a line on standard output.

  books-emulator [flags]
  books-emulator certs --out DIR

books-emulator certs writes ca.pem, tls.crt and tls.key to a new folder, valid
for a year.

Flags:
`)
	flags.PrintDefaults()
	fmt.Fprint(flags.Output(), "\nFaults:\n")
	table := tabwriter.NewWriter(flags.Output(), 0, 0, 2, ' ', 0)
	for _, fault := range googlebookstest.Faults() {
		fmt.Fprintf(table, "  %s\t%s\n", fault.Name, fault.Doc)
	}
	_ = table.Flush() // fails only as fmt.Fprint would
}
