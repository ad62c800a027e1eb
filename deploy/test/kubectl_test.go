package manifests_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// kubectl's own kustomize, usually an older one, must build the same.
func TestKubectlKustomize(t *testing.T) {
	t.Parallel()

	manifests := load(t)
	for _, folder := range manifests.folders() {
		want, err := manifests.build(folder)
		require.NoError(t, err)
		got, err := parse([]byte(run(t, "kubectl", "kustomize", "deploy/"+folder)))
		require.NoError(t, err)
		assert.Equal(t, want, got, folder)
	}
}

// The manifests set only variables and flags that the programs know.
func TestSettings(t *testing.T) {
	t.Parallel()

	api := newAPIServer(t)
	help := run(t, "go", "run", "./cmd/details", "--help")
	for _, one := range workload(t, api, "offline/details-v2").Env {
		assert.Regexp(t, `\b`+one.Name+`\b`, help)
	}
	help = run(t, "go", "run", "./cmd/books-emulator", "--help")
	for _, arg := range workload(t, api, "offline/emulator").Args {
		flag, _, _ := strings.Cut(arg, "=")
		assert.Regexp(t, regexp.QuoteMeta(strings.TrimPrefix(flag, "-"))+`\b`, help)
	}
}

// workload returns the only container of a folder's only Deployment.
func workload(t *testing.T, api *apiServer, folder string) corev1.Container {
	t.Helper()

	decoded := load(t).decode(t.Context(), api, []string{folder}, t.Errorf)
	require.Len(t, all[*appsv1.Deployment](decoded), 1)
	return all[*appsv1.Deployment](decoded)[0].Spec.Template.Spec.Containers[0]
}
