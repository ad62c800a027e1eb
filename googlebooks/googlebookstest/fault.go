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
	// pieces is how many pieces a slow body comes in.
	pieces = 20
	// rawTimeout bounds the writing of a fault to a connection taken over from net/http.
	rawTimeout = 10 * time.Second
	// beforeReset lets the client read what was sent: a reset throws away what it has not read yet.
	beforeReset = 50 * time.Millisecond
)

// Fault is a way for Google, or for the network in between, to fail.
type Fault struct {
	Name string // for Handler.Script, Share and the emulator's --fail
	Doc  string // one line: what arrives
	// serve ends one request; it may panic with http.ErrAbortHandler to cut the connection, in HTTP/2 the stream.
	serve func(*exchange)
}

// Faults lists every fault, and "ok" for none.
func Faults() []Fault {
	return []Fault{
		{noFault, "no fault: the good answer", (*exchange).good},

		{"400-required", "400 required: no q", reply(missingQuery())},
		{"400-query-required", "400 queryRequired: q is empty", reply(emptyQuery())},
		{"400-invalid-parameter", "400 invalidParameter: a parameter out of range", reply(invalidMaxResults("100"))},
		{"400-api-key-invalid", "400 badRequest, API_KEY_INVALID: a wrong key", reply(apiKeyInvalid())},
		{"403-ssl-required", "403 sslRequired: plain HTTP", reply(sslRequired())},
		{"403-unknown-location", "403 unknownLocation: no country for the caller's address", reply(unknownLocation())},
		{"403-access-not-configured", "403 accessNotConfigured, SERVICE_DISABLED: the API is off", reply(accessNotConfigured())},
		{"403-daily-limit-exceeded", "403 dailyLimitExceeded, old envelope: the day's quota is spent", reply(dailyLimitExceeded())},
		{"403-user-rate-limit-exceeded", "403 userRateLimitExceeded, old envelope: too fast", reply(userRateLimitExceeded())},
		{"404-not-found", "404 notFound: no such volume", reply(volumeNotFound())},
		{"429-keyless", "429 rateLimitExceeded, 0 a day: what a call without a key gets", reply(quotaKeyless())},
		{"429-per-day", "429 rateLimitExceeded, 1000 a day: the key's quota is spent", reply(quotaPerDay())},
		{"429-per-minute", "429 rateLimitExceeded, 100 a minute: too fast", reply(quotaPerMinute())},
		{
			"503-backend-failed", "503 backendFailed: Google's passing trouble, gone at the next try or the one after",
			reply(newError(http.StatusServiceUnavailable, "UNAVAILABLE", backendFailed())),
		},
		{
			"503-backend-failed-old", "503 backendFailed in the old envelope",
			reply(oldError(http.StatusServiceUnavailable, backendFailed())),
		},

		{"500-html", "500 with the HTML page of Google's front end", reply(htmlError(http.StatusInternalServerError))},
		{"502-html", "502 with the HTML page of Google's front end", reply(htmlError(http.StatusBadGateway))},
		{"503-html", "503 with the HTML page of Google's front end", reply(htmlError(http.StatusServiceUnavailable))},
		{"504-html", "504 with the HTML page of Google's front end", reply(htmlError(http.StatusGatewayTimeout))},
		{"502-empty", "502 without a body, as a mesh answers for a blocked egress", envoy(http.StatusBadGateway, "")},
		{
			"503-envoy", "503 upstream connect error, as Envoy answers for a dead upstream",
			envoy(http.StatusServiceUnavailable,
				"upstream connect error or disconnect/reset before headers. reset reason: connection termination"),
		},

		{"html", "200 with an HTML page, as a captive portal answers", reply(answer{
			http.StatusOK, "text/html; charset=UTF-8", []byte("<!DOCTYPE html>\n<title>Log in</title>\n<p>Log in to this network.\n"),
		})},
		{"empty", "200 with an empty body", (*exchange).empty},
		{"cut", "200, Content-Length, half of the body, end of connection", (*exchange).cut},
		{"cut-chunked", "200 in chunks, half of the body, end of connection without the last chunk", (*exchange).cutChunked},
		{"wrong-content-length", "200 with a Content-Length of half of the body", (*exchange).wrongContentLength},
		{"trailing-rubbish", "200, the good answer and rubbish behind it", edit(func(body []byte) []byte {
			return append(bytes.Clone(body), "}rubbish"...)
		})},
		{"deep-nesting", "200, the good answer with an unknown member of 100,000 nested arrays", edit(func(body []byte) []byte {
			return withMember(body, `"nested": `+strings.Repeat("[", deepNesting)+strings.Repeat("]", deepNesting))
		})},
		{"10-mb", "200, the good answer with 10 MiB of padding (10 kB on the wire if packed)", edit(func(body []byte) []byte {
			return withMember(body, `"padding": "`+strings.Repeat("x", bigSize)+`"`)
		})},
		{"invalid-utf-8", "200, the good answer with bytes that are not UTF-8 in a string", insert("\"bytes\": \"\xff\xfe\"")},
		{"lone-surrogate", `200, the good answer with the escape \ud800 alone in a string`, insert(`"lone": "\ud800"`)},
		{"duplicate-keys", "200, the good answer with other totalItems and items before the right ones", insert(
			`"totalItems": 0, "items": []`)},
		{"gzip-bad", "200, Content-Encoding gzip, a body that is not packed", gzipped(func(body []byte) []byte { return body })},
		{"gzip-cut", "200, Content-Encoding gzip, half of the packed body", gzipped(func(body []byte) []byte {
			b := packed(body)

			return b[:len(b)/2]
		})},
		{"redirect", "302 with a Location on another host", (*exchange).redirect},
		{"early-hints", "103 Early Hints (RFC 8297), then the good answer", (*exchange).earlyHints},

		{"close", "the connection ends (FIN) without an answer", (*exchange).close},
		{"reset", "the connection is reset (RST) without an answer", (*exchange).reset},
		{"reset-body", "200, half of the body, then the connection is reset (RST)", (*exchange).resetBody},
		{"slow-headers", "nothing for long (Options.Slow), then the good answer", (*exchange).slowHeaders},
		{"slow-body", "the headers at once, the body in drops for long (Options.Slow)", (*exchange).slowBody},
		{"hang", "nothing, until the client goes", (*exchange).hang},
		{"not-http", "the connection speaks SSH", (*exchange).notHTTP},
	}
}

