package manifests_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	manifests "example.com/bookinfo/deploy/test"
)

// documents returns what the reader follows, by path from the repository's root.
func documents(t *testing.T) map[string]string {
	t.Helper()

	texts := map[string]string{}

	for _, folder := range []string{".", "deploy", "samples"} {
		err := filepath.WalkDir(filepath.Join(root(t), folder), func(path string, entry fs.DirEntry, err error) error {
			name, _ := filepath.Rel(root(t), path)

			switch {
			case err != nil:
				return err
			case entry.IsDir() && folder == "." && name != ".": // of the root only the README
				return fs.SkipDir
			case filepath.Ext(name) != ".md" || folder == "." && name != "README.md":
				return nil
			}

			text, err := os.ReadFile(path)
			texts[filepath.ToSlash(name)] = string(text)

			return err
		})
		require.NoError(t, err)
	}

	for _, name := range []string{"README", "https", "tls-origination", "books-only", "ambient", "troubleshooting"} {
		require.Contains(t, texts, "samples/"+name+".md")
	}

	return texts
}

// shellBlocks returns a text's shell blocks, those inside of lists and quotations too.
func shellBlocks(text string) []string {
	return manifests.ShellBlocks(regexp.MustCompile(`(?m)^[> ]+`).ReplaceAllString(text, ""))
}

func TestDocumentsShell(t *testing.T) {
	t.Parallel()

	for name, text := range documents(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			assert.NoError(t, manifests.CheckShell(t.Context(), shellBlocks(text)))
		})
	}
}

// Every file and folder that a document names or links to, and every heading that it links to, is there.
func TestDocumentsPaths(t *testing.T) {
	t.Parallel()

	texts := documents(t)

	for name, text := range texts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			for _, path := range regexp.MustCompile(`\b(?:deploy|samples|cmd)(?:/[\w.-]*\w)+`).FindAllString(text, -1) {
				if !strings.HasPrefix(path, "samples/bookinfo/") { // Istio's
					assert.True(t, exists(filepath.Join(root(t), path)), path)
				}
			}

			for _, link := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatch(text, -1) {
				target, heading, _ := strings.Cut(link[1], "#")
				if strings.Contains(target, "://") {
					continue
				}

				path := name
				if target != "" {
					path = filepath.ToSlash(filepath.Join(filepath.Dir(name), target))
				}

				assert.True(t, exists(filepath.Join(root(t), path)), link[1])

				if heading != "" {
					assert.Contains(t, headings(t, path), heading, link[1])
				}
			}
		})
	}
}

// headings returns what can stand behind # in a link to the document.
func headings(t *testing.T, name string) []string {
	t.Helper()

	text, err := os.ReadFile(filepath.Join(root(t), name))
	require.NoError(t, err)

	var all []string

	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(string(text), -1) {
		plain := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(heading[1]), "")
		all = append(all, strings.ReplaceAll(plain, " ", "-"))
	}

	return all
}

// Every object that a document's kubectl commands or sentences name is in the manifests, is named by them (a Secret), or
// comes with Bookinfo.
func TestDocumentsObjects(t *testing.T) {
	t.Parallel()

	known := knownObjects(t)
	settings := run(t, "go", "run", "./cmd/details", "--help")
	sentence := regexp.MustCompile("\\b(" + strings.Join(known.kinds(), "|") + ") `([a-z0-9-]+)`")

	for name, text := range documents(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			for _, words := range kubectlCommands(text) {
				assert.NoError(t, known.check(words), "kubectl %s", strings.Join(words, " "))

				if len(words) > 1 && words[0] == "set" && words[1] == "env" {
					for _, setting := range regexp.MustCompile(` ([A-Z_]+)(?:=| |-$|- )`).FindAllStringSubmatch(strings.Join(words, " "), -1) {
						assert.Contains(t, settings, "\n  "+setting[1]+" ", "details --help does not list it")
					}
				}
			}

			for _, match := range sentence.FindAllStringSubmatch(text, -1) {
				assert.True(t, known.named(match[1], match[2]), match[0])
			}
		})
	}
}

