package manifests_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	manifests "example.com/bookinfo/deploy/test"
)

// The whole policy of the mode, written down a second time: a looser match, a route before it, another port or another
// host that passes is a hole, not a variant.
func TestBooksOnly(t *testing.T) {
	t.Parallel()

	for _, folder := range []string{"books-only", "offline/books-only"} {
		t.Run(folder, func(t *testing.T) {
			t.Parallel()

			objects, err := load(t).Build(folder)
			require.NoError(t, err)

			routes := field(t, objects, "VirtualService googleapis", "http")
			require.Len(t, routes, 2)

			first, ok := routes.([]any)[0].(map[string]any)
			require.True(t, ok)
			assert.Equal(t, []any{map[string]any{
				"port":   int64(80),
				"method": map[string]any{"exact": "GET"},
				"uri":    map[string]any{"exact": "/books/v1/volumes"},
			}}, first["match"])

			last, ok := routes.([]any)[1].(map[string]any)
			require.True(t, ok)
			assert.NotContains(t, last, "match", "the last route takes everything else")
			assert.NotContains(t, last, "route")

			status, _, err := unstructured.NestedInt64(last, "directResponse", "status")
			require.NoError(t, err)
			assert.EqualValues(t, 403, status)

			assert.Nil(t, field(t, objects, "VirtualService googleapis", "tls"))
			assert.Equal(t, []any{map[string]any{
				"number": int64(80), "name": "http", "protocol": "HTTP", "targetPort": int64(443),
			}}, field(t, objects, "ServiceEntry googleapis", "ports"))
			assert.Equal(t, "REGISTRY_ONLY", field(t, objects, "Sidecar details-v2", "outboundTrafficPolicy", "mode"))
			assert.Equal(t, []any{map[string]any{"hosts": []any{"./www.googleapis.com"}}}, field(t, objects, "Sidecar details-v2", "egress"))
		})
	}
}

func TestBooksOnlyAmbient(t *testing.T) {
	t.Parallel()

	for _, folder := range []string{"ambient", "offline/ambient"} {
		t.Run(folder, func(t *testing.T) {
			t.Parallel()

			objects, err := load(t).Build(folder)
			require.NoError(t, err)

			const policy = "AuthorizationPolicy istio-egress/books-only"

			assert.Equal(t, "ALLOW", field(t, objects, policy, "action"))
			assert.Equal(t, []any{map[string]any{"to": []any{map[string]any{"operation": map[string]any{
				"methods": []any{"GET"}, "paths": []any{"/books/v1/volumes"},
			}}}}}, field(t, objects, policy, "rules"))
			assert.Equal(t, []any{map[string]any{
				"number": int64(80), "name": "http", "protocol": "HTTP", "targetPort": int64(443),
			}}, field(t, objects, "ServiceEntry istio-egress/googleapis", "ports"))
		})
	}
}

// Nobody else's way to Google changes: what the sidecars follow is seen in its own namespace only.
func TestExport(t *testing.T) {
	t.Parallel()

	tree := load(t)

	for _, folder := range tree.Folders() {
		objects, err := tree.Build(folder)
		require.NoError(t, err)

		for _, object := range objects {
			id := manifests.ID(object)

			switch id {
			case "ServiceEntry istio-egress/googleapis":
				assert.Nil(t, field(t, objects, id, "exportTo"), "the applications live in other namespaces")
			case "VirtualService details":
			default:
				if kind := object.GetKind(); kind == "ServiceEntry" || kind == "VirtualService" || kind == "DestinationRule" {
					assert.Equal(t, []any{"."}, field(t, objects, id, "exportTo"), "%s: %s", folder, id)
				}
			}
		}
	}
}

// The component brings the spreading to whichever kustomization holds the workload.
func TestScale(t *testing.T) {
	t.Parallel()

	for _, workload := range []string{"details-v2", "details-v2-https", "offline/details-v2"} {
		t.Run(workload, func(t *testing.T) {
			t.Parallel()

			tree := load(t)
			require.NoError(t, tree.Add("mine/kustomization.yaml", "resources: [../"+workload+"]\ncomponents: [../scale]\n"))

			objects, err := tree.Build("mine")
			require.NoError(t, err)
			require.NoError(t, manifests.CheckRelations(append(bookinfo(t), objects...)))

			spread := field(t, objects, "Deployment details-v2", "template", "spec", "topologySpreadConstraints")
			require.Len(t, spread, 1)

			constraint, ok := spread.([]any)[0].(map[string]any)
			require.True(t, ok)
			assert.Equal(t, field(t, objects, "Deployment details-v2", "selector"), constraint["labelSelector"])

			assert.Nil(t, field(t, objects, "Deployment details-v2", "replicas"), "the autoscaler's count is its own")
		})
	}
}

// field returns what the spec of the object holds there, or nil where it holds nothing.
func field(t *testing.T, objects []*unstructured.Unstructured, id string, path ...string) any {
	t.Helper()

	for _, object := range objects {
		if manifests.ID(object) == id {
			value, _, err := unstructured.NestedFieldNoCopy(object.Object, append([]string{"spec"}, path...)...)
			require.NoError(t, err)

			return value
		}
	}

	require.Fail(t, "no such object", id)

	return nil
}
