package manifests_test

import (
	"maps"
	"path"
	"slices"
	"strings"

	"istio.io/api/annotation"
	"istio.io/api/label"
	networking "istio.io/api/networking/v1"
	istionetworking "istio.io/client-go/pkg/apis/networking/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"
)

// destination is where a route leads.
type destination struct {
	host, subset string
	port         uint32
}

// checkEgress follows plain HTTP on its way out. It reports requests that would
// leave in clear text when all objects exist, or while they are being created
// or deleted. `kubectl delete -k` deletes objects in the order of creation.
func checkEgress(from cluster, report reporter) {
	checkRoutes(from, report)
	for i := range from {
		checkClearText(from[:i+1], from, report)
		checkClearText(from[i+1:], from, report)
	}
}

// checkRoutes reports routes to missing subsets, and retries of a proxy.
func checkRoutes(from cluster, report reporter) {
	for _, service := range all[*istionetworking.VirtualService](from) {
		for _, route := range service.Spec.GetHttp() {
			for _, way := range route.GetRoute() {
				host, subset := way.GetDestination().GetHost(), way.GetDestination().GetSubset()
				if host == "details" && subset != "v2" {
					report("%s: does not lead to v2", id(service))
				}
				if subset != "" && host != "details" && len(rules(from, destination{host: host, subset: subset})) == 0 {
					report("%s: there is no subset %s that inherits the rule's settings", id(service), subset)
				}
				// Without the field Istio retries twice.
				if host != "details" && (route.Retries == nil || route.Retries.Attempts != 0) {
					report("%s: the proxy retries, in addition to the service", id(service))
				}
			}
		}
	}
}

// checkClearText reports plain HTTP that leaves while the cluster has only some
// of its objects.
func checkClearText(state, complete cluster, report reporter) {
	for _, entry := range all[*istionetworking.ServiceEntry](state) {
		// Without a waypoint, ztunnel sends the call. It applies no DestinationRule.
		if entry.Namespace != metav1.NamespaceDefault && !hasWaypoint(state, complete, entry.Namespace) {
			if len(all[*networkingv1.NetworkPolicy](state)) == 0 {
				report("%s: plain HTTP would leave: namespace %s has no waypoint", id(entry), entry.Namespace)
			}
			continue
		}
		for _, port := range entry.Spec.GetPorts() {
			if port.GetProtocol() != "HTTP" {
				continue
			}
			host := entry.Spec.GetHosts()[0]
			ways := routes(state, host, port.GetNumber())
			if len(state) == len(complete) && ways[0] == (destination{host: host, port: port.GetNumber()}) {
				report("no VirtualService routes %s: the proxy retries, in addition to the service", host)
			}
			for _, way := range ways {
				closed := way.subset != "" && len(rules(state, way)) == 0 // the proxy answers 503
				if !closed && !encrypted(state, entry, way) {
					report("%s: plain HTTP would leave through port %d of %s", id(entry), way.port, way.host)
				}
			}
		}
	}
}

// checkHTTPS reports HTTPS that a sidecar handles differently in a mesh with
// DNS proxying, where it matches the address that Istio gives to an entry.
func checkHTTPS(from cluster, report reporter) {
	for _, entry := range all[*istionetworking.ServiceEntry](from) {
		host := entry.Spec.GetHosts()[0]
		if len(entry.Spec.GetPorts()) == 1 && entry.Spec.GetPorts()[0].GetProtocol() == "HTTP" {
			continue
		}
		if !encrypted(from, entry, destination{host: host, port: 443}) && !routedBySNI(from, host) {
			report("%s: with DNS proxying, TLS to any name may leave", id(entry))
		}
		for _, deployment := range deployments(from) {
			if len(deployment.Spec.Template.Spec.HostAliases) > 0 && entry.Labels[label.NetworkingEnableAutoallocateIp.Name] != "false" {
				report("%s: with DNS proxying, %s calls another address", id(entry), deployment.Name)
			}
		}
	}
}

// routedBySNI reports whether a VirtualService matches the host's SNI.
func routedBySNI(from cluster, host string) bool {
	return slices.ContainsFunc(all[*istionetworking.VirtualService](from), func(service *istionetworking.VirtualService) bool {
		return slices.ContainsFunc(service.Spec.GetTls(), func(route *networking.TLSRoute) bool {
			return slices.Equal(route.GetMatch()[0].GetSniHosts(), []string{host})
		})
	})
}

