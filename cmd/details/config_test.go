package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
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
	defaults := config{
		Port:       9080,
		External:   true,
		Host:       googlebooks.DefaultHost,
		Timeout:    duration(googlebooks.DefaultTimeout),
		CacheStale: duration(time.Hour),
	}
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
		"Kubernetes' service links": {
			env: map[string]string{"DETAILS_PORT": "tcp://10.0.0.1:9080"},
		},
		"all set": {
			env: map[string]string{
				"PORT": "80", "DO_NOT_ENCRYPT": "true", "ENABLE_EXTERNAL_BOOK_SERVICE": "false",
				"GOOGLE_BOOKS_API_KEY": "k3y\n", "GOOGLE_BOOKS_COUNTRY": "dk", "GOOGLE_BOOKS_HOST": "localhost:8443",
				"GOOGLE_BOOKS_TIMEOUT": "1s", "BOOK_ISBNS": " 0 : 0-486-42461-8 , 7:9780141439518,",
				"CACHE_TTL": "5m", "CACHE_STALE": "0", "LOG_LEVEL": "Debug",
			},
			want: func(c *config) {
				*c = config{
					Port:      80,
					PlainHTTP: true,
					APIKey:    "k3y",
					Country:   "DK",
					Host:      "localhost:8443",
					Timeout:   duration(time.Second),
					ISBNs:     bookISBNs{0: "0486424618", 7: "9780141439518"},
					CacheTTL:  duration(5 * time.Minute),
					LogLevel:  logLevel(slog.LevelDebug),
				}
			},
		},
		"argument overrides PORT": {
			env:  map[string]string{"PORT": "80"},
			args: []string{"81"},
			want: func(c *config) { c.Port = 81 },
		},
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

// TestClientConfig: the settings of the client reach it.
func TestClientConfig(t *testing.T) {
	t.Parallel()
	roots := x509.NewCertPool()
	cfg := config{
		PlainHTTP: true, APIKey: "k3y", Country: "DK", Host: "localhost", CAFile: caFile{roots}, Timeout: duration(time.Second),
	}
	want := googlebooks.Config{
		PlainHTTP: true, APIKey: "k3y", Country: "DK", Host: "localhost", RootCAs: roots, Timeout: time.Second,
		UserAgent: "bookinfo-details/" + buildinfo.Version(),
	}
	assert.Equal(t, want, cfg.client())
}

func TestInvalidConfig(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, size int) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, bytes.Repeat([]byte("a"), size), 0o600))
		return path
	}
	fifo := filepath.Join(dir, "fifo")
	require.NoError(t, syscall.Mkfifo(fifo, 0o600))
	for env, want := range map[string]string{ // NAME=value: what stderr says
		"DO_NOT_ENCRYPT=yes":                          `invalid boolean "yes": want true or false`,
		"PORT=http":                                   `invalid port "http": want 0 to 65535`,
		"PORT=65536":                                  `invalid port "65536": want`,
		"GOOGLE_BOOKS_API_KEY=s3cret s3cret":          `invalid key: it contains a space`,
		"GOOGLE_BOOKS_API_KEY=s3cret\r\nCookie:a":     `invalid key: it contains a space`,
		"GOOGLE_BOOKS_COUNTRY=Denmark":                `invalid country "Denmark": want two letters`,
		"GOOGLE_BOOKS_COUNTRY=&x":                     `invalid country "&x": want`,
		"GOOGLE_BOOKS_HOST=http://localhost":          `invalid host "http://localhost": want host or host:port`,
		"GOOGLE_BOOKS_CA_FILE=/no/such.pem":           `stat /no/such.pem: no such file`,
		"GOOGLE_BOOKS_CA_FILE=" + write("text", 10):   `no PEM certificate in`,
		"GOOGLE_BOOKS_CA_FILE=" + write("big", 2<<20): `"` + dir + `/big" is not a regular file of at most 1 MiB`,
		"GOOGLE_BOOKS_CA_FILE=" + fifo:                `"` + fifo + `" is not a regular file of at most 1 MiB`,
		"GOOGLE_BOOKS_TIMEOUT=5":                      `invalid duration without a unit "5": want 10ms to 9s`,
		"GOOGLE_BOOKS_TIMEOUT=10s":                    `invalid duration "10s": want`,
		"GOOGLE_BOOKS_TIMEOUT=0s":                     `invalid duration "0s": want`,
		"CACHE_TTL=1d":                                `invalid duration "1d": want 0s to 168h`,
		"CACHE_TTL=-1s":                               `invalid duration "-1s": want 0s to 168h`,
		"CACHE_STALE=169h":                            `invalid duration "169h0m0s": want 0s to 168h`,
		"BOOK_ISBNS=0:0486424619":                     `invalid ISBN "0486424619": the check digit is 9, want 8`,
		"BOOK_ISBNS=0486424618":                       `invalid pair "0486424618": want id:ISBN,id:ISBN,…`,
		"BOOK_ISBNS=1:0486424618,01:9780141439518":    `id 1 appears twice`,
		"BOOK_ISBNS=1:0486424618,,":                   `invalid pair ""`,
		"LOG_LEVEL=info+1":                            `invalid log level "info+1": want debug, info, warn or error`,
	} {
		t.Run(env, func(t *testing.T) {
			name, value, _ := strings.Cut(env, "=")
			t.Setenv(name, value)
			assertUsageError(t, nil, "details: "+name+": "+want)
		})
	}
}

func TestInvalidArguments(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"a word": {[]string{"abc"}, `argument: invalid port "abc": want 0 to 65535`},
		"two":    {[]string{"1", "2"}, `unknown argument "2": the only argument is the port; see --help`},
		"a flag": {[]string{"--port=1"}, "flag provided but not defined: -port; see --help"},
	} {
		t.Run(name, func(t *testing.T) {
			assertUsageError(t, tc.args, "details: "+tc.want)
		})
	}
}

// assertUsageError runs the program, which must print one line that starts with
// want and contains no secret.
func assertUsageError(t *testing.T, args []string, want string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // with valid settings, the program would serve until then
	var stdout, stderr bytes.Buffer
	assert.Equal(t, exitUsage, run(ctx, args, &stdout, &stderr))
	assert.Empty(t, stdout.String())
	assert.True(t, strings.HasPrefix(stderr.String(), want), stderr.String())
	assert.Equal(t, 1, strings.Count(stderr.String(), "\n"), "one line")
	assert.NotContains(t, stderr.String(), "s3cret")
}

func TestHelp(t *testing.T) {
	t.Setenv("PORT", "nonsense") // help does not need a valid environment
	for _, arg := range []string{"--help", "-h"} {
		var stdout, stderr bytes.Buffer
		assert.Equal(t, exitOK, run(t.Context(), []string{arg}, &stdout, &stderr))
		assert.Empty(t, stderr.String())
		for field := range reflect.TypeFor[config]().Fields() {
			assert.Contains(t, stdout.String(), "\n  "+field.Tag.Get("envconfig")+": "+field.Tag.Get("want"))
			assert.Contains(t, stdout.String(), field.Tag.Get("desc"))
		}
		assert.Contains(t, stdout.String(), string(details.DefaultISBN))
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

func TestVersion(t *testing.T) {
	var stdout, stderr bytes.Buffer
	assert.Equal(t, exitOK, run(t.Context(), []string{"--version"}, &stdout, &stderr))
	assert.Regexp(t, `^details \S+, go1\.\d+\S*\n$`, stdout.String())
	assert.Empty(t, stderr.String())
}
