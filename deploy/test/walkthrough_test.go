package manifests_test

import (
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// walk is one run of samples/walkthrough.sh with testdata/walkthrough/kubectl
// in place of kubectl and go.
type walk struct {
	args    string // PAGE and PROGRAMS stand for the pages in testdata/walkthrough
	broken  string // what is wrong with the cluster, see the fake
	missing string // a program that is not on the PATH
	certs   bool   // bin/certs exists
	wait    string // seconds for a step; "": 1
	until   string // text in the output, or name of a file, at which Ctrl-C is pressed
}

// run returns the exit status, the outputs, and the calls after the checks.
func (w walk) run(t *testing.T) (status int, stdout, stderr string, calls []string) {
	t.Helper()

	dir := t.TempDir()
	bin := filepath.Join(dir, "bin")
	require.NoError(t, os.Mkdir(bin, 0o755))
	fake, err := filepath.Abs("testdata/walkthrough/kubectl")
	require.NoError(t, err)
	programs := map[string]string{"kubectl": fake, "go": fake}
	for _, name := range []string{"bash", "basename", "cat", "date", "dirname", "find", "fold", "grep", "mkfifo", "mktemp", "rm", "sed", "sleep", "tail", "touch"} {
		programs[name], err = exec.LookPath(name)
		require.NoError(t, err)
	}
	delete(programs, w.missing)
	for name, target := range programs {
		require.NoError(t, os.Symlink(target, filepath.Join(bin, name)))
	}
	// The script works in the folder above its own: not in the repository, whose bin/certs it would delete.
	require.NoError(t, os.Symlink(filepath.Join(root(t), "samples"), filepath.Join(dir, "samples")))
	for _, twin := range []string{"emulator", "egress/https", "details-v2"} {
		folder := filepath.Join(dir, "deploy", "offline", twin)
		require.NoError(t, os.MkdirAll(folder, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(folder, "kustomization.yaml"), nil, 0o600))
	}
	if w.certs {
		require.NoError(t, os.Mkdir(filepath.Join(bin, "certs"), 0o755))
	}
	pages := filepath.Dir(fake)
	args := strings.Fields(strings.NewReplacer("PAGE", pages+"/page.md", "PROGRAMS", pages+"/programs.md").Replace(w.args))
	if w.wait == "" {
		w.wait = "1"
	}

	command := exec.CommandContext(t.Context(), filepath.Join(dir, "samples", "walkthrough.sh"), args...)
	command.Dir = dir
	command.Env = []string{"PATH=" + bin, "TMPDIR=" + dir, "WALKTHROUGH_WAIT=" + w.wait, "COLUMNS=40", "FAKE_DIR=" + dir, "FAKE_BROKEN=" + w.broken}
	output, err := os.Create(filepath.Join(dir, "stdout"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = output.Close() })
	problems, problemsEnd, err := os.Pipe()
	require.NoError(t, err)
	command.Stdout, command.Stderr = output, problemsEnd
	_, err = command.StdinPipe() // stays open: --pause waits
	require.NoError(t, err)
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C goes to a whole group
	require.NoError(t, command.Start())
	require.NoError(t, problemsEnd.Close())
	read := func(name string) string {
		text, _ := os.ReadFile(filepath.Join(dir, name))
		return string(text)
	}
	if w.until != "" {
		require.Eventually(t, func() bool {
			_, err := os.Stat(filepath.Join(dir, w.until))
			return err == nil || strings.Contains(read("stdout"), w.until)
		}, 90*time.Second, 10*time.Millisecond)
		require.NoError(t, syscall.Kill(-command.Process.Pid, syscall.SIGINT))
	}
	_ = command.Wait() // the status says it
	require.NoError(t, problems.SetReadDeadline(time.Now().Add(20*time.Second)))
	stderrText, err := io.ReadAll(problems)
	require.NoError(t, err, "a program that the script started is still running: it has stderr open")

	check := regexp.MustCompile(`^(get|api-resources|logs) `)
	calls = slices.DeleteFunc(strings.Split(strings.TrimSpace(read("calls")), "\n"), func(call string) bool { return call == "" || check.MatchString(call) })
	return command.ProcessState.ExitCode(), read("stdout"), string(stderrText), calls
}

func TestWalkthrough(t *testing.T) {
	t.Parallel()

	deploy := []string{"apply -k deploy/access-log", "apply -k deploy/egress/https", "apply -k deploy/details-v2-too", "apply -k deploy/only-online"}
	look := []string{"exec deployment/ratings-v1 -- curl productpage"}
	tidy := []string{"delete -k deploy/access-log --cascade=foreground", "delete -k deploy/egress/https"}
	cleanUp := []string{
		"delete --ignore-not-found --timeout=60s -k deploy/access-log --cascade=foreground",
		"delete --ignore-not-found --timeout=60s -k deploy/egress/https",
	}
	tests := map[string]struct {
		walk
		status int
		calls  []string
		stdout string
	}{
		"played to the end": {
			walk:   walk{args: "PAGE"},
			calls:  slices.Concat(deploy, look, tidy),
			stdout: "page.md, from end to end",
		},
		"kept": {
			walk:   walk{args: "PAGE --keep"},
			calls:  slices.Concat(deploy, look),
			stdout: "left in place",
		},
		"offline": {
			walk: walk{args: "PAGE --offline", broken: "key"},
			calls: []string{
				"run ./cmd/books-emulator certs --out bin/certs",
				"apply -k deploy/offline/emulator",
				"create secret tls books-emulator-tls -n books-emulator --cert=bin/certs/tls.crt --key=bin/certs/tls.key",
				"create configmap books-emulator-ca --from-file=bin/certs/ca.pem",
				"rollout status deployment/books-emulator -n books-emulator --timeout=120s",
				"apply -k deploy/access-log",
				"apply -k deploy/offline/egress/https",
				"apply -k deploy/details-v2-too",
				"apply -k deploy/only-offline",
				"exec deployment/ratings-v1 -- curl productpage",
				"delete -k deploy/access-log --cascade=foreground",
				"delete -k deploy/offline/egress/https",
				"delete -k deploy/offline/emulator",
				"delete configmap books-emulator-ca",
			},
		},
		"a change that fails is not repeated": {
			walk:   walk{args: "PAGE", broken: "apply"},
			status: 1,
			calls:  slices.Concat(deploy[:3], cleanUp),
			stdout: "FAIL Expected:\n    deploy/access-log created",
		},
		"an output that differs is asked for again": {
			walk:  walk{args: "PAGE", broken: "first answer", wait: "90"},
			calls: slices.Concat(deploy, look, look, tidy),
		},
		"an output that never matches": {
			walk:   walk{args: "PAGE", broken: "answer"},
			status: 1,
			calls:  slices.Concat(deploy, look, cleanUp),
			stdout: "was:\n    any line\n",
		},
		"clean-up fails": {
			walk:   walk{args: "PAGE", broken: "delete"},
			status: 1,
			calls:  slices.Concat(deploy, look, tidy, cleanUp),
			stdout: "FAIL Not everything could be deleted",
		},
		"Ctrl-C, after ten seconds": {
			walk:   walk{args: "PAGE", broken: "hang", until: "waiting for the expected output of: ask productpage (10 s of 90 s)\n", wait: "90"},
			status: 130,
			calls:  slices.Concat(deploy, look, cleanUp),
			stdout: "== Clean up",
		},
		"Ctrl-C in a change, whose output is already shown": {
			walk:   walk{args: "PAGE", broken: "slow apply", until: "deploy/access-log created"},
			status: 130,
			calls:  slices.Concat(deploy[:1], cleanUp),
			stdout: "== Clean up",
		},
		"programs end with their page": {
			walk:   walk{args: "PROGRAMS"},
			stdout: "\ncleaned\n",
		},
		"programs end even if everything is kept": {
			walk:   walk{args: "PROGRAMS --keep"},
			stdout: "left in place",
		},
		"programs end at Ctrl-C": {
			walk:   walk{args: "PROGRAMS", broken: "hang", until: "hangs"},
			status: 130,
			stdout: "\ncleaned\n",
		},
		"Ctrl-C in a pause": {
			walk:   walk{args: "PAGE --pause", until: "kind: Telemetry"},
			status: 130,
			calls:  cleanUp,
			stdout: `
# A page for the tests
== Deploy
This line of prose is longer than the 
screen of the tests.
| neither this table nor code is folded |
| --- |
Ask the product
page:

$ ask() {
  kubectl exec deployment/ratings-v1 -- curl "$1"
}

$ kubectl apply -k deploy/access-log
$ kubectl apply -k deploy/egress/https
$ kubectl apply -k deploy/details-v2-too

kind: Telemetry

== Clean up`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			status, stdout, stderr, calls := test.run(t)
			assert.Equal(t, test.status, status, "%s%s", stdout, stderr)
			assert.Equal(t, strings.Join(test.calls, "\n"), strings.Join(calls, "\n"))
			assert.Contains(t, stdout, test.stdout)
		})
	}
}