// routes returns where requests for the host and port are sent.
func routes(from cluster, host string, port uint32) []destination {
	var found []destination
	for _, service := range all[*istionetworking.VirtualService](from) {
		if !slices.Contains(service.Spec.GetHosts(), host) {
			continue
		}
		for _, route := range service.Spec.GetHttp() {
			if len(route.GetMatch()) > 0 && !slices.ContainsFunc(route.GetMatch(), func(match *networking.HTTPMatchRequest) bool {
				return match.GetPort() == 0 || match.GetPort() == port
			}) {
				continue
			}
			for _, way := range route.GetRoute() {
				to := way.GetDestination()
				found = append(found, destination{to.GetHost(), to.GetSubset(), to.GetPort().GetNumber()})
			}
		}
	}
	if len(found) == 0 {
		found = append(found, destination{host: host, port: port})
	}
	for _, route := range all[*gateway.HTTPRoute](from) {
		for _, rule := range route.Spec.Rules {
			for _, backend := range rule.BackendRefs {
				if isHostname(backend) && string(backend.Name) == host {
					found = append(found, destination{host: host, port: uint32(*backend.Port)})
				}
			}
		}
	}
	return found
}

func isHostname(backend gateway.HTTPBackendRef) bool {
	return backend.Kind != nil && *backend.Kind == "Hostname"
}

// rules returns the DestinationRules for a host that also define its subset, if
// the destination has one.
func rules(from cluster, way destination) []*istionetworking.DestinationRule {
	return slices.DeleteFunc(all[*istionetworking.DestinationRule](from), func(rule *istionetworking.DestinationRule) bool {
		return rule.Spec.GetHost() != way.host || way.subset != "" &&
			!slices.ContainsFunc(rule.Spec.GetSubsets(), func(one *networking.Subset) bool {
				return one.GetName() == way.subset && one.GetTrafficPolicy() == nil && len(one.GetLabels()) == 0
			})
	})
}

// encrypted reports whether a rule makes the proxies encrypt on the way.
func encrypted(from cluster, entry *istionetworking.ServiceEntry, way destination) bool {
	mode := networking.ClientTLSSettings_SIMPLE
	if !slices.Contains(entry.Spec.GetHosts(), way.host) {
		mode = networking.ClientTLSSettings_ISTIO_MUTUAL // to a gateway
	}
	return slices.ContainsFunc(rules(from, way), func(rule *istionetworking.DestinationRule) bool {
		tls := rule.Spec.GetTrafficPolicy().GetTls()
		for _, settings := range rule.Spec.GetTrafficPolicy().GetPortLevelSettings() {
			if settings.GetPort().GetNumber() == way.port {
				tls = settings.GetTls()
			}
		}
		return rule.Namespace == entry.Namespace && tls.GetMode() == mode
	})
}

// tlsSettings returns all TLS settings of a rule.
func tlsSettings(rule *istionetworking.DestinationRule) []*networking.ClientTLSSettings {
	found := []*networking.ClientTLSSettings{rule.Spec.GetTrafficPolicy().GetTls()}
	for _, settings := range rule.Spec.GetTrafficPolicy().GetPortLevelSettings() {
		found = append(found, settings.GetTls())
	}
	return found
}

// hasWaypoint reports whether the namespace uses a waypoint that exists. It
// looks for the Namespace in the complete cluster, because a Namespace
// disappears last, whatever the order.
func hasWaypoint(state, complete cluster, namespace string) bool {
	for _, one := range all[*corev1.Namespace](complete) {
		for _, proxy := range all[*gateway.Gateway](state) {
			if one.Name == namespace && proxy.Namespace == namespace && proxy.Name == one.Labels[label.IoIstioUseWaypoint.Name] {
				return proxy.Spec.GatewayClassName == "istio-waypoint"
			}
		}
	}
	return false
}

// checkRules reports TLS that proves nothing, because it accepts any
// certificate or any name, or because the proxy lacks the CA.
func checkRules(from cluster, report reporter) {
	for _, rule := range all[*istionetworking.DestinationRule](from) {
		for _, tls := range tlsSettings(rule) {
			host := rule.Spec.GetHost()
			if tls.GetMode() != networking.ClientTLSSettings_SIMPLE {
				continue
			}
			if tls.GetInsecureSkipVerify().GetValue() {
				report("%s: the certificate of %s is not checked", id(rule), host)
			}
			if tls.GetSni() != host || !slices.Equal(tls.GetSubjectAltNames(), []string{host}) {
				report("%s: the name in the certificate of %s is not checked", id(rule), host)
			}
			checkCA(from, rule, tls, report)
		}
	}
}

