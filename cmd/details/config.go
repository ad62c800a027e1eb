package main

import (
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
	"time"

	"github.com/kelseyhightower/envconfig"

	"example.com/bookinfo/cmd/internal/buildinfo"
	"example.com/bookinfo/googlebooks"
)

// config holds the settings, read once from the environment. The variables have
// no prefix: a Service called details makes Kubernetes set DETAILS_PORT=tcp://…
// in every pod.
type config struct {
	Port       port      `envconfig:"PORT" default:"9080" want:"0 to 65535" desc:"port to listen on (0: any free port); an argument overrides it"`
	PlainHTTP  boolean   `envconfig:"DO_NOT_ENCRYPT" default:"false" want:"true or false" desc:"call Google over plain HTTP, for a sidecar that originates TLS"`
	External   boolean   `envconfig:"ENABLE_EXTERNAL_BOOK_SERVICE" default:"true" want:"true or false" desc:"false: serve the fixed book of details-v1, without any call"`
	APIKey     apiKey    `envconfig:"GOOGLE_BOOKS_API_KEY" want:"a key" desc:"key for the Google Books API, which refuses calls without one"`
	Country    country   `envconfig:"GOOGLE_BOOKS_COUNTRY" want:"two letters" desc:"country of the caller, if Google cannot locate its IP address"`
	Host       host      `envconfig:"GOOGLE_BOOKS_HOST" default:"www.googleapis.com" want:"host or host:port" desc:"host of the Books API"`
	CAFile     caFile    `envconfig:"GOOGLE_BOOKS_CA_FILE" want:"a PEM file" desc:"CAs to trust in addition to the system's"`
	Timeout    duration  `envconfig:"GOOGLE_BOOKS_TIMEOUT" default:"2.5s" want:"10ms to 9s" desc:"total time per lookup; Bookinfo's productpage waits 3s"`
	ISBNs      bookISBNs `envconfig:"BOOK_ISBNS" want:"id:ISBN,id:ISBN,…" desc:"ISBN per product id; unset: 0486424618 for every id"`
	CacheTTL   duration  `envconfig:"CACHE_TTL" default:"0s" want:"0s to 168h" desc:"how long to cache an answer, to save calls; 0s: no cache"`
	CacheStale duration  `envconfig:"CACHE_STALE" default:"1h" want:"0s to 168h" desc:"how long after CACHE_TTL to serve a stale book while refreshing it"`
	LogLevel   logLevel  `envconfig:"LOG_LEVEL" default:"info" want:"debug, info, warn or error" desc:"minimum level of log lines"`
}

// The limits of the durations. A lookup must end before the server's write and
// shutdown timeouts.
const (
	minTimeout, maxTimeout = 10 * time.Millisecond, 9 * time.Second
	maxRetention           = 7 * 24 * time.Hour
)

var errVersion = errors.New("--version was given")

// readConfig reads the environment and the arguments. Its error is one line
// that names the variable and the values it accepts, but never a secret. It
// returns flag.ErrHelp for --help and errVersion for --version.
func readConfig(args []string) (config, error) {
	var cfg config
	flags := flag.NewFlagSet("details", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	showVersion := flags.Bool("version", false, "")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return cfg, err
		}
		return cfg, fmt.Errorf("%w; see --help", err)
	}
	if *showVersion {
		return cfg, errVersion
	}
	if flags.NArg() > 1 {
		return cfg, fmt.Errorf("unknown argument %q: the only argument is the port; see --help", flags.Arg(1))
	}

	if err := unsetEmpty(); err != nil {
		return cfg, err
	}
	if err := envconfig.Process("", &cfg); err != nil {
		bad, ok := errors.AsType[*envconfig.ParseError](err)
		if !ok {
			return cfg, err
		}
		return cfg, explain(bad.KeyName, bad.FieldName, bad.Err)
	}
	for _, d := range []struct {
		name, field       string
		value             duration
		shortest, longest time.Duration
	}{
		{"GOOGLE_BOOKS_TIMEOUT", "Timeout", cfg.Timeout, minTimeout, maxTimeout},
		{"CACHE_TTL", "CacheTTL", cfg.CacheTTL, 0, maxRetention},
		{"CACHE_STALE", "CacheStale", cfg.CacheStale, 0, maxRetention},
	} {
		if value := time.Duration(d.value); value < d.shortest || value > d.longest {
			return cfg, explain(d.name, d.field, invalid("duration", value.String()))
		}
	}
	if flags.NArg() == 1 {
		if err := cfg.Port.Decode(flags.Arg(0)); err != nil {
			return cfg, explain("argument", "Port", err)
		}
	}
	return cfg, nil
}

// client returns the configuration of the client.
func (cfg config) client() googlebooks.Config {
	return googlebooks.Config{
		Host:      string(cfg.Host),
		PlainHTTP: bool(cfg.PlainHTTP),
		RootCAs:   cfg.CAFile.pool,
		APIKey:    string(cfg.APIKey),
		Country:   string(cfg.Country),
		UserAgent: "bookinfo-details/" + buildinfo.Version(),
		Timeout:   time.Duration(cfg.Timeout),
	}
}