func unknownFaultError(name string) error {
	return fmt.Errorf("there is no fault named %q", name)
}

// exchange is one request and the good answer to it, for a fault to spoil.
type exchange struct {
	w    http.ResponseWriter
	r    *http.Request
	ok   answer
	slow time.Duration
}

// reply answers a instead of the good answer.
func reply(a answer) func(*exchange) {
	return func(e *exchange) { a.write(e.w, e.r) }
}

// envoy answers as Envoy does for itself: in plain text, with none of Google's headers.
func envoy(status int, body string) func(*exchange) {
	return func(e *exchange) {
		if body != "" {
			e.w.Header().Set("Content-Type", "text/plain")
		}
		e.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		e.w.Header().Set("Server", "envoy")
		e.w.WriteHeader(status)
		send(e.w, []byte(body))
	}
}

// edit answers with the good body, changed.
func edit(change func([]byte) []byte) func(*exchange) {
	return func(e *exchange) {
		e.ok.body = change(e.ok.body)
		e.good()
	}
}

// insert answers with the good body and members before all others in its outermost object.
func insert(members string) func(*exchange) {
	return edit(func(body []byte) []byte { return withMember(body, members) })
}

func withMember(body []byte, member string) []byte {
	return bytes.Replace(body, []byte("{"), []byte("{"+member+","), 1)
}

// gzipped answers with a body that is said to be packed, asked for or not.
func gzipped(change func([]byte) []byte) func(*exchange) {
	return func(e *exchange) {
		e.ok.header(e.w.Header())
		e.w.Header().Set("Content-Encoding", "gzip")
		e.w.WriteHeader(e.ok.status)
		flush(e.w)
		send(e.w, change(e.ok.body))
	}
}

func (e *exchange) good() { e.ok.write(e.w, e.r) }

func (e *exchange) half() []byte { return e.ok.body[:len(e.ok.body)/2] }

