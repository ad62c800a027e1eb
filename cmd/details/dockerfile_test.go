package main

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestDockerfile checks the effect of Bookinfo's build arguments, without
// building an image: a shell, whose syntax is the same, expands the variables of
// the last stage. Istio's docker-bake.hcl builds that stage.
func TestDockerfile(t *testing.T) {
	dockerfile, err := os.ReadFile("../../Dockerfile")
	require.NoError(t, err)
	stages := strings.Split(string(dockerfile), "\nFROM ")
	last := stages[len(stages)-1]
	require.Contains(t, last, `ENTRYPOINT ["/details"]`)
	var script strings.Builder
	for _, line := range regexp.MustCompile(`(?m)^(ARG|ENV) (\w+)=(.*)$`).FindAllStringSubmatch(last, -1) {
		if line[1] == "ARG" {
			fmt.Fprintf(&script, "%s=\"${%s-%s}\"\n", line[2], line[2], line[3])
		} else {
			fmt.Fprintf(&script, "export %s=\"%s\"\n", line[2], line[3])
		}
	}
	script.WriteString(`printf %s "$ENABLE_EXTERNAL_BOOK_SERVICE"`)

	for name, tc := range map[string]struct {
		args     []string
		external bool
	}{
		"no arguments":                 {nil, true},
		"examples-bookinfo-details-v1": {[]string{"service_version=v1"}, false},
		"examples-bookinfo-details-v2": {[]string{"service_version=v2", "enable_external_book_service=true"}, true},
		"v2 without the book service":  {[]string{"service_version=v2"}, false},
		"the book service alone":       {[]string{"enable_external_book_service=false"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			shell := exec.CommandContext(t.Context(), "/bin/sh", "-c", script.String())
			shell.Env = tc.args
			value, err := shell.Output()
			require.NoError(t, err)
			t.Setenv("ENABLE_EXTERNAL_BOOK_SERVICE", string(value))
			cfg, err := readConfig(nil)
			require.NoError(t, err)
			assert.Equal(t, tc.external, cfg.External)
		})
	}
}
