package details

import (
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/bookinfo/googlebooks"
)

func TestMetrics(t *testing.T) {
	t.Parallel()
	metrics := NewMetrics("1.2.3")
	google := responses(t,
		httpmock.NewStringResponder(http.StatusServiceUnavailable, `{"error":{"errors":[{"reason":"backendFailed"}]}}`),
		httpmock.NewStringResponder(http.StatusOK, comedyAnswer),
		httpmock.NewStringResponder(http.StatusBadRequest, `{"error":{"errors":[{"reason":"unknown to this package"}]}}`),
	)
	cache := googlebooks.NewCache(google, time.Minute, time.Minute)
	isbns := map[int64]googlebooks.ISBN{0: "0486424618", 1: "9780141439518"}
	h, _ := newService(Config{Metrics: metrics, Books: cache, ISBNs: isbns})
	for _, request := range []string{
		"GET /details/0", "HEAD /details/0/", "GET /details/1", "GET /details/x", "GET /nowhere/1", "GET /nowhere/2", "FOO /", "GET /health",
	} {
		method, target, _ := strings.Cut(request, " ")
		ask(t, h, method, target, nil)
	}

	checkDocumented(t, metrics)
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
		`details_requests_total{code="502",method="GET",route="details"} 1`,
		`details_request_duration_seconds_count{route="details"} 4`,
		`details_requests_in_flight 0`,
		`details_upstream_requests_total{code="503",reason="backendFailed",try="1"} 1`,
		`details_upstream_requests_total{code="200",reason="",try="2"} 1`,
		`details_upstream_requests_total{code="400",reason="other",try="1"} 1`,
		`details_upstream_request_duration_seconds_count 3`,
		`details_cache_lookups_total{outcome="hit"} 1`,
		`details_cache_lookups_total{outcome="miss"} 2`,
		`details_build_info{goversion="go`,
		`version="1.2.3"} 1`,
		`go_goroutines `,
		`process_open_fds `,
	} {
		assert.Contains(t, got.Body.String(), want)
	}
}

// checkDocumented compares the table in docs/metrics.md with the registry, in
// which every metric has a series by then.
func checkDocumented(t *testing.T, metrics *Metrics) {
	t.Helper()
	page, err := os.ReadFile("../docs/metrics.md")
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

// TestConcurrentScrapes: none is refused with 503.
func TestConcurrentScrapes(t *testing.T) {
	t.Parallel()
	h, _ := newService(Config{})
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			for range 4 {
				assert.Equal(t, http.StatusOK, ask(t, h, http.MethodGet, "/metrics", nil).Code)
			}
		})
	}
	all.Wait()
}
