package manifests_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	manifests "example.com/bookinfo/deploy/test"
)

// Each mutation breaks one thing in a copy of the real manifests. The checks that pass over the manifests as they are
// have to report it, or they check nothing.
func TestMutations(t *testing.T) {
	t.Parallel()

	edit := func(name, old, replacement string) func(*manifests.Tree) error {
		return func(tree *manifests.Tree) error { return tree.Edit(name, old, replacement) }
	}
	drop := func(name string) func(*manifests.Tree) error {
		return func(tree *manifests.Tree) error { return tree.Drop(name) }
	}

	const (
		deployment = "details-v2/deployment.yaml"
		emulator   = "offline/emulator/deployment.yaml"
		selector   = "    - op: add\n      path: /spec/workloadSelector\n      value:\n        matchLabels:\n          app: details\n          version: v2\n"
	)

	tests := map[string]struct {
		mutate func(*manifests.Tree) error
		want   string
	}{
		"orphan file":          {edit("https/kustomization.yaml", "- virtual-service.yaml\n", ""), "https/virtual-service.yaml: not among the resources"},
		"missing file":         {edit("https/kustomization.yaml", "- virtual-service.yaml", "- virtual-services.yaml"), "virtual-services.yaml"},
		"patch of nothing":     {edit("details-v2-https/kustomization.yaml", "name: details-v2", "name: details-v3"), "no resource matches strategic merge patch"},
		"key twice":            {edit(deployment, "  name: details-v2\n", "  name: details-v2\n  name: details-v2\n"), `already set in map`},
		"misspelled in a pod":  {edit(deployment, "readinessProbe:", "readynessProbe:"), `unknown field "spec.template.spec.containers[0].readynessProbe"`},
		"wrong type in a pod":  {edit(deployment, "containerPort: 9080", "containerPort: http"), "cannot unmarshal string"},
		"unknown kind":         {edit("scale/pod-disruption-budget.yaml", "kind: PodDisruptionBudget", "kind: PodDisruptionBudgets"), "no kind"},
		"removed API version":  {edit("scale/horizontal-pod-autoscaler.yaml", "autoscaling/v2", "autoscaling/v2beta2"), "no kind"},
		"misspelled for Istio": {edit("tls-origination/destination-rule.yaml", "portLevelSettings:", "portLevelSetting:"), `unknown field "spec.trafficPolicy.portLevelSetting"`},
		"misspelled metadata":  {edit("https/service-entry.yaml", "  name: googleapis", "  name: googleapis\n  label: {}"), `unknown field "metadata.label"`},
		"wrong enum":           {edit("https/service-entry.yaml", "resolution: DNS", "resolution: dns"), `supported values: "NONE", "STATIC", "DNS"`},
		"post's sni_hosts, unknown field": {
			edit("https/virtual-service.yaml", "sniHosts:", "sni_hosts:"), `unknown field "spec.tls[0].match[0].sni_hosts"`,
		},
		"post's sni_hosts, required value": {
			edit("https/virtual-service.yaml", "sniHosts:", "sni_hosts:"), "spec.tls[0].match[0].sniHosts: Required value",
		},
		"CEL rule of Istio":              {edit("both/service-entry.yaml", "number: 443", "number: 80"), "port number cannot be duplicated"},
		"CEL rule of Gateway API":        {edit("gateway-api/http-route.yaml", "    - name: details-v1\n      port: 9080\n", "    - name: details-v1\n"), "Must have port for Service reference"},
		"misspelled for Gateway API":     {edit("ambient/waypoint.yaml", "gatewayClassName:", "gatewayClass:"), `unknown field "spec.gatewayClass"`},
		"no seccompProfile":              {edit(deployment, "        seccompProfile:\n          type: RuntimeDefault\n", ""), "seccompProfile"},
		"no seccompProfile, emulator":    {edit(emulator, "        seccompProfile:\n          type: RuntimeDefault\n", ""), "seccompProfile"},
		"capabilities kept":              {edit(deployment, "          capabilities:\n            drop:\n            - ALL\n", ""), "unrestricted capabilities"},
		"escalation allowed":             {edit(deployment, "allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true"), "allowPrivilegeEscalation != false"},
		"root":                           {edit(deployment, "runAsNonRoot: true", "runAsNonRoot: false"), "runAsNonRoot != true"},
		"user of the sidecar":            {edit(deployment, "runAsUser: 65532", "runAsUser: 1337"), "whose traffic is never captured"},
		"file system that can be filled": {edit(deployment, "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false"), "the root file system can be written to"},
		"service links":                  {edit(deployment, "enableServiceLinks: false", "enableServiceLinks: true"), "environment variables of other Services"},
		"token":                          {edit(deployment, "automountServiceAccountToken: false", "automountServiceAccountToken: true"), "mounts a token"},
		"no memory limit":                {edit(deployment, "            memory: 256Mi\n", "            ephemeral-storage: 1Mi\n"), "a memory limit"},
		"no readiness":                   {edit(emulator, "        readinessProbe:\n          httpGet:\n            path: /healthz\n            port: http\n          periodSeconds: 5\n          timeoutSeconds: 2\n", ""), "no readiness"},
		"registry in the image":          {edit(deployment, "image: examples", "image: registry.example/examples"), "no registry"},
		"image without a tag":            {edit("offline/emulator/kustomization.yaml", "newTag: dev", "newTag: latest"), "wanted is examples-bookinfo-books-emulator with a tag"},
		"two tags":                       {edit(emulator, "emulator:dev", "emulator:1.0.0"), "the file has examples-bookinfo-books-emulator:1.0.0, the folder builds examples-bookinfo-books-emulator:dev"},
		"another image":                  {edit("details-v2/kustomization.yaml", "examples-bookinfo-details-v2", "examples-bookinfo-details"), "sets no tag of examples-bookinfo-details-v2"},
		"mount that can be written to":   {edit(emulator, "          readOnly: true\n", ""), "mount tls can be written to"},
		"selector and labels apart":      {edit(deployment, "      version: v2\n  template", "      version: v3\n  template"), "the selector does not match"},
		"probe of a port without name":   {edit(deployment, "        - name: http\n", "        - name: web\n"), "is probed on port http"},
		"scrape of another port":         {edit(deployment, `prometheus.io/port: "9080"`, `prometheus.io/port: "9090"`), "scraped port 9090"},
		"mount without volume":           {edit("offline/details-v2/kustomization.yaml", "          - name: books-emulator-ca\n            configMap", "          - name: books-emulator\n            configMap"), "no volume of the pod"},
		"misspelled annotation":          {edit("offline/details-v2/kustomization.yaml", "userVolumeMount", "userVolumeMounts"), "Istio knows no label or annotation sidecar.istio.io/userVolumeMounts"},
		"array for the sidecar's mount":  {edit("offline/details-v2/kustomization.yaml", `'{"books-emulator-ca":{"mountPath":"/etc/books-emulator","readOnly":true}}'`, `'[{"name":"books-emulator-ca","mountPath":"/etc/books-emulator"}]'`), "cannot unmarshal array"},
		"CA the sidecar does not have":   {edit("offline/both/kustomization.yaml", "/etc/books-emulator/ca.pem", "/etc/emulator/ca.pem"), "the sidecar of details-v2 does not have the file /etc/emulator/ca.pem"},
		"rule for all, origination":      {edit("offline/tls-origination/kustomization.yaml", selector, ""), "reaches sidecars without the file"},
		"rule for all, both":             {edit("offline/both/kustomization.yaml", selector, ""), "reaches sidecars without the file"},
		"rule for all, books-only":       {edit("offline/books-only/kustomization.yaml", selector, ""), "reaches sidecars without the file"},
		"rule for every version":         {edit("offline/both/kustomization.yaml", "          version: v2\n", ""), "the sidecar of details-v1 does not have the file"},
		"rule for nobody":                {edit("offline/both/kustomization.yaml", "version: v2", "version: v3"), "selects no pod"},
		"rule that a waypoint ignores":   {edit("offline/ambient/kustomization.yaml", "    - op: add\n      path: /metadata", selector+"    - op: add\n      path: /metadata"), "no waypoint follows a rule with a workloadSelector"},
		"another namespace's CA":         {edit("offline/ambient/kustomization.yaml", "configmap://istio-egress/", "configmap://default/"), "want a ConfigMap of the rule's own namespace"},
		"no CA for the waypoint":         {edit("offline/ambient/kustomization.yaml", "    - op: add\n      path: /spec/trafficPolicy/portLevelSettings/0/tls/credentialName\n      value: configmap://istio-egress/books-emulator-ca\n", ""), "IST0129"},
		"two CAs for the waypoint":       {edit("offline/ambient/kustomization.yaml", "    - op: remove\n      path: /spec/trafficPolicy/portLevelSettings/0/tls/caCertificates\n", ""), "no caCertificates beside it"},
		"misspelled label":               {edit("ambient/namespace.yaml", "istio.io/use-waypoint", "istio.io/use-waypoints"), "Istio knows no label or annotation istio.io/use-waypoints"},
		"no waypoint":                    {drop("ambient/waypoint.yaml"), "Namespace istio-egress: no waypoint"},
		"no namespace":                   {drop("ambient/namespace.yaml"), "no such namespace"},
		"no Service, emulator":           {drop("offline/emulator/service.yaml"), "no Service behind the endpoint"},
		"another port, emulator":         {edit("offline/emulator/service.yaml", "port: 8443", "port: 443"), "has no port 8443"},
		"named port, emulator":           {edit("offline/emulator/service.yaml", "targetPort: https", "targetPort: tls"), "has no port tls"},
		"endpoint's port":                {edit("offline/https/kustomization.yaml", "https: 8443", "tls: 8443"), "the endpoint's port tls is none of its own"},
		"another subset":                 {edit("details-v2/virtual-service.yaml", "subset: v2", "subset: v4"), "IST0101"},
		"another host":                   {edit("details-v2/virtual-service.yaml", "host: details", "host: detail"), "nothing has the host detail"},
		"another SNI":                    {edit("https/virtual-service.yaml", "sniHosts:\n      - www", "sniHosts:\n      - books"), "is none of its hosts"},
		"host misspelled, https":         {edit("https/service-entry.yaml", "- www.googleapis.com", "- www.googleapi.com"), "nothing has the host www.googleapis.com"},
		"host misspelled, rule":          {edit("both/destination-rule.yaml", "host: www.googleapis.com", "host: googleapis.com"), "nothing has the host googleapis.com"},
		"hosts in two namespaces":        {edit("https/service-entry.yaml", "  name: googleapis", "  name: googleapis\n  namespace: istio-egress"), "no such namespace"},
		"no DestinationRule":             {drop("tls-origination/destination-rule.yaml"), "plain HTTP would leave through port 443"},
		"no DestinationRule, both":       {edit("both/kustomization.yaml", "- destination-rule.yaml\n", ""), "plain HTTP would leave through port 80"},
		"no DestinationRule, books-only": {drop("books-only/destination-rule.yaml"), "plain HTTP would leave through port 80"},
		"no DestinationRule, ambient":    {drop("ambient/destination-rule.yaml"), "plain HTTP would leave through port 80"},
		"rule on another port":           {edit("tls-origination/destination-rule.yaml", "number: 443", "number: 80"), "plain HTTP would leave through port 443"},
		"rule without mode":              {edit("both/destination-rule.yaml", "mode: SIMPLE", "mode: DISABLE"), "plain HTTP would leave"},
		"certificate not checked":        {edit("both/destination-rule.yaml", "mode: SIMPLE", "mode: SIMPLE\n        insecureSkipVerify: true"), "is not checked"},
		"certificate's name not checked": {edit("tls-origination/destination-rule.yaml", "        subjectAltNames:\n        - www.googleapis.com\n", ""), "the name in the certificate of www.googleapis.com is not checked"},
		"another name asked for":         {edit("ambient/destination-rule.yaml", "sni: www", "sni: books"), "is not checked"},
		"no CA certificates":             {edit("books-only/destination-rule.yaml", "        caCertificates: system\n", ""), "IST0129"},
		"retries of the sidecar":         {edit("tls-origination/virtual-service.yaml", "attempts: 0", "attempts: 2"), "retries calls to www.googleapis.com"},
		"default retries":                {edit("books-only/virtual-service.yaml", "    retries:\n      attempts: 0\n", ""), "retries calls to www.googleapis.com"},
		"default retries, both":          {drop("both/virtual-service.yaml"), "the proxy would retry"},
		"default retries, waypoint":      {drop("ambient/virtual-service.yaml"), "the proxy would retry"},
		"another namespace's rule":       {edit("ambient/destination-rule.yaml", "namespace: istio-egress", "namespace: default"), "plain HTTP would leave"},
		"policy on nothing":              {edit("ambient/authorization-policy.yaml", "name: googleapis", "name: google"), "no ServiceEntry google"},
		"policy on everything":           {edit("ambient/authorization-policy.yaml", "  targetRefs:\n  - group: networking.istio.io\n    kind: ServiceEntry\n    name: googleapis\n", ""), "attached to nothing"},
		"log of nothing":                 {edit("ambient/telemetry.yaml", "    name: waypoint\n", "    name: gateway\n"), "no Gateway gateway"},
		"log of nobody":                  {edit("access-log/telemetry.yaml", "app: details", "app: detail"), "selects no pod"},
		"sidecar of nobody":              {edit("books-only/sidecar.yaml", "version: v2", "version: v3"), "selects no pod"},
		"sidecar without its host":       {edit("books-only/sidecar.yaml", "./www.googleapis.com", "./googleapis.com"), "this namespace has no host ./googleapis.com"},
		"budget of nobody":               {edit("scale/pod-disruption-budget.yaml", "version: v2", "version: v3"), "selects no pod"},
		"autoscaler of nothing":          {edit("scale/horizontal-pod-autoscaler.yaml", "    kind: Deployment\n    name: details-v2", "    kind: Deployment\n    name: details"), "no such Deployment"},
		"autoscaler without a request":   {edit("scale/horizontal-pod-autoscaler.yaml", "container: details", "container: istio-proxy"), "no container istio-proxy"},
	}

	loaded := schemas(t)

	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			tree := load(t)
			require.NoError(t, test.mutate(tree))

			assert.ErrorContains(t, checkAll(t, tree, loaded), test.want)
		})
	}

	assert.NoError(t, checkAll(t, load(t), loaded), "without a mutation")
}

// An edit that finds nothing to replace must not pass for a mutation.
func TestEditOfNothing(t *testing.T) {
	t.Parallel()

	tree := load(t)

	assert.ErrorContains(t, tree.Edit("https/service-entry.yaml", "sni_hosts", ""), "does not hold")
	assert.Error(t, tree.Edit("https/no-such-file.yaml", "", ""))
	assert.Error(t, tree.Drop("https/no-such-file.yaml"))
}

// checkAll runs every check over every folder and mode.
func checkAll(t *testing.T, tree *manifests.Tree, loaded *manifests.Schemas) error {
	t.Helper()

	found := []error{manifests.CheckFolders(tree), manifests.CheckImages(tree), manifests.CheckSchemas(t.Context(), tree, loaded)}
	for _, folders := range modes() {
		found = append(found, checkMode(t, tree, folders...))
	}

	return errors.Join(found...)
}
