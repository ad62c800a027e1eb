package main

import (
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kelseyhightower/envconfig"
	"golang.org/x/net/http/httpproxy"

	"example.com/bookinfo/cmd/internal/buildinfo"
	"example.com/bookinfo/googlebooks"
)

// config holds the settings, read once from the environment. The variables have
// no prefix: a Service called details makes Kubernetes set DETAILS_PORT=tcp://…
// in every pod.
type config struct {
	Port       uint16        `envconfig:"PORT" default:"9080" want:"0 to 65535" desc:"port to listen on (0: any free port); an argument overrides it"`
	PlainHTTP  bool          `envconfig:"DO_NOT_ENCRYPT" default:"false" want:"true or false" desc:"call Google over plain HTTP, for a sidecar that originates TLS"`
	External   bool          `envconfig:"ENABLE_EXTERNAL_BOOK_SERVICE" default:"true" want:"true or false" desc:"false: serve the fixed book of details-v1, without any call"`
	APIKey     apiKey        `envconfig:"GOOGLE_BOOKS_API_KEY" want:"a key" desc:"key for the Google Books API, which refuses calls without one"`
	Country    country       `envconfig:"GOOGLE_BOOKS_COUNTRY" want:"two letters" desc:"country of the caller, if Google cannot locate its IP address"`
	Host       host          `envconfig:"GOOGLE_BOOKS_HOST" default:"www.googleapis.com" want:"host or host:port" desc:"host of the Books API"`
	CAFile     caFile        `envconfig:"GOOGLE_BOOKS_CA_FILE" want:"a PEM file" desc:"CAs to trust in addition to the system's"`
	Timeout    time.Duration `envconfig:"GOOGLE_BOOKS_TIMEOUT" default:"2.5s" want:"10ms to 9s, such as 1.5s" desc:"total time per lookup; Bookinfo's productpage waits 3s"`
	ISBNs      bookISBNs     `envconfig:"BOOK_ISBNS" want:"id:ISBN,id:ISBN,…" desc:"ISBN per product id; unset: 0486424618 for every id"`
	CacheTTL   time.Duration `envconfig:"CACHE_TTL" default:"0s" want:"0s to 168h, such as 24h" desc:"how long to cache an answer, to save calls; 0s: no cache"`
	CacheStale time.Duration `envconfig:"CACHE_STALE" default:"1h" want:"0s to 168h, such as 1h" desc:"how long after CACHE_TTL a stale book may still be served"`
	LogLevel   slog.Level    `envconfig:"LOG_LEVEL" default:"info" want:"debug, info, warn or error" desc:"minimum level of log lines"`
	HTTPSProxy proxy         `envconfig:"HTTPS_PROXY" want:"an http or https URL" desc:"proxy for the calls to Google, except over plain HTTP"`
	HTTPProxy  proxy         `envconfig:"HTTP_PROXY" want:"a URL" desc:"not used: over plain HTTP, the sidecar is the proxy"`
	NoProxy    string        `envconfig:"NO_PROXY" want:"host,host,…" desc:"hosts to call without the proxy"`
}

// The limits of the durations. A lookup must end before the server's write and
// shutdown timeouts.
const (
	minTimeout, maxTimeout = 10 * time.Millisecond, 9 * time.Second
	maxRetention           = 7 * 24 * time.Hour
)

var errVersion = errors.New("--version was given")

// readConfig reads the environment and the arguments. Its error has one line for
// each invalid setting. The line names the variable and the values it accepts,
// but never a secret. It returns flag.ErrHelp for --help and errVersion for
// --version.
func readConfig(args []string) (config, error) {
	var cfg config
	flags := flag.NewFlagSet("details", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	showVersion := flags.Bool("version", false, "")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return cfg, err
	case err != nil:
		return cfg, fmt.Errorf("%s; see --help", strings.Replace(err.Error(), "flag provided but not defined: -", "unknown flag --", 1))
	case *showVersion:
		return cfg, errVersion
	case flags.NArg() > 1:
		return cfg, fmt.Errorf("unknown argument %q: the only argument is the port; see --help", flags.Arg(1))
	}

	errs := []error{readEnvironment(&cfg)}
	if cfg.External && !cfg.PlainHTTP && strings.HasPrefix(string(cfg.HTTPSProxy), "socks") {
		errs = append(errs, errors.New("HTTPS_PROXY: unsupported scheme: want http or https"))
	}
	if flags.NArg() == 1 {
		port, err := strconv.ParseUint(flags.Arg(0), 10, 16)
		if err != nil {
			errs = append(errs, fmt.Errorf("argument: invalid port %q: want 0 to 65535", flags.Arg(0)))
		}
		cfg.Port = uint16(port)
	}
	return cfg, errors.Join(errs...)
}

