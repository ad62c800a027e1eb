package googlebookstest

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
)

// http2Conn is a server's connection of HTTP/2. Through it, a handler can send
// what net/http sends for no single request: GOAWAY and REFUSED_STREAM.
type http2Conn struct {
	net.Conn // not *tls.Conn: net/http would expect no HTTP/2

	tls   tls.ConnectionState
	close func() // closes Conn once

	mu      sync.Mutex
	pending []byte // begins with the frame that is being written
	refuse  int    // how many of the next resets refuse their stream
}

// http2Key is the key of the http2Conn in the context of a request.
type http2Key struct{}

// acceptHTTP2 returns an http.Server.TLSNextProto that passes each connection of
// HTTP/2 as an http2Conn to a server without TLS: net/http's own accepts none.
func (s *Server) acceptHTTP2(tlsListener net.Listener) map[string]func(*http.Server, *tls.Conn, http.Handler) {
	l := &http2Listener{Listener: tlsListener, conns: make(chan net.Conn), done: make(chan struct{})}
	l.close = sync.OnceFunc(func() { close(l.done) })
	server := s.newServer()
	server.Protocols = new(http.Protocols)
	server.Protocols.SetUnencryptedHTTP2(true)
	server.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		return context.WithValue(ctx, http2Key{}, conn)
	}
	s.serving.Go(func() { _ = server.Serve(l) }) // ends with l
	pass := func(_ *http.Server, conn *tls.Conn, _ http.Handler) {
		closed := make(chan struct{})
		c := &http2Conn{Conn: conn, tls: conn.ConnectionState(), close: sync.OnceFunc(func() {
			_ = conn.Close() // its error is that the client has hung up
			close(closed)
		})}
		select {
		case l.conns <- c:
			<-closed
		case <-l.done:
		}
	}
	return map[string]func(*http.Server, *tls.Conn, http.Handler){"h2": pass}
}

// http2Listener accepts the connections that acceptHTTP2 passes.
type http2Listener struct {
	net.Listener // for its address

	conns chan net.Conn
	done  chan struct{}
	close func() // closes done once
}

func (l *http2Listener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close ends Accept.
func (l *http2Listener) Close() error {
	l.close()
	return nil
}

// Close closes the connection.
func (c *http2Conn) Close() error {
	c.close()
	return nil
}

// Write writes the frames that are complete, so that goAway comes between two. A
// frame's header has 9 bytes: the length of the rest (3), type, flags, stream.
func (c *http2Conn) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending = append(c.pending, b...)
	end := 0
	for frame := c.pending; len(frame) >= 9; frame = c.pending[end:] {
		size := 9 + int(frame[0])<<16 + int(frame[1])<<8 + int(frame[2])
		if len(frame) < size {
			break
		}
		const rstStream, refusedStream = 3, 7 // RFC 9113, sections 6.4 and 7
		if c.refuse > 0 && frame[3] == rstStream {
			frame[size-1] = refusedStream // was INTERNAL_ERROR
			c.refuse--
		}
		end += size
	}
	_, err := c.Conn.Write(c.pending[:end])
	c.pending = append(c.pending[:0], c.pending[end:]...)
	return len(b), err
}

// refuseNext turns the next reset of a stream into a refusal.
func (c *http2Conn) refuseNext() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refuse++
}

// goAway sends GOAWAY and closes the connection. The last stream is the highest
// there can be: the client must not repeat its request by itself.
func (c *http2Conn) goAway() {
	c.mu.Lock()
	defer c.mu.Unlock()
	send(c.Conn, []byte("\x00\x00\x08\x07\x00\x00\x00\x00\x00"+"\x7f\xff\xff\xff"+"\x00\x00\x00\x00"))
	c.close()
}
