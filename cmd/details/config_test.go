package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/bookinfo/cmd/internal/buildinfo"
	"example.com/bookinfo/details"
	"example.com/bookinfo/googlebooks"
)

// Tests that set environment variables are not parallel.

func TestReadConfig(t *testing.T) {
	defaults := config{Port: 9080, External: true, Host: "www.googleapis.com", CacheStale: time.Hour}
	defaults.Timeout = 2500 * time.Millisecond
	empty := make(map[string]string)
	for field := range reflect.TypeFor[config]().Fields() {
		empty[field.Tag.Get("envconfig")] = ""
	}
	for name, tc := range map[string]struct {
		env  map[string]string
		args []string
		want func(c *config)
	}{
		"nothing set": {},
		"all empty":   {env: empty},
		"Kubernetes":  {env: map[string]string{"DETAILS_PORT": "tcp://10.0.0.1:9080"}},
		"all set": {
			env: map[string]string{
				"PORT": "80", "DO_NOT_ENCRYPT": "true", "ENABLE_EXTERNAL_BOOK_SERVICE": "false",
				"GOOGLE_BOOKS_API_KEY": "k3y\n", "GOOGLE_BOOKS_COUNTRY": "dk", "GOOGLE_BOOKS_HOST": "localhost:8443",
				"GOOGLE_BOOKS_TIMEOUT": "1s", "BOOK_ISBNS": " 0 : 0-486-42461-8 , 7:9780141439518,",
				"CACHE_TTL": "5m", "CACHE_STALE": "0", "LOG_LEVEL": "Debug",
				"HTTPS_PROXY": "http://user:pa%25ss@proxy:3128", "HTTP_PROXY": "proxy:80\n", "NO_PROXY": "a,b",
			},
			want: func(c *config) {
				*c = config{
					Port:       80,
					PlainHTTP:  true,
					APIKey:     "k3y",
					Country:    "DK",
					Host:       "localhost:8443",
					Timeout:    time.Second,
					ISBNs:      bookISBNs{0: "0486424618", 7: "9780141439518"},
					CacheTTL:   5 * time.Minute,
					LogLevel:   slog.LevelDebug,
					HTTPSProxy: "http://user:pa%25ss@proxy:3128",
					HTTPProxy:  "http://proxy:80",
					NoProxy:    "a,b",
				}
			},
		},
		"argument": {env: map[string]string{"PORT": "80"}, args: []string{"81"}, want: func(c *config) { c.Port = 81 }},
	} {
		t.Run(name, func(t *testing.T) {
			for name, value := range tc.env {
				t.Setenv(name, value)
			}
			want := defaults
			if tc.want != nil {
				tc.want(&want)
			}
			got, err := readConfig(tc.args)
			require.NoError(t, err)
			assert.Equal(t, want, got)
		})
	}
}

// TestClientConfig: every setting of the client reaches it.
func TestClientConfig(t *testing.T) {
	t.Parallel()
	roots := x509.NewCertPool()
	cfg := config{
		APIKey: "k3y", Country: "DK", Host: "books.example", CAFile: caFile{roots}, Timeout: time.Second,
		HTTPSProxy: "http://user:pass@proxy:3128", HTTPProxy: "http://another",
	}
	want := googlebooks.Config{
		APIKey: "k3y", Country: "DK", Host: "books.example", RootCAs: roots, Timeout: time.Second,
		Proxy:     &url.URL{Scheme: "http", Host: "proxy:3128", User: url.UserPassword("user", "pass")},
		UserAgent: "bookinfo-details/" + buildinfo.Version(),
	}
	assert.Equal(t, want, cfg.client())
	cfg.PlainHTTP, want.PlainHTTP, want.Proxy = true, true, nil
	got := cfg.client()
	assert.Equal(t, want, got)
	for field, value := range reflect.ValueOf(got).Fields() {
		if field.Name != "Proxy" && field.Name != "Observe" && field.Name != "Transport" {
			assert.False(t, value.IsZero(), "%s is not passed on", field.Name)
		}
	}
	cfg.PlainHTTP, cfg.NoProxy = false, ".example"
	assert.Nil(t, cfg.client().Proxy)
}

