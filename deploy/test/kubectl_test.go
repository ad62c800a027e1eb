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

// The walk-through for ambient edits the file with this command.
func TestKubectlSetEnv(t *testing.T) {
	t.Parallel()

	edited, err := parse([]byte(run(t, "kubectl", "set", "env", "--local", "-f", "deploy/details-v2/deployment.yaml", "-o", "yaml", "A=b")))
	require.NoError(t, err)
	assert.Contains(t, workload(t, edited).Env, corev1.EnvVar{Name: "A", Value: "b"})
}

// The manifests set only variables and flags that the programs know.
func TestSettings(t *testing.T) {
	t.Parallel()

	manifests := load(t)
	built, err := manifests.build("offline/details-v2")
	require.NoError(t, err)
	help := run(t, "go", "run", "./cmd/details", "--help")
	for _, one := range workload(t, built).Env {
		assert.Regexp(t, `\b`+one.Name+`\b`, help)
	}

	built, err = manifests.build("offline/emulator")
	require.NoError(t, err)
	help = run(t, "go", "run", "./cmd/books-emulator", "--help")
	for _, arg := range workload(t, built).Args {
		flag, _, _ := strings.Cut(arg, "=")
		assert.Regexp(t, regexp.QuoteMeta(strings.TrimPrefix(flag, "-"))+`\b`, help)
	}
}

// The manifests leave the user to the images. Restricted Pod Security accepts
// only a number, and user 1337 would bypass the sidecar.
func TestImageUser(t *testing.T) {
	t.Parallel()

	dockerfile := read(t, "Dockerfile")["Dockerfile"]
	assert.Equal(t, []string{"USER 65532:65532", "USER 65532:65532"}, regexp.MustCompile(`(?m)^USER .*`).FindAllString(dockerfile, -1))
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
