package manifests_test

import (
	"bytes"
	"context"
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

// walk is one run of samples/walkthrough.sh against testdata/walkthrough/kubectl.
type walk struct {
	args    []string
	broken  string   // what the cluster lacks or does wrong, see the fake
	missing string   // a program that is not on the PATH
	wait    string   // seconds for a step; "": 1, so that a check which fails asks twice
	signal  bool     // Ctrl-C as soon as the fake hangs
	dir     string   // the fake's, set by run
	calls   []string // what the fake was asked, set by run
}

// run returns the exit status and what was printed.
func (w *walk) run(t *testing.T) (status int, stdout, stderr string) {
	t.Helper()

	w.dir = t.TempDir()
	bin := filepath.Join(w.dir, "bin")
	require.NoError(t, os.Mkdir(bin, 0o755))

	fake, err := filepath.Abs(filepath.Join("testdata", "walkthrough", "kubectl"))
	require.NoError(t, err)

	// No other program is on the PATH, least of all a real kubectl.
	programs := map[string]string{"kubectl": fake, "go": fake}

	for _, name := range []string{"bash", "cat", "dirname", "mktemp", "rm", "sleep", "tail", "touch"} {
		programs[name], err = exec.LookPath(name)
		require.NoError(t, err)
	}

	for name, target := range programs {
		if name != w.missing {
			require.NoError(t, os.Symlink(target, filepath.Join(bin, name)))
		}
	}

	wait := w.wait
	if wait == "" {
		wait = "1"
	}

	mode := ""
	if len(w.args) > 0 {
		mode = w.args[0]
	}

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()

	var out, problems bytes.Buffer

	command := exec.CommandContext(ctx, filepath.Join(root(t), "samples", "walkthrough.sh"), w.args...)
	command.Dir = w.dir // it finds the repository by itself
	command.Env = []string{
		"PATH=" + bin, "TMPDIR=" + w.dir, "WALKTHROUGH_WAIT=" + wait, "FAKE_DIR=" + w.dir, "FAKE_MODE=" + mode, "FAKE_BROKEN=" + w.broken,
	}
	command.Stdout, command.Stderr = &out, &problems
	// A group of its own, as a terminal gives it: Ctrl-C goes to all processes in it.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, command.Start())

	if w.signal {
		require.Eventually(t, func() bool { return exists(filepath.Join(w.dir, "hangs")) }, 10*time.Second, 10*time.Millisecond)
		require.NoError(t, syscall.Kill(-command.Process.Pid, syscall.SIGINT))
	}

	_ = command.Wait() // the status tells

	if calls, err := os.ReadFile(filepath.Join(w.dir, "calls")); err == nil {
		w.calls = strings.Split(strings.TrimSpace(string(calls)), "\n")
	}

	return command.ProcessState.ExitCode(), out.String(), problems.String()
}

// changes are the calls that change a cluster, with a fixed name for the folder of the certificates.
func (w *walk) changes() []string {
	certs := regexp.MustCompile(regexp.QuoteMeta(w.dir) + `/tmp\.\w+`)

	var changes []string

	for _, call := range w.calls {
		verb, _, _ := strings.Cut(strings.TrimPrefix(call, "kubectl "), " ")
		if slices.Contains([]string{"apply", "create", "delete", "scale", "set", "go"}, verb) {
			changes = append(changes, certs.ReplaceAllString(strings.TrimPrefix(call, "kubectl "), "CERTS"))
		}
	}

	return changes
}

func exists(name string) bool {
	_, err := os.Stat(name)

	return err == nil
}

// gone is what deletes each of these at the end.
func gone(objects ...string) []string {
	var calls []string
	for _, object := range objects {
		calls = append(calls, "delete "+object+" --ignore-not-found --timeout=60s")
	}

	return calls
}

// standIn is what brings the stand-in, and then its CA to whoever has to trust it.
func standIn(trust ...string) []string {
	return append([]string{
		"go run ./cmd/books-emulator certs --out CERTS",
		"apply -k deploy/offline/emulator",
		"create secret tls books-emulator-tls -n books-emulator --cert=CERTS/tls.crt --key=CERTS/tls.key",
	}, trust...)
}

func block() []string {
	return []string{"apply -f deploy/books-only/sidecar.yaml", "apply -k deploy/access-log"}
}

// roundTrip is the way out, applied, taken away and applied again.
func roundTrip(folder string) []string {
	return []string{"apply -k " + folder, "delete serviceentry googleapis", "apply -k " + folder}
}

// What a walk-through changes, from the first step to the last, in this order.
func TestWalkthrough(t *testing.T) {
	t.Parallel()

	there := []string{
		"set env deployment/details-v2 DO_NOT_ENCRYPT=false",
		"set env deployment/details-v2 DO_NOT_ENCRYPT=true",
	}
	ambient := func(folder string) []string {
		return []string{
			"scale deployment/details-v1 --replicas=0",
			"set env --local -f deploy/details-v2/deployment.yaml GOOGLE_BOOKS_API_KEY- -o yaml",
			"apply -f -",
			"apply -k " + folder,
			"apply -f deploy/details-v2/deployment.yaml",
			"set env deployment/details-v2 GOOGLE_BOOKS_API_KEY-",
			"delete serviceentry googleapis -n istio-egress",
			"apply -k " + folder,
			"apply -f deploy/details-v2/deployment.yaml",
		}
	}
	mount := "create configmap books-emulator-ca --from-file=CERTS/ca.pem"
	hand := []string{
		"apply -f deploy/ambient/namespace.yaml",
		"create configmap books-emulator-ca -n istio-egress --from-file=ca.crt=CERTS/ca.pem",
	}

	const (
		sidecar   = "-f deploy/books-only/sidecar.yaml"
		accessLog = "-k deploy/access-log"
		emulator  = "-k deploy/offline/emulator"
		trust     = "configmap/books-emulator-ca"
	)

	tests := map[string][]string{
		"https": slices.Concat(block(), []string{"apply -k deploy/details-v2-https"}, roundTrip("deploy/https"),
			gone("-k deploy/details-v2-https", "-k deploy/https", accessLog, sidecar)),
		"https --offline": slices.Concat(standIn(mount), block(), []string{"apply -k deploy/offline/details-v2"}, there[:1], roundTrip("deploy/offline/https"),
			gone("-k deploy/offline/details-v2", "-k deploy/offline/https", accessLog, sidecar, emulator, trust)),
		"https --keep": slices.Concat(block(), []string{"apply -k deploy/details-v2-https"}, roundTrip("deploy/https")),
		"tls-origination": slices.Concat(block(), []string{"apply -k deploy/details-v2"}, roundTrip("deploy/tls-origination"),
			gone("-k deploy/details-v2", "-k deploy/tls-origination", accessLog, sidecar)),
		"tls-origination --offline": slices.Concat(standIn(mount), block(), []string{"apply -k deploy/offline/details-v2"}, roundTrip("deploy/offline/tls-origination"),
			gone("-k deploy/offline/details-v2", "-k deploy/offline/tls-origination", accessLog, sidecar, emulator, trust)),
		"books-only": slices.Concat(block(), []string{"apply -k deploy/details-v2", "apply -k deploy/books-only"}, there, roundTrip("deploy/books-only")[1:],
			gone("-k deploy/details-v2", "-k deploy/books-only", accessLog)),
		"books-only --offline": slices.Concat(standIn(mount), block(), []string{"apply -k deploy/offline/details-v2", "apply -k deploy/offline/books-only"}, there,
			roundTrip("deploy/offline/books-only")[1:],
			gone("-k deploy/offline/details-v2", "-k deploy/offline/books-only", accessLog, emulator, trust)),
		"ambient": slices.Concat(ambient("deploy/ambient"), gone("-f deploy/details-v2/deployment.yaml", "-k deploy/ambient"),
			[]string{"scale deployment/details-v1 --replicas=1"}),
		"ambient --offline": slices.Concat(standIn(hand...), ambient("deploy/offline/ambient"),
			gone("-f deploy/details-v2/deployment.yaml", "-k deploy/offline/ambient", emulator),
			[]string{"scale deployment/details-v1 --replicas=1"}),
		"ambient --keep": ambient("deploy/ambient"),
	}

	for name, want := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := walk{args: strings.Fields(name)}
			status, stdout, stderr := w.run(t)

			require.Zero(t, status, "%s%s", stdout, stderr)
			assert.Equal(t, want, w.changes())
			assert.Contains(t, stdout, "PASS the "+w.args[0]+" walk-through, from end to end")
			assert.NotContains(t, stdout, "FAIL")

			// Every command is shown before it runs, and none but those of the checks before the start is not.
			for _, call := range w.calls[slices.IndexFunc(w.calls, func(call string) bool { return strings.Contains(call, " apply ") }):] {
				assert.Contains(t, strings.ReplaceAll(stdout, "'", ""), call)
			}

			certs, err := filepath.Glob(filepath.Join(w.dir, "tmp.*"))
			require.NoError(t, err)
			assert.Empty(t, certs, "the key of the certificate is left behind")

			assertToldIn(t, filepath.Join(root(t), "samples", w.args[0]+".md"), &w)
		})
	}
}

