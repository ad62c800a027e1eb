package manifests_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

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
	link       = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading    = regexp.MustCompile(`(?m)^#+ (.*)$`)
	yamlBlock  = regexp.MustCompile("(?s)```yaml\n(.*?)```\n")
	shownFile  = regexp.MustCompile(`(?s).*\]\(([^)\s]+\.yaml)\)`)
	notInLink  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	repoPath   = regexp.MustCompile(`(?:^|[^\w/.-])((?:deploy|samples|cmd|docs)(?:/[\w.-]*\w)+)`)
	setting    = regexp.MustCompile(` ([A-Z_]+)(?:=| |-$|- )`)
	deployment = regexp.MustCompile(`\bdeployments?/([a-z0-9-]+)`)
	setEnv     = regexp.MustCompile("kubectl set env [^|`\n]*")
)

// Every file and heading that a document names or links to exists.
func TestDocumentsPaths(t *testing.T) {
	t.Parallel()

	texts := read(t, "*.md", "docs/*.md", "deploy/*.md", "samples/*.md")
	for name, text := range texts {
		assert.NoError(t, checkPaths(root(t), name, texts), name)
		for _, match := range deployment.FindAllStringSubmatch(text, -1) {
			assert.Contains(t, []string{"details-v1", "details-v2", "ratings-v1", "books-emulator", "waypoint", "books-egress-istio", "istiod"}, match[1], name)
		}
		for _, match := range setEnv.FindAllString(text, -1) {
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

// The checks above find these mistakes.
func TestDocumentsMistakes(t *testing.T) {
	t.Parallel()

	texts := map[string]string{"samples/x.md": "[a](https.md#no-such) [b](no.md) -k deploy/htps", "samples/https.md": "# A\n"}
	err := checkPaths(root(t), "samples/x.md", texts)
	for _, want := range []string{"samples/https.md has no heading #no-such", "samples/no.md: no such file", "deploy/htps: no such file"} {
		assert.ErrorContains(t, err, want)
	}

	const file = "../deploy/add-ons/access-log/telemetry.yaml"
	telemetry := read(t, "deploy/add-ons/access-log/telemetry.yaml")["deploy/add-ons/access-log/telemetry.yaml"]
	_, object, _ := strings.Cut(telemetry, "\n") // without its comment
	_, part, _ := strings.Cut(object, "\nspec:\n")
	page := func(link, block string) string { return "A.\n\n[a](" + link + "):\n\n```yaml\n" + block + "```\n" }
	for _, block := range []string{telemetry, object, part} {
		require.NoError(t, checkYAML(root(t), "samples/x.md", page(file, block)))
	}
	tests := map[string]string{
		page(file, strings.Replace(object, "envoy", "envoi", 1)):          "does not say",
		page(file, strings.Replace(object, "  selector:\n", "", 1)):       "does not say",
		page(file, strings.Replace(object, "    - name: envoy\n", "", 1)): "does not say", // its end
		page(file, "# Another comment\n"+object):                          "does not say",
		page("../deploy/egress/https/service-entry.yaml", object):         "does not say",
		page("../deploy/egress/https/no-such.yaml", object):               "no such file",
		page("https.md", object):                                          "no link to a file",
	}
	for text, want := range tests {
		assert.ErrorContains(t, checkYAML(root(t), "samples/x.md", text), want, text)
	}
}
