package googlebookstest

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// upstreamError begins Envoy's answer for an upstream that it cannot reach.
	upstreamError = "upstream connect error or disconnect/reset before headers. reset reason: "
	// connectionFailure is the whole answer of Envoy 1.40. In older versions,
	// the reason follows.
	connectionFailure = upstreamError + "remote connection failure"
)

// Fault is a way in which Google, or the network in between, fails. All fields
// but the first two say what a client sees.
type Fault struct {
	Name string // for Server.Script, Share and the emulator's --fail
	Doc  string // one line

	Status    int    // HTTP status; 0 if none arrives in time
	Reason    string // in Google's error
	Words     string // the whole body of Envoy's own answer
	Book      bool   // the answer is 200 and contains the requested volume
	BrokenOff bool   // the body ends early
	Slow      bool   // takes longer than a client should wait

	// serve answers one request. It may panic with http.ErrAbortHandler to cut
	// the connection, or the stream in HTTP/2.
	serve func(*exchange)
}

// Faults lists every fault, and "ok" for none.
func Faults() []Fault {
	return []Fault{
		book("ok", "no fault: the book", (*exchange).good),

		google("400-required", "no q"),
		google("400-query-required", "q is empty"),
		google("400-invalid-parameter", "maxResults=100"),
		google("400-api-key-invalid", "invalid key"),
		google("403-ssl-required", "plain HTTP"),
		google("403-unknown-location", "no country known"),
		google("403-access-not-configured", "API not enabled"),
		google("403-daily-limit-exceeded", "old envelope"),
		google("403-user-rate-limit-exceeded", "old envelope"),
		google("404-not-found", "no such volume"),
		google("429-keyless", "no key"),
		google("429-per-day", "1000 per day"),
		google("429-per-minute", "100 per minute"),
		google("503-backend-failed", "temporary failure"),
		google("503-backend-failed-old", "old envelope"),

		html("500-html", http.StatusInternalServerError),
		html("502-html", http.StatusBadGateway),
		html("503-html", http.StatusServiceUnavailable),
		html("504-html", http.StatusGatewayTimeout),

		envoy("502-empty", "blocked by the mesh, no body", http.StatusBadGateway, ""),
		envoy("503-envoy", "upstream disconnected", http.StatusServiceUnavailable, upstreamError+"connection termination"),
		envoy("503-envoy-connection", "no connection or no TLS", http.StatusServiceUnavailable, connectionFailure),
		envoy("503-envoy-certificate", "older Envoy: untrusted", http.StatusServiceUnavailable,
			connectionFailure+", transport failure reason: TLS_error:|268435581:SSL routines:"+
				"OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:TLS_error_end"),
		envoy("503-envoy-overflow", "circuit breaker", http.StatusServiceUnavailable, upstreamError+"overflow"),
		envoy("503-envoy-no-upstream", "no endpoint", http.StatusServiceUnavailable, "no healthy upstream"),
		envoy("504-envoy-timeout", "slow upstream", http.StatusGatewayTimeout, "upstream request timeout"),
		envoy("429-envoy-rate-limit", "local rate limit", http.StatusTooManyRequests, "local_rate_limited"),
		envoy("403-envoy-rbac", "AuthorizationPolicy", http.StatusForbidden, "RBAC: access denied"),
		envoy("403-egress-policy", "deploy/books-only", http.StatusForbidden,
			"egress policy: only GET /books/v1/volumes may leave\n"),

		withStatus("202-accepted", http.StatusAccepted),
		withStatus("206-partial-content", http.StatusPartialContent),
		{Name: "redirect", Doc: "302 to another host", Status: http.StatusFound, serve: (*exchange).redirect},
		unusable("html", "an HTML page, as from a captive portal", func(e *exchange) {
			e.ok.contentType = "text/html; charset=UTF-8"
			e.ok.body = []byte("<!DOCTYPE html>\n<title>Log in</title>\n<p>Log in to this network.\n")
			e.good()
		}),
		unusable("empty", "an empty body", func(e *exchange) {
			e.ok.body = nil
			e.setContentLength(0)
			e.good()
		}),
		unusable("wrong-content-length", "Content-Length of half the body", (*exchange).wrongContentLength),
		unusable("trailing-rubbish", "the book, then rubbish", func(e *exchange) {
			e.good()
			send(e.w, []byte("}rubbish"))
		}),
		unusable("deep-nesting", "the book and 100,000 nested arrays", insert(
			`"nested": `+strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000))),
		unusable("10-mb", "the book and 10 MiB of padding", (*exchange).tenMegabytes),
		unusable("invalid-utf-8", "the book and a string not in UTF-8", insert("\"bytes\": \"\xff\xfe\"")),
		unusable("lone-surrogate", `the book and a string of \ud800 alone`, insert(`"lone": "\ud800"`)),
		book("duplicate-keys", "the book; before it, no items", insert(`"totalItems": 0, "items": []`)),
		book("another-volume-odd-field", `the book, then one of "pageCount": 80.0`, edit(
			"\n  ]\n}", `, {"volumeInfo": {"title": "Odd", "pageCount": 80.0}}`+"\n  ]\n}")),
		book("early-hints", "after a 103 (RFC 8297)", (*exchange).earlyHints),

		brokenOff("cut", "half the body, despite Content-Length", (*exchange).cut),
		brokenOff("cut-chunked", "half the body, no last chunk", (*exchange).cutChunked),
		brokenOff("reset-body", "half the body, then a reset (RST)", (*exchange).resetBody),
		{Name: "close", Doc: "the connection ends (FIN), no answer", serve: (*exchange).close},
		{Name: "reset", Doc: "a reset (RST), no answer", serve: (*exchange).reset},
		{Name: "not-http", Doc: "SSH", serve: (*exchange).notHTTP},
		{Name: "slow-headers", Doc: "10 s of nothing, then the book", Slow: true, serve: (*exchange).slowHeaders},
		{Name: "slow-body", Doc: "200, the book in 10 s", Status: http.StatusOK, Slow: true, serve: (*exchange).slowBody},
		{Name: "hang", Doc: "no answer until the client disconnects", Slow: true, serve: (*exchange).hang},
	}
}

