package manifests

import (
	"context"
	"os/exec"
	"regexp"
	"strings"
)

var (
	// shellBlock finds the fenced blocks of a Markdown text that a reader would paste into a shell.
	shellBlock = regexp.MustCompile("(?s)\n```(?:sh|bash|shell)\n(.*?\n)```")
	// deployPath finds the paths below deploy/ that a text names. What follows may end a sentence.
	deployPath = regexp.MustCompile(`\bdeploy(?:/[\w.-]*\w)+`)
)

// ShellBlocks returns the shell blocks of a Markdown text.
func ShellBlocks(markdown string) []string {
	var blocks []string
	for _, match := range shellBlock.FindAllStringSubmatch("\n"+markdown, -1) {
		blocks = append(blocks, match[1])
	}

	return blocks
}

// DeployPaths returns the paths below deploy/ that the text names, in order, each as it is written.
func DeployPaths(text string) []string { return deployPath.FindAllString(text, -1) }

// CheckShell returns an error for every block that bash can't parse.
func CheckShell(ctx context.Context, blocks []string) error {
	var found problems

	for _, block := range blocks {
		command := exec.CommandContext(ctx, "bash", "-n")
		command.Stdin = strings.NewReader(block)

		if output, err := command.CombinedOutput(); err != nil {
			found.addf("%w: %s in:\n%s", err, output, block)
		}
	}

	return found.err()
}
