// Package googlebookstest is a stand-in for the Google Books volumes API, named as net/http/httptest is.
//
// It answers GET /books/v1/volumes?q=isbn:… as Google does, over plain HTTP and over TLS, from volumes kept in files,
// and shows on demand every fault that Google or the network in between was seen to have: see Faults.
//
// Sources of what it answers: the API's page at https://developers.google.com/books/docs/v1/reference/volumes/list, its
// discovery document books/v1, and answers recorded in public repositories.
package googlebookstest

import (
	"context"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"example.com/bookinfo/samples/volumes"
)

const (
	volumesPath = "/books/v1/volumes"

	// maxResults is the highest maxResults that Google takes: it answers 400 above.
	maxResults = 40
	// maxRequests bounds what Requests keeps.
	maxRequests = 1000
	// defaultSlow is longer than a client should wait.
	defaultSlow = 10 * time.Second
	// maxHang ends a hanging answer whose client never goes, so that none is held for good.
	maxHang = 5 * time.Minute
)

// Options say how a Handler answers. The zero value is Google on a good day: the sample volumes, no key, no faults.
type Options struct {
	// Volumes holds the answers in its root folder, one <ISBN>.json an ISBN (10 or 13 digits, no hyphens), each sent
	// byte for byte. A file need not be good JSON, and its check digit need not be right. Nil: samples/volumes.
	Volumes fs.FS
	// RequireKey refuses a call without an API key, in the header X-Goog-Api-Key or the parameter key, with the 429
	// that Google has given such calls since 2026.
	RequireKey bool
	// Keys are the valid API keys: any other gets Google's 400 API_KEY_INVALID. None: every key is valid.
	Keys []string
	// RequireTLS refuses a call over plain HTTP with Google's 403 sslRequired.
	RequireTLS bool
	// Delay is waited before every answer.
	Delay time.Duration
	// Slow is how long the faults slow-headers and slow-body take. Zero: 10 s, longer than a client should wait.
	Slow time.Duration
	// Shares are faults that a share of the requests gets, by chance. A test that must not depend on chance uses
	// Handler.Script.
	Shares []Share
}

// Share is a fault and the percentage of requests that get it.
type Share struct {
	Fault   string  // name of one of Faults
	Percent float64 // above 0; all shares together at most 100
}

// Request is what arrived at a Handler.
type Request struct {
	Method     string
	RequestURI string // the request target as sent: path and query, undecoded
	Host       string // header Host, or :authority in HTTP/2
	Proto      string // "HTTP/1.1" or "HTTP/2.0"
	RemoteAddr string // two requests with the same one came over one connection
	Header     http.Header
	TLS        bool
	ServerName string // the server name of the TLS handshake (SNI, RFC 6066 section 3); empty if none was sent
}

// Handler answers as the volumes API does. It is safe for concurrent use.
type Handler struct {
	opts    Options
	answers map[string][]byte // by ISBN-13
	faults  map[string]Fault  // by name

	mu       sync.Mutex
	script   []Fault
	requests []Request
}

// NewHandler makes a Handler. It fails if the volumes can't be read, a file's name is no ISBN, two files are named after
// one ISBN, a share names no fault of Faults, or the shares can't be had of 100 %.
func NewHandler(opts Options) (*Handler, error) {
	if opts.Volumes == nil {
		opts.Volumes = volumes.FS
	}
	if opts.Slow == 0 {
		opts.Slow = defaultSlow
	}
	faults := make(map[string]Fault)
	for _, fault := range Faults() {
		faults[fault.Name] = fault
	}
	sum := 0.0
	for _, share := range opts.Shares {
		if _, ok := faults[share.Fault]; !ok {
			return nil, unknownFaultError(share.Fault)
		}
		if share.Percent <= 0 || math.IsNaN(share.Percent) {
			return nil, fmt.Errorf("fault %s: its share of %v %% is not above 0", share.Fault, share.Percent)
		}
		sum += share.Percent
	}
	if sum > 100 {
		return nil, fmt.Errorf("the shares of the faults add up to %v %%, more than 100", sum)
	}
	answers, err := readAnswers(opts.Volumes)
	if err != nil {
		return nil, err
	}

	return &Handler{opts: opts, answers: answers, faults: faults}, nil
}

// Script gives the next requests one fault each, in this order; after them all is well again. The name "ok" stands for no
// fault. Names are added to what is left of earlier calls. It panics if a name is none of Faults.
func (h *Handler) Script(names ...string) {
	script := make([]Fault, 0, len(names))
	for _, name := range names {
		fault, ok := h.faults[name]
		if !ok {
			panic(unknownFaultError(name))
		}
		script = append(script, fault)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.script = append(h.script, script...)
}

// Requests returns what arrived, oldest first: the last 1000 requests, whatever was answered.
func (h *Handler) Requests() []Request {
	h.mu.Lock()
	defer h.mu.Unlock()

	return slices.Clone(h.requests)
}

// ServeHTTP answers one request. A fault may end it with panic(http.ErrAbortHandler), as net/http expects it.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fault := h.record(r)
	if !wait(r.Context(), h.opts.Delay) {
		panic(http.ErrAbortHandler)
	}
	fault.serve(&exchange{w: w, r: r, ok: h.answer(r), slow: h.opts.Slow})
}