// google is an error in Google's JSON.
func google(name, doc string) Fault {
	a := errorAnswer(name)
	return Fault{
		Name: name, Doc: fmt.Sprintf("%d %s: %s", a.status, a.reason, doc), Status: a.status, Reason: a.reason,
		serve: func(e *exchange) { a.write(e.w) },
	}
}

// html is an error page of Google's front end.
func html(name string, status int) Fault {
	return Fault{
		Name: name, Doc: fmt.Sprintf("%d, HTML page of Google's front end", status), Status: status,
		serve: func(e *exchange) { htmlError(status).write(e.w) },
	}
}

// envoy is Envoy's own answer: plain text, without Google's headers.
func envoy(name, doc string, status int, words string) Fault {
	return Fault{
		Name: name, Doc: fmt.Sprintf("%d by Envoy: %s", status, doc), Status: status, Words: words,
		serve: func(e *exchange) {
			if words != "" {
				e.w.Header().Set("Content-Type", "text/plain")
			}
			e.w.Header().Set("Content-Length", strconv.Itoa(len(words)))
			e.w.Header().Set("Server", "envoy")
			e.w.WriteHeader(status)
			send(e.w, []byte(words))
		},
	}
}

func withStatus(name string, status int) Fault {
	return Fault{
		Name: name, Doc: fmt.Sprintf("%d with the book", status), Status: status,
		serve: func(e *exchange) {
			e.ok.status = status
			e.good()
		},
	}
}

func book(name, doc string, serve func(*exchange)) Fault {
	return Fault{Name: name, Doc: "200, " + doc, Status: http.StatusOK, Book: true, serve: serve}
}

func unusable(name, doc string, serve func(*exchange)) Fault {
	return Fault{Name: name, Doc: "200, " + doc, Status: http.StatusOK, serve: serve}
}

func brokenOff(name, doc string, serve func(*exchange)) Fault {
	return Fault{Name: name, Doc: "200, " + doc, Status: http.StatusOK, BrokenOff: true, serve: serve}
}

// findFaults returns the faults of those names.
func findFaults(names ...string) ([]Fault, error) {
	byName := make(map[string]Fault)
	for _, fault := range Faults() {
		byName[fault.Name] = fault
	}
	found := make([]Fault, len(names))
	for i, name := range names {
		var ok bool
		if found[i], ok = byName[name]; !ok {
			return nil, fmt.Errorf("unknown fault %q", name)
		}
	}
	return found, nil
}

// exchange is a request and its good answer, which a fault may change.
type exchange struct {
	w    http.ResponseWriter
	r    *http.Request
	ok   answer
	slow time.Duration
}

