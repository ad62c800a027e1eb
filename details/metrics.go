package details

import (
	"log/slog"
	"net/http"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"example.com/bookinfo/googlebooks"
)

// Metrics holds the service's Prometheus metrics. No caller can add label
// values: methods and paths that are not served count as "other", and package
// googlebooks reports only reasons that it knows.
type Metrics struct {
	registry         *prometheus.Registry
	inFlight         prometheus.Gauge
	requests         *prometheus.CounterVec
	duration         *prometheus.HistogramVec
	upstreamRequests *prometheus.CounterVec
	upstreamDuration prometheus.Histogram
	cacheLookups     *prometheus.CounterVec
	logLinesLost     prometheus.Counter
}

// NewMetrics returns the metrics of one service, including those of the Go
// runtime and the process. The version is a label of details_build_info.
func NewMetrics(version string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "details_requests_in_flight", Help: "Requests being answered.",
		}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "details_requests_total", Help: "Requests answered.",
		}, []string{"route", "method", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "details_request_duration_seconds", Help: "Time to answer a request.",
			Buckets: durationBuckets(),
		}, []string{"route"}),
		upstreamRequests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "details_upstream_requests_total", Help: "Calls to Google Books. Code 0: no response. An empty reason: no error. Tries 2 and 3 repeat a failed call.",
		}, []string{"code", "reason", "try"}),
		upstreamDuration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "details_upstream_request_duration_seconds", Help: "Duration of a call to Google Books.",
			Buckets: durationBuckets(),
		}),
		cacheLookups: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "details_cache_lookups_total", Help: "Lookups with CACHE_TTL set, by where the answer came from: hit, miss, shared or stale.",
		}, []string{"outcome"}),
		logLinesLost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "details_log_lines_lost_total", Help: "Log lines that could not be written.",
		}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "details_build_info", Help: "Always 1; the labels name the build.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()},
	})
	build.Set(1)
	m.registry.MustRegister(m.inFlight, m.requests, m.duration, m.upstreamRequests, m.upstreamDuration,
		m.cacheLookups, m.logLinesLost, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// durationBuckets returns bucket bounds in seconds. The last ones are around
// 2.5 s, the default timeout of a lookup, and 3 s, the timeout of productpage.
func durationBuckets() []float64 {
	return []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2, 2.5, 3, 5}
}

// ObserveTry counts a call to Google Books. It is a googlebooks.Config.Observe.
func (m *Metrics) ObserveTry(t googlebooks.Try) {
	m.upstreamRequests.WithLabelValues(strconv.Itoa(t.StatusCode), t.Reason, strconv.Itoa(t.Number)).Inc()
	m.upstreamDuration.Observe(t.Duration.Seconds())
}

// ObserveLostLine counts a log line that could not be written.
func (m *Metrics) ObserveLostLine() { m.logLinesLost.Inc() }

func (m *Metrics) observe(route, method string, status int, took time.Duration) {
	if method != http.MethodGet && method != http.MethodHead {
		method = "other"
	}
	m.requests.WithLabelValues(route, method, strconv.Itoa(status)).Inc()
	m.duration.WithLabelValues(route).Observe(took.Seconds())
}

// handler answers in text whatever the caller accepts: a sidecar may merge
// these metrics with its own, and cannot merge protobuf (istio/istio issue
// 60322).
func (m *Metrics) handler(logger *slog.Logger) http.HandlerFunc {
	h := promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelError)})
	return func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("Accept")
		h.ServeHTTP(w, r)
	}
}
