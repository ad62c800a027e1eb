package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/bookinfo/details"
	"example.com/bookinfo/googlebooks"
)

// These tests set environment variables, so none of them is parallel.

func TestReadConfig(t *testing.T) {
	defaults := config{
		Port: 9080, External: true, Host: googlebooks.DefaultHost, Timeout: upTo9s(googlebooks.DefaultTimeout), CacheStale: upTo1w(time.Hour),
		LogLevel: slog.LevelInfo,
	}
	for name, tc := range map[string]struct {
		env  map[string]string
		args []string
		want func(c *config)
	}{
		"nothing set": {},
		"all empty": {env: map[string]string{
			"PORT": "", "DO_NOT_ENCRYPT": "", "ENABLE_EXTERNAL_BOOK_SERVICE": "", "GOOGLE_BOOKS_API_KEY": "", "GOOGLE_BOOKS_COUNTRY": "",
			"GOOGLE_BOOKS_HOST": "", "GOOGLE_BOOKS_CA_FILE": "", "GOOGLE_BOOKS_TIMEOUT": "", "BOOK_ISBNS": "", "CACHE_TTL": "", "CACHE_STALE": "", "LOG_LEVEL": "",
		}},
		"Kubernetes' service links": {env: map[string]string{"DETAILS_PORT": "tcp://10.0.0.1:9080"}},
		"all set": {
			env: map[string]string{
				"PORT": "80", "DO_NOT_ENCRYPT": "true", "ENABLE_EXTERNAL_BOOK_SERVICE": "false", "GOOGLE_BOOKS_API_KEY": "k3y\n", "GOOGLE_BOOKS_COUNTRY": "dk",
				"GOOGLE_BOOKS_HOST": "localhost:8443", "GOOGLE_BOOKS_TIMEOUT": "1s", "BOOK_ISBNS": " 0 : 0-486-42461-8 , 7:9780141439518",
				"CACHE_TTL": "5m", "CACHE_STALE": "0", "LOG_LEVEL": "debug",
			},
			want: func(c *config) {
				*c = config{
					Port: 80, PlainHTTP: true, APIKey: "k3y", Country: "DK", Host: "localhost:8443", Timeout: upTo9s(time.Second),
					ISBNs: bookISBNs{0: "0486424618", 7: "9780141439518"}, CacheTTL: upTo1w(5 * time.Minute), LogLevel: slog.LevelDebug,
				}
			},
		},
		"the argument wins":   {env: map[string]string{"PORT": "80"}, args: []string{"81"}, want: func(c *config) { c.Port = 81 }},
		"any port":            {args: []string{"0"}, want: func(c *config) { c.Port = 0 }},
		"details.rb's values": {env: map[string]string{"DO_NOT_ENCRYPT": "true", "ENABLE_EXTERNAL_BOOK_SERVICE": "true"}, args: []string{"9080"}, want: func(c *config) { c.PlainHTTP = true }},
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

func TestBadConfig(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	require.NoError(t, os.WriteFile(empty, []byte("nothing"), 0o600))
	for name, tc := range map[string]struct {
		env  string // NAME=value
		args []string
		want string // what stderr says
	}{
		"bool":                  {env: "DO_NOT_ENCRYPT=yes", want: `DO_NOT_ENCRYPT: "yes" cannot be read; want true or false`},
		"another bool":          {env: "ENABLE_EXTERNAL_BOOK_SERVICE=on", want: `ENABLE_EXTERNAL_BOOK_SERVICE: "on" cannot be read; want true or false`},
		"port, a word":          {env: "PORT=http", want: `PORT: "http" is no port; want 0 to 65535`},
		"port, a URL":           {env: "PORT=tcp://10.0.0.1:9080", want: `PORT: "tcp://10.0.0.1:9080" is no port`},
		"port, too large":       {env: "PORT=65536", want: `PORT: "65536" is no port`},
		"port, below zero":      {env: "PORT=-1", want: `PORT: "-1" is no port`},
		"key of two words":      {env: "GOOGLE_BOOKS_API_KEY=s3cret s3cret", want: "GOOGLE_BOOKS_API_KEY: not a key"},
		"key with a line break": {env: "GOOGLE_BOOKS_API_KEY=s3cret\r\nCookie:a", want: "GOOGLE_BOOKS_API_KEY: not a key"},
		"country, a word":       {env: "GOOGLE_BOOKS_COUNTRY=Denmark", want: `GOOGLE_BOOKS_COUNTRY: "Denmark" is no country; want two letters`},
		"country, no letters":   {env: "GOOGLE_BOOKS_COUNTRY=&x", want: `GOOGLE_BOOKS_COUNTRY: "&x" is no country`},
		"host, a URL":           {env: "GOOGLE_BOOKS_HOST=http://localhost", want: `GOOGLE_BOOKS_HOST: "http://localhost" is no host or host:port`},
		"CA file, none":         {env: "GOOGLE_BOOKS_CA_FILE=/no/such.pem", want: "GOOGLE_BOOKS_CA_FILE: open /no/such.pem: no such file"},
		"CA file, no PEM":       {env: "GOOGLE_BOOKS_CA_FILE=" + empty, want: "GOOGLE_BOOKS_CA_FILE: no PEM certificate in"},
		"timeout, no unit":      {env: "GOOGLE_BOOKS_TIMEOUT=5", want: `GOOGLE_BOOKS_TIMEOUT: "5" is no such time; want 10ms to 9s`},
		"timeout, too long":     {env: "GOOGLE_BOOKS_TIMEOUT=10s", want: `GOOGLE_BOOKS_TIMEOUT: "10s" is no such time`},
		"timeout, none":         {env: "GOOGLE_BOOKS_TIMEOUT=0s", want: `GOOGLE_BOOKS_TIMEOUT: "0s" is no such time`},
		"timeout, below zero":   {env: "GOOGLE_BOOKS_TIMEOUT=-1s", want: `GOOGLE_BOOKS_TIMEOUT: "-1s" is no such time`},
		"cache, below zero":     {env: "CACHE_TTL=-1s", want: `CACHE_TTL: "-1s" is no such time; want 0 to 168h`},
		"cache, too long":       {env: "CACHE_STALE=169h", want: `CACHE_STALE: "169h" is no such time`},
		"ISBN, check digit":     {env: "BOOK_ISBNS=0:0486424619", want: `BOOK_ISBNS: ISBN "0486424619": the check digit is 9, want 8`},
		"ISBN, none":            {env: "BOOK_ISBNS=0:", want: `BOOK_ISBNS: ISBN ""`},
		"ISBN, no id":           {env: "BOOK_ISBNS=0486424618", want: `BOOK_ISBNS: "0486424618" is no id:ISBN; want id:ISBN,id:ISBN,…`},
		"ISBN, an id twice":     {env: "BOOK_ISBNS=1:0486424618,01:9780141439518", want: "BOOK_ISBNS: id 1 is there twice"},
		"ISBN, comma at end":    {env: "BOOK_ISBNS=1:0486424618,", want: `BOOK_ISBNS: "" is no id:ISBN`},
		"log level":             {env: "LOG_LEVEL=loud", want: "LOG_LEVEL: "},
		"argument, a word":      {args: []string{"abc"}, want: `argument: "abc" is no port; want 0 to 65535`},
		"arguments, two":        {args: []string{"9080", "9081"}, want: `unknown argument "9081"; the only one is the port`},
		"flag":                  {args: []string{"--port=1"}, want: "flag provided but not defined: -port; --help tells what there is"},
	} {
		t.Run(name, func(t *testing.T) {
			if key, value, ok := strings.Cut(tc.env, "="); ok {
				t.Setenv(key, value)
			}
			var stdout, stderr bytes.Buffer
			assert.Equal(t, exitUsage, run(t.Context(), tc.args, &stdout, &stderr))
			assert.Empty(t, stdout.String())
			assert.True(t, strings.HasPrefix(stderr.String(), "details: "+tc.want), stderr.String())
			assert.Equal(t, 1, strings.Count(stderr.String(), "\n"), "one line")
			assert.NotContains(t, stderr.String(), "s3cret")
		})
	}
}

func TestHelp(t *testing.T) {
	for _, arg := range []string{"--help", "-h"} {
		t.Run(arg, func(t *testing.T) {
			t.Setenv("PORT", "rubbish") // help helps, whatever is set
			var stdout, stderr bytes.Buffer
			assert.Equal(t, exitOK, run(t.Context(), []string{arg}, &stdout, &stderr))
			assert.Empty(t, stderr.String())
			for _, name := range []string{
				"PORT", "DO_NOT_ENCRYPT", "ENABLE_EXTERNAL_BOOK_SERVICE", "GOOGLE_BOOKS_API_KEY", "GOOGLE_BOOKS_COUNTRY", "GOOGLE_BOOKS_HOST",
				"GOOGLE_BOOKS_CA_FILE", "GOOGLE_BOOKS_TIMEOUT", "BOOK_ISBNS", "CACHE_TTL", "CACHE_STALE", "LOG_LEVEL",
			} {
				assert.Contains(t, stdout.String(), "\n  "+name+" ")
			}
			assert.Contains(t, stdout.String(), string(details.DefaultISBN))
		})
	}
}

// TestReadme compares the README's table of settings with the one that drives
// --help.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	_, table, ok := strings.Cut(string(readme), "| Variable | Default | |\n| --- | --- | --- |\n")
	require.True(t, ok)
	table, _, _ = strings.Cut(table, "\n\n")
	var want []string
	for field := range reflect.TypeFor[config]().Fields() {
		row := "| `" + field.Tag.Get("envconfig") + "` | "
		if value := field.Tag.Get("default"); value != "" {
			row += "`" + value + "` "
		}
		want = append(want, row+"| "+field.Tag.Get("desc")+" |")
	}
	assert.Equal(t, want, strings.Split(table, "\n"))
}

func TestVersion(t *testing.T) {
	var stdout, stderr bytes.Buffer
	assert.Equal(t, exitOK, run(t.Context(), []string{"--version"}, &stdout, &stderr))
	assert.Regexp(t, `^details \S+, commit \S+, go1\.\d+\S*\n$`, stdout.String())
	assert.Empty(t, stderr.String())
}

func FuzzBookISBNs(f *testing.F) {
	for _, s := range []string{"0:0486424618,7:9780141439518", " 0 : 0486424618 ", "0:", ":", ",", "0:0486424618,0:0486424618"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var b bookISBNs
		if b.Decode(s) != nil {
			return
		}
		require.NotEmpty(t, b)
		for _, isbn := range b {
			_, err := googlebooks.ParseISBN(string(isbn))
			assert.NoError(t, err)
		}
	})
}