// A port that is in use is named before anything is started.
func TestWalkthroughPorts(t *testing.T) {
	t.Parallel()

	other, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = other.Close() }()
	_, port, err := net.SplitHostPort(other.Addr().String())
	require.NoError(t, err)
	page := filepath.Join(t.TempDir(), "page.md")
	text := "<!-- needs: cat sleep -->\nIt uses localhost:" + port + ".\n## Clean up\n```sh\ntrue\n```\n"
	require.NoError(t, os.WriteFile(page, []byte(text), 0o600))
	status, stdout, stderr, _ := walk{args: page}.run(t)
	assert.Equal(t, 2, status)
	assert.Empty(t, stdout)
	assert.Equal(t, "walkthrough: port "+port+" is in use: end the program that listens on it\n", stderr)
}

// With something missing or in the way, it changes nothing and says one line.
func TestWalkthroughRefuses(t *testing.T) {
	t.Parallel()

	tests := map[string]walk{
		"missing PAGE":                          {},
		"there is no page samples/http.md":      {args: "http"},
		"it has no section \"Clean up\"":        {args: "troubleshooting"},
		"only one PAGE at a time":               {args: "https both"},
		"unknown argument \"--online\"":         {args: "https --online"},
		"WALKTHROUGH_WAIT must be a number":     {args: "https", wait: "0"},
		"run \"make envoy\", which installs it": {args: "envoy"},
		"kubectl is not on the PATH":            {args: "https", missing: "kubectl"},
		"kubectl cannot reach a cluster":        {args: "https", broken: "cluster"},
		"Istio is not installed":                {args: "https", broken: "istio"},
		"Bookinfo is not in the current":        {args: "https", broken: "bookinfo"},
		"Bookinfo's pods have no sidecar":       {args: "https", broken: "sidecar"},
		"there is no DestinationRule details":   {args: "https", broken: "subsets"},
		"are not in the ambient mesh":           {args: "ambient"},
		"its own access log format":             {args: "https", broken: "format"},
		"there is no Secret google-books":       {args: "https", broken: "key"},
		"makes a certificate with go":           {args: "https --offline", missing: "go"},
		"bin/certs already exists":              {args: "https --offline", certs: true},
		"cannot list -k deploy/route-to-v2":     {args: "tls-origination", broken: "kinds"},
		"already there, delete first: deploym":  {args: "https", broken: "leftovers"},
	}
	for want, test := range tests {
		t.Run(want, func(t *testing.T) {
			t.Parallel()

			status, stdout, stderr, calls := test.run(t)
			assert.Equal(t, 2, status)
			assert.Empty(t, stdout)
			assert.Regexp(t, `^walkthrough: .*`+regexp.QuoteMeta(want)+`.*\n$`, stderr)
			assert.Empty(t, calls)
		})
	}
}

// samples/envoy.yaml refuses a call in the words of deploy/egress/books-only.
func TestEnvoyPolicyWords(t *testing.T) {
	t.Parallel()

	words := regexp.MustCompile(`"egress policy: [^"]+"`)
	want := words.FindString(read(t, "deploy/egress/books-only/virtual-service.yaml")["deploy/egress/books-only/virtual-service.yaml"])
	assert.Contains(t, read(t, "samples/envoy.yaml")["samples/envoy.yaml"], want)
	assert.NotEmpty(t, want)
}
