// Package googlebooks looks books up by their ISBN in the volumes collection
// of the Google Books API v1 (developers.google.com/books/docs/v1/using).
//
// Client makes the call, over HTTPS or, behind a proxy that originates TLS,
// over plain HTTP. Whatever goes wrong comes back as ErrNotFound, as *Error,
// or, where the caller went away, as the error of its context.
package googlebooks

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// DefaultHost is where Google serves the API.
const DefaultHost = "www.googleapis.com"

// DefaultTimeout is the time for one look-up, all in all: Bookinfo's
// productpage hangs up on details after 3 s.
const DefaultTimeout = 2500 * time.Millisecond

const (
	maxBody        = 1 << 20 // bytes; recorded answers have up to 8 KB
	maxHeader      = 64 << 10
	maxPooledBody  = 64 << 10
	idleTimeout    = time.Second // see newTransport
	maxIdlePerHost = 1024
	maxTLSPerHost  = 64
	requestBuffer  = 1 << 10 // bytes; a request has some 300
)

// Config is how a Client reaches Google. Its zero value is the API as it is on
// the internet, without a key.
type Config struct {
	Host      string                     // host or host:port; "": DefaultHost
	PlainHTTP bool                       // http, port 80, instead of https, port 443
	RootCAs   *x509.CertPool             // whom to trust; nil: the system's
	APIKey    string                     // goes into the header X-Goog-Api-Key and nowhere else; "": none
	Country   string                     // ISO 3166-1 code that overrides where Google thinks the caller is; "": none
	UserAgent string                     // for calls whose header has none
	Timeout   time.Duration              // for a look-up, all in all; 0: DefaultTimeout
	Transport http.RoundTripper          // nil: a pooled transport of the client's own
	Observe   func(context.Context, Try) // told of each call to the API; nil: nobody is. Must not block
}

// Try is one call to the API, as Config.Observe is told of it.
type Try struct {
	Number     int           // 1 for the first call of a look-up, 2 and 3 for the tries after it
	StatusCode int           // HTTP status of the answer; 0: there was none
	Reason     string        // why it failed, as in Error; "" where it brought volumes or none
	Duration   time.Duration // from the call to the end of the answer's body
}

// Client looks volumes up. It is safe for concurrent use and keeps its
// connections: make one and share it.
type Client struct {
	transport http.RoundTripper
	base      url.URL
	upstream  string // host:port, for messages
	apiKey    string
	country   string
	userAgent []string
	timeout   time.Duration
	observe   func(context.Context, Try)
	decoders  sync.Pool // of *decoder
}

// New makes a Client. The error tells of a host that is none.
func New(cfg Config) (*Client, error) {
	base, port := url.URL{Scheme: "https", Path: "/books/v1/volumes"}, "443"
	if cfg.PlainHTTP {
		base.Scheme, port = "http", "80"
	}
	if base.Host = cfg.Host; base.Host == "" {
		base.Host = DefaultHost
	}
	if !ValidHost(base.Host) {
		return nil, fmt.Errorf("%q is no host or host:port", cfg.Host)
	}
	// The default port stays out of the URL, or it would stand in the Host header.
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
		userAgent: []string{cfg.UserAgent},
		timeout:   cfg.Timeout,
		observe:   cfg.Observe,
		decoders:  sync.Pool{New: func() any { return new(decoder) }},
	}
	if c.timeout == 0 {
		c.timeout = DefaultTimeout
	}
	if c.transport == nil {
		c.transport = newTransport(cfg.RootCAs, c.timeout, cfg.PlainHTTP)
	}
	if c.observe == nil {
		c.observe = func(context.Context, Try) {}
	}

	return c, nil
}

// ValidHost reports whether a host, or host:port with a port that one can call,
// is one for Config.
func ValidHost(host string) bool {
	u, err := url.Parse("http://" + host)
	if err != nil || u.Host != host || u.Hostname() == "" {
		return false
	}
	if u.Port() == "" {
		return !strings.HasSuffix(host, ":")
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)

	return err == nil && port > 0
}

// newTransport makes the pool of connections. Idle ones go after a second: a
// sidecar whose configuration changed (a ServiceEntry deleted) keeps serving
// the connections that it has, and a person who tries it out would wait for
// the effect. Under load no connection is idle that long. Nothing is asked for
// in gzip: unpacking 3 KB costs a third more than all the rest of a look-up,
// and saves no round trip.
//
// An HTTP/2 connection carries a hundred calls or more, but is not there yet
// when a burst of first calls comes: without a limit each would shake hands
// for itself. Plain HTTP has a connection for each call, so no limit.
func newTransport(roots *x509.CertPool, timeout time.Duration, plainHTTP bool) *http.Transport {
	t := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: timeout}).DialContext,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		TLSHandshakeTimeout: timeout,
		ForceAttemptHTTP2:   true,
		HTTP2: &http.HTTP2Config{
			SendPingTimeout: max(minPing, share(pingAfterShare, timeout)),
			PingTimeout:     max(minPing, share(pingTimeoutShare, timeout)),
		},
		MaxConnsPerHost:        maxTLSPerHost,
		MaxIdleConns:           maxIdlePerHost,
		MaxIdleConnsPerHost:    maxIdlePerHost,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxHeader,
		WriteBufferSize:        requestBuffer,
		DisableCompression:     true,
	}
	if plainHTTP {
		t.MaxConnsPerHost = 0
	}

	return t
}

