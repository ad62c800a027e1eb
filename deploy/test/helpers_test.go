package manifests_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	manifests "example.com/bookinfo/deploy/test"
)

// load returns the manifests, or fails the test.
func load(t *testing.T) *manifests.Tree {
	t.Helper()

	tree, err := manifests.Load()
	require.NoError(t, err)

	return tree
}

// schemas returns what an API server would take, or fails the test.
func schemas(t *testing.T) *manifests.Schemas {
	t.Helper()

	loaded, err := manifests.LoadSchemas(t.Context())
	require.NoError(t, err)

	return loaded
}

// bookinfo returns what Bookinfo itself brings, as far as the manifests lean on it.
func bookinfo(t *testing.T) []*unstructured.Unstructured {
	t.Helper()

	content, err := os.ReadFile(filepath.Join("testdata", "bookinfo.yaml"))
	require.NoError(t, err)

	objects, err := manifests.Parse(content)
	require.NoError(t, err)

	return objects
}

// root returns the repository's root folder.
func root(t *testing.T) string {
	t.Helper()

	dir, err := manifests.Root()
	require.NoError(t, err)

	return dir
}

// run starts a command in the repository's root folder and returns what it printed. Where it fails, so does the test.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()

	var stderr bytes.Buffer

	command := exec.CommandContext(t.Context(), name, args...)
	command.Dir = root(t)
	command.Stderr = &stderr

	stdout, err := command.Output()
	require.NoError(t, err, "%s: %s", command, stderr.String())

	return string(stdout)
}
