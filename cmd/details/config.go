package main

import (
	"context"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"reflect"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/kelseyhightower/envconfig"

	"example.com/bookinfo/googlebooks"
)

// config is the environment, read once. There is no prefix: a Service called
// details makes Kubernetes set DETAILS_PORT=tcp://… in every pod.
type config struct {
	Port       port       `envconfig:"PORT" default:"9080" desc:"0 to 65535: port to listen on (0: any free one); the first argument wins over it"`
	PlainHTTP  bool       `envconfig:"DO_NOT_ENCRYPT" default:"false" desc:"true or false: call Google over plain HTTP, for a sidecar that originates TLS"`
	External   bool       `envconfig:"ENABLE_EXTERNAL_BOOK_SERVICE" default:"true" desc:"true or false: false serves the fixed book of details-v1, without any call"`
	APIKey     apiKey     `envconfig:"GOOGLE_BOOKS_API_KEY" desc:"a key: for the Google Books API, which refuses calls without one"`
	Country    country    `envconfig:"GOOGLE_BOOKS_COUNTRY" desc:"two letters: the country to answer for, where Google cannot tell it from the address"`
	Host       host       `envconfig:"GOOGLE_BOOKS_HOST" default:"www.googleapis.com" desc:"host or host:port: whom to call"`
	CAFile     caFile     `envconfig:"GOOGLE_BOOKS_CA_FILE" desc:"a file of PEM certificates: CAs to trust beside the system's"`
	Timeout    upTo9s     `envconfig:"GOOGLE_BOOKS_TIMEOUT" default:"2.5s" desc:"10ms to 9s: time for a look-up, all in all; productpage waits 3s"`
	ISBNs      bookISBNs  `envconfig:"BOOK_ISBNS" desc:"id:ISBN,id:ISBN,…: the books that there are; unset, every id is 0486424618"`
	CacheTTL   upTo1w     `envconfig:"CACHE_TTL" default:"0" desc:"0 to 168h: keep books that long and ask Google less; 0 asks for each request"`
	CacheStale upTo1w     `envconfig:"CACHE_STALE" default:"1h" desc:"0 to 168h: serve a book that much after its CACHE_TTL while Google fails"`
	LogLevel   slog.Level `envconfig:"LOG_LEVEL" default:"info" desc:"debug, info, warn or error: the least that is logged"`
}

var errVersion = errors.New("--version was asked for")

// readConfig reads the environment and the arguments. The error is one line
// that names the variable and what it takes, never its value if that is
// secret; flag.ErrHelp and errVersion are the other two things it may say.
func readConfig(args []string) (config, error) {
	var cfg config
	flags := flag.NewFlagSet("details", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	showVersion := flags.Bool("version", false, "")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return cfg, err
		}

		return cfg, fmt.Errorf("%w; --help tells what there is", err)
	}
	if *showVersion {
		return cfg, errVersion
	}
	if flags.NArg() > 1 {
		return cfg, fmt.Errorf("unknown argument %q; the only one is the port", flags.Arg(1))
	}

	if err := clearEmpty(); err != nil {
		return cfg, err
	}
	if err := envconfig.Process("", &cfg); err != nil {
		bad, ok := errors.AsType[*envconfig.ParseError](err)
		if !ok {
			return cfg, err
		}

		err := bad.Err
		if syntax, ok := errors.AsType[*strconv.NumError](err); ok { // of a bool; its text names functions
			err = fmt.Errorf("%q cannot be read", syntax.Num)
		}

		return cfg, fmt.Errorf("%s: %w; want %s", bad.KeyName, err, wanted(bad.FieldName))
	}
	if flags.NArg() == 1 {
		if err := cfg.Port.Decode(flags.Arg(0)); err != nil {
			return cfg, fmt.Errorf("argument: %w; want %s", err, wanted("Port"))
		}
	}

	return cfg, nil
}

// client is how cfg tells the client to reach Google.
func (cfg config) client(observe func(context.Context, googlebooks.Try)) googlebooks.Config {
	return googlebooks.Config{
		Host:      string(cfg.Host),
		PlainHTTP: cfg.PlainHTTP,
		RootCAs:   cfg.CAFile.pool,
		APIKey:    string(cfg.APIKey),
		Country:   string(cfg.Country),
		UserAgent: "bookinfo-details/" + version,
		Timeout:   time.Duration(cfg.Timeout),
		Observe:   observe,
	}
}

