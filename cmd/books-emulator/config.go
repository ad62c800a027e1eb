package main

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
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
	var certFile, keyFile, faults string
	server := flag.NewFlagSet("books-emulator", flag.ContinueOnError)
	server.StringVar(&cfg.HTTPAddr, "http", "localhost:8080", "`address` for plain HTTP; default: localhost:8080")
	server.StringVar(&cfg.HTTPSAddr, "https", "localhost:8443", "`address` for HTTPS; default: localhost:8443")
	server.StringVar(&certFile, "cert", "", "`file` with the certificate chain in PEM; default: a new CA issues one")
	server.StringVar(&keyFile, "key", "", "`file` with the private key of the certificate in PEM")
	server.StringVar(&cfg.caOut, "ca-out", "", "write the certificate of the new CA to `file`")
	server.DurationVar(&cfg.Delay, "delay", 0, "`time` before each response, such as 500ms")
	server.Func("fail", "`faults` as NAME[:PERCENT][,NAME[:PERCENT]…]; may be repeated.\n"+
		"A name without a percentage applies to every request", func(value string) (err error) {
		faults += "," + value
		cfg.Shares, err = googlebookstest.ParseShares(faults[1:])
		return err
	})
	server.BoolVar(&cfg.RequireKey, "require-key", false, "answer 429 to a request without an API key, as Google does")
	server.BoolVar(&cfg.RequireTLS, "require-tls", false, "answer 403 to plain HTTP, as Google does")
	server.BoolVar(&cfg.RefuseMeshHeaders, "refuse-mesh-headers", false,
		"answer 400 to a request with a header that describes\nthe caller's cluster, such as X-Envoy-Peer-Metadata")
	server.BoolVar(&cfg.version, "version", false, "show the version")
	certs := flag.NewFlagSet("certs", flag.ContinueOnError)
	certs.StringVar(&cfg.certsOut, "out", "", "") // see usage

	flags := server
	if len(args) > 0 && args[0] == certs.Name() {
		flags, args = certs, args[1:]
	}
	flags.SetOutput(io.Discard) // run reports an error in one line
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		usage(w, server)
		return cfg, err
	case err != nil: // spell a flag as the usage does, with two hyphens
		text := strings.Replace(err.Error(), "flag provided but not defined:", "unknown flag", 1)
		return cfg, errors.New(regexp.MustCompile(`((?:flag|for|argument:) )-`).ReplaceAllString(text, "$1--"))
	case flags.NArg() > 0:
		return cfg, fmt.Errorf("unknown argument %q", flags.Arg(0))
	case flags == certs && cfg.certsOut == "":
		return cfg, errors.New("certs needs --out")
	case flags == certs:
		return cfg, nil
	case cfg.Delay < 0:
		return cfg, fmt.Errorf("invalid value %q for --delay: want 0 or more", cfg.Delay)
	case (certFile == "") != (keyFile == ""):
		return cfg, errors.New("--cert and --key must be used together")
	case certFile != "" && cfg.caOut != "":
		return cfg, errors.New("--ca-out cannot be used with --cert, which replaces the new CA")
	case certFile != "":
		cert, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			return cfg, fmt.Errorf("--cert, --key: %w", err)
		}
		cfg.Certificate = &cert
	}
	return cfg, errors.Join(checkAddress("http", cfg.HTTPAddr), checkAddress("https", cfg.HTTPSAddr))
}

func checkAddress(flagName, addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf("invalid value %q for --%s: want host:port or :port", addr, flagName)
	}
	return nil
}

// usage prints each flag with two hyphens, unlike the package flag.
func usage(w io.Writer, flags *flag.FlagSet) {
	fmt.Fprint(w, `books-emulator answers GET /books/v1/volumes?q=isbn:… as Google Books does,
with sample volumes. GET /healthz answers 200. Every other request is logged as
a line on standard output.

  books-emulator [flags]
  books-emulator certs --out FOLDER

The second form writes ca.pem, tls.crt and tls.key to a new folder, valid for a
year. The flags of the first:
`)
	flags.VisitAll(func(f *flag.Flag) {
		value, text := flag.UnquoteUsage(f)
		text = strings.ReplaceAll(text, "\n", "\n        ")
		fmt.Fprintf(w, "  --%s\n        %s\n", strings.TrimSpace(f.Name+" "+value), text)
	})
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(table, "\nBooks:\n")
	for _, isbn := range googlebookstest.Samples() {
		var list struct {
			Items []struct{ VolumeInfo struct{ Title string } }
		}
		_ = json.Unmarshal(googlebookstest.Sample(isbn), &list) // a sample cannot fail
		fmt.Fprintf(table, "  %s\t%s\n", isbn, list.Items[0].VolumeInfo.Title)
	}
	fmt.Fprint(table, "\nFaults:\n")
	for _, fault := range googlebookstest.Faults() {
		fmt.Fprintf(table, "  %s\t%s\n", fault.Name, fault.Doc)
	}
	_ = table.Flush() // fails only as fmt.Fprint would
}