// What the checks above are there to find.
func TestDocumentsMistakes(t *testing.T) {
	t.Parallel()

	known := knownObjects(t)

	tests := map[string]string{
		"kubectl delete serviceentry googleapi":                               "no ServiceEntry googleapi",
		"kubectl delete serviceentry googleapis -n istio-system":              "no ServiceEntry istio-system/googleapis",
		"echo ok && kubectl get virtualservices.networking.istio.io/details2": "no VirtualService details2",
		"kubectl apply -k deploy/htps":                                        "deploy/htps is no kustomization",
		"kubectl apply \\\n  -f deploy/https/service-entries.yaml":            "deploy/https/service-entries.yaml is no file",
		"kubectl exec deployment/ratings-v2 -- curl details":                  "no Deployment ratings-v2",
		"kubectl rollout status deployment/detail-v2 --timeout=1s | cat":      "no Deployment detail-v2",
		"kubectl create secret generic google-book --from-file=a":             "no Secret google-book",
		"kubectl delete serviceentrie googleapis":                             "what is serviceentrie?",
		"kubectl delete serviceentry googleapis; kubectl get pods # all":      "",
		"kubectl logs -n istio-egress deployment/waypoint -c 'istio | proxy'": "",
		"kubectl set env --local -f - A=b -o yaml | kubectl apply -f -":       "",
	}

	for command, want := range tests {
		t.Run(command, func(t *testing.T) {
			t.Parallel()

			var errs []string

			for _, words := range kubectlCommands("```sh\n" + command + "\n```\n") {
				if err := known.check(words); err != nil {
					errs = append(errs, err.Error())
				}
			}

			assert.Equal(t, want, strings.Join(errs, "; "))
		})
	}
}

// kubectlCommands returns the kubectl commands of a text's shell blocks, and of the code in its sentences, in words.
func kubectlCommands(text string) [][]string {
	shell := shellBlocks(text)
	for _, code := range regexp.MustCompile("`(kubectl [^`\n]+)`").FindAllStringSubmatch(text, -1) {
		shell = append(shell, strings.ReplaceAll(code[1], `\|`, "|")) // a table's way to write it
	}

	word := regexp.MustCompile(`#[^\n]*|(?:'[^']*'|"[^"]*"|[^\s'"|&;])+|[\n|&;]+`)

	var commands [][]string

	for _, block := range shell {
		var words []string

		for _, w := range append(word.FindAllString(strings.ReplaceAll(block, "\\\n", " "), -1), "\n") {
			switch {
			case w[0] == '#':
				continue
			case !strings.ContainsAny(w[:1], "\n|&;"):
				words = append(words, w)

				continue
			}

			if len(words) > 1 && words[0] == "kubectl" {
				commands = append(commands, words[1:])
			}

			words = nil
		}
	}

	return commands
}

// objects are names that kubectl may be asked for, by kind, each with its namespace where it has a fixed one.
type objects map[string][]string

func knownObjects(t *testing.T) objects {
	t.Helper()

	known := objects{
		"Deployment": {"ratings-v1", "productpage-v1"}, // Bookinfo's, beside those of testdata
		"Pod":        {}, "ReplicaSet": {}, "NetworkPolicy": {},
	}

	all := bookinfo(t)

	tree := load(t)
	for _, file := range tree.Files() {
		read, err := tree.Read(file)
		require.NoError(t, err)

		all = append(all, read...)
	}

	for _, folder := range tree.Folders() {
		built, err := tree.Build(folder)
		require.NoError(t, err)

		all = append(all, built...)
	}

	for _, object := range all {
		known.add(object.GetKind(), object.GetNamespace(), object.GetName())
		known.addReferences(object, object.Object)

		if object.GetKind() == "Gateway" { // Istio makes a Deployment of it
			known.add("Deployment", object.GetNamespace(), object.GetName())
		}
	}

	return known
}

func (o objects) add(kind, namespace, name string) {
	o[kind] = append(o[kind], strings.TrimPrefix(namespace+"/"+name, "/"))
}

