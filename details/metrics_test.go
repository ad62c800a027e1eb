package details

import (
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jarcoal/httpmock"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/bookinfo/googlebooks"
)

func TestMetrics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		metrics := NewMetrics("1.2.3")
		google := responses(t, metrics,
			httpmock.NewStringResponder(http.StatusServiceUnavailable, `{"error":{"errors":[{"reason":"backendFailed"}]}}`),
			httpmock.NewStringResponder(http.StatusOK, comedyAnswer),
			httpmock.NewStringResponder(http.StatusBadRequest, `{"error":{"errors":[{"reason":"unknown to this package"}]}}`),
		)
		cache := googlebooks.NewCache(google, time.Minute, time.Minute)
		isbns := map[int64]googlebooks.ISBN{0: "0486424618", 1: "9780141439518", 2: "9780141439471"}
		h, _ := newService(Config{Metrics: metrics, Books: cache, ISBNs: isbns})
		for _, request := range []string{
			"GET /details/0", "HEAD /details/0/", "GET /details/1", "GET /details/x", "GET /nowhere/1", "GET /nowhere/2", "FOO /", "GET /health",
		} {
			method, target, _ := strings.Cut(request, " ")
			ask(t, h, method, target, nil)
		}
		go ask(t, h, http.MethodGet, "/details/2", nil)
		ask(t, h, http.MethodGet, "/details/2", nil) // shares the call
		time.Sleep(90 * time.Second)
		ask(t, h, http.MethodGet, "/details/0", nil) // stale
		time.Sleep(time.Second)                      // for its refresh
		metrics.ObserveLostLine()

		checkDocumented(t, metrics)
		assert.Equal(t, http.StatusOK, ask(t, h, http.MethodHead, "/metrics", nil).Code)
		got := ask(t, h, http.MethodGet, "/metrics", http.Header{
			"Accept": {"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"},
		})
		require.Equal(t, http.StatusOK, got.Code)
		assert.Contains(t, got.Header().Get("Content-Type"), "text/plain")
		for _, want := range []string{
			`details_requests_total{code="200",method="GET",route="details"} 2`,
			`details_requests_total{code="200",method="HEAD",route="details"} 1`,
			`details_requests_total{code="400",method="GET",route="details"} 1`,
			`details_requests_total{code="404",method="GET",route="other"} 2`,
			`details_requests_total{code="405",method="other",route="other"} 1`,
			`details_requests_total{code="200",method="GET",route="health"} 1`,
			`details_requests_total{code="502",method="GET",route="details"} 3`,
			`details_request_duration_seconds_bucket{route="details",le="0.05"} 3`,
			`details_request_duration_seconds_bucket{route="details",le="0.1"} 6`,
			`details_request_duration_seconds_bucket{route="details",le="2.5"} 7`,
			`details_request_duration_seconds_bucket{route="details",le="3"} 7`,
			`details_requests_in_flight 0`,
			`details_upstream_requests_total{code="503",reason="backendFailed",try="1"} 1`,
			`details_upstream_requests_total{code="200",reason="",try="2"} 1`,
			`details_upstream_requests_total{code="400",reason="other",try="1"} 3`,
			`details_upstream_request_duration_seconds_bucket{le="0.05"} 0`,
			`details_upstream_request_duration_seconds_bucket{le="0.1"} 5`,
			`details_cache_lookups_total{outcome="hit"} 1`,
			`details_cache_lookups_total{outcome="miss"} 3`,
			`details_cache_lookups_total{outcome="shared"} 1`,
			`details_cache_lookups_total{outcome="stale"} 1`,
			`details_log_lines_lost_total 1`,
			`details_build_info{goversion="go`,
			`version="1.2.3"} 1`,
			`go_goroutines `,
			`process_open_fds `,
		} {
			assert.Contains(t, got.Body.String(), want)
		}
	})
}

// TestMetricsFail: if a metric cannot be collected, the log has the error.
func TestMetricsFail(t *testing.T) {
	t.Parallel()
	metrics := NewMetrics("")
	twice := prometheus.NewGauge(prometheus.GaugeOpts{Name: "twice", Help: "Collected twice."})
	metrics.registry.MustRegister(prometheus.CollectorFunc(func(metrics chan<- prometheus.Metric) {
		metrics <- twice
		metrics <- twice
	}))
	h, log := newService(Config{Metrics: metrics})
	assert.Equal(t, http.StatusInternalServerError, ask(t, h, http.MethodGet, "/metrics", nil).Code)
	assert.Regexp(t, `"level":"ERROR","msg":"error gathering metrics: .*twice`, log.String())
}

// checkDocumented compares the table in docs/production.md with the registry, in
// which every metric has a series by then.
func checkDocumented(t *testing.T, metrics *Metrics) {
	t.Helper()
	page, err := os.ReadFile("../docs/production.md")
	require.NoError(t, err)
	documented := make(map[string][]string)
	for _, row := range regexp.MustCompile("(?m)^\\| `(details_\\w+)` \\|(.*?)\\|").FindAllStringSubmatch(string(page), -1) {
		documented[row[1]] = strings.FieldsFunc(row[2], func(r rune) bool { return strings.ContainsRune("`, ", r) })
		slices.Sort(documented[row[1]])
	}
	families, err := metrics.registry.Gather()
	require.NoError(t, err)
	registered := make(map[string][]string)
	for _, family := range families {
		if strings.HasPrefix(family.GetName(), "details_") {
			registered[family.GetName()] = []string{}
			for _, label := range family.GetMetric()[0].GetLabel() {
				registered[family.GetName()] = append(registered[family.GetName()], label.GetName())
			}
		}
	}
	assert.Equal(t, registered, documented)
}