// Upstream is the host and port that the client calls.
func (c *Client) Upstream() string { return c.upstream }

// Volume looks the ISBN up, with up to three tries where Google's failure may
// pass. The header goes to Google as it is, its values shared, and the client
// adds to it; nil is none. The error is ErrNotFound, an *Error, or ctx's own
// where ctx was cancelled.
func (c *Client) Volume(ctx context.Context, isbn ISBN, header http.Header) (*Volume, error) {
	if header == nil {
		header = make(http.Header)
	}
	if c.apiKey != "" {
		header["X-Goog-Api-Key"] = []string{c.apiKey}
	}
	if len(header["User-Agent"]) == 0 {
		header["User-Agent"] = c.userAgent
	}

	start := time.Now()
	v, err := c.try(ctx, start.Add(share(firstTryShare, c.timeout)), 1, isbn, header)
	if transient(err) {
		v, err = c.retry(ctx, start, err, isbn, header)
	}
	if ctxErr := ctx.Err(); errors.Is(ctxErr, context.Canceled) {
		return nil, ctxErr
	}

	return v, err
}

// try makes one call, the number-th of its look-up, and tells the observer of it.
func (c *Client) try(ctx context.Context, deadline time.Time, number int, isbn ISBN, header http.Header) (*Volume, error) {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	begin := time.Now()
	v, status, err := c.call(ctx, isbn, header)
	t := Try{Number: number, StatusCode: status, Duration: time.Since(begin)}
	if e, ok := errors.AsType[*Error](err); ok {
		t.Reason = e.Reason
	}
	c.observe(ctx, t)

	return v, err
}

// call makes one call and reads its answer.
func (c *Client) call(ctx context.Context, isbn ISBN, header http.Header) (*Volume, int, error) {
	u := c.base
	u.RawQuery = "q=isbn:" + string(isbn) // Google's walk-throughs and Bookinfo's leave the colon as it is
	if c.country != "" {
		u.RawQuery += "&country=" + url.QueryEscape(c.country)
	}
	req := (&http.Request{Method: http.MethodGet, URL: &u, Header: header}).WithContext(ctx)

	// Not through an http.Client: redirects are not followed, there are no
	// cookies, and the context has the deadline.
	res, err := c.transport.RoundTrip(req)
	if err != nil {
		return nil, 0, c.failure(err)
	}
	d := c.decoders.Get().(*decoder)
	defer func() {
		if d.body.Cap() <= maxPooledBody {
			d.body.Reset()
			c.decoders.Put(d)
		}
	}()
	_, err = d.body.ReadFrom(io.LimitReader(res.Body, maxBody+1))
	_ = res.Body.Close()

	if res.StatusCode != http.StatusOK {
		return nil, res.StatusCode, c.refusal(res.StatusCode, d.body.Bytes())
	}
	if err != nil {
		return nil, res.StatusCode, c.cut(err)
	}
	if d.body.Len() > maxBody {
		return nil, res.StatusCode, c.bad(fmt.Errorf("more than %d bytes", maxBody))
	}
	v, err := d.volume(isbn)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, res.StatusCode, c.bad(err)
	}

	return v, res.StatusCode, err
}

// failure makes the Error of a call that brought no answer.
func (c *Client) failure(err error) *Error {
	e := &Error{Reason: ReasonNoAnswer, Message: c.noAnswer(), Err: c.cause(err)}
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	_, notTLS := errors.AsType[tls.RecordHeaderError](err)
	switch {
	case timedOut(err):
		e.Reason, e.Message = ReasonTimeout, c.late()
	case errors.Is(err, context.Canceled):
		e.Reason, e.Message = ReasonCanceled, "the caller went away"
	case untrusted:
		e.Reason = ReasonCertificate
		e.Message = fmt.Sprintf("the certificate of %s does not prove that it is Google (%s); if its CA is yours, name it in GOOGLE_BOOKS_CA_FILE",
			c.upstream, printable(c.redact(err.Error()), 200))
	case notTLS:
		e.Reason = ReasonNotTLS
		e.Message = fmt.Sprintf("%s does not speak TLS; does a sidecar originate TLS a second time? then set DO_NOT_ENCRYPT=true or delete its DestinationRule", c.upstream)
	}

	return e
}

// cut makes the Error of a good answer that stopped short.
func (c *Client) cut(err error) *Error {
	if !timedOut(err) && !errors.Is(err, context.Canceled) {
		return c.bad(err)
	}
	e := c.failure(err)
	e.StatusCode = http.StatusOK

	return e
}

func (c *Client) bad(err error) *Error {
	return &Error{
		StatusCode: http.StatusOK,
		Reason:     ReasonBadAnswer,
		Message:    c.upstream + " answered 200, but not with volumes that can be read; is it Google Books?",
		Err:        c.cause(err),
	}
}

func (c *Client) late() string {
	return fmt.Sprintf("no whole answer from %s within %s; try again", c.upstream, c.timeout)
}

func timedOut(err error) bool {
	t, ok := errors.AsType[net.Error](err)

	return errors.Is(err, context.DeadlineExceeded) || ok && t.Timeout()
}
