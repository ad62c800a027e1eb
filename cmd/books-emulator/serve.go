package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log" //nolint:depguard // http.Server.ErrorLog is one
	"log/slog"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"time"

	"example.com/bookinfo/googlebooks/googlebookstest"
)

const (
	// answerTimeout is longer than the longest fault, hang.
	answerTimeout = 6 * time.Minute
	// shutdownTimeout is how long answers in flight may take to end; those that hang by order are cut then.
	shutdownTimeout = 2 * time.Second
)

// emulate serves until ctx is done.
func emulate(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	cfg, err := readConfig(args)
	if err != nil {
		return err
	}
	handler, err := googlebookstest.NewHandler(cfg.Options)
	if err != nil {
		return usageErrorf("--fail: %v; --help lists the faults", err)
	}
	cert, caPEM, err := certificate(cfg)
	if err != nil {
		return err
	}

	plain, err := listen(ctx, "--http", cfg.httpAddr)
	if err != nil {
		return err
	}
	defer plain.Close() //nolint:errcheck // the server has closed it, or never began
	encrypted, err := listen(ctx, "--https", cfg.httpsAddr)
	if err != nil {
		return err
	}
	defer encrypted.Close() //nolint:errcheck // the server has closed it, or never began
	// After the ports are ours: a second emulator must not overwrite the CA of the first.
	if cfg.caOut != "" {
		if err := os.WriteFile(cfg.caOut, caPEM, 0o644); err != nil { //nolint:gosec // a certificate is public
			return fmt.Errorf("--ca-out: %w", err)
		}
	}

	logged := &requestLog{next: handler, out: stdout, key: regexp.MustCompile(`([?&]key=)[^&]*`)}
	errorLog := slog.NewLogLogger(slog.NewTextHandler(stderr, nil), slog.LevelWarn)
	servers := []*http.Server{newServer(probe(logged), errorLog), newServer(logged, errorLog)}
	servers[1].TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}

	greet(stdout, cfg, plain.Addr(), encrypted.Addr())
	ended := make(chan error, len(servers))
	go func() { ended <- servers[0].Serve(plain) }()
	go func() { ended <- servers[1].ServeTLS(encrypted, "", "") }()
	select {
	case err = <-ended:
	case <-ctx.Done():
	}

	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	for _, server := range servers {
		if server.Shutdown(patience) != nil {
			_ = server.Close() // what is left hangs by order
		}
	}

	return err
}

// certificate is the one of --cert and --key, or one of a throwaway CA, whose PEM it then returns too.
func certificate(cfg config) (cert tls.Certificate, caPEM []byte, err error) {
	if cfg.certFile != "" {
		if cert, err = tls.LoadX509KeyPair(cfg.certFile, cfg.keyFile); err != nil {
			return tls.Certificate{}, nil, fmt.Errorf("--cert, --key: %w", err)
		}

		return cert, nil, nil
	}
	ca, err := googlebookstest.NewCA()
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	certPEM, keyPEM, err := ca.Issue(googlebookstest.Leaf{})
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	cert, err = tls.X509KeyPair(certPEM, keyPEM)

	return cert, ca.PEM, err
}

func listen(ctx context.Context, flagName, addr string) (net.Listener, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s is in use by another program; choose another address with %s", addr, flagName)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flagName, err)
	}

	return listener, nil
}

func newServer(handler http.Handler, errorLog *log.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       answerTimeout, // a shorter one ends an answer that hangs
		WriteTimeout:      answerTimeout,
		IdleTimeout:       75 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          errorLog,
	}
}

// greet says where the emulator listens and how details finds it.
func greet(w io.Writer, cfg config, plain, encrypted net.Addr) {
	httpAddr, httpsAddr := reachable(cfg.httpAddr, plain), reachable(cfg.httpsAddr, encrypted)
	fmt.Fprintf(w, "A stand-in for Google Books is at https://%s and http://%s. To point details at it:\n", httpsAddr, httpAddr)
	key := ""
	if cfg.RequireKey {
		key = "GOOGLE_BOOKS_API_KEY=any "
	}
	switch {
	case cfg.caOut != "":
		fmt.Fprintf(w, "  %sGOOGLE_BOOKS_HOST=%s GOOGLE_BOOKS_CA_FILE=%s go run ./cmd/details\n", key, httpsAddr, cfg.caOut)
	case cfg.certFile != "":
		fmt.Fprintf(w, "  %sGOOGLE_BOOKS_HOST=%s GOOGLE_BOOKS_CA_FILE=<CA of %s> go run ./cmd/details\n", key, httpsAddr, cfg.certFile)
	default:
		fmt.Fprintln(w, "  over TLS: start again with --ca-out ca.pem, for details to trust")
	}
	fmt.Fprintf(w, "  %sDO_NOT_ENCRYPT=true GOOGLE_BOOKS_HOST=%s go run ./cmd/details\n", key, httpAddr)
}

// reachable is the address as a client on this machine names it: the certificate is for localhost, not for 0.0.0.0.
func reachable(asked string, actual net.Addr) string {
	host, _, _ := net.SplitHostPort(asked)           // readConfig has split it before
	_, port, _ := net.SplitHostPort(actual.String()) // asked may say 0
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}

	return net.JoinHostPort(host, port)
}

// probe answers the health checks of Kubernetes, which would drown the log.
func probe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			fmt.Fprintln(w, "ok")

			return
		}
		next.ServeHTTP(w, r)
	})
}

// requestLog writes a line for each request.
type requestLog struct {
	next http.Handler
	key  *regexp.Regexp // finds an API key in a URL

	mu  sync.Mutex
	out io.Writer
}

// ServeHTTP lets next answer, then writes method, request URI and status; "-" where nothing was answered over HTTP, and
// "(cut)" where the answer was broken off. The URI is quoted, so that no line can be forged, and holds no API key.
func (l *requestLog) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	recorder := &statusRecorder{ResponseWriter: w, status: "-"}
	cut := true
	defer func() {
		if cut && recorder.status != "-" {
			recorder.status += " (cut)"
		}
		uri := strconv.QuoteToASCII(l.key.ReplaceAllString(r.RequestURI, "${1}REDACTED"))
		l.mu.Lock()
		defer l.mu.Unlock()
		fmt.Fprintf(l.out, "%s %s %s\n", r.Method, uri[1:len(uri)-1], recorder.status)
	}()
	l.next.ServeHTTP(recorder, r)
	cut = false
}

// statusRecorder keeps the status that is sent.
type statusRecorder struct {
	http.ResponseWriter

	status string
}

func (s *statusRecorder) WriteHeader(status int) {
	s.status = strconv.Itoa(status)
	s.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController flush and hijack.
func (s *statusRecorder) Unwrap() http.ResponseWriter { return s.ResponseWriter }
