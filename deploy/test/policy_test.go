package manifests_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"istio.io/api/annotation"
	"istio.io/api/label"
	mesh "istio.io/api/mesh/v1alpha1"
	networking "istio.io/api/networking/v1"
	security "istio.io/api/security/v1"
	istionetworking "istio.io/client-go/pkg/apis/networking/v1"
	istiosecurity "istio.io/client-go/pkg/apis/security/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"k8s.io/utils/ptr"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
)

// checkPolicy reports hosts with too loose a policy. A host that is known by
// plain HTTP only is there so that a proxy can read and limit the requests.
func checkPolicy(from cluster, report reporter) {
	for _, entry := range all[*istionetworking.ServiceEntry](from) {
		if slices.ContainsFunc(entry.Spec.GetPorts(), func(port *networking.ServicePort) bool { return port.GetProtocol() != "HTTP" }) {
			continue
		}
		if !limitedByRoute(from, entry) && !limitedByPolicy(from, entry) {
			report("%s: more than GET /books/v1/volumes may leave", id(entry))
		}
	}

	for _, one := range all[*gateway.Gateway](from) {
		if one.Spec.GatewayClassName == "istio" && (one.Annotations[annotation.NetworkingServiceType.Name] != "ClusterIP" ||
			*one.Spec.Listeners[0].AllowedRoutes.Namespaces.From != gateway.NamespacesFromSame) {
			report("%s: accepts callers outside the cluster, or routes from other namespaces", id(one))
		}
	}

	for _, sidecar := range all[*istionetworking.Sidecar](from) {
		if len(selected(from, sidecar.Namespace, sidecar.Spec.GetWorkloadSelector().GetLabels(), report)) != 1 {
			report("%s: want it for details v2 alone", id(sidecar))
		}
		if sidecar.Spec.GetOutboundTrafficPolicy().GetMode() != networking.OutboundTrafficPolicy_REGISTRY_ONLY ||
			len(sidecar.Spec.GetEgress()) != 1 || !slices.Equal(sidecar.Spec.GetEgress()[0].GetHosts(), []string{"./www.googleapis.com"}) {
			report("%s: more than www.googleapis.com may leave", id(sidecar))
		}
	}
}

// limitedByRoute reports whether the host's VirtualService routes only the
// allowed requests, and answers all others itself.
func limitedByRoute(from cluster, entry *istionetworking.ServiceEntry) bool {
	allowed := &networking.HTTPMatchRequest{
		Port:   80,
		Method: &networking.StringMatch{MatchType: &networking.StringMatch_Exact{Exact: "GET"}},
		Uri:    &networking.StringMatch{MatchType: &networking.StringMatch_Exact{Exact: "/books/v1/volumes"}},
	}
	services := slices.DeleteFunc(all[*istionetworking.VirtualService](from), func(one *istionetworking.VirtualService) bool {
		return !slices.Equal(one.Spec.GetHosts(), entry.Spec.GetHosts())
	})
	if len(services) != 1 || len(services[0].Spec.GetHttp()) != 2 {
		return false
	}
	first, last := services[0].Spec.GetHttp()[0], services[0].Spec.GetHttp()[1]
	return len(all[*istionetworking.Sidecar](from)) == 1 && len(first.GetMatch()) == 1 && proto.Equal(first.GetMatch()[0], allowed) &&
		len(last.GetMatch()) == 0 && last.GetDirectResponse().GetStatus() == 403 &&
		len(services[0].Spec.GetTls()) == 0 && len(services[0].Spec.GetTcp()) == 0
}