// checkCA reports a rule whose CA certificates some proxy does not have. That
// proxy would wait for them, and its pod might never become ready.
func checkCA(from cluster, rule *istionetworking.DestinationRule, tls *networking.ClientTLSSettings, report reporter) {
	selector := rule.Spec.GetWorkloadSelector().GetMatchLabels()
	proxies := selected(from, rule.Namespace, selector, report)
	file, credential := tls.GetCaCertificates(), tls.GetCredentialName()

	switch {
	case selector != nil && hasWaypoint(from, from, rule.Namespace):
		report("%s: plain HTTP would leave: a waypoint ignores a rule with a workloadSelector", id(rule))
	case len(proxies) == 0:
		report("%s: plain HTTP would leave: the workloadSelector selects no pod", id(rule))
	case credential != "":
		if file != "" || !strings.HasPrefix(credential, "configmap://"+rule.Namespace+"/") {
			report("%s: credentialName %s: want only a ConfigMap in the namespace of the rule", id(rule), credential)
		}
	case file == "":
		report("%s: no caCertificates", id(rule))
	case file == "system":
	case selector == nil:
		report("%s: applies to proxies without the file %s", id(rule), file)
	default:
		for _, proxy := range proxies {
			mounted := slices.ContainsFunc(slices.Collect(maps.Values(proxy.sidecar)), func(mount corev1.VolumeMount) bool {
				return mount.MountPath == path.Dir(file)
			})
			if !mounted && !proxy.gateway {
				report("%s: the sidecar of %s does not have the file %s", id(rule), proxy.name, file)
			}
		}
	}
}

// checkExport reports objects that would change the way out of other
// namespaces, and rules that not everyone who sees their entry sees.
func checkExport(from cluster, report reporter) {
	for _, entry := range all[*istionetworking.ServiceEntry](from) {
		exportTo := entry.Spec.GetExportTo()
		if entry.Namespace == metav1.NamespaceDefault && !slices.Equal(exportTo, []string{"."}) {
			report("%s: changes the way out of other namespaces", id(entry))
		}
		for _, rule := range all[*istionetworking.DestinationRule](from) {
			// With endpoints, what leaves goes to the stand-in.
			if slices.Contains(entry.Spec.GetHosts(), rule.Spec.GetHost()) && len(entry.Spec.GetEndpoints()) == 0 &&
				!slices.Equal(rule.Spec.GetExportTo(), exportTo) {
				report("%s: plain HTTP would leave where only the ServiceEntry is seen", id(rule))
			}
		}
		for _, service := range all[*istionetworking.VirtualService](from) {
			if slices.Contains(entry.Spec.GetHosts(), service.Spec.GetHosts()[0]) && !slices.Equal(service.Spec.GetExportTo(), []string{"."}) {
				report("%s: changes the way out of other namespaces", id(service))
			}
		}
	}
}

// pod is a pod with a proxy: of a Deployment, or of a Gateway.
type pod struct {
	name    string
	labels  labels.Set
	sidecar map[string]corev1.VolumeMount // mounts of the sidecar, in addition to its own
	gateway bool
}

// selected returns the pods of the namespace that have all the labels.
func selected(from cluster, namespace string, match map[string]string, report reporter) []pod {
	var pods []pod
	for _, one := range all[*appsv1.Deployment](from) {
		if one.Namespace == namespace {
			added := pod{name: one.Name, labels: one.Spec.Template.Labels}
			unmarshal(one.Spec.Template.Annotations[annotation.SidecarUserVolumeMount.Name], &added.sidecar, one, report)
			pods = append(pods, added)
		}
	}
	for _, one := range all[*gateway.Gateway](from) {
		if one.Namespace == namespace {
			name := labels.Set{label.IoK8sNetworkingGatewayGatewayName.Name: one.Name}
			pods = append(pods, pod{name: one.Name, labels: name, gateway: true})
		}
	}
	return slices.DeleteFunc(pods, func(one pod) bool { return !labels.SelectorFromSet(match).Matches(one.labels) })
}

// unmarshal reads the YAML text within an object.
func unmarshal(text string, into any, owner object, report reporter) {
	if err := yaml.Unmarshal([]byte(text), into); err != nil {
		report("%s: %v", id(owner), err)
	}
}