func (e *exchange) good() { e.ok.write(e.w) }

// edit replaces the first occurrence of a text in the good answer.
func edit(old, replacement string) func(*exchange) {
	return func(e *exchange) {
		e.ok.body = bytes.Replace(e.ok.body, []byte(old), []byte(replacement), 1)
		e.good()
	}
}

// insert puts members before all others of the good answer.
func insert(members string) func(*exchange) { return edit("{", "{"+members+",") }

// tenMegabytes sends the padding in pieces, so that it takes no memory.
func (e *exchange) tenMegabytes() {
	e.ok.begin(e.w)
	send(e.w, []byte(`{"padding": "`))
	piece := bytes.Repeat([]byte("x"), 32<<10)
	for range 10 << 20 / len(piece) {
		send(e.w, piece)
	}
	send(e.w, append([]byte(`",`), bytes.TrimPrefix(e.ok.body, []byte("{"))...))
}

func (e *exchange) setContentLength(n int) { e.w.Header().Set("Content-Length", strconv.Itoa(n)) }

// sendHalf sends the first half of the body and returns the rest.
func (e *exchange) sendHalf() []byte {
	half := len(e.ok.body) / 2
	e.ok.begin(e.w)
	send(e.w, e.ok.body[:half])
	flush(e.w)
	return e.ok.body[half:]
}

func (e *exchange) cut() {
	e.setContentLength(len(e.ok.body))
	e.cutChunked()
}

func (e *exchange) cutChunked() {
	e.sendHalf()
	panic(http.ErrAbortHandler)
}

// wrongContentLength sends the rest over the raw connection: net/http sends no
// more bytes than announced. Over HTTP/2 it sends half the body.
func (e *exchange) wrongContentLength() {
	e.setContentLength(len(e.ok.body) / 2)
	rest := e.sendHalf()
	if e.r.ProtoMajor == 1 {
		conn := e.hijack()
		send(conn, rest)
		end(conn)
	}
}

// redirect names a host that cannot exist: RFC 2606 reserves .invalid.
func (e *exchange) redirect() {
	http.Redirect(e.w, e.r, "https://elsewhere.invalid"+e.r.RequestURI, http.StatusFound)
}

func (e *exchange) earlyHints() {
	e.w.Header().Set("Link", "</books/>; rel=preconnect")
	e.w.WriteHeader(http.StatusEarlyHints)
	e.w.Header().Del("Link")
	e.good()
}

func (e *exchange) close() { end(e.hijack()) }

func (e *exchange) reset() { reset(e.hijack()) }

// resetBody gives the client time to read: a reset discards what it has not read.
func (e *exchange) resetBody() {
	e.setContentLength(len(e.ok.body))
	e.sendHalf()
	conn := e.hijack()
	time.Sleep(50 * time.Millisecond)
	reset(conn)
}

func (e *exchange) slowHeaders() {
	e.wait(e.slow)
	e.good()
}

func (e *exchange) slowBody() {
	e.ok.begin(e.w)
	const pieces = 20
	size := len(e.ok.body)
	for i := range pieces {
		send(e.w, e.ok.body[size*i/pieces:size*(i+1)/pieces])
		flush(e.w)
		e.wait(e.slow / pieces)
	}
}

func (e *exchange) hang() {
	e.wait(maxHang)
	panic(http.ErrAbortHandler)
}

func (e *exchange) notHTTP() {
	conn := e.hijack()
	send(conn, []byte("SSH-2.0-OpenSSH_9.9\r\n"))
	end(conn)
}

// wait waits, and ends the request if the client hangs up or the server closes.
func (e *exchange) wait(d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-time.After(d):
	case <-e.r.Context().Done():
		panic(http.ErrAbortHandler)
	}
}

// hijack takes over the raw connection. HTTP/2 has none: there it resets the
// stream, which is closest.
func (e *exchange) hijack() net.Conn {
	conn, _, err := http.NewResponseController(e.w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	return conn
}

// reset ends a connection with RST instead of FIN. It does so below TLS, which
// would send close_notify first.
func reset(conn net.Conn) {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	if t, ok := conn.(*net.TCPConn); ok {
		_ = t.SetLinger(0) // a client that has hung up needs no reset
	}
	end(conn)
}

// send, flush and end ignore errors: they mean that the client has hung up.
func send(w io.Writer, b []byte) { _, _ = w.Write(b) }

func flush(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }

func end(conn net.Conn) { _ = conn.Close() }