// addReferences adds the Secrets and ConfigMaps that an object names: nobody ships them.
func (o objects) addReferences(owner *unstructured.Unstructured, value any) {
	switch value := value.(type) {
	case []any:
		for _, item := range value {
			o.addReferences(owner, item)
		}
	case map[string]any:
		for key, item := range value {
			reference, _ := item.(map[string]any)

			switch key {
			case "secretName":
				o.add("Secret", owner.GetNamespace(), fmt.Sprint(item))
			case "secretKeyRef":
				o.add("Secret", owner.GetNamespace(), fmt.Sprint(reference["name"]))
			case "configMap":
				o.add("ConfigMap", owner.GetNamespace(), fmt.Sprint(reference["name"]))
			case "credentialName":
				if namespace, name, ok := strings.Cut(strings.TrimPrefix(fmt.Sprint(item), "configmap://"), "/"); ok {
					o.add("ConfigMap", namespace, name)
				}
			default:
				o.addReferences(owner, item)
			}
		}
	}
}

func (o objects) kinds() []string {
	var kinds []string
	for kind := range o {
		kinds = append(kinds, kind)
	}

	return kinds
}

// named says whether there is such an object, in whichever namespace.
func (o objects) named(kind, name string) bool {
	return slices.ContainsFunc(o[kind], func(other string) bool { return other == name || strings.HasSuffix(other, "/"+name) })
}

// kind returns the kind that kubectl would take the word for; "" if none.
func (o objects) kind(word string) string {
	word, _, _ = strings.Cut(word, ".")

	for kind := range o {
		singular := strings.ToLower(kind)
		plurals := []string{singular + "s", singular + "es", strings.TrimSuffix(singular, "y") + "ies"}

		if word == singular || slices.Contains(plurals, word) {
			return kind
		}
	}

	return ""
}

// check returns an error for the first thing of the command's that does not exist.
func (o objects) check(words []string) error {
	namespace, names := "", []string{}

	for i := 0; i < len(words) && words[i] != "--"; i++ {
		next := ""
		if i+1 < len(words) {
			next = words[i+1]
		}

		switch flag := words[i]; {
		case next == "" && strings.HasPrefix(flag, "-"): // `kubectl apply -k`, in a sentence
		case flag == "-k" && !exists(filepath.Join("..", "..", next, "kustomization.yaml")):
			return fmt.Errorf("%s is no kustomization", next)
		case flag == "-f" && next != "-" && !strings.HasPrefix(next, "samples/bookinfo/") && !exists(filepath.Join("..", "..", next)):
			return fmt.Errorf("%s is no file", next)
		case flag == "-n":
			namespace = next + "/"

			i++
		case slices.Contains([]string{"-k", "-f", "-l", "-c", "-o"}, flag):
			i++
		case !strings.HasPrefix(flag, "-"):
			names = append(names, flag)
		}
	}

	if len(names) == 0 {
		return nil
	}

	verb, names := names[0], names[1:]
	switch {
	case verb == "set" || verb == "rollout": // set env, rollout status
		names = slices.DeleteFunc(names, func(name string) bool { return !strings.Contains(name, "/") })
	case verb == "create" && len(names) > 2: // create secret tls name
		names = []string{names[0], names[2]}
	case !slices.Contains([]string{"create", "get", "delete", "describe", "scale", "wait", "exec", "logs"}, verb):
		return nil
	}

	kinds := ""

	for _, name := range names {
		kind := kinds
		if before, after, ok := strings.Cut(name, "/"); ok {
			kind, name = before, after
		} else if kinds == "" {
			kinds, name = name, ""
			kind = kinds
		}

		for kind := range strings.SplitSeq(kind, ",") {
			full := o.kind(kind)
			if full == "" {
				return fmt.Errorf("what is %s?", kind)
			}

			if name != "" && !slices.Contains(o[full], namespace+name) {
				return fmt.Errorf("no %s %s%s", full, namespace, name)
			}
		}
	}

	return nil
}

func TestScripts(t *testing.T) {
	t.Parallel()

	scripts := []string{"samples/walkthrough.sh", "deploy/test/analyze.sh", "deploy/test/testdata/walkthrough/kubectl"}
	for _, script := range scripts {
		run(t, "bash", "-n", script)
	}

	if _, err := exec.LookPath("shellcheck"); err != nil && os.Getenv("CI") == "" {
		t.Skip("shellcheck is not installed: the scripts were only parsed (bash -n)")
	}

	run(t, "shellcheck", scripts...)
}
