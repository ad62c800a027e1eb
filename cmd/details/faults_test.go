package main

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/bookinfo/details"
	"example.com/bookinfo/googlebooks"
	"example.com/bookinfo/googlebooks/googlebookstest"
)

// outcome is what becomes of a request while a fault lasts.
type outcome struct {
	status   int
	text     string // in the error; "": the book
	upstream int    // status in the log; 0: no response
	tries    int
}

// outcomes returns the outcome of each fault of the stand-in.
func outcomes() map[string]outcome {
	const (
		noAnswer   = "check that it has a ServiceEntry"
		unreadable = "answered 200, but not with volumes that can be read"
		brokenOff  = "broke off. Try again."
		late       = "no whole answer from"
	)
	book := outcome{http.StatusOK, "", http.StatusOK, 1}
	final := func(upstream int, text string) outcome { return outcome{http.StatusBadGateway, text, upstream, 1} }
	repeated := func(upstream int, text string) outcome { return outcome{http.StatusBadGateway, text, upstream, 3} }
	timeout := func(upstream int) outcome { return outcome{http.StatusGatewayTimeout, late, upstream, 2} }
	return map[string]outcome{
		"ok":                           book,
		"early-hints":                  book,
		"duplicate-keys":               book,
		"gzip-bad":                     book,
		"gzip-cut":                     final(200, unreadable),
		"400-required":                 final(400, "Google Books answered 400 required"),
		"400-query-required":           final(400, "Google Books answered 400 queryRequired"),
		"400-invalid-parameter":        final(400, "Google Books answered 400 invalidParameter"),
		"400-api-key-invalid":          final(400, "Correct GOOGLE_BOOKS_API_KEY"),
		"403-ssl-required":             final(403, "set DO_NOT_ENCRYPT=true only where a sidecar originates TLS"),
		"403-unknown-location":         final(403, "Set GOOGLE_BOOKS_COUNTRY"),
		"403-access-not-configured":    final(403, "Enable the Books API"),
		"403-daily-limit-exceeded":     final(403, "midnight Pacific"),
		"403-user-rate-limit-exceeded": final(403, "Google Books answered 403 userRateLimitExceeded"),
		"404-not-found":                final(404, "Google Books answered 404 notFound"),
		"429-keyless":                  final(429, "Set GOOGLE_BOOKS_API_KEY"),
		"429-per-day":                  final(429, "Queries per day"),
		"429-per-minute":               final(429, "Queries per minute"),
		"503-backend-failed":           repeated(503, "503 backendFailed: Service temporarily unavailable. Try again."),
		"503-backend-failed-old":       repeated(503, "503 backendFailed"),
		"500-html":                     repeated(500, "answered 500 with an HTML page. Try again."),
		"502-html":                     repeated(502, "answered 502 with an HTML page"),
		"503-html":                     repeated(503, "answered 503 with an HTML page"),
		"504-html":                     repeated(504, "answered 504 with an HTML page"),
		"502-empty":                    repeated(502, noAnswer),
		"503-envoy":                    repeated(503, "upstream connect error"),
		"close":                        repeated(0, noAnswer),
		"reset":                        repeated(0, noAnswer),
		"not-http":                     repeated(0, noAnswer),
		"cut":                          repeated(200, brokenOff),
		"cut-chunked":                  repeated(200, brokenOff),
		"wrong-content-length":         final(200, unreadable),
		"reset-body":                   repeated(200, brokenOff),
		"slow-headers":                 timeout(0),
		"slow-body":                    timeout(200),
		"hang":                         timeout(0),
		"html":                         final(200, unreadable),
		"empty":                        final(200, unreadable),
		"trailing-rubbish":             final(200, unreadable),
		"deep-nesting":                 final(200, unreadable),
		"10-mb":                        final(200, unreadable),
		"invalid-utf-8":                final(200, unreadable),
		"lone-surrogate":               final(200, unreadable),
		"redirect":                     final(302, "answered 302"),
	}
}

// service is the service in the test's process, between real sockets.
type service struct {
	*inProcess

	google *googlebookstest.Server
	mu     sync.Mutex
	log    bytes.Buffer
}

func (s *service) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(p)
}

// serveFrom serves books from a stand-in of its own.
func serveFrom(t *testing.T, cfg googlebookstest.Config, client googlebooks.Config) *service {
	t.Helper()
	s := &service{google: googlebookstest.NewServer(cfg)}
	t.Cleanup(s.google.Close)
	client.Host = cmp.Or(client.Host, s.google.HTTPSAddr)
	if client.PlainHTTP {
		client.Host = s.google.HTTPAddr
	}
	if client.RootCAs == nil {
		client.RootCAs = x509.NewCertPool()
		client.RootCAs.AppendCertsFromPEM(s.google.CAPEM)
	}
	books, err := googlebooks.New(client)
	require.NoError(t, err)
	s.inProcess = serveWith(t, details.Config{Books: books, Logger: slog.New(slog.NewJSONHandler(s, nil))}, func(*server) {})
	return s
}