// limitedByPolicy reports whether an AuthorizationPolicy limits the requests,
// at the waypoint or at the gateway. A gateway has to know the caller, too.
func limitedByPolicy(from cluster, entry *istionetworking.ServiceEntry) bool {
	allowed := &security.Rule{
		To: []*security.Rule_To{{Operation: &security.Operation{Methods: []string{"GET"}, Paths: []string{"/books/v1/volumes"}}}},
	}
	target := "ServiceEntry " + entry.Name
	for _, one := range all[*gateway.Gateway](from) {
		if one.Spec.GatewayClassName == "istio" {
			target = id(one)
			allowed.From = []*security.Rule_From{{Source: &security.Source{ServiceAccounts: []string{"bookinfo-details"}}}}
		}
	}
	return slices.ContainsFunc(all[*istiosecurity.AuthorizationPolicy](from), func(one *istiosecurity.AuthorizationPolicy) bool {
		refs, rules := one.Spec.GetTargetRefs(), one.Spec.GetRules()
		return one.Namespace == entry.Namespace && one.Spec.GetAction() == security.AuthorizationPolicy_ALLOW &&
			len(refs) == 1 && refs[0].GetKind()+" "+refs[0].GetName() == target &&
			len(rules) == 1 && proto.Equal(rules[0], allowed)
	})
}

// checkNetworkPolicies reports ways out of the namespace other than DNS, istiod
// and the waypoint. One policy is for details, the other for all pods but the
// egress gateway.
func checkNetworkPolicies(from cluster, report reporter) {
	allowed := []string{
		"kubernetes.io/metadata.name=istio-system, app=istiod[TCP 15012]",
		"kubernetes.io/metadata.name=kube-system, k8s-app=kube-dns[UDP 53 TCP 53]",
		"kubernetes.io/metadata.name=bookinfo-egress, <none>[TCP 15008]",
	}
	for _, one := range all[*networkingv1.NetworkPolicy](from) {
		selector, err := metav1.LabelSelectorAsSelector(&one.Spec.PodSelector)
		if err != nil {
			report("%s: %v", id(one), err)
			continue
		}
		for _, pod := range selected(from, one.Namespace, nil, report) {
			want := pod.name == one.Name || one.Name == "leave-by-books-egress" && !pod.gateway
			if selector.Matches(pod.labels) != want {
				report("%s: wrongly selects or omits %s", id(one), pod.name)
			}
		}
		if !slices.Contains(one.Spec.PolicyTypes, networkingv1.PolicyTypeEgress) {
			report("%s: does not limit egress", id(one))
		}
		for _, rule := range one.Spec.Egress {
			if len(rule.To) == 0 {
				report("%s: a rule for any destination", id(one))
			}
			var ports []string
			for _, port := range rule.Ports {
				ports = append(ports, fmt.Sprintf("%s %s", *port.Protocol, port.Port))
			}
			for _, peer := range rule.To {
				way := fmt.Sprint(metav1.FormatLabelSelector(peer.NamespaceSelector), ", ", metav1.FormatLabelSelector(peer.PodSelector), ports)
				local := peer.IPBlock == nil && peer.NamespaceSelector == nil
				if !local && !slices.Contains(allowed, way) {
					report("%s: lets pods leave to %s", id(one), way)
				}
			}
		}
	}
}

// deployments returns the Deployments other than Bookinfo's own.
func deployments(from cluster) []*appsv1.Deployment {
	return slices.DeleteFunc(all[*appsv1.Deployment](from), func(one *appsv1.Deployment) bool { return one.Name == "details-v1" })
}

// checkPods applies restricted Pod Security. It also reports pods that
// OpenShift refuses, because it assigns users and groups itself, and pods that
// need IPv4.
func checkPods(from cluster, report reporter) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		report("%v", err)
		return
	}
	restricted := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}

	for _, deployment := range deployments(from) {
		template, pod := deployment.Spec.Template, deployment.Spec.Template.Spec
		name := id(deployment)

		if result := policy.AggregateCheckResults(evaluator.EvaluatePod(restricted, &template.ObjectMeta, &pod)); !result.Allowed {
			report("%s: restricted Pod Security forbids %s", name, result.ForbiddenDetail())
		}
		context := ptr.Deref(pod.SecurityContext, corev1.PodSecurityContext{})
		if context.RunAsUser != nil || context.RunAsGroup != nil || context.FSGroup != nil {
			report("%s: sets a user or a group", name)
		}
		isIPv6 := func(one corev1.HostAlias) bool { return strings.Contains(one.IP, ":") }
		if len(pod.HostAliases) > 0 && !slices.ContainsFunc(pod.HostAliases, isIPv6) {
			report("%s: %s has no IPv6 address", name, pod.HostAliases[0].Hostnames[0])
		}
	}
}

