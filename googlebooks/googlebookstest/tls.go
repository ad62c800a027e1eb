package googlebookstest

import (
	"context"
	"crypto/tls"
	"errors"
	"log" //nolint:depguard // http.Server.ErrorLog is one
	"net"
	"sync"
	"sync/atomic"
)

// tlsListener accepts connections over TLS, each as a tlsConn.
type tlsListener struct {
	net.Listener

	config   *tls.Config
	errorLog *log.Logger
}

func (l *tlsListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := tls.Server(conn, l.config)
	return &tlsConn{Conn: c, tls: c, handshake: sync.OnceValue(func() error {
		err := c.HandshakeContext(context.Background())
		if err != nil { // do what net/http does
			if notTLS, ok := errors.AsType[tls.RecordHeaderError](err); ok && notTLS.Conn != nil {
				send(notTLS.Conn, []byte("HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"))
			}
			l.errorLog.Printf("http: TLS handshake error from %s: %v", c.RemoteAddr(), err)
		}
		return err
	})}, nil
}

// tlsConn is a server's connection over TLS, in HTTP/2 or HTTP/1.1. net/http takes
// it for one without TLS. Through it, a handler can send what net/http sends for
// no single request: GOAWAY and REFUSED_STREAM.
type tlsConn struct {
	net.Conn // not *tls.Conn: if it had a ConnectionState, net/http would expect no HTTP/2

	tls       *tls.Conn
	handshake func() error // makes it once
	pending   []byte       // HTTP/2: begins with the frame that is being written
	refuse    atomic.Int32 // HTTP/2: how many of the next resets refuse their stream
}

// tlsConnKey is the key of the tlsConn in the context of a request.
type tlsConnKey struct{}

func (c *tlsConn) Read(b []byte) (int, error) {
	if err := c.handshake(); err != nil {
		return 0, err
	}
	return c.Conn.Read(b)
}

// Write writes the frames of HTTP/2 that are complete, so that goAway comes
// between two. A frame's header has 9 bytes: the length of the rest (3), type,
// flags, stream.
func (c *tlsConn) Write(b []byte) (int, error) {
	if c.tls.ConnectionState().NegotiatedProtocol != "h2" {
		return c.Conn.Write(b)
	}
	c.pending = append(c.pending, b...)
	end := 0
	for frame := c.pending; len(frame) >= 9; frame = c.pending[end:] {
		size := 9 + int(frame[0])<<16 + int(frame[1])<<8 + int(frame[2])
		if len(frame) < size {
			break
		}
		const rstStream, refusedStream = 3, 7 // RFC 9113, sections 6.4 and 7
		if frame[3] == rstStream && c.refuse.Load() > 0 {
			frame[size-1] = refusedStream // was INTERNAL_ERROR
			c.refuse.Add(-1)
		}
		end += size
	}
	_, err := c.Conn.Write(c.pending[:end])
	c.pending = append(c.pending[:0], c.pending[end:]...)
	return len(b), err
}

// goAway sends GOAWAY and closes the connection. The last stream is the highest
// there can be: the client must not repeat its request by itself. Empty SETTINGS
// come first, because those of net/http may not have been sent yet.
func (c *tlsConn) goAway() {
	send(c.Conn, []byte("\x00\x00\x00\x04\x00\x00\x00\x00\x00"))
	send(c.Conn, []byte("\x00\x00\x08\x07\x00\x00\x00\x00\x00"+"\x7f\xff\xff\xff"+"\x00\x00\x00\x00"))
	end(c)
}
