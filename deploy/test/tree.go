package manifests

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// kustomization is the name that makes a folder one that `kubectl apply -k` takes.
const kustomization = "kustomization.yaml"

// Tree is a copy of the manifests in memory: a test can break one without touching the files. Paths are relative to
// deploy/, with slashes. Several goroutines may read a Tree; while one changes it, nobody else may use it.
type Tree struct {
	files filesys.FileSystem
	names []string

	mutex sync.Mutex
	// built holds what each folder builds, since every check asks for it again. A change empties it.
	built map[string][]*unstructured.Unstructured
}

// Root returns the repository's root folder, looked for from the working directory upwards.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}

	for {
		if _, err := os.Stat(filepath.Join(dir, "deploy", "test", "go.mod")); err == nil {
			return dir, nil
		}

		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no folder above holds deploy/test/go.mod")
		}

		dir = parent
	}
}

// Load reads every YAML file of deploy/, except this module's own.
func Load() (*Tree, error) {
	root, err := Root()
	if err != nil {
		return nil, err
	}

	tree := &Tree{files: filesys.MakeFsInMemory(), built: map[string][]*unstructured.Unstructured{}}
	deploy := os.DirFS(filepath.Join(root, "deploy"))

	err = fs.WalkDir(deploy, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name == "test":
			return fs.SkipDir
		case entry.IsDir() || path.Ext(name) != ".yaml":
			return nil
		}

		content, err := fs.ReadFile(deploy, name)
		if err != nil {
			return err
		}

		tree.names = append(tree.names, name)

		return tree.files.WriteFile("/"+name, content)
	})

	return tree, err
}

// Add puts a file in.
func (t *Tree) Add(name, content string) error {
	t.names = append(t.names, name)

	return t.write(name, []byte(content))
}

// Edit replaces the first old of the file by replacement. A file that does not hold it is an error, or a test that
// breaks a manifest would go on to test an unbroken one.
func (t *Tree) Edit(name, old, replacement string) error {
	content, err := t.files.ReadFile("/" + name)
	if err != nil {
		return err
	}

	if !bytes.Contains(content, []byte(old)) {
		return fmt.Errorf("%s does not hold %q", name, old)
	}

	return t.write(name, bytes.Replace(content, []byte(old), []byte(replacement), 1))
}

func (t *Tree) write(name string, content []byte) error {
	t.mutex.Lock()
	defer t.mutex.Unlock()

	clear(t.built)

	return t.files.WriteFile("/"+name, content)
}

// Drop removes a file, and its line in the folder's kustomization.
func (t *Tree) Drop(name string) error {
	if err := t.Edit(path.Join(path.Dir(name), kustomization), "- "+path.Base(name)+"\n", ""); err != nil {
		return err
	}

	t.names = slices.DeleteFunc(t.names, func(other string) bool { return other == name })

	return t.files.RemoveAll("/" + name)
}

// Folders returns every folder that is a kustomization, sorted.
func (t *Tree) Folders() []string {
	var folders []string

	for _, name := range t.names {
		if path.Base(name) == kustomization {
			folders = append(folders, path.Dir(name))
		}
	}

	slices.Sort(folders)

	return folders
}

// Files returns every file that holds objects, sorted: all of them apply alone.
func (t *Tree) Files() []string {
	files := slices.DeleteFunc(slices.Clone(t.names), func(name string) bool { return path.Base(name) == kustomization })
	slices.Sort(files)

	return files
}

// Read returns the objects of one file.
func (t *Tree) Read(name string) ([]*unstructured.Unstructured, error) {
	content, err := t.files.ReadFile("/" + name)
	if err != nil {
		return nil, err
	}

	objects, err := Parse(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}

	return objects, nil
}

// Build returns the objects that `kubectl apply -k` of these folders, one after the other, would apply. An object that
// a later folder brings again replaces the earlier one, as it would in a cluster. The objects are for reading only.
func (t *Tree) Build(folders ...string) ([]*unstructured.Unstructured, error) {
	t.mutex.Lock()
	defer t.mutex.Unlock()

	var objects []*unstructured.Unstructured

	for _, folder := range folders {
		built, err := t.build(folder)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", folder, err)
		}

		for _, object := range built {
			objects = slices.DeleteFunc(objects, func(other *unstructured.Unstructured) bool { return ID(other) == ID(object) })
			objects = append(objects, object)
		}
	}

	return objects, nil
}

