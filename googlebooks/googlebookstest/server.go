// Package googlebookstest is a stand-in for the Google Books volumes API, named
// as net/http/httptest is.
//
// It answers GET /books/v1/volumes?q=isbn:… as Google does, over plain HTTP and
// over TLS, with sample volumes. On request it fails in every way in which
// Google, or the network in between, was seen to fail: see Faults.
//
// Its answers follow https://developers.google.com/books/docs/v1/reference/volumes/list,
// the discovery document books/v1, and answers recorded in public repositories.
package googlebookstest

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log" //nolint:depguard // http.Server.ErrorLog is one
	"math"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// defaultSlow is longer than a client should wait.
	defaultSlow = 10 * time.Second
	// maxHang ends a response that hangs if its client never hangs up.
	maxHang = 5 * time.Minute
	// anyPort is the address of a Server by default.
	anyPort = "127.0.0.1:0"
)

// Config sets where a Server listens, the certificate that it presents and how
// it answers. The zero value is Google on a good day: the sample volumes, no API
// key required, no faults.
type Config struct {
	// HTTPAddr and HTTPSAddr are the addresses to listen on for plain HTTP and
	// for TLS. If empty, a free port of 127.0.0.1.
	HTTPAddr, HTTPSAddr string

	// Certificate is presented in the TLS handshake. If nil, CA issues one.
	Certificate *tls.Certificate
	// CA issues the certificate for Leaf. If nil, the server makes its own.
	CA   *CA
	Leaf Leaf
	// MaxTLSVersion is the highest TLS version to accept, such as
	// tls.VersionTLS11, which clients refuse. Zero is TLS 1.3.
	MaxTLSVersion uint16

	// RequireKey answers a call without an API key, in the header X-Goog-Api-Key
	// or the parameter key, with the 429 that Google has sent since 2026.
	RequireKey bool
	// Keys are the valid API keys. Any other key gets Google's 400
	// API_KEY_INVALID. If empty, every key is valid.
	Keys []string
	// RequireTLS answers plain HTTP with Google's 403 sslRequired.
	RequireTLS bool
	// RefuseMeshHeaders answers a call with a header that describes the caller's
	// cluster, as a sidecar may add, with a 400 that names the header.
	RefuseMeshHeaders bool

	// Delay is the time before every response.
	Delay time.Duration
	// Slow is how long the faults slow-headers and slow-body take. Zero is 10 s.
	Slow time.Duration
	// Shares are faults that happen at random. Server.Script does not depend on
	// chance.
	Shares []Share

	// Log gets one line per request. If nil, there is none.
	Log *log.Logger
	// ErrorLog gets what net/http logs. If nil, it is discarded.
	ErrorLog *log.Logger
}

// Share is a fault and the percentage of requests that get it.
type Share struct {
	Fault   string  // name of one of Faults
	Percent float64 // above 0; the sum of all shares is at most 100
}

// Server listens on two ports: one for HTTP/1.1, one for TLS with HTTP/2 and
// HTTP/1.1. It is an http.Handler too, safe for concurrent use.
type Server struct {
	HTTPAddr  string // address of plain HTTP
	HTTPSAddr string // address of TLS
	CAPEM     []byte // CA certificate for clients to trust; nil with Config.Certificate

	cfg     Config
	answers map[string][]byte // by ISBN-10 and ISBN-13
	faults  map[string]Fault  // by name

	recording bool
	mu        sync.Mutex
	script    []Fault
	requests  []Request

	stop    context.CancelFunc
	servers []*http.Server
	serving sync.WaitGroup
}

// NewServer starts a Server for a test. It records requests for
// Server.Requests. The caller must call Close. NewServer panics where Start
// returns an error, as net/http/httptest does.
func NewServer(cfg Config) *Server {
	s, err := start(cfg, true)
	if err != nil {
		panic(fmt.Sprintf("googlebookstest: %v", err))
	}
	return s
}

// Start starts a Server for a program. It records no requests. The caller must
// call Close. Start returns an error if it cannot listen, or if a share is not
// possible.
func Start(cfg Config) (*Server, error) { return start(cfg, false) }

