package manifests_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// documents returns the Markdown texts for users, by path.
func documents(t *testing.T) map[string]string {
	t.Helper()

	return read(t, "*.md", "docs/*.md", "deploy/*.md", "samples/*.md")
}

// read returns the files that match, by path from the root.
func read(t *testing.T, patterns ...string) map[string]string {
	t.Helper()

	texts := map[string]string{}
	for _, pattern := range patterns {
		names, err := fs.Glob(os.DirFS(root(t)), pattern)
		require.NoError(t, err)
		for _, name := range names {
			text, err := os.ReadFile(filepath.Join(root(t), name))
			require.NoError(t, err)
			texts[name] = string(text)
		}
	}
	require.NotEmpty(t, texts)
	return texts
}

var (
	shellBlock = regexp.MustCompile("(?s)\n```sh[^\n]*\n(.*?\n)```")
	inlineCode = regexp.MustCompile("`(kubectl [^`\n]+)`")
	margin     = regexp.MustCompile(`(?m)^[> ]+`)
	hereDoc    = regexp.MustCompile(`(?s)<<'YAML'\n(.*?)\nYAML\n`)
	link       = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading    = regexp.MustCompile(`(?m)^#+ (.*)$`)
	yamlBlock  = regexp.MustCompile("(?s)```yaml\n(.*?)```\n")
	shownFile  = regexp.MustCompile(`(?s).*\]\(([^)\s]+\.yaml)\)`)
	notInLink  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	repoPath   = regexp.MustCompile(`(?:^|[^\w/.-])((?:deploy|samples|cmd|docs)(?:/[\w.-]*\w)+)`)
	setting    = regexp.MustCompile(` ([A-Z_]+)(?:=| |-$|- )`)
	setEnv     = regexp.MustCompile(`kubectl set env [^|\n]*`)

	kubectl     = regexp.MustCompile(`\bkubectl [^|&;#\n]*`)
	inNamespace = regexp.MustCompile(` -n ([a-z-]+)`)
	objectName  = regexp.MustCompile(` (?:(?:create|delete|describe|get|scale) ([a-z0-9.]+) (?:generic |tls )?|((?:deployment|gateway|secret|service|virtualservice)[a-z0-9.]*)/)([a-z][a-z0-9-]*)`)
)

// shellBlocks returns the shell blocks of a text, also those in lists and
// quotations.
func shellBlocks(text string) []string {
	var blocks []string
	for _, match := range shellBlock.FindAllStringSubmatch(margin.ReplaceAllString("\n"+text, ""), -1) {
		blocks = append(blocks, match[1])
	}
	return blocks
}

// Bash can parse every shell block.
func TestDocumentsShell(t *testing.T) {
	t.Parallel()

	for _, text := range documents(t) {
		for _, block := range shellBlocks(text) {
			run(t, "bash", "-n", "-c", block)
		}
	}
}

// Every file and heading that a document names or links to exists.
func TestDocumentsPaths(t *testing.T) {
	t.Parallel()

	texts := documents(t)
	for name, text := range texts {
		assert.NoError(t, checkPaths(root(t), name, texts), name)
		for _, match := range setEnv.FindAllString(strings.Join(shellBlocks(text), ""), -1) {
			for _, s := range setting.FindAllStringSubmatch(match, -1) {
				assert.Contains(t, texts["README.md"], "| `"+s[1]+"` |", "%s: %s is not in the README's table", name, match)
			}
		}
	}
}

func checkPaths(root, name string, texts map[string]string) error {
	var errs []error
	exists := func(path string) {
		_, err := os.Stat(filepath.Join(root, path))
		errs = append(errs, err)
	}
	for _, match := range repoPath.FindAllStringSubmatch(texts[name], -1) {
		if !strings.HasPrefix(match[1], "samples/bookinfo/") { // Istio's
			exists(match[1])
		}
	}
	for _, match := range link.FindAllStringSubmatch(texts[name], -1) {
		target, anchor, _ := strings.Cut(match[1], "#")
		if strings.Contains(target, "://") {
			continue
		}
		path := name
		if target != "" {
			path = filepath.Join(filepath.Dir(name), target)
		}
		exists(path)
		if anchor != "" && !slices.Contains(anchors(texts[path]), anchor) {
			errs = append(errs, fmt.Errorf("%s has no heading #%s", path, anchor))
		}
	}
	return errors.Join(errs...)
}

