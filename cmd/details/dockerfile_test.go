package main

import (
	"os"
	"os/exec"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestDockerfile checks the effect of Bookinfo's build arguments, without
// building an image: a shell, whose syntax is the same, expands the variables.
func TestDockerfile(t *testing.T) {
	t.Parallel()
	dockerfile, err := os.ReadFile("../../Dockerfile")
	require.NoError(t, err)
	// Restricted Pod Security accepts only a numeric user, and user 1337 would
	// bypass the sidecar.
	users := regexp.MustCompile(`(?m)^USER .*`).FindAllString(string(dockerfile), -1)
	assert.Equal(t, []string{"USER 65532:65532", "USER 65532:65532"}, users)
	lines := regexp.MustCompile(`(?s)\nFROM scratch AS details\n.*\nARG service_version\n` +
		`ARG enable_external_book_service=(\S+)\nENV ENABLE_EXTERNAL_BOOK_SERVICE=(\S+)\n`).FindSubmatch(dockerfile)
	require.Len(t, lines, 3)
	script := `: "${enable_external_book_service=` + string(lines[1]) + `}"; printf %s "` + string(lines[2]) + `"`
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"no arguments":                 {nil, "true"},
		"examples-bookinfo-details-v1": {[]string{"service_version=v1"}, "false"},
		"examples-bookinfo-details-v2": {[]string{"service_version=v2", "enable_external_book_service=true"}, "true"},
		"v2 without the book service":  {[]string{"service_version=v2"}, "false"},
		"the book service alone":       {[]string{"enable_external_book_service=false"}, "false"},
	} {
		shell := exec.CommandContext(t.Context(), "/bin/sh", "-c", script)
		shell.Env = tc.args
		got, err := shell.Output()
		require.NoError(t, err)
		assert.Equal(t, tc.want, string(got), name)
	}
}
