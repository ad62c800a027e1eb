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
	noFault = "ok"

	// deepNesting is ten times deeper than encoding/json goes.
	deepNesting = 100_000
	// bigSize is ten times what a client should read.
	bigSize = 10 << 20
	// pieces is the number of pieces of a slow body.
	pieces = 20
	// rawTimeout bounds a fault that writes to the raw connection.
	rawTimeout = 10 * time.Second
	// beforeReset is time for the client to read what was sent: a reset discards
	// what it has not read.
	beforeReset = 50 * time.Millisecond

	// upstreamError begins Envoy's answer for an upstream that it cannot reach.
	upstreamError = "upstream connect error or disconnect/reset before headers. reset reason: "
	// connectionFailure is the whole answer since Envoy 1.38.1. Before, the reason
	// followed.
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
	Book      bool   // the answer is 200 and holds the volume requested
	BrokenOff bool   // the body ends early
	Slow      bool   // takes longer than a client should wait

	// serve answers one request. It may panic with http.ErrAbortHandler to cut
	// the connection, or the stream in HTTP/2.
	serve func(*exchange)
}

// Faults lists every fault, and "ok" for none.
func Faults() []Fault {
	return []Fault{
		book(noFault, "no fault: the book", (*exchange).good),

		google("400-required", "no q"),
		google("400-query-required", "q is empty"),
		google("400-invalid-parameter", "maxResults=100"),
		google("400-api-key-invalid", "a wrong key"),
		google("403-ssl-required", "plain HTTP"),
		google("403-unknown-location", "caller of no country"),
		google("403-access-not-configured", "the API is off"),
		google("403-daily-limit-exceeded", "old envelope"),
		google("403-user-rate-limit-exceeded", "old envelope"),
		google("404-not-found", "no such volume"),
		google("429-keyless", "no key"),
		google("429-per-day", "1000 per day"),
		google("429-per-minute", "100 per minute"),
		google("503-backend-failed", "passing trouble"),
		google("503-backend-failed-old", "old envelope"),

		html("500-html", http.StatusInternalServerError),
		html("502-html", http.StatusBadGateway),
		html("503-html", http.StatusServiceUnavailable),
		html("504-html", http.StatusGatewayTimeout),

		envoy("502-empty", "blocked by the mesh, no body", http.StatusBadGateway, ""),
		envoy("503-envoy", "upstream hung up", http.StatusServiceUnavailable, upstreamError+"connection termination"),
		envoy("503-envoy-connection", "no connection or no TLS", http.StatusServiceUnavailable, connectionFailure),
		envoy("503-envoy-certificate", "before 1.38.1: no trust", http.StatusServiceUnavailable,
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
		unusable("empty", "an empty body", (*exchange).empty),
		unusable("wrong-content-length", "Content-Length of half the body", (*exchange).wrongContentLength),
		unusable("trailing-rubbish", "the book, then rubbish", func(e *exchange) {
			e.good()
			send(e.w, []byte("}rubbish"))
		}),
		unusable("deep-nesting", "the book and 100,000 nested arrays", insert(
			`"nested": `+strings.Repeat("[", deepNesting)+strings.Repeat("]", deepNesting))),
		unusable("10-mb", "the book and 10 MiB of padding", (*exchange).tenMegabytes),
		unusable("invalid-utf-8", "the book and a string not in UTF-8", insert("\"bytes\": \"\xff\xfe\"")),
		unusable("lone-surrogate", `the book and a string of \ud800 alone`, insert(`"lone": "\ud800"`)),
		book("duplicate-keys", "the book; before it, no items", insert(`"totalItems": 0, "items": []`)),
		book("another-volume-odd-field", `the book, then one of "pageCount": 80.0`, (*exchange).oddVolume),
		book("early-hints", "after a 103 (RFC 8297)", (*exchange).earlyHints),

		brokenOff("cut", "half the body, in spite of Content-Length", (*exchange).cut),
		brokenOff("cut-chunked", "half the body, no last chunk", (*exchange).cutChunked),
		brokenOff("reset-body", "half the body, then a reset (RST)", (*exchange).resetBody),
		{Name: "close", Doc: "the connection ends (FIN), no answer", serve: (*exchange).close},
		{Name: "reset", Doc: "a reset (RST), no answer", serve: (*exchange).reset},
		{Name: "not-http", Doc: "SSH", serve: (*exchange).notHTTP},
		{Name: "slow-headers", Doc: "10 s of nothing, then the book", Slow: true, serve: (*exchange).slowHeaders},
		{Name: "slow-body", Doc: "200, the book in 10 s", Status: http.StatusOK, Slow: true, serve: (*exchange).slowBody},
		{Name: "hang", Doc: "nothing until the client hangs up", Slow: true, serve: (*exchange).hang},
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

// envoy is an answer of Envoy's own: plain text, none of Google's headers.
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

func unknownFaultError(name string) error { return fmt.Errorf("unknown fault %q", name) }

// exchange is one request and its good answer, for a fault to spoil.
type exchange struct {
	w    http.ResponseWriter
	r    *http.Request
	ok   answer
	slow time.Duration
}

func (e *exchange) good() { e.ok.write(e.w) }

// insert puts members before all others of the good answer.
func insert(members string) func(*exchange) {
	return func(e *exchange) {
		e.ok.body = bytes.Replace(e.ok.body, []byte("{"), []byte("{"+members+","), 1)
		e.good()
	}
}

// tenMegabytes sends the padding in pieces, so that it takes no memory.
func (e *exchange) tenMegabytes() {
	e.ok.begin(e.w)
	send(e.w, []byte(`{"padding": "`))
	piece := bytes.Repeat([]byte("x"), 32<<10)
	for range bigSize / len(piece) {
		send(e.w, piece)
	}
	send(e.w, append([]byte(`",`), bytes.TrimPrefix(e.ok.body, []byte("{"))...))
}

// oddVolume adds a volume with a number that is no integer in JSON.
func (e *exchange) oddVolume() {
	if end := bytes.LastIndexByte(e.ok.body, ']'); end >= 0 {
		odd := `, {"volumeInfo": {"title": "Odd", "pageCount": 80.0}}`
		e.ok.body = append(append(bytes.Clone(e.ok.body[:end]), odd...), e.ok.body[end:]...)
	}
	e.good()
}

func (e *exchange) half() []byte { return e.ok.body[:len(e.ok.body)/2] }

func (e *exchange) empty() {
	e.w.Header().Set("Content-Length", "0")
	e.ok.begin(e.w)
}

func (e *exchange) cut() {
	e.w.Header().Set("Content-Length", strconv.Itoa(len(e.ok.body)))
	e.cutChunked()
}

func (e *exchange) cutChunked() {
	e.ok.begin(e.w)
	send(e.w, e.half())
	flush(e.w)
	panic(http.ErrAbortHandler)
}

// wrongContentLength takes the raw connection: net/http sends no more bytes than
// announced. Over HTTP/2 it sends half the body.
func (e *exchange) wrongContentLength() {
	if e.r.ProtoMajor > 1 {
		e.ok.body = e.half()
		e.w.Header().Set("Content-Length", strconv.Itoa(len(e.ok.body)))
		e.good()
		return
	}
	conn := e.hijack()
	defer end(conn)
	send(conn, e.raw(len(e.half()), e.ok.body))
}

// raw returns the good answer in HTTP/1.1, with that Content-Length.
func (e *exchange) raw(length int, body []byte) []byte {
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
		e.ok.status, http.StatusText(e.ok.status), e.ok.contentType, length, body)
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

func (e *exchange) resetBody() {
	if e.r.ProtoMajor > 1 {
		e.cutChunked()
	}
	conn := e.hijack()
	send(conn, e.raw(len(e.ok.body), e.half()))
	time.Sleep(beforeReset)
	reset(conn)
}

func (e *exchange) slowHeaders() {
	e.wait(e.slow)
	e.good()
}

func (e *exchange) slowBody() {
	e.ok.begin(e.w)
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
	defer end(conn)
	send(conn, []byte("SSH-2.0-OpenSSH_9.9\r\n"))
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
	_ = conn.SetDeadline(time.Now().Add(rawTimeout)) // fails if the connection has ended: so will a write
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
