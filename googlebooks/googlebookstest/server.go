// Package googlebookstest is a stand-in for the Google Books volumes API, named
// as net/http/httptest is.
//
// It answers GET /books/v1/volumes?q=isbn:… as Google does, over plain HTTP and
// over TLS, with sample volumes. It can also fail, as Google and the network in
// between have been seen to fail: see Faults.
//
// Its answers follow https://developers.google.com/books/docs/v1/reference/volumes/list,
// the discovery document books/v1, and answers recorded in public repositories.
package googlebookstest

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log" //nolint:depguard // http.Server.ErrorLog is one
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// Config sets where a Server listens, the certificate that it presents and how
// it answers. The zero value answers with the sample volumes, requires no API
// key and has no faults.
type Config struct {
	// HTTPAddr and HTTPSAddr are the addresses to listen on for plain HTTP and
	// for TLS. If empty, a free port of 127.0.0.1. The host localhost stands for
	// both 127.0.0.1 and ::1, on the same port.
	HTTPAddr, HTTPSAddr string

	// Certificate is presented in the TLS handshake. If nil, a new CA issues one
	// for Leaf.
	Certificate *tls.Certificate
	Leaf        Leaf
	// MaxTLSVersion is the highest TLS version to accept, such as
	// tls.VersionTLS11, which clients refuse. Zero is TLS 1.3.
	MaxTLSVersion uint16

	// RequireKey answers 429, as Google has since 2026, to a call without an
	// API key in the header X-Goog-Api-Key or the parameter key.
	RequireKey bool
	// Keys are the valid API keys. Any other key gets Google's 400
	// API_KEY_INVALID. If empty, every key is valid.
	Keys []string
	// RequireTLS answers plain HTTP with Google's 403 sslRequired.
	RequireTLS bool
	// RefuseMeshHeaders answers a call with a header that describes the caller's
	// cluster, such as a sidecar may add, with a 400 that names the header.
	RefuseMeshHeaders bool

	// Delay is the time before every response.
	Delay time.Duration
	// Slow is how long the faults slow-headers and slow-body take. Zero is 10 s.
	Slow time.Duration
	// Shares are faults that happen at random: see ParseShares. Server.Script does
	// not depend on chance.
	Shares []Share

	// Log gets one line per request. If nil, there is no log.
	Log *log.Logger
	// ErrorLog gets what net/http logs. If nil, it is discarded.
	ErrorLog *log.Logger
}

// Server listens on two ports: one for HTTP/1.1, one for TLS with HTTP/2 and
// HTTP/1.1. It is also an http.Handler. It is safe for concurrent use.
type Server struct {
	HTTPAddr  string // address of plain HTTP
	HTTPSAddr string // address of TLS
	CAPEM     []byte // CA certificate for clients to trust; nil with Config.Certificate

	cfg       Config
	recording bool
	faults    map[string]Fault

	mu       sync.Mutex
	script   []Fault
	requests []Request

	servers []*http.Server
	serving sync.WaitGroup
}

// NewServer starts a Server for a test, which records the requests. Like
// net/http/httptest, it panics where Start returns an error. The caller must
// call Close.
func NewServer(cfg Config) *Server {
	s, err := start(cfg, true)
	if err != nil {
		panic(fmt.Sprintf("googlebookstest: %v", err))
	}
	return s
}

// Start starts a Server for a program. It records no requests: a program would
// keep the API keys of its callers. The caller must call Close. Start returns an
// error if it cannot listen.
func Start(cfg Config) (*Server, error) { return start(cfg, false) }