// checkBlocked reports plain HTTP that nothing blocks if there is no mode.
func checkBlocked(from cluster, report reporter) {
	addresses := []string{"192.0.2.1", "2001:db8::1"} // nobody owns them: RFC 5737 and RFC 3849
	hosts := fmt.Sprintf("127.0.0.1 localhost\n::1 localhost\n%s www.googleapis.com\n%s www.googleapis.com\n", addresses[0], addresses[1])
	for _, deployment := range deployments(from) {
		pod := deployment.Spec.Template.Spec
		details := pod.Containers[0]
		if !slices.Contains(details.Env, corev1.EnvVar{Name: "DO_NOT_ENCRYPT", Value: "true"}) {
			continue
		}
		if len(all[*istionetworking.Sidecar](from))+len(all[*networkingv1.NetworkPolicy](from)) == 0 {
			report("%s: without a mode, plain HTTP would leave", id(deployment))
		}
		mount := corev1.VolumeMount{Name: "hosts", MountPath: "/etc/hosts", SubPath: "hosts", ReadOnly: true}
		volume := corev1.Volume{Name: "hosts"}
		volume.ConfigMap = &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "details-v2-hosts"}}
		isMount := func(one corev1.VolumeMount) bool { return reflect.DeepEqual(one, mount) }
		isFile := func(one *corev1.ConfigMap) bool { return one.Name == "details-v2-hosts" && one.Data["hosts"] == hosts }
		isVolume := func(one corev1.Volume) bool { return reflect.DeepEqual(one, volume) }
		if !slices.ContainsFunc(details.VolumeMounts, isMount) || !slices.ContainsFunc(pod.Volumes, isVolume) ||
			!slices.ContainsFunc(all[*corev1.ConfigMap](from), isFile) {
			report("%s: plain HTTP would leave while the pod terminates", id(deployment))
		}
		for _, entry := range all[*istionetworking.ServiceEntry](from) {
			if entry.Namespace != metav1.NamespaceDefault && !slices.Equal(entry.Spec.GetAddresses(), addresses[:1]) {
				report("%s: ztunnel does not know %s", id(entry), addresses[0])
			}
		}
	}
}

// checkProxies reports proxies that would tell Google about the cluster, or end
// before the service.
func checkProxies(from cluster, report reporter) {
	for _, deployment := range deployments(from) {
		pod := deployment.Spec.Template
		if pod.Labels[label.SidecarInject.Name] == "false" {
			continue
		}
		var config mesh.ProxyConfig
		unmarshal(pod.Annotations[annotation.ProxyConfig.Name], &config, deployment, report)
		headers := config.GetProxyHeaders()
		if headers.GetMetadataExchangeHeaders().GetMode() != mesh.ProxyConfig_ProxyHeaders_IN_MESH {
			report("%s: the sidecar sends the names and labels of the pod to Google", id(deployment))
		}
		if !headers.GetAttemptCount().GetDisabled().GetValue() {
			report("%s: the sidecar sends x-envoy-attempt-count to Google", id(deployment))
		}
		if config.GetTerminationDrainDuration().AsDuration() < 16*time.Second { // preStop and the service's own shutdown
			report("%s: the sidecar ends before the service", id(deployment))
		}
	}

	for _, route := range all[*gateway.HTTPRoute](from) {
		for _, rule := range route.Spec.Rules {
			if !slices.ContainsFunc(rule.BackendRefs, isHostname) {
				continue
			}
			var removed []string
			for _, filter := range rule.Filters {
				removed = append(removed, ptr.Deref(filter.RequestHeaderModifier, gateway.HTTPHeaderFilter{}).Remove...)
			}
			for _, header := range []string{"x-forwarded-for", "x-forwarded-client-cert", "x-envoy-peer-metadata", "x-envoy-peer-metadata-id"} {
				if !slices.Contains(removed, header) {
					report("%s: the gateway sends %s to Google", id(route), header)
				}
			}
		}
	}
}
