package main

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
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

// outcomeOf returns what becomes of a request during a fault of the stand-in.
func outcomeOf(fault googlebookstest.Fault) outcome {
	want := outcome{status: http.StatusBadGateway, upstream: fault.Status, tries: 1}
	if fault.Status == 0 || fault.Status >= http.StatusInternalServerError || fault.BrokenOff {
		want.tries = 3
	}
	switch {
	case fault.Book:
		want.status = http.StatusOK
	case fault.Slow:
		want.status, want.text, want.tries = http.StatusGatewayTimeout, "no whole answer from", 2
	case fault.Name == "400-api-key-invalid":
		want.text = "Google Books answered 400 API_KEY_INVALID" // more than the reason says
	case fault.Reason != "":
		want.text = fmt.Sprintf("Google Books answered %d %s", fault.Status, fault.Reason)
	case fault.Words != "":
		if fault.Status == http.StatusGatewayTimeout {
			want.status = http.StatusGatewayTimeout
		}
		want.text = fmt.Sprintf("answered %d: %.100s", fault.Status, strings.TrimSpace(fault.Words))
	case strings.HasSuffix(fault.Name, "-html"):
		want.text = fmt.Sprintf("answered %d with an HTML page", fault.Status)
	case fault.BrokenOff:
		want.text = "broke off. Try again."
	case fault.Status == 0, fault.Name == "502-empty":
		want.text = "check that it has a ServiceEntry"
	case fault.Status == http.StatusOK:
		want.text = "answered 200, but not with volumes that can be read"
	default:
		want.text = fmt.Sprintf("answered %d", fault.Status)
	}
	return want
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
	for _, fault := range googlebookstest.Faults() {
		want := outcomeOf(fault)
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
