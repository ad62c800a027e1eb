// Package details is Bookinfo's details service: it answers GET /details/{id}
// with a book, looked up in Google Books, in the words of Istio's details.rb.
package details

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"

	"example.com/bookinfo/googlebooks"
)

// DefaultISBN is the book that details.rb asks for, whatever the id: The
// Comedy of Errors.
const DefaultISBN googlebooks.ISBN = "0486424618"

// Config is what the service works with.
type Config struct {
	Books   googlebooks.Source         // nil: the one fixed book of details-v1, without any look-up
	ISBNs   map[int64]googlebooks.ISBN // the book of each id, no other id being known; nil: DefaultISBN for every id
	Logger  *slog.Logger               // gets a line for each request
	Metrics *Metrics
}

type service struct {
	Config

	json []string // the Content-Type of every answer, shared by all
}

// New returns the handler of GET /health, /details/{id} and /metrics. Every
// answer but that of /metrics is JSON, errors too.
func New(cfg Config) http.Handler {
	s := &service{Config: cfg, json: []string{"application/json"}}
	r := chi.NewRouter()
	get := func(path, route string, level slog.Level, h handler) {
		f := s.handle(route, level, h)
		r.Get(path, f)
		r.Head(path, f)
	}
	get("/health", "health", slog.LevelDebug, health)
	for _, path := range []string{"/details", "/details/", "/details/{id}", "/details/{id}/"} {
		get(path, "details", slog.LevelInfo, s.details)
	}
	r.Method(http.MethodGet, "/metrics", cfg.Metrics.handler())
	r.Method(http.MethodHead, "/metrics", cfg.Metrics.handler())
	r.NotFound(s.handle("other", slog.LevelInfo, notFound))
	r.MethodNotAllowed(s.handle("other", slog.LevelInfo, methodNotAllowed))

	return r
}

// handler answers a request with a body of JSON or with an error.
type handler func(r *http.Request, x *exchange) ([]byte, error)

// exchange is what became of one request: for the log line and the metrics.
type exchange struct {
	status   int
	upstream googlebooks.Try     // the last call made for this request alone; zero where there was none
	cache    googlebooks.Outcome // "" without a cache
	hidden   error               // Google's failure, where the caller got an old book instead
}

// exchangeKey is the context key of the *exchange, which the observers fill in.
type exchangeKey struct{}

// handle makes a handler into one of net/http's that writes the answer, one
// log line and the metrics.
func (s *service) handle(route string, level slog.Level, h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		s.Metrics.inFlight.Inc()
		defer s.Metrics.inFlight.Dec()

		x := exchange{status: http.StatusOK}
		body, err := h(r, &x)
		if err != nil {
			x.status, body = failure(err)
		}
		header := w.Header()
		header["Content-Type"] = s.json
		header["Content-Length"] = []string{strconv.Itoa(len(body))}
		if x.status == http.StatusMethodNotAllowed {
			header["Allow"] = []string{"GET, HEAD"}
		}
		w.WriteHeader(x.status)
		_, _ = w.Write(body) // a caller who does not read it is not told either

		took := time.Since(start)
		s.Metrics.observe(route, r.Method, x.status, took)
		s.log(r, level, &x, len(body), took, err)
	}
}

func health(*http.Request, *exchange) ([]byte, error) {
	return []byte(`{"status":"Details is healthy"}`), nil
}

func notFound(*http.Request, *exchange) ([]byte, error) { return nil, errNoRoute }

func methodNotAllowed(*http.Request, *exchange) ([]byte, error) { return nil, errMethod }

func (s *service) details(r *http.Request, x *exchange) ([]byte, error) {
	text := chi.URLParam(r, "id")
	if r.URL.RawPath != "" { // then chi goes by it, and hands %31 over as it came
		var err error
		if text, err = url.PathUnescape(text); err != nil {
			return nil, errID
		}
	}
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return nil, errID
	}
	if s.Books == nil {
		return fixedBook(id), nil
	}

	isbn := DefaultISBN
	if s.ISBNs != nil {
		var ok bool
		if isbn, ok = s.ISBNs[id]; !ok {
			return nil, errUnknownID
		}
	}
	ctx := context.WithValue(r.Context(), exchangeKey{}, x)
	v, err := s.Books.Volume(ctx, isbn, passedOn(r.Header))
	if err != nil {
		if r.Context().Err() != nil {
			return nil, errCallerGone
		}

		return nil, err
	}

	return bookOf(id, v), nil
}

// The errors that the service gives itself.
var (
	errID         = errors.New("please provide numeric product id") // the words of details.rb
	errUnknownID  = errors.New("no book has this product id; BOOK_ISBNS lists those that have one")
	errNoRoute    = errors.New("no such path; there are /details/{id}, /health and /metrics")
	errMethod     = errors.New("only GET and HEAD are answered here")
	errCallerGone = errors.New("the caller went away before the answer")
)

// statusCallerGone is nginx's status, for the log and the metrics, of a
// request whose caller did not wait for the answer.
const statusCallerGone = 499

// failure is the one place that gives an error its status: what Google did
// wrong is a bad gateway, never 503, which proxies take for an invitation to
// ask again.
func failure(err error) (status int, body []byte) {
	upstream, isUpstream := errors.AsType[*googlebooks.Error](err)
	message := err.Error()
	switch {
	case errors.Is(err, errID):
		status = http.StatusBadRequest
	case errors.Is(err, errUnknownID), errors.Is(err, errNoRoute), errors.Is(err, googlebooks.ErrNotFound):
		status = http.StatusNotFound
	case errors.Is(err, errMethod):
		status = http.StatusMethodNotAllowed
	case errors.Is(err, errCallerGone):
		status = statusCallerGone
	case isUpstream && upstream.Reason == googlebooks.ReasonTimeout:
		status = http.StatusGatewayTimeout
	case isUpstream:
		status = http.StatusBadGateway
	default:
		status, message = http.StatusInternalServerError, "an error of the service itself; its log tells more"
	}

	return status, append(appendString([]byte(`{"error":`), &message), '}')
}
