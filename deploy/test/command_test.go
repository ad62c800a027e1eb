package manifests_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	manifests "example.com/bookinfo/deploy/test"
)

// kubectl carries a kustomize of its own, usually an older one: what it builds has to be the same.
func TestKubectlKustomize(t *testing.T) {
	t.Parallel()

	tree := load(t)

	for _, folder := range tree.Folders() {
		t.Run(folder, func(t *testing.T) {
			t.Parallel()

			want, err := tree.Build(folder)
			require.NoError(t, err)

			got, err := manifests.Parse([]byte(run(t, "kubectl", "kustomize", "deploy/"+folder)))
			require.NoError(t, err)

			assert.ElementsMatch(t, want, got)
		})
	}
}

// The walk-throughs switch between the modes with this one command.
func TestKubectlSetEnv(t *testing.T) {
	t.Parallel()

	const file = "deploy/details-v2/deployment.yaml"

	want, err := load(t).Read("details-v2/deployment.yaml")
	require.NoError(t, err)

	assert.Equal(t, "true", variable(t, want, "DO_NOT_ENCRYPT"))

	got, err := manifests.Parse([]byte(run(t, "kubectl", "set", "env", "--local", "-f", file, "DO_NOT_ENCRYPT=false", "-o", "yaml")))
	require.NoError(t, err)

	assert.Equal(t, "false", variable(t, got, "DO_NOT_ENCRYPT"))

	https, err := load(t).Build("details-v2-https")
	require.NoError(t, err)

	assert.Equal(t, "false", variable(t, https, "DO_NOT_ENCRYPT"))
}

// variable returns what the objects' container details sets the variable to.
func variable(t *testing.T, objects []*unstructured.Unstructured, name string) string {
	t.Helper()

	values, err := manifests.Environment(objects, "details")
	require.NoError(t, err)
	require.Contains(t, values, name)

	return values[name]
}

// A variable that the program does not read is misspelled, here or there.
func TestEnvironment(t *testing.T) {
	t.Parallel()

	help := run(t, "go", "run", "./cmd/details", "--help")
	known := regexp.MustCompile(`\b[A-Z]+(?:_[A-Z]+)*\b`).FindAllString(help, -1)

	tree := load(t)

	for _, folder := range []string{"details-v2", "details-v2-https", "offline/details-v2"} {
		objects, err := tree.Build(folder)
		require.NoError(t, err)

		values, err := manifests.Environment(objects, "details")
		require.NoError(t, err)

		for name := range values {
			assert.Contains(t, known, name, "%s sets what `details --help` does not list", folder)
		}
	}
}

// So is a flag that the stand-in does not have.
func TestEmulatorFlags(t *testing.T) {
	t.Parallel()

	help := run(t, "go", "run", "./cmd/books-emulator", "--help")
	known := regexp.MustCompile(`(?:^|[\s,])--?([a-z-]+)`).FindAllStringSubmatch(help, -1)

	var flags []string
	for _, match := range known {
		flags = append(flags, match[1])
	}

	objects, err := load(t).Build("offline/emulator")
	require.NoError(t, err)

	args, err := manifests.Arguments(objects, "books-emulator")
	require.NoError(t, err)
	require.NotEmpty(t, args)

	for _, arg := range args {
		name, _, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		assert.Contains(t, flags, name)
	}
}

func TestReadme(t *testing.T) {
	t.Parallel()

	text, err := os.ReadFile(filepath.Join(root(t), "deploy", "README.md"))
	require.NoError(t, err)

	readme := string(text)

	for _, folder := range load(t).Folders() {
		if !strings.HasPrefix(folder, "offline/") {
			assert.Contains(t, readme, "| `"+folder+"/` ", "the table has no row for it")
		}
	}
}