// assertToldIn checks that what the script does is what the document tells the reader to do.
func assertToldIn(t *testing.T, document string, w *walk) {
	t.Helper()

	text, err := os.ReadFile(document)
	require.NoError(t, err)

	index, err := os.ReadFile(filepath.Join(filepath.Dir(document), "README.md"))
	require.NoError(t, err)

	told := strings.ReplaceAll(string(text)+string(index), "bin/certs", "CERTS")

	for _, change := range w.changes() {
		change = strings.TrimSuffix(change, " --ignore-not-found --timeout=60s")
		// Offline and online are deleted by the same names.
		change = strings.NewReplacer("delete configmap/", "delete configmap ", "delete -k deploy/offline/details-v2", "delete -k deploy/details-v2",
			"delete -k deploy/offline/"+w.args[0], "delete -k deploy/"+w.args[0]).Replace(change)
		assert.Contains(t, told, change)
	}
}

// A check that fails ends the walk-through with status 1, and what was applied is deleted.
func TestWalkthroughFails(t *testing.T) {
	t.Parallel()

	tests := map[string]struct {
		walk

		want string
	}{
		"nothing is blocked":     {walk{args: []string{"https"}, broken: "open"}, `no "Error fetching product details" within 1 s`},
		"another reason":         {walk{args: []string{"tls-origination"}, broken: "reason"}, `no "nothing answered for www.googleapis.com:80" within 1 s`},
		"no book":                {walk{args: []string{"https"}, broken: "no-effect"}, `no "0486424618" within 1 s`},
		"nothing in the log":     {walk{args: []string{"https"}, broken: "no-logs"}, "FAIL details logs"},
		"no answer of details":   {walk{args: []string{"https"}, broken: "no-answer"}, "FAIL details answers"},
		"no line in the log":     {walk{args: []string{"tls-origination"}, broken: "access-log"}, `no "GET /books/v1/volumes?q=isbn:0486424618" within 1 s`},
		"no name in the log":     {walk{args: []string{"https"}, broken: "access-log"}, `no "outbound|443||www.googleapis.com" within 1 s`},
		"no policy":              {walk{args: []string{"books-only"}, broken: "no-policy"}, `no "egress policy: only GET /books/v1/volumes may leave" within 1 s`},
		"no policy, ambient":     {walk{args: []string{"ambient"}, broken: "no-policy"}, `no "RBAC: access denied" within 1 s`},
		"the way out stays open": {walk{args: []string{"tls-origination"}, broken: "lasting"}, `no "Error fetching product details" within 1 s`},
		"apply fails":            {walk{args: []string{"https"}, broken: "apply"}, "FAIL kubectl apply -k deploy/details-v2-https"},
		"no pod":                 {walk{args: []string{"ambient"}, broken: "rollout"}, "FAIL kubectl rollout status deployment/details-v2"},
		"kept after a failure":   {walk{args: []string{"https", "--keep"}, broken: "rollout"}, "Everything is left in place"},
		"clean-up fails":         {walk{args: []string{"https"}, broken: "delete"}, "FAIL not everything could be deleted"},
	}

	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			status, stdout, stderr := test.run(t)

			assert.Equal(t, 1, status, "%s%s", stdout, stderr)
			assert.Contains(t, stdout, test.want)
			assert.Contains(t, stdout, "FAIL")
			assert.Equal(t, !slices.Contains(test.args, "--keep"), slices.ContainsFunc(test.changes(), isCleanUp))
			assert.NotContains(t, stderr, "the fake kubectl does not know")
		})
	}
}

