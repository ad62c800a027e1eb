// Package googlebooks looks up books by ISBN in the volumes collection of the
// Google Books API v1 (developers.google.com/books/docs/v1/using).
//
// Client makes the calls, over HTTPS or, through a proxy that originates TLS,
// over plain HTTP. It returns ErrNotFound if there is no such volume, an *Error
// if the lookup failed, or the context's error if the caller went away. Cache
// caches its answers.
package googlebooks

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// DefaultHost is the host of the API.
const DefaultHost = "www.googleapis.com"

// DefaultTimeout is the default of Config.Timeout.
const DefaultTimeout = 2500 * time.Millisecond

// Sizes of a response's body, in bytes. Recorded ones have up to 8 KB.
const (
	usualBody = 4 << 10 // io.ReadAll would allocate three times as much on the way there
	maxBody   = 1 << 20
)

// Config is the configuration of a Client. Its zero value calls the API on the
// internet, without a key.
type Config struct {
	Host      string            // host or host:port; default: DefaultHost
	PlainHTTP bool              // use http and port 80 instead of https and port 443
	RootCAs   *x509.CertPool    // CAs to trust; default: the system's
	APIKey    string            // sent in the header X-Goog-Api-Key and nowhere else
	Country   string            // ISO 3166-1 code; default: Google locates the IP address
	UserAgent string            // for calls whose header has none
	Timeout   time.Duration     // for a lookup, including its retries; default: DefaultTimeout
	Transport http.RoundTripper // default: the client's own connection pool
}

// Client looks up volumes. It is safe for concurrent use and pools its
// connections: create one and share it.
type Client struct {
	transport http.RoundTripper
	base      url.URL
	upstream  string // host:port, for messages
	apiKey    string
	country   string
	userAgent string
	timeout   time.Duration
}

// New returns a Client. It returns an error if cfg.Host is not a valid host or
// host:port.
func New(cfg Config) (*Client, error) {
	base, port := url.URL{Scheme: "https", Path: "/books/v1/volumes"}, "443"
	if cfg.PlainHTTP {
		base.Scheme, port = "http", "80"
	}
	if base.Host = cfg.Host; base.Host == "" {
		base.Host = DefaultHost
	}
	if !validHost(base.Host) {
		return nil, fmt.Errorf("invalid host %q: want host or host:port, without http://", cfg.Host)
	}
	// Drop the default port: Go would send it in the Host header.
	base.Host = strings.TrimSuffix(base.Host, ":"+port)
	upstream := base.Host
	if base.Port() == "" {
		upstream = net.JoinHostPort(base.Hostname(), port)
	}

	c := &Client{
		transport: cfg.Transport,
		base:      base,
		upstream:  upstream,
		apiKey:    cfg.APIKey,
		country:   cfg.Country,
		userAgent: cfg.UserAgent,
		timeout:   cfg.Timeout,
	}
	if c.timeout == 0 {
		c.timeout = DefaultTimeout
	}
	if c.transport == nil {
		c.transport = newTransport(cfg.RootCAs, c.timeout, cfg.PlainHTTP)
	}
	return c, nil
}

func validHost(host string) bool {
	u, err := url.Parse("http://" + host)
	if err != nil || u.Host != host || u.Hostname() == "" || !utf8.ValidString(host) {
		return false
	}
	if u.Port() == "" {
		return !strings.HasSuffix(host, ":")
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	return err == nil && port > 0
}

// Upstream returns the host and port that the client calls.
func (c *Client) Upstream() string { return c.upstream }

// Volume looks up the ISBN. It makes up to three tries if a failure may be
// temporary. The header, which may be nil, is sent with each call. The error is
// ErrNotFound, an *Error, or ctx's own if ctx was cancelled.
func (c *Client) Volume(ctx context.Context, isbn ISBN, header http.Header) (*Volume, error) {
	header = header.Clone()
	if header == nil {
		header = make(http.Header)
	}
	if c.apiKey != "" {
		header.Set("X-Goog-Api-Key", c.apiKey)
	}
	if header.Get("User-Agent") == "" {
		header.Set("User-Agent", c.userAgent)
	}

	var v *Volume
	err := c.retry(ctx, func(number int, deadline time.Time) error {
		ctx, cancel := context.WithDeadline(ctx, deadline)
		defer cancel()
		begin := time.Now()
		var status int
		var err error
		v, status, err = c.call(ctx, isbn, header)
		try := Try{Number: number, StatusCode: status, Duration: time.Since(begin)}
		if e, ok := errors.AsType[*Error](err); ok {
			try.Reason = e.Reason
		}
		traceTry(ctx, try)
		return err
	})
	if ctxErr := ctx.Err(); errors.Is(ctxErr, context.Canceled) {
		return nil, ctxErr
	}
	return v, err
}

// call makes one call and reads its response.
func (c *Client) call(ctx context.Context, isbn ISBN, header http.Header) (v *Volume, status int, err error) {
	u := c.base
	u.RawQuery = "q=isbn:" + string(isbn) // url.Values would encode the colon, and access logs would show %3A
	if c.country != "" {
		u.RawQuery += "&country=" + url.QueryEscape(c.country)
	}
	req := (&http.Request{Method: http.MethodGet, URL: &u, Header: header}).WithContext(ctx)

	// No http.Client: redirects are not followed, there are no cookies, and the
	// context has the deadline.
	res, err := c.transport.RoundTrip(req)
	if err != nil {
		return nil, 0, c.errNoResponse(err)
	}
	var b bytes.Buffer
	b.Grow(usualBody)
	_, err = b.ReadFrom(io.LimitReader(res.Body, maxBody+1))
	_ = res.Body.Close()
	body := b.Bytes()

	if res.StatusCode != http.StatusOK {
		return nil, res.StatusCode, c.errStatus(res.StatusCode, body)
	}
	if err != nil {
		return nil, res.StatusCode, c.errBody(err)
	}
	if len(body) > maxBody {
		return nil, res.StatusCode, c.errBadAnswer(fmt.Errorf("more than %d bytes", maxBody))
	}
	v, err = decodeVolume(body, isbn)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, res.StatusCode, c.errBadAnswer(err)
	}
	return v, res.StatusCode, err
}
