package main

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/bookinfo/googlebooks/googlebookstest"
)

// outcome is the outcome of a request during a fault.
type outcome struct {
	status   int
	text     string // in the error; "": the book
	upstream int    // status in the log; 0: no response
	tries    int    // 0: it depends on the time that they take
}

// outcomeOf returns the outcome of a request during a fault of the stand-in. In
// HTTP/2, the stand-in resets the stream instead of sending rubbish, and net/http
// itself repeats a call whose stream was refused, after 0, 1, 2, … s.
func outcomeOf(fault googlebookstest.Fault, plainHTTP bool) outcome {
	text := fmt.Sprintf("answered %d %s", fault.Status, cmp.Or(fault.Detail, fault.Reason))
	want := outcome{http.StatusBadGateway, strings.TrimSpace(text), fault.Status, 1}
	switch name := fault.Name; {
	case name == "refused-stream" && !plainHTTP:
		return outcome{http.StatusOK, "", http.StatusOK, 0}
	case fault.Book:
		want.status, want.text = http.StatusOK, ""
	case fault.Slow:
		want.status, want.text, want.tries = http.StatusGatewayTimeout, "no complete answer from", 0
	case fault.BrokenOff:
		want.text, want.tries = "was cut off", 3
	case name == "big-header", plainHTTP && (name == "not-http" || name == "tls-alert"):
		want.text = "answered, but not as the Books API does: "
	case fault.Status == 0 && !plainHTTP:
		want.text, want.tries = "broke off the call", 3
	case fault.Status == 0:
		want.text, want.tries = "no answer from", 3
	case name == "no-items", name == "null-items":
		want.text, want.tries = "answered 200 with hits, but without a volume", 3
	case fault.Status == http.StatusRequestTimeout, fault.Status == http.StatusGatewayTimeout:
		want.status, want.tries = http.StatusGatewayTimeout, 3
	case fault.Status >= http.StatusInternalServerError:
		want.tries = 3
	case name == "301-https" && plainHTTP:
		want.text = "Clear text reached a server"
	}
	return want
}

// assertOutcome runs the program for one request and checks its answer and its
// log. The key is in none of its outputs.
func assertOutcome(t *testing.T, cfg config, want outcome) {
	t.Helper()
	cfg.APIKey, cfg.LogLevel = secretKey, slog.LevelDebug
	p := start(t, cfg)
	status, body := get(t, p.url+"/details/0")
	assert.NoError(t, p.stop())
	assertNoKey(t, append(p.stderr, body)...)
	line, calls := p.lines("request")[0], p.lines("upstream call")
	assert.Equal(t, want.status, status)
	assert.InDelta(t, want.status, line["status"], 0)
	assert.InDelta(t, want.upstream, line["upstream_status"], 0)
	if want.tries > 0 {
		assert.InDelta(t, want.tries, line["tries"], 0)
		assert.Len(t, calls, want.tries)
		assert.Equal(t, want.text == "", calls[0]["reason"] == "")
	}
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
				google, cfg, plain := standIn(t, googlebookstest.Config{})
				if plainHTTP {
					cfg = plain
				}
				if fault.Slow {
					cfg.Timeout = 5 * time.Second
				}
				google.Script(fault.Name, fault.Name, fault.Name)
				assertOutcome(t, cfg, outcomeOf(fault, plainHTTP))
			})
		}
	}
}

// TestNoConnection: the upstream does not listen, does not resolve, does not speak
// TLS 1.2, or is not trusted. No request is sent.
func TestNoConnection(t *testing.T) {
	t.Parallel()
	otherName := googlebookstest.Config{Leaf: googlebookstest.Leaf{Names: []string{"books.example"}}}
	for name, tc := range map[string]struct {
		google googlebookstest.Config
		change func(cfg *config, plainHTTP string)
		text   string
		tries  int
	}{
		"refused": {
			change: func(cfg *config, _ string) { cfg.Host = nobody },
			text:   "no answer from " + nobody,
			tries:  3,
		},
		"unknown name": {
			change: func(cfg *config, _ string) { cfg.Host = "books.invalid" },
			text:   "books.invalid does not resolve",
			tries:  3,
		},
		"not TLS": {
			change: func(cfg *config, plainHTTP string) { cfg.Host = host(plainHTTP) },
			text:   "does not speak TLS. If a sidecar originates TLS",
			tries:  1,
		},
		"unknown CA":   {change: func(cfg *config, _ string) { cfg.CAFile.pool = x509.NewCertPool() }, text: "is not trusted", tries: 1},
		"another name": {google: otherName, text: "is not trusted", tries: 1},
		"old TLS":      {google: googlebookstest.Config{MaxTLSVersion: tls.VersionTLS11}, text: "The server offers only TLS 1.1", tries: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			google, cfg, _ := standIn(t, tc.google)
			if tc.change != nil {
				tc.change(&cfg, google.HTTPAddr)
			}
			assertOutcome(t, cfg, outcome{http.StatusBadGateway, tc.text, 0, tc.tries})
			assert.Empty(t, google.Requests())
		})
	}
}
