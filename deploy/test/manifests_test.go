package manifests_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	manifests "example.com/bookinfo/deploy/test"
)

// modes names, for each way to run, the folders that one cluster holds at the same time.
func modes() map[string][]string {
	return map[string][]string{
		"blocked":                 {"details-v2"},
		"https":                   {"details-v2-https", "https"},
		"tls origination":         {"details-v2", "tls-origination"},
		"both":                    {"details-v2", "both"},
		"both, https":             {"details-v2-https", "both"},
		"books only":              {"details-v2", "books-only"},
		"ambient":                 {"details-v2", "ambient"},
		"access log":              {"details-v2", "tls-origination", "access-log"},
		"scaled":                  {"details-v2", "scale"},
		"offline":                 {"offline"},
		"offline https":           {"offline/emulator", "offline/details-v2", "offline/https"},
		"offline tls origination": {"offline/emulator", "offline/details-v2", "offline/tls-origination"},
		"offline books only":      {"offline/emulator", "offline/details-v2", "offline/books-only"},
		"offline both":            {"offline/emulator", "offline/details-v2", "offline/both"},
		"offline ambient":         {"offline/emulator", "details-v2", "offline/ambient"},
	}
}

func TestFolders(t *testing.T) {
	t.Parallel()

	assert.NoError(t, manifests.CheckFolders(load(t)))
}

func TestImages(t *testing.T) {
	t.Parallel()

	assert.NoError(t, manifests.CheckImages(load(t)))
}

func TestSchemas(t *testing.T) {
	t.Parallel()

	assert.NoError(t, manifests.CheckSchemas(t.Context(), load(t), schemas(t)))
}

func TestModes(t *testing.T) {
	t.Parallel()

	tree, covered := load(t), map[string]bool{"gateway-api": true}

	for name, folders := range modes() {
		for _, folder := range folders {
			covered[folder] = true
		}

		t.Run(name, func(t *testing.T) {
			t.Parallel()

			assert.NoError(t, checkMode(t, tree, folders...))
		})
	}

	for _, folder := range tree.Folders() {
		assert.True(t, covered[folder], "no mode holds %s", folder)
	}
}

// Gateway API takes the place of the VirtualService details, so of the workload only the Deployment stays.
func TestGatewayAPI(t *testing.T) {
	t.Parallel()

	tree := load(t)

	deployment, err := tree.Read("details-v2/deployment.yaml")
	require.NoError(t, err)

	routes, err := tree.Build("gateway-api")
	require.NoError(t, err)

	assert.NoError(t, manifests.CheckRelations(append(append(bookinfo(t), deployment...), routes...)))

	both, err := tree.Build("details-v2", "gateway-api")
	require.NoError(t, err)

	assert.ErrorContains(t, manifests.CheckRelations(append(bookinfo(t), both...)), "a VirtualService routes details too")
}

// checkMode checks the folders together with what Bookinfo brings, as one cluster would hold them.
func checkMode(t *testing.T, tree *manifests.Tree, folders ...string) error {
	t.Helper()

	objects, err := tree.Build(folders...)
	if err != nil {
		return err
	}

	if err := manifests.CheckPods(objects); err != nil {
		return err
	}

	return manifests.CheckRelations(append(bookinfo(t), objects...))
}

// What each folder holds, by the names that the walk-throughs and Istio's own egress story use.
func TestInventory(t *testing.T) {
	t.Parallel()

	https := []string{"ServiceEntry googleapis", "VirtualService googleapis"}
	origination := []string{
		"DestinationRule originate-tls-for-googleapis", "ServiceEntry googleapis", "VirtualService rewrite-port-for-googleapis",
	}
	both := []string{"DestinationRule originate-tls-for-googleapis", "ServiceEntry googleapis", "VirtualService googleapis"}
	booksOnly := append([]string{"Sidecar details-v2"}, both...)
	workload := []string{"Deployment details-v2", "VirtualService details"}
	ambient := []string{
		"Namespace istio-egress", "Gateway istio-egress/waypoint", "ServiceEntry istio-egress/googleapis",
		"VirtualService istio-egress/googleapis", "DestinationRule istio-egress/originate-tls-for-googleapis",
		"AuthorizationPolicy istio-egress/books-only", "Telemetry istio-egress/waypoint-access-log",
	}
	emulator := []string{
		"Namespace books-emulator", "Deployment books-emulator/books-emulator", "Service books-emulator/books-emulator",
	}

	tests := map[string][]string{
		"access-log":              {"Telemetry details-access-log"},
		"ambient":                 ambient,
		"books-only":              booksOnly,
		"both":                    both,
		"details-v2":              workload,
		"details-v2-https":        workload,
		"gateway-api":             {"Service details-v1", "Service details-v2", "HTTPRoute details"},
		"https":                   https,
		"offline":                 append(append(append([]string{}, emulator...), workload...), both...),
		"offline/ambient":         ambient,
		"offline/books-only":      booksOnly,
		"offline/both":            both,
		"offline/details-v2":      workload,
		"offline/emulator":        emulator,
		"offline/https":           https,
		"offline/tls-origination": origination,
		"scale":                   {"HorizontalPodAutoscaler details-v2", "PodDisruptionBudget details-v2"},
		"tls-origination":         origination,
	}

	tree := load(t)

	for _, folder := range tree.Folders() {
		assert.Contains(t, tests, folder)
	}

	for folder, want := range tests {
		t.Run(folder, func(t *testing.T) {
			t.Parallel()

			objects, err := tree.Build(folder)
			require.NoError(t, err)

			var got []string
			for _, object := range objects {
				got = append(got, manifests.ID(object))
			}

			assert.ElementsMatch(t, want, got)
		})
	}
}