func TestInvalidConfig(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, size int) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, bytes.Repeat([]byte("a"), size), 0o600))
		return path
	}
	for env, want := range map[string]string{ // NAME=value: what stderr says
		"DO_NOT_ENCRYPT=yes":                          `invalid value "yes": want true or false`,
		"PORT=http":                                   `invalid value "http": want 0 to 65535`,
		"GOOGLE_BOOKS_API_KEY=s3cret s3cret":          `invalid key: want only letters, digits, _, . and -`,
		"GOOGLE_BOOKS_API_KEY=s3cret\r\nCookie:a":     `invalid key: want only`,
		`GOOGLE_BOOKS_API_KEY="s3cret"`:               `invalid key: want only`,
		"GOOGLE_BOOKS_API_KEY=s3cret/":                `invalid key: want only`,
		"GOOGLE_BOOKS_COUNTRY=Denmark":                `invalid country "Denmark": want two letters`,
		"GOOGLE_BOOKS_HOST=http://localhost":          `invalid host "http://localhost": want host or host:port`,
		"GOOGLE_BOOKS_CA_FILE=/no/such.pem":           `stat /no/such.pem: no such file`,
		"GOOGLE_BOOKS_CA_FILE=" + write("text", 10):   `no PEM certificate in`,
		"GOOGLE_BOOKS_CA_FILE=" + write("big", 2<<20): `"` + dir + `/big" is not a regular file of at most 1 MiB`,
		"GOOGLE_BOOKS_CA_FILE=" + os.DevNull:          `"` + os.DevNull + `" is not a regular file of at most 1 MiB`,
		"GOOGLE_BOOKS_TIMEOUT=2.5 s":                  `invalid value "2.5 s": want 10ms to 9s, such as 1.5s`,
		"GOOGLE_BOOKS_TIMEOUT=9.1s":                   `invalid value "9.1s": want`,
		"GOOGLE_BOOKS_TIMEOUT=9ms":                    `invalid value "9ms": want`,
		"CACHE_TTL=1d":                                `invalid value "1d": want 0s to 168h, such as 24h`,
		"CACHE_TTL=-1s":                               `invalid value "-1s": want 0s to 168h`,
		"CACHE_STALE=169h":                            `invalid value "169h": want 0s to 168h`,
		"BOOK_ISBNS=0:0486424619":                     `invalid ISBN "0486424619": the check digit is 9, want 8`,
		"BOOK_ISBNS=0486424618":                       `invalid pair "0486424618": want id:ISBN,id:ISBN,…`,
		"BOOK_ISBNS=1:0486424618,01:9780141439518":    `id 1 appears twice`,
		"BOOK_ISBNS=1:0486424618,,":                   `invalid pair ""`,
		"LOG_LEVEL=loud":                              `invalid value "loud": want debug, info, warn or error`,
		"HTTPS_PROXY=http://user:s3cret%zz@proxy":     `invalid URL: want http://host:port`,
		"HTTPS_PROXY=user:s3cret%@proxy:80":           `invalid URL`,
		"HTTP_PROXY=s3cret proxy":                     `invalid URL`,
		"HTTPS_PROXY=http://bob:20#s3cret@proxy:3128": `invalid URL`,
		"HTTPS_PROXY=http://bob:20/s3cret@proxy:3128": `invalid URL`,
		"HTTPS_PROXY=http://bob:20?s3cret@proxy:3128": `invalid URL`,
		"HTTPS_PROXY=http:/s3cret":                    `invalid URL`,
		"HTTPS_PROXY=http://*":                        `invalid URL`,
		"HTTPS_PROXY=http://s3cret:99999":             `invalid URL`,
		"HTTPS_PROXY=socks5://s3cret":                 `unsupported scheme: want http or https`,
		"HTTPS_PROXY=ftp://s3cret":                    `invalid URL`,
		"HTTPS_PROXY=http://":                         `invalid URL`,
	} {
		t.Run(env, func(t *testing.T) {
			name, value, _ := strings.Cut(env, "=")
			t.Setenv(name, value)
			assertUsageError(t, nil, "details: "+name+": "+want)
		})
	}
}