// clearEmpty unsets the variables of the table that are set but empty, as a
// manifest leaves them: envconfig takes an empty bool for an error.
func clearEmpty() error {
	for field := range reflect.TypeFor[config]().Fields() {
		name := field.Tag.Get("envconfig")
		if os.Getenv(name) == "" {
			if err := os.Unsetenv(name); err != nil {
				return err
			}
		}
	}

	return nil
}

// wanted is what a variable takes: its description up to the colon.
func wanted(field string) string {
	f, _ := reflect.TypeFor[config]().FieldByName(field)
	values, _, _ := strings.Cut(f.Tag.Get("desc"), ": ")

	return values
}

// usage writes what --help shows, from the tags of config.
func usage(w io.Writer) {
	fmt.Fprint(w, `details answers GET /details/{id} with a book from the Google Books API.

Usage: details [port]
       details --help | --version

Environment:
`)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for field := range reflect.TypeFor[config]().Fields() { // not envconfig.Usagef: its template makes the binary a fifth larger
		fmt.Fprintf(table, "  %s\t%s\t%s\n", field.Tag.Get("envconfig"), field.Tag.Get("default"), field.Tag.Get("desc"))
	}
	_ = table.Flush()
	fmt.Fprint(w, `
A variable that is empty counts as unset. Exit status: 0, 1 where the port cannot be
listened on, 2 where a variable or an argument cannot be read.
`)
}

// port is a TCP port.
type port uint16

// Decode implements envconfig.Decoder.
func (p *port) Decode(s string) error {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return fmt.Errorf("%q is no port", s)
	}
	*p = port(n)

	return nil
}

// apiKey is a secret: no error shows it.
type apiKey string

// Decode implements envconfig.Decoder. White space around the key is the
// newline at the end of the file that a Secret was made from.
func (k *apiKey) Decode(s string) error {
	s = strings.TrimSpace(s)
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("not a key: there are characters in it that no key has")
	}
	*k = apiKey(s)

	return nil
}

// country is an ISO 3166-1 alpha-2 code.
type country string

// Decode implements envconfig.Decoder.
func (c *country) Decode(s string) error {
	if len(s) != 2 || strings.ContainsFunc(s, func(r rune) bool { return (r|' ') < 'a' || (r|' ') > 'z' }) {
		return fmt.Errorf("%q is no country", s)
	}
	*c = country(strings.ToUpper(s))

	return nil
}

// host is whom to call, or host:port.
type host string

// Decode implements envconfig.Decoder.
func (h *host) Decode(s string) error {
	if !googlebooks.ValidHost(s) {
		return fmt.Errorf("%q is no host or host:port", s)
	}
	*h = host(s)

	return nil
}

// caFile is the system's certificates and those of a file; nil without a file.
type caFile struct{ pool *x509.CertPool }

// Decode implements envconfig.Decoder.
func (f *caFile) Decode(path string) error {
	pem, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if f.pool, err = x509.SystemCertPool(); err != nil {
		return err
	}
	if !f.pool.AppendCertsFromPEM(pem) {
		return fmt.Errorf("no PEM certificate in %q", path)
	}

	return nil
}

// upTo9s is a time that one can wait for an answer: less than the server has
// to write it, and to end.
type upTo9s time.Duration

// Decode implements envconfig.Decoder.
func (t *upTo9s) Decode(s string) error {
	return decodeDuration((*time.Duration)(t), s, 10*time.Millisecond, 9*time.Second)
}

// upTo1w is a time for which one can keep a book.
type upTo1w time.Duration

// Decode implements envconfig.Decoder.
func (t *upTo1w) Decode(s string) error {
	return decodeDuration((*time.Duration)(t), s, 0, 7*24*time.Hour)
}

func decodeDuration(d *time.Duration, s string, least, most time.Duration) error {
	parsed, err := time.ParseDuration(s)
	if err != nil || parsed < least || parsed > most {
		return fmt.Errorf("%q is no such time", s)
	}
	*d = parsed

	return nil
}

// bookISBNs are the books of the ids that have one.
type bookISBNs map[int64]googlebooks.ISBN

// Decode implements envconfig.Decoder.
func (b *bookISBNs) Decode(s string) error {
	books := make(bookISBNs)
	for pair := range strings.SplitSeq(s, ",") {
		key, value, ok := strings.Cut(pair, ":")
		id, err := strconv.ParseInt(strings.TrimSpace(key), 10, 64)
		if !ok || err != nil {
			return fmt.Errorf("%q is no id:ISBN", pair)
		}
		if _, ok := books[id]; ok {
			return fmt.Errorf("id %d is there twice", id)
		}
		if books[id], err = googlebooks.ParseISBN(value); err != nil {
			return err
		}
	}
	*b = books

	return nil
}