func (e *exchange) empty() {
	e.ok.header(e.w.Header())
	e.w.Header().Set("Content-Length", "0")
	e.w.WriteHeader(e.ok.status)
}

func (e *exchange) cut() {
	e.ok.header(e.w.Header())
	e.w.Header().Set("Content-Length", strconv.Itoa(len(e.ok.body)))
	e.w.WriteHeader(e.ok.status)
	send(e.w, e.half())
	flush(e.w)
	panic(http.ErrAbortHandler)
}

func (e *exchange) cutChunked() {
	e.ok.header(e.w.Header())
	e.w.WriteHeader(e.ok.status)
	flush(e.w)
	send(e.w, e.half())
	flush(e.w)
	panic(http.ErrAbortHandler)
}

// wrongContentLength needs the raw connection: net/http sends no more bytes than it has said. In HTTP/2 it sends less.
func (e *exchange) wrongContentLength() {
	half := len(e.half())
	if e.r.ProtoMajor > 1 {
		e.ok.header(e.w.Header())
		e.w.Header().Set("Content-Length", strconv.Itoa(half))
		e.w.WriteHeader(e.ok.status)
		send(e.w, e.half())

		return
	}
	conn := e.hijack()
	defer end(conn)
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n",
		e.ok.status, http.StatusText(e.ok.status), e.ok.contentType, half)
	b.Write(e.ok.body)
	send(conn, b.Bytes())
}

// redirect names a host that exists nowhere: .invalid is reserved by RFC 2606.
func (e *exchange) redirect() {
	http.Redirect(e.w, e.r, "https://elsewhere.invalid"+e.r.RequestURI, http.StatusFound)
}

func (e *exchange) earlyHints() {
	e.w.Header().Set("Link", "</books/>; rel=preconnect")
	e.w.WriteHeader(http.StatusEarlyHints)
	e.w.Header().Del("Link")
	e.good()
}

func (e *exchange) close() {
	end(e.hijack())
}

func (e *exchange) reset() {
	reset(e.hijack())
}

func (e *exchange) resetBody() {
	if e.r.ProtoMajor > 1 {
		e.cutChunked()
	}
	conn := e.hijack()
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n",
		e.ok.status, http.StatusText(e.ok.status), e.ok.contentType, len(e.ok.body))
	b.Write(e.half())
	send(conn, b.Bytes())
	time.Sleep(beforeReset)
	reset(conn)
}

func (e *exchange) slowHeaders() {
	if !wait(e.r.Context(), e.slow) {
		panic(http.ErrAbortHandler)
	}
	e.good()
}

func (e *exchange) slowBody() {
	e.ok.header(e.w.Header())
	e.w.WriteHeader(e.ok.status)
	flush(e.w)
	size := len(e.ok.body)
	for i := range pieces {
		send(e.w, e.ok.body[size*i/pieces:size*(i+1)/pieces])
		flush(e.w)
		if !wait(e.r.Context(), e.slow/pieces) {
			panic(http.ErrAbortHandler)
		}
	}
}

func (e *exchange) hang() {
	wait(e.r.Context(), maxHang)
	panic(http.ErrAbortHandler)
}

func (e *exchange) notHTTP() {
	conn := e.hijack()
	defer end(conn)
	send(conn, []byte("SSH-2.0-OpenSSH_9.9\r\n"))
}

// hijack takes the raw connection over. HTTP/2 has none to give: there it resets the stream, the nearest thing.
func (e *exchange) hijack() net.Conn {
	conn, _, err := http.NewResponseController(e.w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	_ = conn.SetDeadline(time.Now().Add(rawTimeout)) // fails only where the connection has ended, as a write to it will

	return conn
}

// reset ends a connection with RST in place of FIN, below TLS, so that no close_notify goes first.
func reset(conn net.Conn) {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	if t, ok := conn.(*net.TCPConn); ok {
		_ = t.SetLinger(0) // a client that has gone already needs no reset
	}
	end(conn)
}

// send, flush and end leave errors alone: the client has gone, as many a fault makes it do, and nobody is left to be told.
func send(w io.Writer, b []byte) { _, _ = w.Write(b) }

func flush(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }

func end(conn net.Conn) { _ = conn.Close() }