// TestAllInvalidSettings: each has a line of its own.
func TestAllInvalidSettings(t *testing.T) {
	t.Setenv("PORT", "x")
	t.Setenv("CACHE_TTL", "x")
	t.Setenv("HTTPS_PROXY", "http://%")
	assertUsageError(t, []string{"y"}, "details: PORT: ", "details: CACHE_TTL: ", "details: HTTPS_PROXY: ", "details: argument: ")
}

func TestInvalidArguments(t *testing.T) {
	for args, want := range map[string]string{
		"abc":      `argument: invalid port "abc": want 0 to 65535`,
		"65536":    `argument: invalid port "65536": want`,
		"1 2":      `unknown argument "2": the only argument is the port; see --help`,
		"--port=1": "unknown flag --port; see --help",
	} {
		assertUsageError(t, strings.Fields(args), "details: "+want)
	}
}

// assertUsageError runs the program, which must print these lines, or their
// beginnings, and no secret.
func assertUsageError(t *testing.T, args []string, want ...string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // with valid settings, the program would serve until then
	var stdout, stderr bytes.Buffer
	assert.Equal(t, exitUsage, run(ctx, args, &stdout, &stderr))
	assert.Empty(t, stdout.String())
	assert.NotContains(t, stderr.String(), "s3cret")
	lines := strings.Split(strings.TrimSuffix(stderr.String(), "\n"), "\n")
	require.Len(t, lines, len(want))
	for i, line := range lines {
		assert.True(t, strings.HasPrefix(line, want[i]), line)
	}
}

func TestHelpAndVersion(t *testing.T) {
	t.Setenv("PORT", "nonsense") // neither needs a valid environment
	for _, arg := range []string{"--version", "--help", "-h"} {
		var stdout, stderr bytes.Buffer
		assert.Equal(t, exitOK, run(t.Context(), []string{arg}, &stdout, &stderr))
		assert.Empty(t, stderr.String())
		if arg == "--version" {
			assert.Regexp(t, `^details \S+, go1\.\d+\S*\n$`, stdout.String())
			continue
		}
		for field := range reflect.TypeFor[config]().Fields() {
			assert.Contains(t, stdout.String(), "\n  "+field.Tag.Get("envconfig")+": "+field.Tag.Get("want"))
			assert.Contains(t, stdout.String(), field.Tag.Get("desc"))
		}
		assert.Contains(t, stdout.String(), string(details.DefaultISBN))
		assert.Contains(t, stdout.String(), " (default 2.5s)\n")
		for line := range strings.Lines(stdout.String()) {
			assert.LessOrEqual(t, utf8.RuneCountInString(line), 80+1, line)
		}
	}
}

// TestReadme compares the README's table of settings with the tags of config.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	_, table, ok := strings.Cut(string(readme), "| Variable | Default | Values | Meaning |\n| --- | --- | --- | --- |\n")
	require.True(t, ok)
	table, _, _ = strings.Cut(table, "\n\n")
	var want []string
	for field := range reflect.TypeFor[config]().Fields() {
		row := "| `" + field.Tag.Get("envconfig") + "` | "
		if value := field.Tag.Get("default"); value != "" {
			row += "`" + value + "` "
		}
		want = append(want, row+"| "+field.Tag.Get("want")+" | "+field.Tag.Get("desc")+" |")
	}
	assert.Equal(t, want, strings.Split(table, "\n"))
}

// FuzzProxy: package httpproxy uses every proxy that is accepted.
func FuzzProxy(f *testing.F) {
	for _, s := range []string{"proxy", "proxy:80", "http://u:p%25@[::1]:3128/x?y#z", "https://a/", "http://%", "://", "http:// a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		cfg := config{Host: "books.example"}
		err := cfg.HTTPSProxy.Decode(s)
		assert.Equal(t, err == nil, cfg.proxy() != nil)
	})
}
