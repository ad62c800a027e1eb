package manifests_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A second run of samples/cluster.sh continues where the first one stopped.
func TestCluster(t *testing.T) {
	t.Parallel()

	// The step in which the first run stops, by the call that fails.
	tests := map[string]int{
		"^make":            1,
		"^curl .*sha256$":  2,
		"^curl .*gz$":      2,
		"checksum":         2, // no call fails, but the checksum differs
		"create cluster":   3,
		"cluster-mode=":    3, // the cluster exists, but is incomplete
		"docker-image":     4,
		"istioctl install": 5,
		"^kubectl .* wait": 6,
	}
	for fail, step := range tests {
		t.Run(fail, func(t *testing.T) {
			t.Parallel()

			dir := t.TempDir()
			fake, err := filepath.Abs("testdata/cluster/program")
			require.NoError(t, err)
			for _, folder := range []string{"programs", "deploy/test", "istio-1.32.0/bin"} {
				require.NoError(t, os.MkdirAll(filepath.Join(dir, folder), 0o755))
			}
			for _, name := range []string{"programs/docker", "programs/make", "programs/go", "programs/kubectl", "programs/curl", "istio-1.32.0/bin/istioctl"} {
				require.NoError(t, os.Symlink(fake, filepath.Join(dir, name)))
			}
			require.NoError(t, os.Symlink(filepath.Join(root(t), "samples"), filepath.Join(dir, "samples")))
			require.NoError(t, os.WriteFile(dir+"/deploy/test/go.mod", []byte("\tistio.io/api v1.32.0\n"), 0o600))
			require.NoError(t, exec.CommandContext(t.Context(), "tar", "-C", dir, "-czf", dir+"/istio.tar.gz", "istio-1.32.0").Run())
			archive, err := os.ReadFile(filepath.Join(dir, "istio.tar.gz"))
			require.NoError(t, err)
			run := func(fail string, args ...string) (output, calls string) {
				require.NoError(t, os.WriteFile(filepath.Join(dir, "calls"), nil, 0o600))
				command := exec.CommandContext(t.Context(), dir+"/samples/cluster.sh", args...)
				command.Env = []string{"PATH=" + dir + "/programs:" + os.Getenv("PATH"), "FAKE_DIR=" + dir, "FAKE_FAIL=" + fail, fmt.Sprintf("FAKE_SUM=%x", sha256.Sum256(archive))}
				text, _ := command.CombinedOutput() // the last line says how it ended
				list, err := os.ReadFile(filepath.Join(dir, "calls"))
				require.NoError(t, err)
				return string(text), string(list)
			}

			output, _ := run(fail, "up")
			assert.Contains(t, output, fmt.Sprintf("stopped in step %d/6", step))
			output, calls := run("", "up")
			assert.Contains(t, output, "cluster: ready")
			assert.Equal(t, step <= 2, strings.Contains(calls, "curl"), "downloaded in the second run")
			assert.Equal(t, step <= 3, strings.Contains(calls, "create cluster"), "created in the second run")
			output, _ = run("", "up", "--ambient")
			assert.Contains(t, output, `was created for the mode "sidecar", not "ambient"; run "samples/cluster.sh down" first`)
		})
	}
}
