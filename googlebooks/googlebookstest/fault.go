package googlebookstest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

const (
	// upstreamError begins Envoy's answer for an upstream that it cannot reach.
	upstreamError = "upstream connect error or disconnect/reset before headers. reset reason: "
	// connectionFailure is the whole answer of Envoy since 1.38.1. In older
	// versions, the reason follows.
	connectionFailure = upstreamError + "remote connection failure"
)

// Fault is a way in which Google, or the network in between, fails. All fields
// but the first two say what a client sees.
type Fault struct {
	Name string // for Server.Script, Share and the emulator's --fail
	Doc  string // one line

	Status    int    // HTTP status; 0 if none arrives in time
	Reason    string // in Google's error
	Detail    string // in the details of Google's error, for a bad API key
	Words     string // the whole body of Envoy's own answer
	Book      bool   // the answer is 200 and contains the requested volume
	BrokenOff bool   // the body ends early
	Slow      bool   // takes longer than a client should wait

	answer answer // of Google's errors
	// serve answers one request. It may panic with http.ErrAbortHandler to cut
	// the connection, or the stream in HTTP/2.
	serve func(*exchange)
}

// Faults lists every fault, and "ok" for none.
func Faults() []Fault {
	return slices.Concat([]Fault{book("ok", "no fault: the book", (*exchange).good)}, googleErrors(), []Fault{
		html("429-html"), html("500-html"), html("502-html"), html("503-html"), html("504-html"),

		envoy("404-empty", "Envoy: no route", ""),
		envoy("429-empty", "Envoy: global rate limit", ""),
		envoy("502-empty", "Envoy: blocked by the mesh", ""),
		envoy("503-envoy", "Envoy: upstream disconnected", upstreamError+"connection termination"),
		envoy("503-envoy-connection", "Envoy: no connection or no TLS", connectionFailure),
		envoy("503-envoy-certificate", "Envoy (old): untrusted certificate", connectionFailure+", transport failure reason: "+
			"TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:TLS_error_end"),
		envoy("503-envoy-overflow", "Envoy: circuit breaker", upstreamError+"overflow"),
		envoy("503-envoy-no-upstream", "Envoy: no endpoint", "no healthy upstream"),
		envoy("504-envoy-timeout", "Envoy: slow upstream", "upstream request timeout"),
		envoy("408-envoy-timeout", "Envoy: idle stream", "stream timeout"),
		envoy("421-envoy", "Envoy: another TLS server name", "Misdirected Request"),
		envoy("426-envoy", "Envoy: HTTP/1.0 refused", ""),
		envoy("429-envoy-rate-limit", "Envoy: local rate limit", "local_rate_limited"),
		envoy("403-envoy-rbac", "Envoy: AuthorizationPolicy", "RBAC: access denied"),
		envoy("403-egress-policy", "Envoy: deploy/egress/books-only", "egress policy: only GET /books/v1/volumes may leave\n"),
		envoy("407-proxy", "another proxy: no credentials", "Proxy Authentication Required"),

		redirect("302-elsewhere", "to another host", "https://elsewhere.invalid{target}"), // RFC 2606: .invalid cannot exist
		redirect("301-https", "to the same over HTTPS, with a token", "https://{host}{target}&token=must-not-leak"),
		redirect("302-sorry", "to Google's page for robots",
			"https://www.google.com/sorry/index?continue=http://{host}{target}"),

		withStatus("202-accepted"), withStatus("206-partial-content"),
		answers("html", "an HTML page, as from a captive portal", page("text/html; charset=UTF-8",
			"<!DOCTYPE html>\n<title>Log in</title>\n<p>Log in to this network.\n")),
		answers("empty", "an empty body", page("application/json", "")),
		answers("no-items", "a hit, but no items", page("application/json", `{"totalItems": 1}`)),
		answers("null-items", "a hit, but items are null", page("application/json", `{"totalItems": 1, "items": null}`)),
		answers("wrong-content-length", "Content-Length of half the body", (*exchange).wrongContentLength),
		answers("trailing-rubbish", "the book, then rubbish", func(e *exchange) {
			e.good()
			send(e.w, []byte("}rubbish"))
		}),
		answers("deep-nesting", "the book and 100,000 nested arrays", insert(
			`"nested": `+strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000))),
		answers("10-mb", "the book and 10 MiB of padding", (*exchange).tenMegabytes),
		book("invalid-utf-8", "the book and a string not in UTF-8", insert("\"bytes\": \"\xff\xfe\"")),
		book("lone-surrogate", `the book and a lone surrogate, \ud800`, insert(`"lone": "\ud800"`)),
		book("duplicate-keys", "the book; before it, no items", insert(`"totalItems": 0, "items": []`)),
		book("early-hints", "the book, after a 103 (RFC 8297)", (*exchange).earlyHints),

		book("gzip", "the book in gzip, despite the request", coded("gzip", gzipped)),
		book("gzip-chunked", "the same without Content-Length", func(e *exchange) {
			e.ok.body = gzipped(e.ok.body)
			e.w.Header().Set("Content-Encoding", "gzip")
			e.good()
		}),
		book("x-gzip", "the same by its old name", coded("x-gzip", gzipped)),
		answers("gzip-bomb", "256 MiB of spaces and the book in gzip", coded("gzip", func(b []byte) []byte {
			spaces := gzipped(bytes.Repeat([]byte(" "), 1<<20))
			return append(bytes.Repeat(spaces, 256), gzipped(b)...) // RFC 1952 allows many members
		})),
		answers("gzip-cut", "half the book in gzip", coded("gzip", func(b []byte) []byte {
			return gzipped(b)[:len(gzipped(b))/2]
		})),
		answers("gzip-checksum", "the book in gzip, wrong checksum", coded("gzip", func(b []byte) []byte {
			return append(gzipped(b)[:len(gzipped(b))-8], "checksum"...)
		})),
		answers("gzip-plain", "the book, said to be in gzip", coded("gzip", bytes.Clone)),
		answers("br", "the book in Brotli", coded("br", brotli)),

		brokenOff("cut", "half the body, despite Content-Length", (*exchange).cut),
		brokenOff("cut-chunked", "half the body, no last chunk", (*exchange).cutChunked),
		brokenOff("reset-body", "half the body, then a reset (RST)", (*exchange).resetBody),
		{Name: "close", Doc: "the connection ends (FIN), no answer", serve: (*exchange).close},
		{Name: "reset", Doc: "a reset (RST), no answer", serve: func(e *exchange) { reset(e.hijack()) }},
		{Name: "goaway", Doc: "HTTP/2: GOAWAY, no answer; else as close", serve: (*exchange).goAway},
		{Name: "refused-stream", Doc: "HTTP/2: REFUSED_STREAM; else as close", serve: (*exchange).refuseStream},
		otherProtocol("not-http", "an SSH banner instead of HTTP", "SSH-2.0-OpenSSH_9.9\r\n"),
		otherProtocol("tls-alert", "a TLS alert instead of HTTP", "\x15\x03\x01\x00\x02\x02\x46"), // fatal: protocol_version
		{Name: "big-header", Doc: "the book, with 70 KiB of headers", serve: func(e *exchange) {
			e.w.Header()["X-Padding"] = slices.Repeat([]string{strings.Repeat("x", 1<<10)}, 70)
			e.good()
		}},
		{Name: "slow-headers", Doc: "no answer for 10 s, then the book", Slow: true, serve: (*exchange).slowHeaders},
		{Name: "slow-body", Doc: "200, the book, spread over 10 s", Status: 200, Slow: true, serve: (*exchange).slowBody},
		{Name: "hang", Doc: "no answer until the client disconnects", Slow: true, serve: (*exchange).hang},
	})
}