// assertOutcome requests the book and compares the answer, and what the log
// says of it.
func (s *service) assertOutcome(t *testing.T, want outcome) {
	t.Helper()
	status, body := get(t, s.url+"/details/0")
	assert.Equal(t, want.status, status)
	s.end()
	assert.NoError(t, <-s.err) // the line is written
	var line map[string]any
	require.NoError(t, json.Unmarshal(s.log.Bytes(), &line), "one line: %s", s.log.String())
	assert.InDelta(t, want.status, line["status"], 0)
	assert.InDelta(t, want.upstream, line["upstream_status"], 0)
	assert.InDelta(t, want.tries, line["tries"], 0)
	if want.text == "" {
		assert.Equal(t, comedy, body)
		assert.Equal(t, "INFO", line["level"])
		return
	}
	var answer map[string]string
	require.NoError(t, json.Unmarshal([]byte(body), &answer))
	assert.Contains(t, answer["error"], want.text)
	assert.Equal(t, answer["error"], line["error"], "the log says what the caller is told")
	assert.Equal(t, "ERROR", line["level"])
}

// TestFaults plays every fault of the stand-in, three times in a row, over
// HTTPS and over plain HTTP.
func TestFaults(t *testing.T) {
	t.Parallel()
	want := outcomes()
	for _, fault := range googlebookstest.Faults() {
		want, ok := want[fault.Name]
		require.True(t, ok, "no expectation for fault %s", fault.Name)
		for mode, plainHTTP := range map[string]bool{"HTTPS": false, "plain HTTP": true} {
			t.Run(fault.Name+" over "+mode, func(t *testing.T) {
				t.Parallel()
				timeout := 8 * time.Second // a busy machine needs no second try
				if want.status == http.StatusGatewayTimeout {
					timeout = time.Second
				}
				s := serveFrom(t, googlebookstest.Config{}, googlebooks.Config{PlainHTTP: plainHTTP, Timeout: timeout})
				s.google.Script(slices.Repeat([]string{fault.Name}, 3)...)
				s.assertOutcome(t, want)
				assert.Len(t, s.google.Requests(), want.tries)
			})
		}
	}
	names := slices.Sorted(maps.Keys(want))
	for _, fault := range googlebookstest.Faults() {
		names = slices.DeleteFunc(names, func(name string) bool { return name == fault.Name })
	}
	assert.Empty(t, names, "there is no such fault")
}

// TestHandshakeFaults: an upstream that cannot prove to be Google is not sent a
// request.
func TestHandshakeFaults(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, tc := range map[string]struct {
		cfg    googlebookstest.Config
		client googlebooks.Config
		want   outcome
	}{
		"unknown CA": {
			client: googlebooks.Config{RootCAs: x509.NewCertPool()},
			want:   outcome{502, "GOOGLE_BOOKS_CA_FILE", 0, 1},
		},
		"expired": {
			cfg:  googlebookstest.Config{Leaf: googlebookstest.Leaf{NotBefore: now.Add(-2 * time.Hour), NotAfter: now.Add(-time.Hour)}},
			want: outcome{502, "expired", 0, 1},
		},
		"not yet valid": {
			cfg:  googlebookstest.Config{Leaf: googlebookstest.Leaf{NotBefore: now.Add(time.Hour), NotAfter: now.Add(2 * time.Hour)}},
			want: outcome{502, "not yet valid", 0, 1},
		},
		"another name": {
			cfg:  googlebookstest.Config{Leaf: googlebookstest.Leaf{Names: []string{"books.example"}}},
			want: outcome{502, "is not trusted", 0, 1},
		},
		"TLS 1.1": {
			cfg:  googlebookstest.Config{MaxTLSVersion: tls.VersionTLS11},
			want: outcome{502, "no answer from", 0, 3},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serveFrom(t, tc.cfg, tc.client)
			s.assertOutcome(t, tc.want)
			assert.Empty(t, s.google.Requests())
		})
	}
}

// TestWrongAddress: nothing listens, the port speaks something else, or the name
// does not resolve.
func TestWrongAddress(t *testing.T) {
	t.Parallel()
	closed, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	google := googlebookstest.NewServer(googlebookstest.Config{})
	t.Cleanup(google.Close)
	for name, tc := range map[string]struct {
		host string
		want outcome
	}{
		"refused": {
			host: closed.Addr().String(),
			want: outcome{502, "no answer from " + closed.Addr().String() + ". Check that it can be reached", 0, 3},
		},
		"HTTPS to a port of plain HTTP": {
			host: google.HTTPAddr,
			want: outcome{502, "does not speak TLS. If a sidecar originates TLS, set DO_NOT_ENCRYPT=true", 0, 1},
		},
		"a name that does not resolve": {
			host: "books.invalid",
			want: outcome{502, "books.invalid does not resolve. Check name resolution", 0, 3},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			serveFrom(t, googlebookstest.Config{}, googlebooks.Config{Host: tc.host, Timeout: 8 * time.Second}).assertOutcome(t, tc.want)
		})
	}
}

// TestRetriesOverTheWire: a request fails only if three tries in a row fail,
// whatever the first two were.
func TestRetriesOverTheWire(t *testing.T) {
	t.Parallel()
	for name, script := range map[string][]string{
		"reset and 503":      {"reset", "503-backend-failed"},
		"502 and close":      {"502-html", "close"},
		"502 and Envoy":      {"502-empty", "503-envoy"},
		"broken off and 504": {"cut-chunked", "504-html"},
		"a hang":             {"hang"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serveFrom(t, googlebookstest.Config{}, googlebooks.Config{Timeout: 4 * time.Second})
			s.google.Script(script...)
			s.assertOutcome(t, outcome{http.StatusOK, "", http.StatusOK, len(script) + 1})
		})
	}
}
