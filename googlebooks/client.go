// Package googlebooks looks up books by ISBN in the volumes collection of the
// Google Books API v1 (developers.google.com/books/docs/v1/using).
//
// Client makes the calls, over HTTPS or, through a proxy that originates TLS,
// over plain HTTP. It returns ErrNotFound if there is no such volume, an *Error
// if the lookup failed, or the context's error if the caller went away. Cache
// caches its answers.
package googlebooks

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// DefaultHost is the host of the API.
const DefaultHost = "www.googleapis.com"

// DefaultTimeout is the default of Config.Timeout.
const DefaultTimeout = 2500 * time.Millisecond

// Config is the configuration of a Client. Its zero value calls the API on the
// internet, without a key.
type Config struct {
	Host      string            // host or host:port; default: DefaultHost
	PlainHTTP bool              // use http and port 80 instead of https and port 443
	Proxy     *url.URL          // proxy for HTTPS, with http or https; with PlainHTTP, it is not used
	RootCAs   *x509.CertPool    // CAs to trust; default: the system's
	APIKey    string            // sent in the header X-Goog-Api-Key and nowhere else
	Country   string            // ISO 3166-1 code; default: Google locates the IP address
	UserAgent string            // of each call
	Timeout   time.Duration     // for a lookup, including its retries; default: DefaultTimeout
	Observe   func(Try)         // called after each call, maybe concurrently; it must not block; nil: not called
	Transport http.RoundTripper // default: the client's own connection pool
}

// Client looks up volumes. It is safe for concurrent use and pools its
// connections: create one and share it.
type Client struct {
	transport http.RoundTripper
	base      url.URL
	upstream  string      // host:port, for messages
	header    http.Header // of each call; never changed
	apiKey    string
	country   string
	timeout   time.Duration
	proxied   bool
	observe   func(Try)
}

// New returns a Client. It returns an error if cfg.Host is not a valid host or
// host:port.
func New(cfg Config) (*Client, error) {
	base, port := url.URL{Scheme: "https", Path: "/books/v1/volumes"}, "443"
	if cfg.PlainHTTP {
		base.Scheme, port = "http", "80"
	}
	base.Host = cmp.Or(cfg.Host, DefaultHost)
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
		header:    http.Header{"User-Agent": {cfg.UserAgent}, "Accept-Encoding": {"identity"}},
		apiKey:    cfg.APIKey,
		country:   cfg.Country,
		timeout:   cmp.Or(cfg.Timeout, DefaultTimeout),
		proxied:   cfg.Proxy != nil && !cfg.PlainHTTP,
		observe:   cfg.Observe,
	}
	if cfg.APIKey != "" {
		c.header.Set("X-Goog-Api-Key", cfg.APIKey)
	}
	if c.observe == nil {
		c.observe = func(Try) {}
	}
	if c.transport == nil {
		c.transport = newTransport(cfg, c.timeout, new(net.Dialer).DialContext)
	}
	return c, nil
}

// validHost reports whether host is a DNS name or an IP address, with an
// optional port. An IPv6 address is in brackets.
func validHost(host string) bool {
	u, err := url.Parse("http://" + host)
	if err != nil || u.Host != host || strings.HasSuffix(host, ":") {
		return false
	}
	if u.Port() != "" {
		if port, err := strconv.ParseUint(u.Port(), 10, 16); err != nil || port == 0 {
			return false
		}
	}
	if strings.HasPrefix(host, "[") {
		_, err := netip.ParseAddr(u.Hostname())
		return err == nil
	}
	return u.Hostname() != "" && !strings.ContainsFunc(u.Hostname(), func(r rune) bool {
		return (r|' ' < 'a' || r|' ' > 'z') && (r < '0' || r > '9') && r != '-' && r != '.' && r != '_'
	})
}

// Upstream returns the host and port that the client calls.
func (c *Client) Upstream() string { return c.upstream }

// Lookup looks up the ISBN. It makes up to three tries if a failure may be
// temporary. The header, which may be nil, is sent with each call. The error
// wraps ErrNotFound, or is an *Error, or ctx's own if ctx is done.
func (c *Client) Lookup(ctx context.Context, isbn ISBN, header http.Header) (Result, error) {
	all := c.header
	if len(header) > 0 {
		all = maps.Clone(header)
		maps.Copy(all, c.header)
	}
	var result Result
	err := c.retry(ctx, func(number int, deadline time.Time) (err error) {
		ctx, cancel := context.WithDeadline(withDials(ctx), deadline)
		defer cancel()
		begin := time.Now()
		try := Try{Number: number}
		result.Volume, try.StatusCode, err = c.call(ctx, isbn, all)
		try.Duration = time.Since(begin)
		if e, ok := errors.AsType[*Error](err); ok {
			try.Reason = e.Reason
		}
		c.observe(try)
		result.Last = try
		return err
	})
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return result, err
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
		e := c.errNoResponse(err)
		return nil, e.StatusCode, e
	}
	defer res.Body.Close()
	body, err := readBody(res)
	switch {
	case res.StatusCode != http.StatusOK:
		return nil, res.StatusCode, c.errStatus(res, body, err)
	case err != nil:
		return nil, res.StatusCode, c.errBody(err)
	}
	v, err = decodeVolume(body, isbn)
	switch {
	case err == nil, errors.Is(err, ErrNotFound):
		return v, res.StatusCode, err
	case errors.Is(err, errNotVolumes):
		if e := c.errStatus(res, body, nil); e.FromAPI { // an error with status 200
			return nil, res.StatusCode, e
		}
	}
	return nil, res.StatusCode, c.errBadAnswer(err)
}
