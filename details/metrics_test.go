package details

import (
	"context"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/bookinfo/googlebooks"
)

func TestMetrics(t *testing.T) {
	t.Parallel()
	metrics := NewMetrics("1.2.3", "abc")
	h, _ := newService(Config{Metrics: metrics, Books: &books{volume: comedy(), see: func(ctx context.Context) {
		assert.InDelta(t, 1, testutil.ToFloat64(metrics.inFlight), 0)
		metrics.ObserveTry(ctx, googlebooks.Try{Number: 1, StatusCode: 503, Reason: "backendFailed"})
		metrics.ObserveTry(ctx, googlebooks.Try{Number: 2, StatusCode: 200})
		metrics.ObserveTry(ctx, googlebooks.Try{Number: 1, Reason: "made up by somebody"})
		metrics.ObserveCache(ctx, googlebooks.Stale, nil)
	}}})
	for _, request := range []string{"GET /details/0", "HEAD /details/1/", "GET /details/x", "GET /nowhere/1", "GET /nowhere/2", "FOO /", "GET /health"} {
		method, target, _ := strings.Cut(request, " ")
		ask(t, h, method, target, nil)
	}

	checkReadme(t, metrics)
	assert.Equal(t, http.StatusOK, ask(t, h, http.MethodHead, "/metrics", nil).Code)
	got := ask(t, h, http.MethodGet, "/metrics", nil)
	require.Equal(t, http.StatusOK, got.Code)
	for _, want := range []string{
		`details_requests_total{code="200",method="GET",route="details"} 1`,
		`details_requests_total{code="200",method="HEAD",route="details"} 1`,
		`details_requests_total{code="400",method="GET",route="details"} 1`,
		`details_requests_total{code="404",method="GET",route="other"} 2`,
		`details_requests_total{code="405",method="other",route="other"} 1`,
		`details_requests_total{code="200",method="GET",route="health"} 1`,
		`details_request_duration_seconds_count{route="details"} 3`,
		`details_requests_in_flight 0`,
		`details_upstream_requests_total{code="503",reason="backendFailed",try="1"} 2`,
		`details_upstream_requests_total{code="200",reason="",try="2"} 2`,
		`details_upstream_requests_total{code="0",reason="other",try="1"} 2`,
		`details_upstream_request_duration_seconds_count 6`,
		`details_cache_lookups_total{outcome="stale"} 2`,
		`details_build_info{commit="abc",goversion="go`,
		`version="1.2.3"} 1`,
		`go_goroutines `,
		`process_open_fds `,
	} {
		assert.Contains(t, got.Body.String(), want)
	}
}

// checkReadme compares the README's table of metrics with the registry, in
// which every metric has a series by now.
func checkReadme(t *testing.T, metrics *Metrics) {
	t.Helper()
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	documented := make(map[string][]string)
	for _, row := range regexp.MustCompile("(?m)^\\| `(details_\\w+)` \\|(.*?)\\|").FindAllStringSubmatch(string(readme), -1) {
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
