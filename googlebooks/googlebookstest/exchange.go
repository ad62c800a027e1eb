package googlebookstest

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// exchange is a request and its good answer, which a fault may change.
type exchange struct {
	w    http.ResponseWriter
	r    *http.Request
	conn *tlsConn // nil in plain HTTP
	ok   answer
	slow time.Duration
}

// begin sends the headers that Google sent in 2026, without Content-Length.
func (e *exchange) begin() {
	h := e.w.Header()
	h.Set("Content-Type", e.ok.contentType)
	h["Vary"] = []string{"Origin", "X-Origin", "Referer"}
	h.Set("Server", "ESF")
	h.Set("X-XSS-Protection", "0")
	h.Set("X-Frame-Options", "SAMEORIGIN")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Alt-Svc", `h3=":443"; ma=2592000,h3-29=":443"; ma=2592000`)
	e.w.WriteHeader(e.ok.status)
	e.flush()
}

func (e *exchange) good() {
	e.begin()
	send(e.w, e.ok.body)
}

// always gives the same answer to every request.
func always(a answer) func(*exchange) {
	return func(e *exchange) {
		e.ok = a
		e.good()
	}
}

// page is always a 200 with this body.
func page(contentType, body string) func(*exchange) {
	return always(answer{http.StatusOK, contentType, []byte(body)})
}

// insert serves the good answer with these members before all others.
func insert(members string) func(*exchange) {
	return func(e *exchange) {
		e.ok.body = append([]byte("{"+members+","), bytes.TrimPrefix(e.ok.body, []byte("{"))...)
		e.good()
	}
}

// coded serves the good answer in a content coding.
func coded(coding string, encode func([]byte) []byte) func(*exchange) {
	return func(e *exchange) {
		e.w.Header().Set("Content-Encoding", coding)
		e.ok.body = encode(e.ok.body)
		e.setContentLength(len(e.ok.body))
		e.good()
	}
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	send(w, b)
	_ = w.Close() // a buffer cannot fail
	return out.Bytes()
}

// brotli encodes at most 64 KiB as one uncompressed meta-block and an empty
// last one (RFC 7932, section 9).
func brotli(b []byte) []byte {
	header := binary.LittleEndian.AppendUint32(nil, 1<<20|uint32(len(b)-1)<<4) //nolint:gosec // at most 64 KiB
	return slices.Concat(header[:3], b, []byte{3})
}

// tenMegabytes sends the padding in pieces, so that it takes no memory.
func (e *exchange) tenMegabytes() {
	e.begin()
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
	e.begin()
	send(e.w, e.ok.body[:half])
	e.flush()
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
		e.raw(rest)
	}
}

func (e *exchange) earlyHints() {
	e.w.Header().Set("Link", "</books/>; rel=preconnect")
	e.w.WriteHeader(http.StatusEarlyHints)
	e.w.Header().Del("Link")
	e.good()
}

func (e *exchange) close() { e.raw(nil) }

func (e *exchange) goAway() {
	if e.r.ProtoMajor == 2 {
		e.conn.goAway()
	}
	e.close()
}

func (e *exchange) refuseStream() {
	if e.r.ProtoMajor == 2 {
		e.conn.refuse.Add(1)
	}
	e.close()
}

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
	e.begin()
	const pieces = 20
	size := len(e.ok.body)
	for i := range pieces {
		send(e.w, e.ok.body[size*i/pieces:size*(i+1)/pieces])
		e.flush()
		e.wait(e.slow / pieces)
	}
}

func (e *exchange) hang() {
	<-e.r.Context().Done()
	panic(http.ErrAbortHandler)
}

// wait waits, and ends the request if the client hangs up or the server closes.
func (e *exchange) wait(d time.Duration) {
	select {
	case <-time.After(d):
	case <-e.r.Context().Done():
		panic(http.ErrAbortHandler)
	}
}

// raw sends b over the raw connection and closes it.
func (e *exchange) raw(b []byte) {
	conn := e.hijack()
	send(conn, b)
	end(conn)
}

// hijack takes over the raw connection. In HTTP/2, where a request has none, it
// resets the stream.
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
	if t, ok := conn.(*tlsConn); ok {
		conn = t.tls.NetConn()
	}
	if t, ok := conn.(*net.TCPConn); ok {
		_ = t.SetLinger(0) // a client that has hung up needs no reset
	}
	end(conn)
}

// flush, send and end ignore errors: they mean that the client has hung up.
func (e *exchange) flush() { _ = http.NewResponseController(e.w).Flush() }

func send(w io.Writer, b []byte) { _, _ = w.Write(b) }

func end(conn net.Conn) { _ = conn.Close() }
