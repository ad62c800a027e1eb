package manifests_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// kubectl has its own kustomize, usually an older one. It must build the same.
func TestKubectlKustomize(t *testing.T) {
	t.Parallel()

	manifests := load(t)
	for _, folder := range manifests.folders() {
		want, err := manifests.build(folder)
		require.NoError(t, err)
		got, err := parse([]byte(run(t, "kubectl", "kustomize", "deploy/"+folder)))
		require.NoError(t, err)
		assert.ElementsMatch(t, want, got, folder)
	}
}

// The walk-throughs switch between plain HTTP and HTTPS with this command.
func TestKubectlSetEnv(t *testing.T) {
	t.Parallel()

	const file = "details-v2/deployment.yaml"

	manifests := load(t)
	plain, err := manifests.build(file)
	require.NoError(t, err)
	encrypted, err := manifests.build("details-v2-https")
	require.NoError(t, err)
	switched, err := parse([]byte(run(t, "kubectl", "set", "env", "--local", "-f", "deploy/"+file, "DO_NOT_ENCRYPT=false", "-o", "yaml")))
	require.NoError(t, err)

	assert.Equal(t, "true", variable(workload(t, plain), "DO_NOT_ENCRYPT"))
	assert.Equal(t, "false", variable(workload(t, encrypted), "DO_NOT_ENCRYPT"))
	assert.Equal(t, "false", variable(workload(t, switched), "DO_NOT_ENCRYPT"))
}

// The manifests set only variables and flags that the programs know.
func TestSettings(t *testing.T) {
	t.Parallel()

	manifests := load(t)
	built, err := manifests.build("offline/details-v2")
	require.NoError(t, err)
	help := run(t, "go", "run", "./cmd/details", "--help")
	for _, one := range workload(t, built).Env {
		if one.Name != "GOMEMLIMIT" { // for the Go runtime
			assert.Regexp(t, `\b`+one.Name+`\b`, help)
		}
	}

	built, err = manifests.build("offline/emulator")
	require.NoError(t, err)
	help = run(t, "go", "run", "./cmd/books-emulator", "--help")
	for _, arg := range workload(t, built).Args {
		flag, _, _ := strings.Cut(arg, "=")
		assert.Regexp(t, regexp.QuoteMeta(strings.TrimPrefix(flag, "-"))+`\b`, help)
	}
}

// workload returns the only container of the only Deployment.
func workload(t *testing.T, built []*unstructured.Unstructured) corev1.Container {
	t.Helper()

	for _, one := range built {
		if one.GetKind() == "Deployment" {
			var deployment appsv1.Deployment
			require.NoError(t, runtime.DefaultUnstructuredConverter.FromUnstructured(one.Object, &deployment))
			return deployment.Spec.Template.Spec.Containers[0]
		}
	}
	require.Fail(t, "no Deployment")
	return corev1.Container{}
}

// variable returns the value of one of the container's variables.
func variable(container corev1.Container, name string) string {
	for _, one := range container.Env {
		if one.Name == name {
			return one.Value
		}
	}
	return ""
}
