package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
)

// network plays what lies between the caller and Google Books: it passes bytes
// on and tells what a stranger can read of them.
type network struct {
	to   string // where all connections go; "": nowhere, as BlackHoleCluster does
	tell func(who, what string)
}

// carry takes one connection to its end.
func (n network) carry(ctx context.Context, client net.Conn) {
	name, hello := overhear(ctx, client)
	if n.to == "" {
		n.tell("mesh log", name+", no ServiceEntry for it: closed")

		return
	}
	server, err := new(net.Dialer).DialContext(ctx, "tcp", n.to)
	if err != nil {
		n.tell("network saw", name+": "+err.Error())

		return
	}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	defer func() { _ = server.Close() }()

	var out, in bytes.Buffer
	var copying sync.WaitGroup
	copying.Go(func() { pass(server, io.MultiReader(bytes.NewReader(hello), client), &out) })
	pass(client, server, &in)
	copying.Wait()

	rest := "nothing else"
	for _, secret := range []string{"/books/", "isbn:", "volumeInfo", fakeKey} {
		if bytes.Contains(out.Bytes(), []byte(secret)) || bytes.Contains(in.Bytes(), []byte(secret)) {
			rest = "and reads " + secret
		}
	}
	n.tell("network saw", fmt.Sprintf("%s, %d bytes out, %d in; %s", name, out.Len(), in.Len(), rest))
}

// pass copies until one side ends, shows what comes by, and lets the other side know.
func pass(to net.Conn, from io.Reader, seen io.Writer) {
	_, _ = io.Copy(to, io.TeeReader(from, seen)) // a cut connection has ended, too
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

// overhear reads the one thing that TLS says in the open, the server name of
// the ClientHello (SNI, RFC 6066 section 3), and returns all that it read.
func overhear(ctx context.Context, conn net.Conn) (name string, read []byte) {
	var heard bytes.Buffer
	name = "no server name"
	listener := tls.Server(mute{conn, io.TeeReader(conn, &heard)}, &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			if hello.ServerName != "" {
				name = strings.ToValidUTF8(hello.ServerName, "?")
			}

			return nil, errors.New("heard enough")
		},
	})
	_ = listener.HandshakeContext(ctx) // it always fails: it only listens

	return name, heard.Bytes()
}

// mute is a connection on which nothing can be said.
type mute struct {
	net.Conn

	from io.Reader
}

func (m mute) Read(b []byte) (int, error) { return m.from.Read(b) }

func (m mute) Write(b []byte) (int, error) { return len(b), nil }
