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

	tests := map[string]string{ // finding: "file: old => new"
		"egress/https/virtual-service.yaml: not among the resources":                                                                    "egress/https/kustomization.yaml: - virtual-service.yaml\n => ",
		`unknown field "spec.template.spec.containers[0].readynessProbe"`:                                                               "details-v2/deployment.yaml: readinessProbe: => readynessProbe:",
		"sni_hosts: Forbidden: unknown field":                                                                                           "egress/https/virtual-service.yaml: sniHosts: => sni_hosts:",
		`supported values: "NONE", "STATIC", "DNS"`:                                                                                     "egress/https/service-entry.yaml: resolution: DNS => resolution: dns",
		"Must have port for Service reference":                                                                                          "add-ons/gateway-api/http-route.yaml: name: details-v1\n      port: 9080\n => name: details-v1\n",
		"seccompProfile":                                                                                                                "offline/emulator/deployment.yaml:         seccompProfile:\n          type: RuntimeDefault\n => ",
		"Deployment details-v2: sets a user or a group":                                                                                 "details-v2/deployment.yaml: runAsNonRoot: true => runAsNonRoot: true\n        runAsUser: 65532",
		"Deployment books-emulator: sets a user or a group":                                                                             "offline/emulator/deployment.yaml: runAsNonRoot: true => fsGroup: 65532\n        runAsNonRoot: true",
		"egress/both: ServiceEntry googleapis: with DNS proxying, TLS to any name may leave":                                            "egress/both/virtual-service.yaml: sniHosts:\n      - www => sniHosts:\n      - books",
		"offline/egress/https: ServiceEntry googleapis: with DNS proxying, details-v2 calls another address":                            `offline/egress/https/kustomization.yaml: enable-autoallocate-ip: "false" => enable-autoallocate-ip: "true"`,
		"offline/egress/both: ServiceEntry googleapis: with DNS proxying, details-v2 calls another address":                             "offline/egress/both/kustomization.yaml:       labels: =>       annotations:",
		"Deployment details-v2: www.googleapis.com has no IPv6 address":                                                                 "offline/details-v2/kustomization.yaml:           - ip: 2001:db8::1\n            hostnames:\n            - www.googleapis.com\n => ",
		"sends the names and labels of the pod":                                                                                         "details-v2/deployment.yaml: mode: IN_MESH => mode: UNDEFINED",
		"sends x-envoy-attempt-count":                                                                                                   "details-v2/deployment.yaml: disabled: true => disabled: false",
		"the sidecar ends before the service":                                                                                           "details-v2/deployment.yaml: terminationDrainDuration: 20s => terminationDrainDuration: 10s",
		"the gateway sends x-forwarded-for":                                                                                             "egress/gateway/http-route.yaml:         - x-forwarded-for\n => ",
		"Sidecar details-v2: want it for details v2 alone":                                                                              "block-egress/sidecar.yaml: version: v2 => version: v3",
		"more than www.googleapis.com may leave":                                                                                        "block-egress/sidecar.yaml: REGISTRY_ONLY => ALLOW_ANY",
		"Gateway books-egress: accepts callers outside the cluster":                                                                     "egress/gateway/gateway.yaml: service-type: ClusterIP => service-type: LoadBalancer",
		"egress/tls-origination route-to-v2: Deployment details-v2: without a mode, plain HTTP would leave":                             "details-v2-plain-http/kustomization.yaml: - ../block-egress\n => ",
		"egress/ambient: Deployment details-v2: without a mode, plain HTTP would leave":                                                 "details-v2-ambient/kustomization.yaml: - network-policy.yaml\n => ",
		"egress/both: Deployment details-v2: plain HTTP would leave while the pod terminates":                                           "details-v2-plain-http/kustomization.yaml: mountPath: /etc/hosts => mountPath: /hosts",
		"egress/ambient: Deployment details-v2: plain HTTP would leave while the pod terminates":                                        "details-v2-plain-http/hosts.yaml:     2001:db8::1 www.googleapis.com\n => ",
		"ServiceEntry googleapis: ztunnel does not know 192.0.2.1":                                                                      "egress/ambient/service-entry.yaml: - 192.0.2.1 => - 192.0.2.2",
		"egress/tls-origination route-to-v2: VirtualService rewrite-port-for-googleapis: there is no subset":                            "egress/tls-origination/destination-rule.yaml: name: tls-443 => name: tls",
		"egress/tls-origination route-to-v2: ServiceEntry googleapis: plain HTTP would leave through port 443":                          "egress/tls-origination/virtual-service.yaml:         subset: tls-443\n => ",
		"egress/both: ServiceEntry googleapis: plain HTTP would leave through port 80":                                                  "egress/both/destination-rule.yaml: number: 80 => number: 443",
		"offline/egress/both: ServiceEntry googleapis: plain HTTP would leave through port 80":                                          "egress/both/virtual-service.yaml:         subset: tls-80\n => ",
		"egress/books-only: ServiceEntry googleapis: plain HTTP would leave through port 80":                                            "egress/books-only/destination-rule.yaml: mode: SIMPLE => mode: DISABLE",
		"plain HTTP would leave where only the ServiceEntry is seen":                                                                    "egress/ambient/destination-rule.yaml:   host: =>   exportTo:\n  - \".\"\n  host:",
		"offline/egress/ambient: ServiceEntry googleapis: plain HTTP would leave: namespace bookinfo-egress has no waypoint":            "egress/ambient/namespace.yaml: use-waypoint: waypoint => use-waypoint: none",
		"details-v2-ambient egress/ambient: ServiceEntry googleapis: plain HTTP would leave: namespace bookinfo-egress has no waypoint": "egress/ambient/kustomization.yaml: order: fifo => order: legacy",
		"a waypoint ignores a rule with a workloadSelector":                                                                             "offline/egress/ambient/kustomization.yaml:     - op: add\n      path: /metadata/annotations =>     - op: add\n      path: /spec/workloadSelector\n      value:\n        matchLabels:\n          app: details\n          version: v2\n    - op: add\n      path: /metadata/annotations",
		"the workloadSelector selects no pod":                                                                                           "offline/egress/both/kustomization.yaml: version: v2 => version: v3",
		"plain HTTP would leave through port 443 of books-egress-istio":                                                                 "egress/gateway/gateway-destination-rule.yaml: mode: ISTIO_MUTUAL => mode: DISABLE",
		"egress/gateway add-ons/network-policy: ServiceEntry googleapis: plain HTTP would leave through port 80 of www.googleapis.com":  "egress/gateway/kustomization.yaml: - destination-rule.yaml\n => ",
		"egress/gateway add-ons/network-policy: ServiceEntry googleapis: plain HTTP would leave through port 443 of books-egress":       "egress/gateway/virtual-service.yaml:         subset: mutual-tls\n => ",
		"the certificate of www.googleapis.com is not checked":                                                                          "egress/both/destination-rule.yaml: mode: SIMPLE => mode: SIMPLE\n        insecureSkipVerify: true",
		"egress/tls-origination: DestinationRule originate-tls-for-googleapis: the name in the certificate of www.googleapis.com":       "egress/tls-origination/destination-rule.yaml:       subjectAltNames:\n      - www.googleapis.com\n => ",
		"egress/ambient: DestinationRule originate-tls-for-googleapis: the name in the certificate of www.googleapis.com":               "egress/ambient/destination-rule.yaml: sni: www => sni: books",
		"no caCertificates": "egress/books-only/destination-rule.yaml:         caCertificates: system\n => ",
		"want only a ConfigMap in the namespace of the rule":                                                          "offline/egress/ambient/kustomization.yaml: configmap://bookinfo-egress/ => configmap://default/",
		"the sidecar of details-v2 does not have the file /etc/emulator/ca.pem":                                       "offline/egress/both/kustomization.yaml: /etc/books-emulator/ca.pem => /etc/emulator/ca.pem",
		"applies to proxies without the file":                                                                         "offline/egress/tls-origination/kustomization.yaml:     - op: add\n      path: /spec/workloadSelector\n      value:\n        matchLabels:\n          app: details\n          version: v2\n => ",
		"VirtualService rewrite-port-for-googleapis: the proxy retries":                                               "egress/tls-origination/virtual-service.yaml: attempts: 0 => attempts: 2",
		"VirtualService googleapis: the proxy retries":                                                                "egress/gateway/virtual-service.yaml:     retries:\n      attempts: 0\n => ",
		"no VirtualService routes www.googleapis.com: the proxy retries":                                              "egress/both/kustomization.yaml: - virtual-service.yaml\n => ",
		"ServiceEntry googleapis: changes the way out":                                                                "egress/https/service-entry.yaml:   exportTo:\n  - \".\"\n => ",
		"VirtualService googleapis: changes the way out":                                                              "egress/ambient/virtual-service.yaml:   exportTo:\n  - \".\"\n => ",
		"details-v2-plain-http egress/books-only: ServiceEntry googleapis: more than GET /books/v1/volumes may leave": "egress/books-only/virtual-service.yaml: exact: /books => prefix: /books",
		"offline/egress/books-only: ServiceEntry googleapis: more than GET /books/v1/volumes may leave":               "egress/books-only/virtual-service.yaml: status: 403 => status: 200",
		"details-v2-ambient egress/ambient: ServiceEntry googleapis: more than GET /books/v1/volumes may leave":       "egress/ambient/authorization-policy.yaml: name: googleapis => name: google",
		"offline/egress/ambient: ServiceEntry googleapis: more than GET /books/v1/volumes may leave":                  "egress/ambient/authorization-policy.yaml:         paths:\n        - /books/v1/volumes\n => ",
		"egress/gateway add-ons/network-policy: ServiceEntry googleapis: more than GET /books/v1/volumes may leave":   "egress/gateway/authorization-policy.yaml: from:\n    - source:\n        serviceAccounts:\n        - bookinfo-details\n    to: => to:",
		"a rule for any destination":                                                                                  "add-ons/network-policy/network-policy.yaml: to:\n    - podSelector: {}\n => {}\n",
		"lets pods leave to <none>, <none>[]":                                                                         "details-v2-ambient/network-policy.yaml: - podSelector: {} => - namespaceSelector: {}",
		"lets pods leave to kubernetes.io/metadata.name=istio-system, app=istiod[TCP 443]":                            "add-ons/network-policy/network-policy.yaml: port: 15012 => port: 443",
		"NetworkPolicy leave-by-books-egress: wrongly selects or omits books-egress":                                  "add-ons/network-policy/network-policy.yaml: - books-egress => - books",
		"NetworkPolicy details-v2: wrongly selects or omits details-v2":                                               "details-v2-ambient/network-policy.yaml: version: v2 => version: v1",
		"does not limit egress":                                                                                    "details-v2-ambient/network-policy.yaml: - Egress => - Ingress",
		"does not lead to the stand-in":                                                                            "offline/egress/https/kustomization.yaml: books-emulator.svc => emulator.svc",
		"VirtualService googleapis differs from its original":                                                      "offline/egress/https/kustomization.yaml: patches:\n => patches:\n- target:\n    kind: VirtualService\n  patch: '[{op: remove, path: /spec/exportTo}]'\n",
		"Telemetry details-access-log is not in the original":                                                      "offline/egress/https/kustomization.yaml: egress/https\n => egress/https\n- ../../../add-ons/access-log\n",
		"egress/both: VirtualService googleapis: there is no subset tls-80":                                        "egress/both/destination-rule.yaml: - name: tls-80 => - name: tls-80\n    trafficPolicy:\n      tls:\n        mode: DISABLE",
		"egress/gateway add-ons/network-policy: Deployment details-v2: plain HTTP would leave":                     "details-v2-plain-http/kustomization.yaml: configMap:\n              name: details-v2-hosts => emptyDir: {}",
		"egress/books-only: Deployment details-v2: plain HTTP would leave while the pod":                           "details-v2-plain-http/kustomization.yaml: name: details-v2-hosts => name: details-v2-hosts\n              optional: true",
		"VirtualService details: does not lead to v2":                                                              "route-to-v2/virtual-service.yaml: subset: v2 => subset: v1",
		"or routes from other namespaces":                                                                          "egress/gateway/gateway.yaml: from: Same => from: All",
		"egress/books-only: ServiceEntry googleapis: plain HTTP would leave through port 80 of www.googleapis.com": "egress/books-only/destination-rule.yaml: mode: SIMPLE => mode: ISTIO_MUTUAL",
		"egress/ambient: ServiceEntry googleapis: plain HTTP would leave through port 80":                          "egress/ambient/destination-rule.yaml: namespace: bookinfo-egress => namespace: default",
		"egress/tls-origination route-to-v2: ServiceEntry googleapis: plain HTTP would leave through port 80":      "egress/tls-origination/virtual-service.yaml: - port: 80 => - port: 81",
		"egress/gateway add-ons/network-policy: Deployment details-v2: plain HTTP would leave while the pod":       "details-v2-plain-http/kustomization.yaml: - hosts.yaml\n => ",
	}

	api := newAPIServer(t)
	for want, mutation := range tests {
		t.Run(want, func(t *testing.T) {
			t.Parallel()

			manifests := load(t)
			manifests.edit(t, mutation)
			assert.Contains(t, strings.Join(problems(t, manifests, api), "\n"), want)
		})
	}
}

// edit replaces the first occurrence of a text in a file.
func (m *tree) edit(t *testing.T, mutation string) {
	t.Helper()

	name, edit, _ := strings.Cut(mutation, ": ")
	before, after, found := strings.Cut(edit, " => ")
	require.True(t, found)
	content, err := m.files.ReadFile("/" + name)
	require.NoError(t, err)
	require.Contains(t, string(content), before)
	require.NoError(t, m.files.WriteFile("/"+name, []byte(strings.Replace(string(content), before, after, 1))))
}