func isCleanUp(change string) bool { return strings.Contains(change, "--ignore-not-found") }

// Without what it needs, or with something of somebody's in the way, the script changes nothing and says one line.
func TestWalkthroughRefuses(t *testing.T) {
	t.Parallel()

	tests := map[string]struct {
		walk

		want string
	}{
		"no mode":         {walk{}, "which mode?"},
		"unknown mode":    {walk{args: []string{"http"}}, "what is http?"},
		"two modes":       {walk{args: []string{"https", "ambient"}}, "one mode at a time"},
		"unknown flag":    {walk{args: []string{"https", "--online"}}, "what is --online?"},
		"bad wait":        {walk{args: []string{"https"}, wait: "0"}, "WALKTHROUGH_WAIT is a number of seconds"},
		"no kubectl":      {walk{args: []string{"https"}, missing: "kubectl"}, "there is no kubectl on the PATH"},
		"no cluster":      {walk{args: []string{"https"}, broken: "no-cluster"}, "kubectl reaches no cluster"},
		"no Istio":        {walk{args: []string{"https"}, broken: "no-istio"}, "Istio is not installed on this cluster"},
		"no Bookinfo":     {walk{args: []string{"https"}, broken: "no-bookinfo"}, "Bookinfo does not run in the current namespace"},
		"no sidecar":      {walk{args: []string{"https"}, broken: "no-sidecar"}, "the pods of Bookinfo have no sidecar"},
		"no subsets":      {walk{args: []string{"https"}, broken: "no-subsets"}, "there is no DestinationRule details"},
		"no ambient mesh": {walk{args: []string{"ambient"}, broken: "no-ztunnel"}, "the pods of Bookinfo are not in the ambient mesh"},
		"no waypoints":    {walk{args: []string{"ambient"}, broken: "no-waypoint-class"}, "there is no GatewayClass istio-waypoint"},
		"no key":          {walk{args: []string{"https"}, broken: "no-key"}, "there is no Secret google-books"},
		"no go":           {walk{args: []string{"https", "--offline"}, missing: "go"}, "--offline makes a certificate with go"},
		"old Istio":       {walk{args: []string{"https"}, broken: "no-telemetry"}, "the cluster does not know every kind of -k deploy/access-log"},
		"in the way": {
			walk{args: []string{"https"}, broken: "leftovers"},
			"already there, delete first: deployment.apps/details-v2 virtualservice.networking.istio.io/details",
		},
	}

	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			status, stdout, stderr := test.run(t)

			assert.Equal(t, 2, status)
			assert.Empty(t, stdout)
			assert.Contains(t, stderr, "walkthrough: "+test.want)
			assert.Equal(t, 1, strings.Count(stderr, "\n"), "more than one line: %s", stderr)
			assert.Empty(t, test.changes())
		})
	}
}

