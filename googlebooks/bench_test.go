package googlebooks

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/bookinfo/googlebooks/googlebookstest"
)

// BenchmarkHandshake opens TLS connections over TCP. The server's certificate
// is about as long as a chain of three certificates: 4 KB.
func BenchmarkHandshake(b *testing.B) {
	names := []string{"127.0.0.1"}
	for i := range 100 {
		names = append(names, fmt.Sprintf("another-name-%03d.books.example", i))
	}
	certPEM, keyPEM, caPEM, err := googlebookstest.NewCertificate(googlebookstest.Leaf{Names: names})
	require.NoError(b, err)
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	require.NoError(b, err)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	require.NoError(b, err)
	defer func() { require.NoError(b, listener.Close()) }()
	go func() {
		for conn, err := listener.Accept(); err == nil; conn, err = listener.Accept() {
			_, _ = io.WriteString(conn, "hello")
			_ = conn.Close()
		}
	}()
	cfg := &tls.Config{RootCAs: x509.NewCertPool()}
	require.True(b, cfg.RootCAs.AppendCertsFromPEM(caPEM))
	for _, name := range []string{"full", "resumed"} {
		b.Run(name, func(b *testing.B) {
			var read, written int
			newDialer := func() dialer {
				return dialer(func(ctx context.Context, network, address string) (net.Conn, error) {
					conn, err := new(net.Dialer).DialContext(ctx, network, address)
					return &countingConn{conn, &read, &written}, err
				}).tls(cfg)
			}
			dial := newDialer()
			for b.Loop() {
				if name == "full" {
					dial = newDialer()
				}
				conn, err := dial(b.Context(), "tcp", listener.Addr().String())
				require.NoError(b, err)
				_, err = io.Copy(io.Discard, conn) // the server sends the session before "hello"
				require.NoError(b, err)
				require.NoError(b, conn.Close())
			}
			b.ReportMetric(float64(read/b.N), "B-read/op")
			b.ReportMetric(float64(written/b.N), "B-written/op")
		})
	}
}

// countingConn counts the bytes that connections carry.
type countingConn struct {
	net.Conn

	read, written *int
}

func (c *countingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	*c.read += n
	return n, err
}

func (c *countingConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	*c.written += n
	return n, err
}