func faultsByName() map[string]Fault {
	byName := make(map[string]Fault)
	for _, fault := range Faults() {
		byName[fault.Name] = fault
	}
	return byName
}

// googleErrors are the faults of errors.json.
func googleErrors() []Fault {
	var entries []struct {
		Name, Doc string
		Error     json.RawMessage
	}
	unmarshal(errorsJSON, &entries)
	faults := make([]Fault, len(entries))
	for i, entry := range entries {
		var e struct {
			Code            int
			Errors, Details []struct{ Reason string }
		}
		unmarshal(entry.Error, &e)
		fault := Fault{Name: entry.Name, Status: e.Code, Reason: e.Errors[0].Reason}
		fault.Doc = fmt.Sprintf("%d %s: %s", e.Code, fault.Reason, entry.Doc)
		if len(e.Details) > 0 && strings.HasPrefix(e.Details[0].Reason, "API_KEY_") {
			fault.Detail = e.Details[0].Reason
		}
		body, _ := json.MarshalIndent(map[string]any{"error": entry.Error}, "", "  ") //nolint:errchkjson // valid JSON
		fault.answer = jsonAnswer(e.Code, append(body, '\n'))
		fault.serve = always(fault.answer)
		if strings.HasSuffix(fault.Name, "-gzip") {
			fault.serve = func(e *exchange) {
				e.ok = fault.answer
				coded("gzip", gzipped)(e)
			}
		}
		faults[i] = fault
	}
	return faults
}

// status returns the status that a name begins with, or 200.
func status(name string) int {
	code, err := strconv.Atoi(name[:min(3, len(name))])
	if err != nil {
		return http.StatusOK
	}
	return code
}

func answers(name, doc string, serve func(*exchange)) Fault {
	return Fault{Name: name, Doc: fmt.Sprintf("%d, %s", status(name), doc), Status: status(name), serve: serve}
}

func book(name, doc string, serve func(*exchange)) Fault {
	fault := answers(name, doc, serve)
	fault.Book = true
	return fault
}

func brokenOff(name, doc string, serve func(*exchange)) Fault {
	fault := answers(name, doc, serve)
	fault.BrokenOff = true
	return fault
}

func html(name string) Fault {
	return answers(name, "HTML page of Google's front end", always(htmlError(status(name))))
}

// envoy is the answer of Envoy, or of another proxy: plain text, without
// Google's headers.
func envoy(name, doc, words string) Fault {
	fault := answers(name, doc, func(e *exchange) {
		if words != "" {
			e.w.Header().Set("Content-Type", "text/plain")
		}
		if status(name) == http.StatusProxyAuthRequired {
			e.w.Header().Set("Proxy-Authenticate", `Basic realm="proxy"`)
		}
		e.w.Header().Set("Server", "envoy")
		e.w.WriteHeader(status(name))
		send(e.w, []byte(words))
	})
	fault.Words = words
	return fault
}

func redirect(name, doc, location string) Fault {
	return answers(name, doc, func(e *exchange) {
		insert := strings.NewReplacer("{host}", e.r.Host, "{target}", e.r.RequestURI)
		http.Redirect(e.w, e.r, insert.Replace(location), status(name))
	})
}

func withStatus(name string) Fault {
	return answers(name, "the book", func(e *exchange) {
		e.ok.status = status(name)
		e.good()
	})
}

// otherProtocol is another protocol on the connection.
func otherProtocol(name, doc, answer string) Fault {
	return Fault{Name: name, Doc: doc, serve: func(e *exchange) { e.raw([]byte(answer)) }}
}