func (t *Tree) build(folder string) ([]*unstructured.Unstructured, error) {
	if objects, ok := t.built[folder]; ok {
		return objects, nil
	}

	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(t.files, "/"+folder)
	if err != nil {
		return nil, err
	}

	text, err := built.AsYaml()
	if err != nil {
		return nil, err
	}

	objects, err := Parse(text)
	if err != nil {
		return nil, err
	}

	t.built[folder] = objects

	return objects, nil
}

// ID names an object as a reader would: kind, namespace (where it says one) and name.
func ID(object *unstructured.Unstructured) string {
	return object.GetKind() + " " + path.Join(object.GetNamespace(), object.GetName())
}

// Parse returns the objects of a YAML stream. A key that is there twice is an error.
func Parse(content []byte) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured

	documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))

	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}

		if err != nil {
			return nil, err
		}

		text, err := yaml.YAMLToJSONStrict(document)
		if err != nil {
			return nil, err
		}

		if string(text) == "null" {
			continue
		}

		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(text); err != nil {
			return nil, err
		}

		objects = append(objects, object)
	}
}

// CheckFolders returns an error for a file that its folder's kustomization does not list, and for a folder that does
// not build.
func CheckFolders(tree *Tree) error {
	var found problems

	for _, name := range tree.Files() {
		listed, err := tree.kustomization(path.Dir(name))
		if err != nil {
			found.add(err)
		} else if !slices.Contains(listed.Resources, path.Base(name)) {
			found.addf("%s: not among the resources of its folder", name)
		}
	}

	for _, folder := range tree.Folders() {
		objects, err := tree.Build(folder)
		if err != nil {
			found.add(err)
		} else if len(objects) == 0 {
			found.addf("%s: builds nothing", folder)
		}
	}

	return found.err()
}

// CheckImages returns an error for a Deployment whose image comes out differently from its file and from its folder's
// kustomization, or whose tag the kustomization does not set: `kustomize edit set image` would then change nothing.
func CheckImages(tree *Tree) error {
	var found problems

	for _, name := range tree.Files() {
		objects, err := tree.Read(name)
		found.add(err)

		if len(objects) == 0 || objects[0].GetKind() != "Deployment" {
			continue
		}

		folder := path.Dir(name)

		listed, err := tree.kustomization(folder)
		if err != nil {
			found.add(err)

			continue
		}

		built, err := tree.Build(folder)
		found.add(err)

		alone, together := images(objects), images(built)
		if !slices.Equal(alone, together) {
			found.addf("%s: the file has %s, the folder builds %s", name, strings.Join(alone, ", "), strings.Join(together, ", "))
		}

		for _, image := range alone {
			repository, _, _ := strings.Cut(image, ":")
			if !slices.ContainsFunc(listed.Images, func(set types.Image) bool { return set.Name == repository && set.NewTag != "" }) {
				found.addf("%s: sets no tag of %s", folder, repository)
			}
		}
	}

	return found.err()
}

// images returns the images of all containers of the Deployments among the objects.
func images(objects []*unstructured.Unstructured) []string {
	var found []string

	for _, object := range objects {
		containers, _, _ := unstructured.NestedSlice(object.Object, "spec", "template", "spec", "containers")
		for _, container := range containers {
			if fields, ok := container.(map[string]any); ok {
				found = append(found, fmt.Sprint(fields["image"]))
			}
		}
	}

	return found
}

// kustomization reads the kustomization of a folder.
func (t *Tree) kustomization(folder string) (*types.Kustomization, error) {
	content, err := t.files.ReadFile("/" + path.Join(folder, kustomization))
	if err != nil {
		return nil, fmt.Errorf("%s is no kustomization: %w", folder, err)
	}

	listed := &types.Kustomization{}
	if err := yaml.UnmarshalStrict(content, listed); err != nil {
		return nil, fmt.Errorf("%s: %w", folder, err)
	}

	return listed, nil
}

// problems collects what a check finds, so that it reports everything at once.
type problems []error

func (p *problems) add(err error) {
	if err != nil {
		*p = append(*p, err)
	}
}

func (p *problems) addf(format string, args ...any) { p.add(fmt.Errorf(format, args...)) }

func (p *problems) err() error { return errors.Join(*p...) }

// within puts the name of what was looked at before each problem.
func within(name string, err error) error {
	if err == nil {
		return nil
	}

	return fmt.Errorf("%s: %s", name, strings.ReplaceAll(err.Error(), "\n", "\n"+name+": "))
}