// readEnvironment reads each setting on its own: envconfig stops at the first
// error. A variable that is empty, as it may be in a manifest, counts as unset:
// envconfig would reject an empty boolean.
func readEnvironment(cfg *config) error {
	var errs []error
	for field, value := range reflect.ValueOf(cfg).Elem().Fields() {
		name := field.Tag.Get("envconfig")
		text := os.Getenv(name)
		if text == "" {
			errs = append(errs, os.Unsetenv(name))
		}
		alone := reflect.New(reflect.StructOf([]reflect.StructField{field}))
		err := envconfig.Process("", alone.Interface())
		value.Set(alone.Elem().Field(0))

		if bad, ok := errors.AsType[*envconfig.ParseError](err); ok {
			err = bad.Err
			if _, decodes := reflect.TypeAssert[envconfig.Decoder](value.Addr()); !decodes {
				err = fmt.Errorf("invalid value %q: want %s", text, field.Tag.Get("want"))
			}
		}
		if d, ok := reflect.TypeAssert[time.Duration](value); ok && err == nil && !inRange(name, d) {
			err = fmt.Errorf("invalid value %q: want %s", text, field.Tag.Get("want"))
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

func inRange(name string, d time.Duration) bool {
	if name == "GOOGLE_BOOKS_TIMEOUT" {
		return minTimeout <= d && d <= maxTimeout
	}
	return 0 <= d && d <= maxRetention
}

// client returns the configuration of the client, without its observer.
func (cfg config) client() googlebooks.Config {
	return googlebooks.Config{
		Host:      string(cfg.Host),
		PlainHTTP: cfg.PlainHTTP,
		Proxy:     cfg.proxy(),
		RootCAs:   cfg.CAFile.pool,
		APIKey:    string(cfg.APIKey),
		Country:   string(cfg.Country),
		UserAgent: "bookinfo-details/" + buildinfo.Version(),
		Timeout:   cfg.Timeout,
	}
}

// proxy returns the proxy for the calls to Google, or nil. Over plain HTTP, the
// sidecar is the proxy: another one would get the API key in clear text.
func (cfg config) proxy() *url.URL {
	if cfg.PlainHTTP {
		return nil
	}
	proxies := httpproxy.Config{HTTPSProxy: string(cfg.HTTPSProxy), NoProxy: cfg.NoProxy}
	u, _ := proxies.ProxyFunc()(&url.URL{Scheme: "https", Host: string(cfg.Host)}) // fails only for http
	return u
}

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
Exit status: 0 on success; 1 if it cannot serve, for example because the
port is in use; 2 if a variable or an argument is invalid.
`)
}

// apiKey is a secret: no error shows it.
type apiKey string

// Decode implements envconfig.Decoder. It trims white space, such as the
// newline at the end of the file that a Secret was made from. The characters are
// those of Google's keys. Quoting changes none of them, so a quoted key can
// still be redacted.
func (k *apiKey) Decode(s string) error {
	s = strings.TrimSpace(s)
	if !regexp.MustCompile(`^[A-Za-z0-9_.-]*$`).MatchString(s) {
		return errors.New("invalid key: want only letters, digits, _, . and -")
	}
	*k = apiKey(s)
	return nil
}

// country is an ISO 3166-1 alpha-2 code.
type country string

// Decode implements envconfig.Decoder.
func (c *country) Decode(s string) error {
	if !regexp.MustCompile(`^[A-Za-z]{2}$`).MatchString(s) {
		return fmt.Errorf("invalid country %q: want two letters", s)
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

// proxy is the URL of a proxy. It may contain a password: no error shows it.
type proxy string

// Decode implements envconfig.Decoder. Like httpproxy, which would ignore an
// invalid URL, it accepts host:port. A URL with more than a host is probably one
// whose password has a character that must be escaped.
func (p *proxy) Decode(s string) error {
	s = strings.TrimSpace(s) // as for the key
	if !strings.Contains(s, "://") {
		s = "http://" + s
	}
	u, err := url.Parse(s)
	if err == nil {
		_, err = googlebooks.New(googlebooks.Config{Host: u.Host})
	}
	if err != nil || u.Host == "" || strings.Trim(u.Path, "/")+u.RawQuery+u.Fragment != "" ||
		!slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme) {
		return errors.New("invalid URL: want http://host:port or http://user:password@host:port, with %25 for a % in the password")
	}
	*p = proxy(s)
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

// bookISBNs is the ISBN of each product id.
type bookISBNs map[int64]googlebooks.ISBN

// Decode implements envconfig.Decoder. A comma at the end is allowed.
func (b *bookISBNs) Decode(s string) error {
	books := make(bookISBNs)
	for pair := range strings.SplitSeq(strings.TrimSuffix(s, ","), ",") {
		key, value, ok := strings.Cut(pair, ":")
		id, err := strconv.ParseInt(strings.TrimSpace(key), 10, 64)
		if !ok || err != nil {
			return fmt.Errorf("invalid pair %q: want id:ISBN,id:ISBN,…", pair)
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