// anchors returns what may follow # in a link to the text.
func anchors(text string) []string {
	var all []string
	for _, match := range heading.FindAllStringSubmatch(text, -1) {
		plain := notInLink.ReplaceAllString(strings.ToLower(match[1]), "")
		all = append(all, strings.ReplaceAll(plain, " ", "-"))
	}
	return all
}

// Every YAML block shows the file that the paragraph above it links to.
func TestDocumentsYAML(t *testing.T) {
	t.Parallel()

	texts := read(t, "deploy/*.md", "samples/*.md")
	for name, text := range texts {
		assert.NoError(t, checkYAML(root(t), name, text), name)
	}
}

// checkYAML compares the YAML blocks of a document with their files. A block
// may leave out comments, and be a part of an object.
func checkYAML(root, name, text string) error {
	var errs []error
	for _, at := range yamlBlock.FindAllStringSubmatchIndex(text, -1) {
		block := text[at[2]:at[3]]
		if strings.Contains(block, "\nkind: Kustomization\n") { // the reader's own
			continue
		}
		paragraphs := strings.Split(strings.TrimSpace(text[:at[0]]), "\n\n")
		file := shownFile.FindStringSubmatch(paragraphs[len(paragraphs)-1])
		if file == nil {
			errs = append(errs, fmt.Errorf("no link to a file above\n%s", block))
			continue
		}
		content, err := os.ReadFile(filepath.Join(root, filepath.Dir(name), file[1]))
		if err == nil && !shows(block, string(content)) {
			err = fmt.Errorf("%s does not say\n%s", file[1], block)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// shows reports whether the block is the whole file, or lines of it if it does
// not begin as an object does. Comments between its lines may be left out.
func shows(block, file string) bool {
	const comments = `( *#.*\n)*`
	lines := strings.SplitAfter(regexp.QuoteMeta(block), "\n")
	pattern := comments + strings.Join(lines, comments)
	if strings.HasPrefix(block, "apiVersion:") {
		pattern += `\z`
	}
	return regexp.MustCompile(`(?m)^` + pattern).MatchString(file)
}

// Every object that a kubectl command names is in the manifests, or comes with
// Bookinfo, or is created by hand.
func TestDocumentsObjects(t *testing.T) {
	t.Parallel()

	known := knownObjects(t)
	for name, text := range documents(t) {
		assert.NoError(t, known.check(text), name)
	}
}

// objects holds "kind namespace/name", or "kind name" without a namespace.
type objects []string

func knownObjects(t *testing.T) objects {
	t.Helper()

	known := objects{
		"deployment ratings-v1", "deployment details-v1", "service productpage", "destinationrule details",
		"secret google-books", "secret books-emulator/books-emulator-tls",
		"configmap books-emulator-ca", "configmap bookinfo-egress/books-emulator-ca",
		"deployment bookinfo-egress/waypoint", "deployment books-egress-istio", // Istio makes them of Gateways
		"crd gateways",
	}
	texts := slices.Collect(maps.Values(read(t, "deploy/*/*.yaml", "deploy/offline/*/*.yaml")))
	for _, text := range documents(t) {
		for _, match := range hereDoc.FindAllStringSubmatch(text, -1) {
			texts = append(texts, match[1])
		}
	}
	for document := range strings.SplitSeq(strings.Join(texts, "\n---\n"), "\n---\n") {
		var object struct {
			Kind     string
			Metadata struct{ Name, Namespace string }
		}
		require.NoError(t, yaml.Unmarshal([]byte(document), &object), document)
		name := strings.TrimPrefix(object.Metadata.Namespace+"/"+object.Metadata.Name, "/")
		known = append(known, strings.ToLower(object.Kind)+" "+name)
	}
	return known
}

// check returns an error for every object of the text's kubectl commands that
// is not known.
func (o objects) check(text string) error {
	shell := shellBlocks(text)
	for _, code := range inlineCode.FindAllStringSubmatch(text, -1) {
		shell = append(shell, code[1])
	}
	lines := strings.ReplaceAll(hereDoc.ReplaceAllString(strings.Join(shell, "\n"), "\n"), "\\\n", " ")
	var errs []error
	for _, command := range kubectl.FindAllString(lines, -1) {
		command, _, _ = strings.Cut(command, " -- ")
		namespace := ""
		if match := inNamespace.FindStringSubmatch(command); match != nil {
			namespace = match[1] + "/"
		}
		for _, match := range objectName.FindAllStringSubmatch(command, -1) {
			kind, _, _ := strings.Cut(match[1]+match[2], ".") // gateways.gateway.networking.k8s.io
			object := strings.TrimSuffix(kind, "s") + " " + namespace + match[3]
			if !slices.Contains(o, object) {
				errs = append(errs, fmt.Errorf("%s: there is no %s", command, object))
			}
		}
	}
	return errors.Join(errs...)
}

// The checks above find these mistakes.
func TestDocumentsMistakes(t *testing.T) {
	t.Parallel()

	known := knownObjects(t)
	tests := map[string]string{
		"kubectl delete serviceentry googleapi":                                        "there is no serviceentry googleapi",
		"kubectl delete serviceentry googleapis -n istio-system":                       "there is no serviceentry istio-system/googleapis",
		"echo ok && kubectl get virtualservices.networking.istio.io/details2":          "there is no virtualservice details2",
		"kubectl exec deployment/ratings-v2 -- curl details":                           "there is no deployment ratings-v2",
		"kubectl rollout status \\\n  deployment/detail-v2 --timeout=1s | cat":         "there is no deployment detail-v2",
		"kubectl wait -n bookinfo-egress gateways.gateway.networking.k8s.io/waypoints": "there is no gateway bookinfo-egress/waypoints",
	}
	for command, want := range tests {
		assert.ErrorContains(t, known.check("> ```sh\n> "+command+"\n> ```\n"), want)
	}

	texts := map[string]string{"samples/x.md": "[a](https.md#no-such) [b](no.md) -k deploy/htps", "samples/https.md": "# A\n"}
	err := checkPaths(root(t), "samples/x.md", texts)
	for _, want := range []string{"samples/https.md has no heading #no-such", "samples/no.md: no such file", "deploy/htps: no such file"} {
		assert.ErrorContains(t, err, want)
	}

	const file = "../deploy/access-log/telemetry.yaml"
	telemetry := read(t, "deploy/access-log/telemetry.yaml")["deploy/access-log/telemetry.yaml"]
	_, object, _ := strings.Cut(telemetry, "\n") // without its comment
	_, part, _ := strings.Cut(object, "\nspec:\n")
	page := func(link, block string) string { return "A.\n\n[a](" + link + "):\n\n```yaml\n" + block + "```\n" }
	for _, block := range []string{telemetry, object, part} {
		require.NoError(t, checkYAML(root(t), "samples/x.md", page(file, block)))
	}
	tests = map[string]string{
		page(file, strings.Replace(object, "envoy", "envoi", 1)):          "does not say",
		page(file, strings.Replace(object, "  selector:\n", "", 1)):       "does not say",
		page(file, strings.Replace(object, "    - name: envoy\n", "", 1)): "does not say", // its end
		page(file, "# Another comment\n"+object):                          "does not say",
		page("../deploy/https/service-entry.yaml", object):                "does not say",
		page("../deploy/https/no-such.yaml", object):                      "no such file",
		page("https.md", object):                                          "no link to a file",
	}
	for text, want := range tests {
		assert.ErrorContains(t, checkYAML(root(t), "samples/x.md", text), want, text)
	}
}

// The scripts parse, and shellcheck finds nothing in them.
func TestScripts(t *testing.T) {
	t.Parallel()

	scripts := slices.Collect(maps.Keys(read(t, "samples/*.sh", "deploy/test/*.sh", "deploy/test/testdata/walkthrough/kubectl")))
	for _, script := range scripts {
		run(t, "bash", "-n", script)
	}
	if _, err := exec.LookPath("shellcheck"); err != nil && os.Getenv("CI") == "" {
		t.Skip("shellcheck is not installed")
	}
	run(t, "shellcheck", scripts...)
}
