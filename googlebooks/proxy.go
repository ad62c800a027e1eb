package googlebooks

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// proxyError says that a proxy did not connect to the host.
type proxyError struct {
	status int // of its answer to CONNECT; 0: there was none
	err    error
}

func (e *proxyError) Error() string { return "proxy: " + e.err.Error() }
func (e *proxyError) Unwrap() error { return e.err }

// through returns a dialer that connects through an HTTP proxy, with CONNECT (RFC
// 9110 section 9.3.6). The proxy of net/http.Transport would wait a minute for
// the answer to CONNECT, whatever the call's deadline is.
func (dial dialer) through(proxy *url.URL, cfg *tls.Config) dialer {
	port := "80"
	if proxy.Scheme == "https" {
		port, dial = "443", dial.tls(cfg)
	}
	proxyAddr := net.JoinHostPort(proxy.Hostname(), cmp.Or(proxy.Port(), port))
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, proxyAddr)
		if err != nil {
			return nil, &proxyError{err: err}
		}
		if err := requestTunnel(ctx, conn, addr, proxy.User); err != nil {
			_ = conn.Close()
			return nil, err
		}
		return conn, nil
	}
}

// requestTunnel asks the proxy to connect conn to addr.
func requestTunnel(ctx context.Context, conn net.Conn, addr string, user *url.Userinfo) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(0, 1)) }) // in the past: ends reads and writes
	defer stop()
	header := make(http.Header)
	if user != nil {
		password, _ := user.Password()
		header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)))
	}
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: addr}, Host: addr, Header: header}
	if err := req.Write(conn); err != nil {
		return &proxyError{err: err}
	}
	r := bufio.NewReader(io.LimitReader(conn, maxHeader))
	res, err := http.ReadResponse(r, req) //nolint:bodyclose // what follows is the tunnel, or conn is closed
	switch {
	case err != nil:
		return &proxyError{err: err}
	case res.StatusCode != http.StatusOK:
		return &proxyError{res.StatusCode, fmt.Errorf("it answered CONNECT with %d", res.StatusCode)}
	case r.Buffered() > 0:
		return &proxyError{err: errors.New("it sent more than an answer to CONNECT")}
	}
	return nil
}
