// Package details is Bookinfo's details service. It answers GET /details/{id}
// with a book from Google Books, in the form of Istio's details.rb.
package details

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-json-experiment/json"

	"example.com/bookinfo/googlebooks"
)

// DefaultISBN is the ISBN that details.rb looks up for every id: that of The
// Comedy of Errors.
const DefaultISBN googlebooks.ISBN = "0486424618"

// Config is the configuration of the service. Its zero value serves the fixed
// book.
type Config struct {
	Books   googlebooks.Source         // nil: serve the fixed book of details-v1, without any lookup
	ISBNs   map[int64]googlebooks.ISBN // ISBN per product id; nil: DefaultISBN for every id
	Tracing bool                       // send the caller's tracing headers to Google, for a sidecar that reads the call
	Logger  *slog.Logger               // logs one line per request; nil: no log
	Metrics *Metrics                   // nil: the service creates its own
}

type service struct{ Config }

// New returns the handler of GET /health, /details/{id} and /metrics. Every
// response except that of /metrics is JSON, errors included.
func New(cfg Config) http.Handler {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Metrics == nil {
		cfg.Metrics = NewMetrics("")
	}
	s := &service{cfg}
	r := chi.NewRouter()
	get := func(path, route string, level slog.Level, h handler) {
		f := s.handle(route, level, h)
		r.Get(path, f)
		r.Head(path, f)
	}
	get("/health", "health", slog.LevelDebug, fixed(healthBody{"Details is healthy"}, nil))
	for _, path := range []string{"/details", "/details/", "/details/{id}", "/details/{id}/"} {
		get(path, "details", slog.LevelInfo, s.details)
	}
	metrics := cfg.Metrics.handler(cfg.Logger)
	r.Get("/metrics", metrics)
	r.Head("/metrics", metrics)
	r.NotFound(s.handle("other", slog.LevelInfo, fixed(nil, errNoRoute)))
	r.MethodNotAllowed(s.handle("other", slog.LevelInfo, fixed(nil, errMethod)))
	return r
}

// handler returns the answer to a request, which becomes its JSON body, or an
// error. If it looked up a book, it also returns the lookup's result.
type handler func(r *http.Request) (any, googlebooks.Result, error)

// handle returns an http.HandlerFunc that writes h's answer, one log line and
// the metrics. If h panics, the answer has status 500.
func (s *service) handle(route string, level slog.Level, h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		s.Metrics.inFlight.Inc()
		defer s.Metrics.inFlight.Dec()

		status := http.StatusOK
		body, lookup, err := answer(h, r)
		if err != nil {
			status, body = failure(err)
		}
		header := w.Header()
		header.Set("Content-Type", "application/json")
		header.Set("Content-Length", strconv.Itoa(len(body)))
		if status == http.StatusMethodNotAllowed {
			header.Set("Allow", "GET, HEAD")
		}
		w.WriteHeader(status)
		sent := 0
		if r.Method != http.MethodHead {
			sent, _ = w.Write(body) //nolint:gosec // the body is JSON and Content-Type says so; a client that does not read gets no error
		}
		// Send the answer before writing the log line. The answer is complete,
		// so this costs no additional system call.
		_ = http.NewResponseController(w).Flush()

		took := time.Since(start)
		s.Metrics.observe(route, r.Method, status, took)
		s.logRequest(r, level, requestLine{status: status, bytes: sent, took: took, err: err, lookup: lookup})
	}
}

// answer returns h's answer as JSON. If h panics, it returns an error that
// contains the stack.
func answer(h handler, r *http.Request) (body []byte, lookup googlebooks.Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	v, lookup, err := h(r)
	if err == nil {
		body, err = json.Marshal(v)
	}
	return body, lookup, err
}

// fixed returns a handler that always returns the same answer.
func fixed(v any, err error) handler {
	return func(*http.Request) (any, googlebooks.Result, error) { return v, googlebooks.Result{}, err }
}

func (s *service) details(r *http.Request) (any, googlebooks.Result, error) {
	id, err := productID(r)
	switch {
	case err != nil:
		return nil, googlebooks.Result{}, err
	case s.Books == nil:
		return fixedBook(id), googlebooks.Result{}, nil
	}
	isbn := DefaultISBN
	if s.ISBNs != nil {
		var ok bool
		if isbn, ok = s.ISBNs[id]; !ok {
			return nil, googlebooks.Result{}, errUnknownID
		}
	}
	var header http.Header
	if s.Tracing {
		header = tracingHeaders(r.Header)
	}
	lookup, err := s.Books.Lookup(r.Context(), isbn, header)
	if lookup.Outcome != "" {
		s.Metrics.cacheLookups.WithLabelValues(string(lookup.Outcome)).Inc()
	}
	switch {
	case err != nil && r.Context().Err() != nil:
		return nil, lookup, errCallerGone
	case err != nil:
		return nil, lookup, err
	}
	return bookOf(id, lookup.Volume), lookup, nil
}

// productID returns the id in the request's path.
func productID(r *http.Request) (int64, error) {
	text := chi.URLParam(r, "id")
	if r.URL.RawPath != "" { // chi then matches the raw path and leaves %31 encoded
		var err error
		if text, err = url.PathUnescape(text); err != nil {
			return 0, errID
		}
	}
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, errID
	}
	return id, nil
}

// The errors of the service itself.
var (
	errID         = errors.New("please provide numeric product id") // the words of details.rb
	errUnknownID  = errors.New("unknown product id; BOOK_ISBNS lists the known ones")
	errNoRoute    = errors.New("no such path; try /details/{id}, /health or /metrics")
	errMethod     = errors.New("only GET and HEAD are allowed")
	errCallerGone = errors.New("the caller went away before the answer")
)

// statusCallerGone is nginx's 499, client closed request. It appears only in
// logs and metrics.
const statusCallerGone = 499

// failure maps an error to a status and a body. Google's failures are 502,
// never 503: proxies retry on 503.
func failure(err error) (status int, body []byte) {
	message := err.Error()
	upstream, isUpstream := errors.AsType[*googlebooks.Error](err)
	switch {
	case errors.Is(err, errID):
		status = http.StatusBadRequest
	case errors.Is(err, errUnknownID), errors.Is(err, errNoRoute), errors.Is(err, googlebooks.ErrNotFound):
		status = http.StatusNotFound
	case errors.Is(err, errMethod):
		status = http.StatusMethodNotAllowed
	case errors.Is(err, errCallerGone):
		status = statusCallerGone
	case isUpstream:
		status, message = http.StatusBadGateway, explain(upstream)
		if upstream.Timeout() {
			status = http.StatusGatewayTimeout
		}
	default:
		status, message = http.StatusInternalServerError, "internal error; see the log of details"
	}
	body, _ = json.Marshal(errorBody{message}) // fails only on invalid UTF-8
	return status, body
}

type healthBody struct {
	Status string `json:"status"`
}

type errorBody struct {
	Error string `json:"error"`
}
