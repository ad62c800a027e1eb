package manifests_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Each mutation makes one mistake in a copy of the manifests. The checks have
// to report it.
func TestMutations(t *testing.T) {
	t.Parallel()

	const (
		deployment    = "details-v2/deployment.yaml"
		networkPolicy = "network-policy/network-policy.yaml"
		selector      = "    - op: add\n      path: /spec/workloadSelector\n      value:\n" +
			"        matchLabels:\n          app: details\n          version: v2\n"
	)

	tests := map[string]struct {
		file string
		edit string // old => new
		want string
	}{
		"file left out": {
			file: "https/kustomization.yaml",
			edit: "- virtual-service.yaml\n => ",
			want: "https/virtual-service.yaml: not among the resources",
		},
		"unknown field, Kubernetes": {
			file: deployment,
			edit: "readinessProbe: => readynessProbe:",
			want: `unknown field "spec.template.spec.containers[0].readynessProbe"`,
		},
		"unknown field, Istio: the post's sni_hosts": {
			file: "https/virtual-service.yaml",
			edit: "sniHosts: => sni_hosts:",
			want: "sni_hosts: Forbidden: unknown field",
		},
		"wrong enum": {
			file: "https/service-entry.yaml",
			edit: "resolution: DNS => resolution: dns",
			want: `supported values: "NONE", "STATIC", "DNS"`,
		},
		"CEL rule, Gateway API": {
			file: "gateway-api/http-route.yaml",
			edit: "name: details-v1\n      port: 9080\n => name: details-v1\n",
			want: "Must have port for Service reference",
		},
		"no seccompProfile": {
			file: "offline/emulator/deployment.yaml",
			edit: "        seccompProfile:\n          type: RuntimeDefault\n => ",
			want: "seccompProfile",
		},
		"user of the proxy": {
			file: deployment,
			edit: "runAsUser: 65532 => runAsUser: 1337",
			want: "runs as the user of the proxy",
		},
		"names and labels for Google": {
			file: deployment,
			edit: "mode: IN_MESH => mode: UNDEFINED",
			want: "sends the names and labels of the pod",
		},
		"attempt count for Google": {
			file: deployment,
			edit: "disabled: true => disabled: false",
			want: "sends x-envoy-attempt-count",
		},
		"client address for Google": {
			file: "egress-gateway/http-route.yaml",
			edit: "        - x-forwarded-for\n => ",
			want: "the gateway sends x-forwarded-for",
		},
		"clear text, no rule": {
			file: "tls-origination/kustomization.yaml",
			edit: "- destination-rule.yaml\n => ",
			want: "plain HTTP would leave through port 443",
		},
		"clear text, rule for another port": {
			file: "both/destination-rule.yaml",
			edit: "number: 80 => number: 443",
			want: "plain HTTP would leave through port 80",
		},
		"clear text, TLS off": {
			file: "both/destination-rule.yaml",
			edit: "mode: SIMPLE => mode: DISABLE",
			want: "plain HTTP would leave through port 80",
		},
		"clear text, rule in another namespace": {
			file: "ambient/destination-rule.yaml",
			edit: "namespace: bookinfo-egress => namespace: default",
			want: "plain HTTP would leave through port 80",
		},
		"clear text, rule not exported": {
			file: "ambient/destination-rule.yaml",
			edit: "  host: =>   exportTo:\n  - \".\"\n  host:",
			want: "plain HTTP would leave where only the ServiceEntry is seen",
		},
		"clear text, no waypoint": {
			file: "ambient/namespace.yaml",
			edit: "use-waypoint: waypoint => use-waypoint: none",
			want: "namespace bookinfo-egress has no waypoint",
		},
		"clear text, waypoint ignores the rule": {
			file: "offline/ambient/kustomization.yaml",
			edit: "    - op: add\n      path: /metadata/annotations => " + selector + "    - op: add\n      path: /metadata/annotations",
			want: "a waypoint ignores a rule with a workloadSelector",
		},
		"clear text, no pod selected": {
			file: "offline/both/kustomization.yaml",
			edit: "version: v2 => version: v3",
			want: "the workloadSelector selects no pod",
		},
		"clear text to the gateway": {
			file: "egress-gateway/gateway-destination-rule.yaml",
			edit: "mode: ISTIO_MUTUAL => mode: DISABLE",
			want: "plain HTTP would leave through port 443 of books-egress-istio",
		},
		"clear text from the gateway": {
			file: "egress-gateway/kustomization.yaml",
			edit: "- destination-rule.yaml\n => ",
			want: "plain HTTP would leave through port 80 of www.googleapis.com",
		},
		"any certificate": {
			file: "both/destination-rule.yaml",
			edit: "mode: SIMPLE => mode: SIMPLE\n        insecureSkipVerify: true",
			want: "the certificate of www.googleapis.com is not checked",
		},
		"any name in the certificate": {
			file: "egress-gateway/destination-rule.yaml",
			edit: "        subjectAltNames:\n        - www.googleapis.com\n => ",
			want: "the name in the certificate of www.googleapis.com is not checked",
		},
		"another SNI": {
			file: "ambient/destination-rule.yaml",
			edit: "sni: www => sni: books",
			want: "the name in the certificate of www.googleapis.com is not checked",
		},
		"no CA": {
			file: "books-only/destination-rule.yaml",
			edit: "        caCertificates: system\n => ",
			want: "no caCertificates",
		},
		"CA in another namespace": {
			file: "offline/ambient/kustomization.yaml",
			edit: "configmap://bookinfo-egress/ => configmap://default/",
			want: "want only a ConfigMap in the namespace of the rule",
		},
		"CA file not mounted, sidecar": {
			file: "offline/both/kustomization.yaml",
			edit: "/etc/books-emulator/ca.pem => /etc/emulator/ca.pem",
			want: "the proxy of details-v2 does not have the file /etc/emulator/ca.pem",
		},
		"CA file not mounted, gateway": {
			file: "offline/egress-gateway/gateway-parameters.yaml",
			edit: "mountPath: /etc/books-emulator => mountPath: /etc/emulator",
			want: "the proxy of books-egress does not have the file",
		},
		"CA file for every proxy": {
			file: "offline/tls-origination/kustomization.yaml",
			edit: selector + " => ",
			want: "applies to proxies without the file",
		},
		"retries": {
			file: "tls-origination/virtual-service.yaml",
			edit: "attempts: 0 => attempts: 2",
			want: "VirtualService rewrite-port-for-googleapis: the proxy retries",
		},
		"default retries": {
			file: "egress-gateway/virtual-service.yaml",
			edit: "    retries:\n      attempts: 0\n => ",
			want: "VirtualService googleapis: the proxy retries",
		},
		"default retries, no route": {
			file: "both/kustomization.yaml",
			edit: "- virtual-service.yaml\n => ",
			want: "no VirtualService routes www.googleapis.com: the proxy retries",
		},
		"entry for all namespaces": {
			file: "https/service-entry.yaml",
			edit: "  exportTo:\n  - \".\"\n => ",
			want: "ServiceEntry googleapis: changes the way out",
		},
		"route for all namespaces": {
			file: "ambient/virtual-service.yaml",
			edit: "  exportTo:\n  - \".\"\n => ",
			want: "VirtualService googleapis: changes the way out",
		},
		"route by prefix": {
			file: "books-only/virtual-service.yaml",
			edit: "exact: /books => prefix: /books",
			want: "more than GET /books/v1/volumes may leave",
		},
		"no refusal": {
			file: "books-only/virtual-service.yaml",
			edit: "status: 403 => status: 200",
			want: "more than GET /books/v1/volumes may leave",
		},
		"other hosts allowed": {
			file: "books-only/sidecar.yaml",
			edit: "REGISTRY_ONLY => ALLOW_ANY",
			want: "more than www.googleapis.com may leave",
		},
		"no Sidecar": {
			file: "books-only/kustomization.yaml",
			edit: "- sidecar.yaml\n => ",
			want: "more than GET /books/v1/volumes may leave",
		},
		"policy for another entry": {
			file: "ambient/authorization-policy.yaml",
			edit: "name: googleapis => name: google",
			want: "more than GET /books/v1/volumes may leave",
		},
		"policy for any path": {
			file: "ambient/authorization-policy.yaml",
			edit: "        paths:\n        - /books/v1/volumes\n => ",
			want: "more than GET /books/v1/volumes may leave",
		},
		"policy for any caller": {
			file: "egress-gateway/authorization-policy.yaml",
			edit: "from:\n    - source:\n        serviceAccounts:\n        - bookinfo-details\n    to: => to:",
			want: "more than GET /books/v1/volumes may leave",
		},
		"egress to any destination": {
			file: networkPolicy,
			edit: "to:\n    - podSelector: {}\n => {}\n",
			want: "a rule for any destination",
		},
		"egress to any namespace": {
			file: networkPolicy,
			edit: "- podSelector: {} => - namespaceSelector: {}",
			want: "lets pods leave to <none>",
		},
		"egress to another port": {
			file: networkPolicy,
			edit: "port: 15012 => port: 443",
			want: "[TCP 443]",
		},
		"egress denied to the gateway": {
			file: networkPolicy,
			edit: "- books-egress => - books",
			want: "not so for books-egress",
		},
		"egress not limited": {
			file: networkPolicy,
			edit: "- Egress => - Ingress",
			want: "does not limit egress",
		},
		"twin leads elsewhere": {
			file: "offline/https/kustomization.yaml",
			edit: "books-emulator.svc => emulator.svc",
			want: "does not lead to the stand-in",
		},
		"twin with another route": {
			file: "offline/https/kustomization.yaml",
			edit: "patches:\n => patches:\n- target:\n    kind: VirtualService\n  patch: '[{op: remove, path: /spec/exportTo}]'\n",
			want: "VirtualService googleapis differs from its original",
		},
		"twin with more": {
			file: "offline/https/kustomization.yaml",
			edit: "../https\n => ../https\n- ../../access-log\n",
			want: "Telemetry details-access-log is not in the original",
		},
	}

	api := newAPIServer(t)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			manifests := load(t)
			manifests.edit(t, test.file, test.edit)
			assert.Contains(t, strings.Join(problems(t, manifests, api), "\n"), test.want)
		})
	}
}

// edit replaces the first occurrence of a text in a file.
func (m *tree) edit(t *testing.T, name, edit string) {
	t.Helper()

	before, after, found := strings.Cut(edit, " => ")
	require.True(t, found)
	content, err := m.files.ReadFile("/" + name)
	require.NoError(t, err)
	require.Contains(t, string(content), before)
	require.NoError(t, m.files.WriteFile("/"+name, []byte(strings.Replace(string(content), before, after, 1))))
}
