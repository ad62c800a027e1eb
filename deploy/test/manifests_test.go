// Package manifests_test checks the manifests in deploy/ without a cluster:
// that an API server accepts them, and what no other tool knows about them.
//
// The same checks run over the manifests as they are, which must pass, and
// over copies with one mistake each (mutation_test.go), which must not.
package manifests_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

const (
	bookinfo      = "test/testdata/bookinfo.yaml"
	kustomization = "kustomization.yaml"
)

func TestManifests(t *testing.T) {
	t.Parallel()

	manifests := load(t)
	assert.Empty(t, problems(t, manifests, newAPIServer(t)))
	assert.Subset(t, slices.Concat(manifests.modes(t)...), manifests.folders(), "every folder is part of a mode")
}

// problems returns everything that the checks find, one string per finding.
func problems(t *testing.T, manifests *tree, api *apiServer) []string {
	t.Helper()

	var found []string
	prefix := ""
	report := func(format string, args ...any) {
		found = append(found, prefix+fmt.Sprintf(format, args...))
	}

	manifests.checkFolders(report)
	for _, mode := range manifests.modes(t) {
		prefix = strings.Join(mode, " ") + ": "
		decoded := manifests.decode(t.Context(), api, append(mode, bookinfo), report)
		for _, check := range []func(cluster, reporter){
			checkPods, checkProxies, checkEgress, checkHTTPS, checkRules, checkExport, checkPolicy, checkNetworkPolicies, checkBlocked,
		} {
			check(decoded, report)
		}
	}
	for _, folder := range manifests.folders() {
		if original, ok := strings.CutPrefix(folder, "offline/"); ok && slices.Contains(manifests.folders(), original) {
			prefix = folder + ": "
			checkTwin(manifests.decode(t.Context(), api, []string{original}, report),
				manifests.decode(t.Context(), api, []string{folder}, report), report)
		}
	}
	return found
}

type reporter func(format string, args ...any)

// tree is a copy of deploy/ in memory, so that a test can break it. Paths are
// relative to deploy/.
type tree struct {
	files filesys.FileSystem
	names []string
	built map[string][]*unstructured.Unstructured
}

func load(t *testing.T) *tree {
	t.Helper()

	loaded := &tree{files: filesys.MakeFsInMemory(), built: map[string][]*unstructured.Unstructured{}}
	deploy := os.DirFS(filepath.Join(root(t), "deploy"))
	require.NoError(t, fs.WalkDir(deploy, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || path.Ext(name) != ".yaml" {
			return err
		}
		content, err := fs.ReadFile(deploy, name)
		if err != nil {
			return err
		}
		if !strings.HasPrefix(name, "test/") {
			loaded.names = append(loaded.names, name)
		}
		return loaded.files.WriteFile("/"+name, content)
	}))
	return loaded
}

// folders returns the folders that `kubectl apply -k` accepts.
func (m *tree) folders() []string {
	var folders []string
	for _, name := range m.names {
		if path.Base(name) == kustomization {
			folders = append(folders, path.Dir(name))
		}
	}
	return folders
}

// modes returns, for each mode, the folders and files that a cluster holds at
// the same time.
func (m *tree) modes(t *testing.T) [][]string {
	t.Helper()

	content, err := os.ReadFile(filepath.Join("testdata", "modes"))
	require.NoError(t, err)
	var modes [][]string
	for line := range strings.Lines(string(content)) {
		modes = append(modes, strings.Fields(line))
	}
	return modes
}

// build returns the objects in a folder's kustomization or in a file.
func (m *tree) build(name string) ([]*unstructured.Unstructured, error) {
	if built, ok := m.built[name]; ok {
		return built, nil
	}
	if path.Ext(name) == ".yaml" {
		content, err := m.files.ReadFile("/" + name)
		if err != nil {
			return nil, err
		}
		return parse(content)
	}

	options := krusty.MakeDefaultOptions()
	options.Reorder = krusty.ReorderOptionLegacy // as kubectl does
	resources, err := krusty.MakeKustomizer(options).Run(m.files, "/"+name)
	if err != nil {
		return nil, err
	}
	content, err := resources.AsYaml()
	if err != nil {
		return nil, err
	}
	m.built[name], err = parse(content)
	return m.built[name], err
}

// decode builds the folders and files, and returns the objects as typed values.
func (m *tree) decode(ctx context.Context, api *apiServer, names []string, report reporter) cluster {
	var decoded cluster
	for _, name := range names {
		built, err := m.build(name)
		if err != nil {
			report("%s: %v", name, err)
		}
		for _, one := range built {
			typed, err := api.decode(ctx, one)
			if err != nil {
				report("%s %s: %v", one.GetKind(), one.GetName(), err)
				continue
			}
			decoded = append(decoded, typed)
		}
	}
	return decoded
}

// checkFolders reports a file that its folder's kustomization leaves out.
func (m *tree) checkFolders(report reporter) {
	for _, name := range m.names {
		list, err := m.files.ReadFile("/" + path.Join(path.Dir(name), kustomization))
		if path.Base(name) != kustomization && (err != nil || !strings.Contains(string(list), "\n- "+path.Base(name)+"\n")) {
			report("%s: not among the resources of its folder", name)
		}
	}
}

// parse returns the objects in a YAML stream.
func parse(content []byte) ([]*unstructured.Unstructured, error) {
	var parsed []*unstructured.Unstructured
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(content), len(content))
	for {
		one := &unstructured.Unstructured{}
		if err := decoder.Decode(one); errors.Is(err, io.EOF) {
			return parsed, nil
		} else if err != nil {
			return nil, err
		}
		parsed = append(parsed, one)
	}
}

// root returns the root folder of the repository.
func root(t *testing.T) string {
	t.Helper()

	dir, err := filepath.Abs(filepath.Join("..", ".."))
	require.NoError(t, err)
	return dir
}

// run runs a command in the root folder and returns its standard output. The
// test fails if the command does.
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
