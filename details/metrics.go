package details

import (
	"context"
	"net/http"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"example.com/bookinfo/googlebooks"
)

// Metrics counts what the service does, for Prometheus. No label takes its
// values from outside: methods, codes and reasons that are not known are
// counted together.
type Metrics struct {
	registry         *prometheus.Registry
	inFlight         prometheus.Gauge
	requests         *prometheus.CounterVec
	duration         *prometheus.HistogramVec
	upstreamRequests *prometheus.CounterVec
	upstreamDuration prometheus.Histogram
	cacheLookups     *prometheus.CounterVec
}

// NewMetrics makes the metrics of one service, with those of the Go runtime
// and the process beside them. Version and commit name the build.
func NewMetrics(version, commit string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "details_requests_in_flight", Help: "Requests that wait for their answer.",
		}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "details_requests_total", Help: "Requests answered.",
		}, []string{"route", "method", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "details_request_duration_seconds", Help: "Time to answer a request.",
			Buckets: durationBuckets(),
		}, []string{"route"}),
		upstreamRequests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "details_upstream_requests_total", Help: "Calls to Google Books; code 0 is no answer, reason \"\" no error, try 2 and 3 repeat a failed one.",
		}, []string{"code", "reason", "try"}),
		upstreamDuration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "details_upstream_request_duration_seconds", Help: "Time a call to Google Books took.",
			Buckets: durationBuckets(),
		}),
		cacheLookups: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "details_cache_lookups_total", Help: "Look-ups with CACHE_TTL set, by where the answer came from: hit, miss, shared or stale.",
		}, []string{"outcome"}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "details_build_info", Help: "Always 1; the labels tell the build.",
		ConstLabels: prometheus.Labels{"version": version, "commit": commit, "goversion": runtime.Version()},
	})
	build.Set(1)
	m.registry.MustRegister(m.inFlight, m.requests, m.duration, m.upstreamRequests, m.upstreamDuration,
		m.cacheLookups, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	return m
}

// durationBuckets are in seconds, the last ones around the 2.5 s in which a
// look-up ends and the 3 s after which productpage hangs up.
func durationBuckets() []float64 {
	return []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2, 2.5, 3, 5}
}

// ObserveTry counts a call to Google Books: it is what googlebooks.Config
// takes as Observe.
func (m *Metrics) ObserveTry(ctx context.Context, t googlebooks.Try) {
	m.upstreamRequests.WithLabelValues(strconv.Itoa(t.StatusCode), knownReason(t.Reason), strconv.Itoa(t.Number)).Inc()
	m.upstreamDuration.Observe(t.Duration.Seconds())
	if x, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
		x.upstream = t
	}
}

// ObserveCache counts a look-up in the cache: it is what googlebooks.NewCache
// takes as observer.
func (m *Metrics) ObserveCache(ctx context.Context, outcome googlebooks.Outcome, failure error) {
	m.cacheLookups.WithLabelValues(string(outcome)).Inc()
	if x, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
		x.cache = outcome
		if outcome == googlebooks.Stale {
			x.hidden = failure
		}
	}
}

func (m *Metrics) observe(route, method string, status int, took time.Duration) {
	if method != http.MethodGet && method != http.MethodHead {
		method = "other"
	}
	m.requests.WithLabelValues(route, method, strconv.Itoa(status)).Inc()
	m.duration.WithLabelValues(route).Observe(took.Seconds())
}

func (m *Metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// knownReason keeps Google from filling the memory of Prometheus.
func knownReason(reason string) string {
	switch reason {
	case "", googlebooks.ReasonNoAnswer, googlebooks.ReasonTimeout,
		googlebooks.ReasonCanceled, googlebooks.ReasonCertificate,
		googlebooks.ReasonNotTLS, googlebooks.ReasonBadAnswer,
		"API_KEY_INVALID", "accessNotConfigured", "backendFailed", "badRequest", "dailyLimitExceeded", "invalidParameter",
		"rateLimitExceeded", "sslRequired", "unknownLocation", "userRateLimitExceeded":
		return reason
	}

	return "other"
}