// unsetEmpty unsets the variables of config that are set but empty, as they may
// be in a manifest: envconfig would reject an empty boolean.
func unsetEmpty() error {
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

// explain adds the name of the setting to its error, and the values that the
// setting accepts if the error is an invalidError.
func explain(name, field string, err error) error {
	if _, ok := errors.AsType[*invalidError](err); ok {
		f, _ := reflect.TypeFor[config]().FieldByName(field)
		return fmt.Errorf("%s: %w: want %s", name, err, f.Tag.Get("want"))
	}
	return fmt.Errorf("%s: %w", name, err)
}

// invalidError reports a value that a setting does not accept.
type invalidError struct{ what, value string }

func (e *invalidError) Error() string { return fmt.Sprintf("invalid %s %q", e.what, e.value) }

func invalid(what, value string) error { return &invalidError{what, value} }

// usage writes the text of --help, from the tags of config.
func usage(w io.Writer) {
	fmt.Fprint(w, `details answers GET /details/{id} with a book from the Google Books API.

Usage: details [port]
       details --help | --version

Environment (an empty variable counts as unset):
`)
	for field := range reflect.TypeFor[config]().Fields() { // not envconfig.Usagef: its template makes the binary a fifth larger
		fmt.Fprintf(w, "  %s: %s", field.Tag.Get("envconfig"), field.Tag.Get("want"))
		if value := field.Tag.Get("default"); value != "" {
			fmt.Fprintf(w, " (default %s)", value)
		}
		fmt.Fprintf(w, "\n        %s\n", field.Tag.Get("desc"))
	}
	fmt.Fprint(w, `
Exit status: 0; 1 if it cannot serve, for example because the port is in use;
2 if a variable or an argument is invalid.
`)
}

// port is a TCP port.
type port uint16

// Decode implements envconfig.Decoder.
func (p *port) Decode(s string) error {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return invalid("port", s)
	}
	*p = port(n)
	return nil
}

// boolean is a bool whose error does not name a function of package strconv.
type boolean bool

// Decode implements envconfig.Decoder.
func (b *boolean) Decode(s string) error {
	v, err := strconv.ParseBool(s)
	if err != nil {
		return invalid("boolean", s)
	}
	*b = boolean(v)
	return nil
}

// apiKey is a secret: no error shows it.
type apiKey string

// Decode implements envconfig.Decoder. It trims white space, such as the
// newline at the end of the file that a Secret was made from.
func (k *apiKey) Decode(s string) error {
	s = strings.TrimSpace(s)
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("invalid key: it contains a space, a control character or a non-ASCII character")
	}
	*k = apiKey(s)
	return nil
}

// country is an ISO 3166-1 alpha-2 code.
type country string

// Decode implements envconfig.Decoder.
func (c *country) Decode(s string) error {
	if len(s) != 2 || strings.ContainsFunc(s, func(r rune) bool { return (r|' ') < 'a' || (r|' ') > 'z' }) {
		return invalid("country", s)
	}
	*c = country(strings.ToUpper(s))
	return nil
}

// host is the API's host, with an optional port.
type host string

// Decode implements envconfig.Decoder.
func (h *host) Decode(s string) error {
	if _, err := googlebooks.New(googlebooks.Config{Host: s}); err != nil {
		return err
	}
	*h = host(s)
	return nil
}

// maxCAFile limits the CA file, in bytes. A system's bundle has about 200 KB.
const maxCAFile = 1 << 20

// caFile holds the system's CA certificates and those of a file. Its pool is
// nil if there is no file.
type caFile struct{ pool *x509.CertPool }

// Decode implements envconfig.Decoder. It reads regular files only: a device
// or a FIFO may never end.
func (f *caFile) Decode(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() > maxCAFile {
		return fmt.Errorf("%q is not a regular file of at most 1 MiB", path)
	}
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

// duration is a time.Duration. readConfig checks its limits.
type duration time.Duration

// Decode implements envconfig.Decoder.
func (d *duration) Decode(s string) error {
	v, err := time.ParseDuration(s)
	if _, notNumber := strconv.ParseFloat(s, 64); err != nil && notNumber == nil {
		return invalid("duration without a unit", s)
	}
	if err != nil {
		return invalid("duration", s)
	}
	*d = duration(v)
	return nil
}

// bookISBNs is the ISBN of each product id.
type bookISBNs map[int64]googlebooks.ISBN

// Decode implements envconfig.Decoder. A comma at the end is allowed.
func (b *bookISBNs) Decode(s string) error {
	books := make(bookISBNs)
	for pair := range strings.SplitSeq(strings.TrimSuffix(s, ","), ",") {
		key, value, ok := strings.Cut(pair, ":")
		id, err := strconv.ParseInt(strings.TrimSpace(key), 10, 64)
		if !ok || err != nil {
			return invalid("pair", pair)
		}
		if _, ok := books[id]; ok {
			return fmt.Errorf("id %d appears twice", id)
		}
		if books[id], err = googlebooks.ParseISBN(value); err != nil {
			return err
		}
	}
	*b = books
	return nil
}

// logLevel is a slog.Level that does not accept slog's "info+1".
type logLevel slog.Level

// Decode implements envconfig.Decoder.
func (l *logLevel) Decode(s string) error {
	level, ok := map[string]slog.Level{
		"debug": slog.LevelDebug,
		"info":  slog.LevelInfo,
		"warn":  slog.LevelWarn,
		"error": slog.LevelError,
	}[strings.ToLower(s)]
	if !ok {
		return invalid("log level", s)
	}
	*l = logLevel(level)
	return nil
}