// Offline needs neither a key nor, of course, Google.
func TestWalkthroughOfflineNeedsNoKey(t *testing.T) {
	t.Parallel()

	w := walk{args: []string{"tls-origination", "--offline"}, broken: "no-key"}
	status, stdout, stderr := w.run(t)

	assert.Zero(t, status, "%s%s", stdout, stderr)
}

// Ctrl-C while a command runs: the command ends, and what was applied is deleted.
func TestWalkthroughInterrupted(t *testing.T) {
	t.Parallel()

	tests := map[string]struct {
		args, broken string
		want         []string
	}{
		"waiting for the pod": {
			"https", "hang",
			gone("-k deploy/details-v2-https", "-k deploy/https", "-k deploy/access-log", "-f deploy/books-only/sidecar.yaml"),
		},
		"asking for the page": {
			"books-only --offline", "hang-page",
			gone("-k deploy/offline/details-v2", "-k deploy/offline/books-only", "-k deploy/access-log", "-k deploy/offline/emulator", "configmap/books-emulator-ca"),
		},
		"kept": {"https --keep", "hang", nil},
	}

	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := walk{args: strings.Fields(test.args), broken: test.broken, signal: true}
			status, stdout, stderr := w.run(t)

			assert.Equal(t, 130, status, "%s%s", stdout, stderr)
			assert.NotContains(t, stdout, "FAIL")

			changes := w.changes()
			if clean := slices.IndexFunc(changes, isCleanUp); clean >= 0 {
				changes = changes[clean:]
			} else {
				changes = nil
			}

			assert.Equal(t, test.want, changes)
		})
	}
}

func TestWalkthroughHelp(t *testing.T) {
	t.Parallel()

	w := walk{args: []string{"--help"}, missing: "kubectl"}
	status, stdout, stderr := w.run(t)

	assert.Zero(t, status)
	assert.Empty(t, stderr)

	for _, word := range []string{"https", "tls-origination", "books-only", "ambient", "--offline", "--keep", "WALKTHROUGH_WAIT"} {
		assert.Contains(t, stdout, word)
	}
}