func start(cfg Config, recording bool) (*Server, error) {
	cfg.Slow = cmp.Or(cfg.Slow, 10*time.Second)
	discard := log.New(io.Discard, "", 0)
	cfg.Log, cfg.ErrorLog = cmp.Or(cfg.Log, discard), cmp.Or(cfg.ErrorLog, discard)
	s := &Server{cfg: cfg, recording: recording, faults: faultsByName()}
	if cfg.Certificate == nil {
		certPEM, keyPEM, caPEM, err := NewCertificate(cfg.Leaf)
		if err != nil {
			return nil, err
		}
		cert, err := tls.X509KeyPair(certPEM, keyPEM)
		if err != nil {
			return nil, err
		}
		cfg.Certificate, s.CAPEM = &cert, caPEM
	}
	var err error
	if s.HTTPAddr, err = s.serve(cfg.HTTPAddr, nil); err == nil {
		s.HTTPSAddr, err = s.serve(cfg.HTTPSAddr, &tls.Config{
			Certificates: []tls.Certificate{*cfg.Certificate},
			MinVersion:   min(tls.VersionTLS12, cmp.Or(cfg.MaxTLSVersion, tls.VersionTLS13)),
			MaxVersion:   cfg.MaxTLSVersion,
			NextProtos:   []string{"h2", "http/1.1"},
		})
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// CertPool returns a pool with the CA of the server. It is empty with
// Config.Certificate.
func (s *Server) CertPool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.CAPEM)
	return pool
}

// Client returns a new client that trusts the server and speaks HTTP/2 over TLS.
func (s *Server) Client() *http.Client {
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: s.CertPool()},
		ForceAttemptHTTP2: true,
	}}
}

// serve serves on addr, over TLS if tlsConfig is not nil, and returns the actual
// address.
func (s *Server) serve(addr string, tlsConfig *tls.Config) (string, error) {
	listeners, err := listen(cmp.Or(addr, "127.0.0.1:0"))
	if err != nil {
		return "", err
	}
	server := &http.Server{
		Handler:           s,
		Protocols:         new(http.Protocols),
		ReadHeaderTimeout: 10 * time.Second,
		WriteTimeout:      5 * time.Minute,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          s.cfg.ErrorLog,
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, tlsConnKey{}, conn)
		},
	}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(tlsConfig != nil) // it is encrypted by tlsConn
	s.servers = append(s.servers, server)
	for _, listener := range listeners {
		if tlsConfig != nil {
			listener = &tlsListener{listener, tlsConfig, s.cfg.ErrorLog}
		}
		s.serving.Go(func() {
			if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
				s.cfg.ErrorLog.Print(err)
			}
		})
	}
	return listeners[0].Addr().String(), nil
}

// listen listens on addr. For localhost, it returns a listener on 127.0.0.1 and,
// if the machine has it, one on ::1: clients try either first.
func listen(addr string) ([]net.Listener, error) {
	var config net.ListenConfig
	host, port, _ := net.SplitHostPort(addr)
	if host != "localhost" {
		listener, err := config.Listen(context.Background(), "tcp", addr)
		return []net.Listener{listener}, err
	}
	v4, err := config.Listen(context.Background(), "tcp", "127.0.0.1:"+port)
	if err != nil {
		return nil, err
	}
	_, actual, _ := net.SplitHostPort(v4.Addr().String())
	v6, err := config.Listen(context.Background(), "tcp", "[::1]:"+actual)
	switch {
	case err == nil:
		return []net.Listener{v4, v6}, nil
	case !errors.Is(err, syscall.EADDRINUSE): // there is no ::1
		return []net.Listener{v4}, nil
	}
	_ = v4.Close() // it has accepted nothing
	if port == "0" {
		return listen(addr)
	}
	return nil, err
}

// Shutdown stops listening and waits for responses in progress. When ctx is
// done, it cuts off the rest.
func (s *Server) Shutdown(ctx context.Context) {
	for _, server := range s.servers {
		s.serving.Go(func() { _ = server.Shutdown(ctx) }) // its error is that ctx is done
	}
	s.serving.Wait()
	s.Close()
}

// Close stops listening and closes all connections. It may be called twice.
func (s *Server) Close() {
	for _, server := range s.servers {
		_ = server.Close() // closed already is fine
	}
	s.serving.Wait()
}