func start(cfg Config, recording bool) (*Server, error) {
	cfg.Slow = cmp.Or(cfg.Slow, defaultSlow)
	discard := log.New(io.Discard, "", 0)
	cfg.Log, cfg.ErrorLog = cmp.Or(cfg.Log, discard), cmp.Or(cfg.ErrorLog, discard)
	faults := make(map[string]Fault)
	for _, fault := range Faults() {
		faults[fault.Name] = fault
	}
	if err := checkShares(cfg.Shares, faults); err != nil {
		return nil, err
	}
	var caPEM []byte
	if cfg.Certificate == nil {
		var err error
		if cfg.Certificate, caPEM, err = newCertificate(cfg.CA, cfg.Leaf); err != nil {
			return nil, err
		}
	}

	ctx, stop := context.WithCancel(context.Background())
	s := &Server{CAPEM: caPEM, cfg: cfg, answers: samplesByISBN(), faults: faults, recording: recording, stop: stop}
	tlsConfig := &tls.Config{
		Certificates: []tls.Certificate{*cfg.Certificate},
		MinVersion:   min(tls.VersionTLS12, cmp.Or(cfg.MaxTLSVersion, tls.VersionTLS13)),
		MaxVersion:   cfg.MaxTLSVersion,
	}
	var err error
	if s.HTTPAddr, err = s.listen(ctx, cfg.HTTPAddr, nil); err == nil {
		s.HTTPSAddr, err = s.listen(ctx, cfg.HTTPSAddr, tlsConfig)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func checkShares(shares []Share, faults map[string]Fault) error {
	sum := 0.0
	for _, share := range shares {
		if _, ok := faults[share.Fault]; !ok {
			return unknownFaultError(share.Fault)
		}
		if share.Percent <= 0 || math.IsNaN(share.Percent) {
			return fmt.Errorf("fault %s: invalid share %v %%: want more than 0", share.Fault, share.Percent)
		}
		sum += share.Percent
	}
	if sum > 100 {
		return fmt.Errorf("the shares of the faults add up to %v %%: want at most 100", sum)
	}
	return nil
}

// newCertificate returns a certificate for leaf, issued by ca or by a new CA,
// and the certificate of that CA.
func newCertificate(ca *CA, leaf Leaf) (*tls.Certificate, []byte, error) {
	if ca == nil {
		var err error
		if ca, err = NewCA(); err != nil {
			return nil, nil, err
		}
	}
	certPEM, keyPEM, err := ca.Issue(leaf)
	if err != nil {
		return nil, nil, err
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	return &cert, ca.PEM, err
}

// listen serves on addr, over TLS if tlsConfig is not nil, and returns the
// address that it got.
func (s *Server) listen(ctx context.Context, addr string, tlsConfig *tls.Config) (string, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", cmp.Or(addr, anyPort))
	if err != nil {
		return "", err
	}
	server := &http.Server{
		Handler:           s,
		TLSConfig:         tlsConfig,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: 10 * time.Second,
		WriteTimeout:      maxHang,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          s.cfg.ErrorLog,
	}
	s.servers = append(s.servers, server)
	s.serving.Go(func() {
		var err error
		if tlsConfig == nil {
			err = server.Serve(listener)
		} else {
			err = server.ServeTLS(listener, "", "")
		}
		if !errors.Is(err, http.ErrServerClosed) {
			s.cfg.ErrorLog.Print(err)
		}
	})
	return listener.Addr().String(), nil
}

// Shutdown stops listening and waits for responses in progress. When ctx is
// done, it cuts those that are left.
func (s *Server) Shutdown(ctx context.Context) {
	for _, server := range s.servers {
		_ = server.Shutdown(ctx) // its error is that ctx is done
	}
	s.Close()
}

// Close stops listening and cuts all connections. It may be called twice.
func (s *Server) Close() {
	s.stop()
	for _, server := range s.servers {
		_ = server.Close() // closed already is fine
	}
	s.serving.Wait()
}