// record keeps the request and picks its fault, in one step: requests and script stay in the same order.
func (h *Handler) record(r *http.Request) Fault {
	req := Request{
		Method:     r.Method,
		RequestURI: r.RequestURI,
		Host:       r.Host,
		Proto:      r.Proto,
		RemoteAddr: r.RemoteAddr,
		Header:     r.Header.Clone(),
	}
	if r.TLS != nil {
		req.TLS, req.ServerName = true, r.TLS.ServerName
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.requests) == maxRequests {
		h.requests = h.requests[1:]
	}
	h.requests = append(h.requests, req)

	if len(h.script) > 0 {
		fault := h.script[0]
		h.script = h.script[1:]

		return fault
	}
	name := noFault
	roll := rand.Float64() * 100 //nolint:gosec // chance, not a secret
	for _, share := range h.opts.Shares {
		if roll < share.Percent {
			name = share.Fault
			break
		}
		roll -= share.Percent
	}

	return h.faults[name]
}

// answer is what Google says to the request on a good day. The checks come in the order of Google's front end.
func (h *Handler) answer(r *http.Request) answer {
	query := r.URL.Query()
	key := r.Header.Get("X-Goog-Api-Key")
	if key == "" {
		key = query.Get("key")
	}
	switch {
	case r.Method != http.MethodGet || r.URL.Path != volumesPath:
		return htmlError(http.StatusNotFound)
	case h.opts.RequireTLS && r.TLS == nil:
		return sslRequired()
	case h.opts.RequireKey && key == "":
		return quotaKeyless()
	case key != "" && len(h.opts.Keys) > 0 && !slices.Contains(h.opts.Keys, key):
		return apiKeyInvalid()
	case !query.Has("q"):
		return missingQuery()
	case strings.TrimSpace(query.Get("q")) == "":
		return emptyQuery()
	}
	if value := query.Get("maxResults"); value != "" {
		if n, err := strconv.Atoi(value); err != nil || n < 0 || n > maxResults {
			return invalidMaxResults(value)
		}
	}
	// Google takes the field's name in any case.
	if field, isbn, ok := strings.Cut(query.Get("q"), ":"); ok && strings.EqualFold(field, "isbn") {
		if body, ok := h.answers[isbn13(isbn)]; ok {
			return jsonAnswer(http.StatusOK, body)
		}
	}

	return jsonAnswer(http.StatusOK, []byte("{\n  \"kind\": \"books#volumes\",\n  \"totalItems\": 0\n}\n"))
}

func readAnswers(fsys fs.FS) (map[string][]byte, error) {
	names, err := fs.Glob(fsys, "*.json")
	if err != nil {
		return nil, fmt.Errorf("volumes: %w", err)
	}
	answers := make(map[string][]byte, len(names))
	for _, name := range names {
		isbn := isbn13(strings.TrimSuffix(name, ".json"))
		if isbn == "" {
			return nil, fmt.Errorf("volumes: %s is not named <ISBN>.json", name)
		}
		if _, ok := answers[isbn]; ok {
			return nil, fmt.Errorf("volumes: %s: another file has the same ISBN, in its other form", name)
		}
		if answers[isbn], err = fs.ReadFile(fsys, name); err != nil {
			return nil, fmt.Errorf("volumes: %w", err)
		}
	}

	return answers, nil
}

// isbn13 brings both forms of an ISBN to the longer one, without hyphens and spaces; "" if it has the form of neither.
// Check digits are not verified: Google finds a book by a wrong one, too.
func isbn13(isbn string) string {
	isbn = strings.NewReplacer("-", "", " ", "").Replace(isbn)
	switch {
	case len(isbn) == 13 && onlyDigits(isbn):
		return isbn
	case len(isbn) == 10 && onlyDigits(isbn[:9]) && (onlyDigits(isbn[9:]) || strings.EqualFold(isbn[9:], "X")):
		return withCheckDigit("978" + isbn[:9])
	default:
		return ""
	}
}

func onlyDigits(s string) bool { return strings.Trim(s, "0123456789") == "" }

// withCheckDigit appends the check digit of ISO 2108: weights 1 and 3 in turn, the sum a multiple of 10.
func withCheckDigit(first12 string) string {
	sum := 0
	for i, digit := range first12 {
		weight := 1 + 2*(i%2)
		sum += weight * int(digit-'0')
	}

	return first12 + strconv.Itoa((10-sum%10)%10)
}

// wait returns after d, or false as soon as the client has gone or the server closes.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
