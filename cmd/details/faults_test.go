package main

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
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

// outcome is the outcome of a request during a fault.
type outcome struct {
	status   int
	text     string // in the error; "": the book
	upstream int    // status in the log; 0: no response
	tries    int
}

// spread is how far the tries may differ: on a busy machine, the time of a slow
// fault, which has two, may allow one more or less.
func (o outcome) spread() float64 {
	if o.tries == 2 {
		return 1
	}
	return 0
}

// outcomeOf returns the outcome of a request during a fault of the stand-in. In
// HTTP/2, the stand-in resets the stream instead of sending rubbish, and net/http
// itself repeats a call whose stream was refused, after 0, 1, 2, … s.
func outcomeOf(fault googlebookstest.Fault, plainHTTP bool) outcome {
	if fault.Name == "refused-stream" && !plainHTTP {
		return outcome{status: http.StatusOK, upstream: http.StatusOK, tries: 2}
	}
	want := outcome{status: http.StatusBadGateway, upstream: fault.Status, tries: 1}
	timeout := fault.Slow || fault.Status == http.StatusRequestTimeout || fault.Status == http.StatusGatewayTimeout
	notHTTP := fault.Name == "big-header" || plainHTTP && (fault.Name == "not-http" || fault.Name == "tls-alert")
	noItems := fault.Name == "no-items" || fault.Name == "null-items"
	switch {
	case fault.Slow:
		want.tries = 2
	case notHTTP:
	case timeout, noItems, fault.BrokenOff, fault.Status == 0, fault.Status >= http.StatusInternalServerError:
		want.tries = 3
	}
	if timeout {
		want.status = http.StatusGatewayTimeout
	}
	switch {
	case fault.Book:
		want.status = http.StatusOK
	case fault.Slow:
		want.text = "no complete answer from"
	case fault.BrokenOff:
		want.text = "was cut off"
	case notHTTP:
		want.text = "answered, but not as the Books API does: "
	case fault.Status == 0:
		want.text = "no answer from"
	case noItems:
		want.text = "answered 200 with hits, but without a volume"
	case fault.Name == "br":
		want.text = `answered 200 with the content coding "br"`
	case strings.HasPrefix(fault.Name, "gzip-") && fault.Name != "gzip-bomb":
		want.text = "answered 200 with a body that is not valid gzip"
	case fault.Name == "10-mb", fault.Name == "gzip-bomb":
		want.text = "answered 200 with more than 1 MiB"
	case fault.Status == http.StatusOK:
		want.text = "answered 200, but not with a valid list of volumes"
	case fault.Reason != "":
		want.text = fmt.Sprintf("answered %d %s", fault.Status, cmp.Or(fault.Detail, fault.Reason))
	case strings.Contains(fault.Name, "empty"):
		want.text = fmt.Sprintf("answered %d without a body", fault.Status)
	default:
		want.text = fmt.Sprintf("answered %d", fault.Status)
	}
	return want
}

// service is a server with a stand-in of its own and an API key. Its log has
// every level.
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

// serveFrom starts a stand-in and a server that gets its books from it.
func serveFrom(t *testing.T, cfg googlebookstest.Config, client googlebooks.Config, changes ...func(*server)) *service {
	t.Helper()
	s := &service{google: googlebookstest.NewServer(cfg)}
	t.Cleanup(s.google.Close)
	client.APIKey = secretKey
	client.Timeout = 5 * time.Second // no call needs a second try, even on a busy machine
	client.Host = cmp.Or(client.Host, s.google.HTTPSAddr)
	if client.PlainHTTP {
		client.Host = s.google.HTTPAddr
	}
	if client.RootCAs == nil {
		client.RootCAs = s.google.CertPool()
	}
	books, err := googlebooks.New(client)
	require.NoError(t, err)
	logger := slog.New(slog.NewJSONHandler(s, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s.inProcess = serveWith(t, details.Config{Books: books, Logger: logger}, changes...)
	return s
}

// assertOutcome requests the book and checks the answer and its log line. The
// key is in none of them, nor in the metrics.
func (s *service) assertOutcome(t *testing.T, want outcome) {
	t.Helper()
	status, body := get(t, s.url+"/details/0")
	_, metrics := get(t, s.url+"/metrics")
	assert.Equal(t, want.status, status)
	s.end()
	assert.NoError(t, <-s.err) // the line is written
	assertNoKey(t, s.log.String(), body, metrics)
	lines := strings.Split(strings.TrimSpace(s.log.String()), "\n")
	var line map[string]any
	require.NoError(t, json.Unmarshal([]byte(lines[len(lines)-1]), &line))
	assert.InDelta(t, want.status, line["status"], 0)
	assert.InDelta(t, want.upstream, line["upstream_status"], 0)
	assert.InDelta(t, want.tries, line["tries"], want.spread())
	if want.text == "" {
		assert.Equal(t, comedy, body)
		assert.Equal(t, "INFO", line["level"])
		return
	}
	var answer map[string]string
	require.NoError(t, json.Unmarshal([]byte(body), &answer))
	assert.Contains(t, answer["error"], want.text)
	assert.Equal(t, answer["error"], line["error"], "the log has the error of the answer")
	assert.Equal(t, "ERROR", line["level"])
}

// TestFaults plays every fault of the stand-in, three times in a row, over
// HTTPS and over plain HTTP.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, fault := range googlebookstest.Faults() {
		for mode, plainHTTP := range map[string]bool{"HTTPS": false, "plain HTTP": true} {
			t.Run(fault.Name+" over "+mode, func(t *testing.T) {
				t.Parallel()
				want := outcomeOf(fault, plainHTTP)
				s := serveFrom(t, googlebookstest.Config{}, googlebooks.Config{PlainHTTP: plainHTTP})
				s.google.Script(fault.Name, fault.Name, fault.Name)
				s.assertOutcome(t, want)
				requests := s.google.Requests()
				if fault.Name != "refused-stream" {
					assert.InDelta(t, want.tries, len(requests), want.spread())
				}
				for _, r := range requests {
					assert.Equal(t, secretKey, r.Header.Get("X-Goog-Api-Key"), "there is a key to leak")
				}
			})
		}
	}
}

// TestNoConnection: the upstream does not listen, does not resolve, does not speak
// TLS, or is not trusted. No request is sent.
func TestNoConnection(t *testing.T) {
	t.Parallel()
	closed, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	google := googlebookstest.NewServer(googlebookstest.Config{})
	t.Cleanup(google.Close)
	otherName := googlebookstest.Leaf{Names: []string{"books.example"}}
	for name, tc := range map[string]struct {
		cfg     googlebookstest.Config
		host    string // "": the stand-in with this cfg
		rootCAs *x509.CertPool
		text    string
		tries   int
	}{
		"refused":      {host: closed.Addr().String(), text: "no answer from " + closed.Addr().String(), tries: 3},
		"unknown name": {host: "books.invalid", text: "books.invalid does not resolve", tries: 3},
		"not TLS":      {host: google.HTTPAddr, text: "does not speak TLS. If a sidecar originates TLS", tries: 1},
		"unknown CA":   {rootCAs: x509.NewCertPool(), text: "is not trusted", tries: 1},
		"another name": {cfg: googlebookstest.Config{Leaf: otherName}, text: "is not trusted", tries: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serveFrom(t, tc.cfg, googlebooks.Config{Host: tc.host, RootCAs: tc.rootCAs})
			s.assertOutcome(t, outcome{http.StatusBadGateway, tc.text, 0, tc.tries})
			assert.Empty(t, s.google.Requests())
		})
	}
}
