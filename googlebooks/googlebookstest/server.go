package googlebookstest

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// Config says how a Server answers and what it shows in the TLS handshake. The zero value is Google on a good day.
type Config struct {
	Options

	// CA signs the certificate. Nil: one made for this server alone.
	CA *CA
	// Leaf is the certificate: expired or for another name, if so asked.
	Leaf Leaf
	// MaxTLSVersion is the newest version that is spoken, such as tls.VersionTLS11, which clients refuse. Zero: TLS 1.3.
	MaxTLSVersion uint16
}

// Server is a Handler that listens on two ports of 127.0.0.1, for HTTP/1.1 and for TLS with HTTP/2 and HTTP/1.1.
type Server struct {
	*Handler

	HTTPAddr  string // "127.0.0.1:port" of plain HTTP
	HTTPSAddr string // "127.0.0.1:port" of TLS
	CAPEM     []byte // the certificate of the CA, for clients to trust

	stop    context.CancelFunc
	servers []*http.Server
	serving sync.WaitGroup
}

// NewServer starts a Server; the caller ends it with Close. As net/http/httptest does, it panics if it can't listen, and
// if NewHandler fails.
func NewServer(cfg Config) *Server {
	srv, err := start(cfg)
	if err != nil {
		panic(fmt.Sprintf("googlebookstest: %v", err))
	}

	return srv
}

func start(cfg Config) (*Server, error) {
	handler, err := NewHandler(cfg.Options)
	if err != nil {
		return nil, err
	}
	if cfg.CA == nil {
		if cfg.CA, err = NewCA(); err != nil {
			return nil, err
		}
	}
	certPEM, keyPEM, err := cfg.CA.Issue(cfg.Leaf)
	if err != nil {
		return nil, err
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, err
	}
	tlsConfig := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, MaxVersion: cfg.MaxTLSVersion}
	if cfg.MaxTLSVersion != 0 && cfg.MaxTLSVersion < tls.VersionTLS12 {
		tlsConfig.MinVersion = cfg.MaxTLSVersion
	}

	ctx, stop := context.WithCancel(context.Background())
	srv := &Server{Handler: handler, CAPEM: cfg.CA.PEM, stop: stop}
	if srv.HTTPAddr, err = srv.serve(ctx, nil); err == nil {
		srv.HTTPSAddr, err = srv.serve(ctx, tlsConfig)
	}
	if err != nil {
		srv.Close()

		return nil, err
	}

	return srv, nil
}

// serve starts one listener, with TLS if tlsConfig is not nil, and returns its address.
func (s *Server) serve(ctx context.Context, tlsConfig *tls.Config) (string, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := &http.Server{
		Handler:           s.Handler,
		TLSConfig:         tlsConfig,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       maxHang, // a shorter one ends an answer that hangs
		WriteTimeout:      maxHang,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		// A handshake that a client breaks off is what the tests of certificates are about.
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	s.servers = append(s.servers, server)
	s.serving.Go(func() {
		// Both return when Close is called, with an error that says just that.
		if tlsConfig == nil {
			_ = server.Serve(listener)
		} else {
			_ = server.ServeTLS(listener, "", "")
		}
	})

	return listener.Addr().String(), nil
}

// Close ends the server: it stops listening, cuts all connections and lets go of answers that hang. It may be called more
// than once.
func (s *Server) Close() {
	s.stop()
	for _, server := range s.servers {
		_ = server.Close() // listeners and connections that have ended already are fine
	}
	s.serving.Wait()
}
