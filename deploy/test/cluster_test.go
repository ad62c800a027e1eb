package manifests_test

import (
	"cmp"
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

	tests := map[string]struct {
		fail   string // what fails in the first run: a pattern for a call
		sum    string // the checksum that the release states; "": the right one
		again  string // arguments of the second run; "": as in the first
		first  string // in the output of the first run
		second string // in the output of the second; "": it is ready
		done   string // what the second run must not do again
		redo   string // what it must do
	}{
		"nothing fails": {
			first: "cluster: ready",
			done:  "curl",
			redo:  "load docker-image",
		},
		"images": {
			fail:  "make",
			first: "stopped in step 1/6",
			redo:  "curl",
		},
		"download": {
			fail:  `curl .*gz$`,
			first: "stopped in step 2/6",
			redo:  "curl",
		},
		"checksum": {
			sum:   "0000  istio.tar.gz",
			first: "its release says 0000",
			redo:  "curl",
		},
		"cluster": {
			fail:  "create cluster",
			first: "stopped in step 3/6",
			done:  "curl",
			redo:  "create cluster",
		},
		"cluster, after its creation": {
			fail:  "cluster-mode=",
			first: "stopped in step 3/6",
			redo:  "delete cluster",
		},
		"load": {
			fail:  "docker-image",
			first: "stopped in step 4/6",
			done:  "create cluster",
			redo:  "load docker-image",
		},
		"Istio": {
			fail:  "istioctl install",
			first: "stopped in step 5/6",
			done:  "create cluster",
			redo:  "istioctl install",
		},
		"Bookinfo": {
			fail:  "kubectl .* wait",
			first: "stopped in step 6/6",
			done:  "create cluster",
			redo:  " wait ",
		},
		"another mode": {
			again:  "up --ambient",
			second: `was created for the mode "sidecar", not "ambient"; run "samples/cluster.sh down" first`,
			done:   "istioctl",
			redo:   "make image",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
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
			versions := "\tistio.io/api v1.32.0\n\tsigs.k8s.io/gateway-api v1.6.3\n"
			require.NoError(t, os.WriteFile(filepath.Join(dir, "deploy/test/go.mod"), []byte(versions), 0o600))
			require.NoError(t, exec.CommandContext(t.Context(), "tar", "-C", dir, "-czf", dir+"/istio.tar.gz", "istio-1.32.0").Run())
			archive, err := os.ReadFile(filepath.Join(dir, "istio.tar.gz"))
			require.NoError(t, err)
			sum := fmt.Sprintf("%x  istio.tar.gz", sha256.Sum256(archive))
			run := func(args, fail, sum string) (output, calls string) {
				require.NoError(t, os.WriteFile(filepath.Join(dir, "calls"), nil, 0o600))
				command := exec.CommandContext(t.Context(), filepath.Join(dir, "samples/cluster.sh"), strings.Fields(args)...)
				command.Env = []string{"PATH=" + dir + "/programs:" + os.Getenv("PATH"), "FAKE_DIR=" + dir, "FAKE_FAIL=" + fail, "FAKE_SUM=" + sum}
				text, _ := command.CombinedOutput() // the last line says how it ended
				list, err := os.ReadFile(filepath.Join(dir, "calls"))
				require.NoError(t, err)
				return string(text), string(list)
			}

			output, _ := run("up", test.fail, cmp.Or(test.sum, sum))
			assert.Contains(t, output, test.first)
			output, calls := run(cmp.Or(test.again, "up"), "", sum)
			assert.Contains(t, output, cmp.Or(test.second, "cluster: ready"))
			assert.Contains(t, calls, test.redo)
			if test.done != "" {
				assert.NotContains(t, calls, test.done)
			}
		})
	}
}
