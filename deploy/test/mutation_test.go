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

	tests := map[string]struct { // by the finding
		file string
		edit string // old => new
	}{
		"https/virtual-service.yaml: not among the resources": {
			file: "https/kustomization.yaml",
			edit: "- virtual-service.yaml\n => ",
		},
		`unknown field "spec.template.spec.containers[0].readynessProbe"`: {
			file: deployment,
			edit: "readinessProbe: => readynessProbe:",
		},
		"sni_hosts: Forbidden: unknown field": {
			file: "https/virtual-service.yaml",
			edit: "sniHosts: => sni_hosts:",
		},
		`supported values: "NONE", "STATIC", "DNS"`: {
			file: "https/service-entry.yaml",
			edit: "resolution: DNS => resolution: dns",
		},
		"Must have port for Service reference": {
			file: "gateway-api/http-route.yaml",
			edit: "name: details-v1\n      port: 9080\n => name: details-v1\n",
		},
		"seccompProfile": {
			file: "offline/emulator/deployment.yaml",
			edit: "        seccompProfile:\n          type: RuntimeDefault\n => ",
		},
		"Deployment details-v2: sets a user or a group": {
			file: deployment,
			edit: "runAsNonRoot: true => runAsNonRoot: true\n        runAsUser: 65532",
		},
		"Deployment books-emulator: sets a user or a group": {
			file: "offline/emulator/deployment.yaml",
			edit: "runAsNonRoot: true => fsGroup: 65532\n        runAsNonRoot: true",
		},
		"details-v2 both: ServiceEntry googleapis: with DNS proxying, TLS to any name may leave": {
			file: "both/virtual-service.yaml",
			edit: "sniHosts:\n      - www => sniHosts:\n      - books",
		},
		"offline/https: ServiceEntry googleapis: with DNS proxying, details-v2 calls another address": {
			file: "offline/https/kustomization.yaml",
			edit: `enable-autoallocate-ip: "false" => enable-autoallocate-ip: "true"`,
		},
		"offline/both: ServiceEntry googleapis: with DNS proxying, details-v2 calls another address": {
			file: "offline/both/kustomization.yaml",
			edit: "      labels: =>       annotations:",
		},
		"Deployment details-v2: www.googleapis.com has no IPv6 address": {
			file: "offline/details-v2/kustomization.yaml",
			edit: "          - ip: 2001:db8::1\n            hostnames:\n            - www.googleapis.com\n => ",
		},
		"sends the names and labels of the pod": {
			file: deployment,
			edit: "mode: IN_MESH => mode: UNDEFINED",
		},
		"sends x-envoy-attempt-count": {
			file: deployment,
			edit: "disabled: true => disabled: false",
		},
		"the sidecar ends before the service": {
			file: deployment,
			edit: "terminationDrainDuration: 20s => terminationDrainDuration: 10s",
		},
		"the gateway sends x-forwarded-for": {
			file: "egress-gateway/http-route.yaml",
			edit: "        - x-forwarded-for\n => ",
		},
		"Sidecar details-v2: want it for details v2 alone": {
			file: "books-only/sidecar.yaml",
			edit: "version: v2 => version: v3",
		},
		"details-v2 tls-origination access-log: ServiceEntry googleapis: plain HTTP would leave through port 443": {
			file: "tls-origination/kustomization.yaml",
			edit: "- destination-rule.yaml\n => ",
		},
		"details-v2 tls-origination access-log: ServiceEntry googleapis: plain HTTP would leave until VirtualService": {
			file: "tls-origination/kustomization.yaml",
			edit: "order: fifo => order: legacy",
		},
		"offline/tls-origination: ServiceEntry googleapis: plain HTTP would leave until VirtualService": {
			file: "offline/tls-origination/kustomization.yaml",
			edit: "order: fifo => order: legacy",
		},
		"details-v2 tls-origination access-log: ServiceEntry googleapis: plain HTTP would leave until DestinationRule": {
			file: "tls-origination/kustomization.yaml",
			edit: "- destination-rule.yaml\n- virtual-service.yaml\n- service-entry.yaml\n => " +
				"- virtual-service.yaml\n- service-entry.yaml\n- destination-rule.yaml\n",
		},
		"details-v2 tls-origination access-log: ServiceEntry googleapis: plain HTTP would leave through port 80": {
			file: "tls-origination/virtual-service.yaml",
			edit: "- port: 80 => - port: 81",
		},
		"Gateway books-egress: accepts callers outside the cluster": {
			file: "egress-gateway/gateway.yaml",
			edit: "service-type: ClusterIP => service-type: LoadBalancer",
		},
		"details-v2 both: ServiceEntry googleapis: plain HTTP would leave through port 80": {
			file: "both/destination-rule.yaml",
			edit: "number: 80 => number: 443",
		},
		"details-v2 books-only: ServiceEntry googleapis: plain HTTP would leave through port 80": {
			file: "books-only/destination-rule.yaml",
			edit: "mode: SIMPLE => mode: DISABLE",
		},
		"plain HTTP would leave where only the ServiceEntry is seen": {
			file: "ambient/destination-rule.yaml",
			edit: "  host: =>   exportTo:\n  - \".\"\n  host:",
		},
		"namespace bookinfo-egress has no waypoint": {
			file: "ambient/namespace.yaml",
			edit: "use-waypoint: waypoint => use-waypoint: none",
		},
		"a waypoint ignores a rule with a workloadSelector": {
			file: "offline/ambient/kustomization.yaml",
			edit: "    - op: add\n      path: /metadata/annotations => " + selector + "    - op: add\n      path: /metadata/annotations",
		},
		"the workloadSelector selects no pod": {
			file: "offline/both/kustomization.yaml",
			edit: "version: v2 => version: v3",
		},
		"plain HTTP would leave through port 443 of books-egress-istio": {
			file: "egress-gateway/gateway-destination-rule.yaml",
			edit: "mode: ISTIO_MUTUAL => mode: DISABLE",
		},
		"plain HTTP would leave through port 80 of www.googleapis.com": {
			file: "egress-gateway/kustomization.yaml",
			edit: "- destination-rule.yaml\n => ",
		},
		"the certificate of www.googleapis.com is not checked": {
			file: "both/destination-rule.yaml",
			edit: "mode: SIMPLE => mode: SIMPLE\n        insecureSkipVerify: true",
		},
		"details-v2 egress-gateway network-policy: DestinationRule originate-tls-for-googleapis: the name in the certificate of www.googleapis.com": {
			file: "egress-gateway/destination-rule.yaml",
			edit: "        subjectAltNames:\n        - www.googleapis.com\n => ",
		},
		"details-v2 ambient: DestinationRule originate-tls-for-googleapis: the name in the certificate of www.googleapis.com": {
			file: "ambient/destination-rule.yaml",
			edit: "sni: www => sni: books",
		},
		"no caCertificates": {
			file: "books-only/destination-rule.yaml",
			edit: "        caCertificates: system\n => ",
		},
		"want only a ConfigMap in the namespace of the rule": {
			file: "offline/ambient/kustomization.yaml",
			edit: "configmap://bookinfo-egress/ => configmap://default/",
		},
		"the sidecar of details-v2 does not have the file /etc/emulator/ca.pem": {
			file: "offline/both/kustomization.yaml",
			edit: "/etc/books-emulator/ca.pem => /etc/emulator/ca.pem",
		},
		"applies to proxies without the file": {
			file: "offline/tls-origination/kustomization.yaml",
			edit: selector + " => ",
		},
		"VirtualService rewrite-port-for-googleapis: the proxy retries": {
			file: "tls-origination/virtual-service.yaml",
			edit: "attempts: 0 => attempts: 2",
		},
		"VirtualService googleapis: the proxy retries": {
			file: "egress-gateway/virtual-service.yaml",
			edit: "    retries:\n      attempts: 0\n => ",
		},
		"no VirtualService routes www.googleapis.com: the proxy retries": {
			file: "both/kustomization.yaml",
			edit: "- virtual-service.yaml\n => ",
		},
		"ServiceEntry googleapis: changes the way out": {
			file: "https/service-entry.yaml",
			edit: "  exportTo:\n  - \".\"\n => ",
		},
		"VirtualService googleapis: changes the way out": {
			file: "ambient/virtual-service.yaml",
			edit: "  exportTo:\n  - \".\"\n => ",
		},
		"details-v2 books-only: ServiceEntry googleapis: more than GET /books/v1/volumes may leave": {
			file: "books-only/virtual-service.yaml",
			edit: "exact: /books => prefix: /books",
		},
		"offline/books-only: ServiceEntry googleapis: more than GET /books/v1/volumes may leave": {
			file: "books-only/virtual-service.yaml",
			edit: "status: 403 => status: 200",
		},
		"more than www.googleapis.com may leave": {
			file: "books-only/sidecar.yaml",
			edit: "REGISTRY_ONLY => ALLOW_ANY",
		},
		"books-only: ServiceEntry googleapis: more than GET /books/v1/volumes may leave": {
			file: "books-only/kustomization.yaml",
			edit: "- sidecar.yaml\n => ",
		},
		"details-v2 ambient: ServiceEntry googleapis: more than GET /books/v1/volumes may leave": {
			file: "ambient/authorization-policy.yaml",
			edit: "name: googleapis => name: google",
		},
		"offline/ambient: ServiceEntry googleapis: more than GET /books/v1/volumes may leave": {
			file: "ambient/authorization-policy.yaml",
			edit: "        paths:\n        - /books/v1/volumes\n => ",
		},
		"details-v2 egress-gateway network-policy: ServiceEntry googleapis: more than GET /books/v1/volumes may leave": {
			file: "egress-gateway/authorization-policy.yaml",
			edit: "from:\n    - source:\n        serviceAccounts:\n        - bookinfo-details\n    to: => to:",
		},
		"a rule for any destination": {
			file: networkPolicy,
			edit: "to:\n    - podSelector: {}\n => {}\n",
		},
		"lets pods leave to <none>, <none>[]": {
			file: networkPolicy,
			edit: "- podSelector: {} => - namespaceSelector: {}",
		},
		"lets pods leave to kubernetes.io/metadata.name=istio-system, app=istiod[TCP 443]": {
			file: networkPolicy,
			edit: "port: 15012 => port: 443",
		},
		"not so for books-egress": {
			file: networkPolicy,
			edit: "- books-egress => - books",
		},
		"does not limit egress": {
			file: networkPolicy,
			edit: "- Egress => - Ingress",
		},
		"does not lead to the stand-in": {
			file: "offline/https/kustomization.yaml",
			edit: "books-emulator.svc => emulator.svc",
		},
		"VirtualService googleapis differs from its original": {
			file: "offline/https/kustomization.yaml",
			edit: "patches:\n => patches:\n- target:\n    kind: VirtualService\n  patch: '[{op: remove, path: /spec/exportTo}]'\n",
		},
		"Telemetry details-access-log is not in the original": {
			file: "offline/https/kustomization.yaml",
			edit: "../https\n => ../https\n- ../../access-log\n",
		},
	}

	api := newAPIServer(t)
	for want, test := range tests {
		t.Run(want, func(t *testing.T) {
			t.Parallel()

			manifests := load(t)
			manifests.edit(t, test.file, test.edit)
			assert.Contains(t, strings.Join(problems(t, manifests, api), "\n"), want)
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
