package manifests

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"istio.io/api/annotation"
	"istio.io/api/label"
	networking "istio.io/api/networking/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// CheckRelations returns an error for everything in the objects that names something which is not among them: a label,
// a port, a host, a subset, an object. The objects are what one cluster would hold.
func CheckRelations(objects []*unstructured.Unstructured) error {
	s, err := newSet(objects)
	if err != nil {
		return err
	}

	var found problems

	s.checkNames(&found)
	s.checkDeployments(&found)
	s.checkSelectors(&found)
	s.checkServices(&found)
	s.checkServiceEntries(&found)
	s.checkVirtualServices(&found)
	s.checkDestinationRules(&found)
	s.checkSidecars(&found)
	s.checkGatewayAPI(&found)
	s.checkTargets(&found)

	return found.err()
}

// checkNames looks at what every object has: its name, its namespace, and Istio's own labels and annotations.
func (s *set) checkNames(found *problems) {
	var known, namespaces []string

	for _, one := range label.AllResourceLabels() {
		known = append(known, one.Name)
	}

	for _, one := range annotation.AllResourceAnnotations() {
		known = append(known, one.Name)
	}

	for _, namespace := range s.namespaces {
		namespaces = append(namespaces, namespace.Name)
	}

	seen := map[string]bool{}

	for _, object := range s.objects {
		id := ID(object)
		if seen[id] {
			found.addf("%s: is there twice", id)
		}

		seen[id] = true

		if object.GetKind() != "Namespace" && !slices.Contains(namespaces, namespaceOf(object.GetNamespace())) {
			found.addf("%s: no such namespace", id)
		}

		template, _, _ := unstructured.NestedMap(object.Object, "spec", "template")
		pod := unstructured.Unstructured{Object: template}

		for _, keys := range []map[string]string{object.GetLabels(), object.GetAnnotations(), pod.GetLabels(), pod.GetAnnotations()} {
			for key := range maps.Keys(keys) {
				domain, _, _ := strings.Cut(key, "/")
				if strings.HasSuffix(domain, "istio.io") && !slices.Contains(known, key) {
					found.addf("%s: Istio knows no label or annotation %s", id, key)
				}
			}
		}
	}
}

// checkDeployments looks at what a pod names inside itself.
func (s *set) checkDeployments(found *problems) {
	for _, deployment := range s.deployments {
		id := "Deployment " + deployment.Name
		template := deployment.Spec.Template

		if !selects(deployment.Spec.Selector, template.Labels) {
			found.addf("%s: the selector does not match the pod's labels", id)
		}

		var volumes []string
		for _, volume := range template.Spec.Volumes {
			volumes = append(volumes, volume.Name)
		}

		if mounts, err := sidecarMounts(deployment); err != nil {
			found.addf("%s: %w", id, err)
		} else {
			for volume := range maps.Keys(mounts) {
				if !slices.Contains(volumes, volume) {
					found.addf("%s: the sidecar mounts %s, which is no volume of the pod", id, volume)
				}
			}
		}

		for _, container := range template.Spec.Containers {
			for _, mount := range container.VolumeMounts {
				if !slices.Contains(volumes, mount.Name) {
					found.addf("%s: container %s mounts %s, which is no volume of the pod", id, container.Name, mount.Name)
				}
			}

			for _, probe := range []*corev1.Probe{container.ReadinessProbe, container.LivenessProbe} {
				if probe != nil && probe.HTTPGet != nil && !offers(container, probe.HTTPGet.Port) {
					found.addf("%s: container %s is probed on port %s, which it does not name", id, container.Name, probe.HTTPGet.Port.String())
				}
			}
		}

		if scraped := template.Annotations["prometheus.io/port"]; scraped != "" && !podOffers(deployment, intstr.Parse(scraped)) {
			found.addf("%s: no container has the scraped port %s", id, scraped)
		}
	}
}

// checkSelectors looks at what chooses pods or a workload, other than Services.
func (s *set) checkSelectors(found *problems) {
	for _, budget := range s.budgets {
		if !s.anyPod(budget.Namespace, func(pod map[string]string) bool { return selects(budget.Spec.Selector, pod) }) {
			found.addf("PodDisruptionBudget %s: selects no pod", budget.Name)
		}
	}

	for _, scaler := range s.autoscalers {
		target := slices.IndexFunc(s.deployments, func(deployment *appsv1.Deployment) bool {
			return scaler.Spec.ScaleTargetRef.Kind == "Deployment" && deployment.Name == scaler.Spec.ScaleTargetRef.Name &&
				namespaceOf(deployment.Namespace) == namespaceOf(scaler.Namespace)
		})
		if target < 0 {
			found.addf("HorizontalPodAutoscaler %s: no such Deployment", scaler.Name)

			continue
		}

		for _, metric := range scaler.Spec.Metrics {
			if metric.ContainerResource == nil {
				continue
			}

			if !slices.ContainsFunc(s.deployments[target].Spec.Template.Spec.Containers, func(container corev1.Container) bool {
				_, requested := container.Resources.Requests[metric.ContainerResource.Name]

				return container.Name == metric.ContainerResource.Container && requested
			}) {
				found.addf("HorizontalPodAutoscaler %s: no container %s that requests %s",
					scaler.Name, metric.ContainerResource.Container, metric.ContainerResource.Name)
			}
		}
	}

	for _, log := range s.telemetries {
		if selector := log.Spec.GetSelector().GetMatchLabels(); len(selector) > 0 && !s.anyPod(log.Namespace, matches(selector)) {
			found.addf("%s: selects no pod", log.ID)
		}
	}
}

// checkServices looks for the pods behind each Service, and for their ports.
func (s *set) checkServices(found *problems) {
	for _, service := range s.services {
		var behind []*appsv1.Deployment

		for _, deployment := range s.deployments {
			if namespaceOf(deployment.Namespace) == namespaceOf(service.Namespace) &&
				matches(service.Spec.Selector)(deployment.Spec.Template.Labels) {
				behind = append(behind, deployment)
			}
		}

		if len(behind) == 0 {
			found.addf("Service %s: selects no pod", service.Name)
		}

		for _, port := range service.Spec.Ports {
			target := port.TargetPort
			if target == (intstr.IntOrString{}) {
				target = intstr.FromInt32(port.Port)
			}

			for _, deployment := range behind {
				if !podOffers(deployment, target) {
					found.addf("Service %s: Deployment %s has no port %s", service.Name, deployment.Name, target.String())
				}
			}
		}
	}
}

// checkServiceEntries looks at the way to each host outside: an endpoint has to be there, and plain HTTP has to be
// encrypted before it leaves.
func (s *set) checkServiceEntries(found *problems) {
	for _, entry := range s.serviceEntries {
		for _, endpoint := range entry.Spec.GetEndpoints() {
			ports, ok := s.ports(defaultNamespace, endpoint.GetAddress())
			if !ok {
				found.addf("%s: no Service behind the endpoint %s", entry.ID, endpoint.GetAddress())
			}

			for name, port := range endpoint.GetPorts() {
				if ok && !slices.Contains(ports, port) {
					found.addf("%s: the endpoint %s has no port %d", entry.ID, endpoint.GetAddress(), port)
				}

				if !slices.ContainsFunc(entry.Spec.GetPorts(), func(own *networking.ServicePort) bool { return own.GetName() == name }) {
					found.addf("%s: the endpoint's port %s is none of its own", entry.ID, name)
				}
			}
		}

		for _, host := range entry.Spec.GetHosts() {
			for _, port := range entry.Spec.GetPorts() {
				if port.GetProtocol() == "HTTP" {
					found.add(within(entry.ID, s.checkWayOut(entry, host, port.GetNumber())))
				}
			}
		}
	}
}

// checkWayOut follows plain HTTP to the host and port: some route has to forbid retries, and wherever a route leads,
// a rule has to originate TLS.
func (s *set) checkWayOut(entry resource[*networking.ServiceEntry], host string, port uint32) error {
	var (
		found problems
		leads []uint32
	)

	for _, service := range s.virtualServices {
		if !slices.Contains(service.Spec.GetHosts(), host) {
			continue
		}

		for _, route := range service.Spec.GetHttp() {
			if route.GetDirectResponse() != nil {
				continue
			}

			if route.GetRetries() == nil || route.GetRetries().GetAttempts() != 0 {
				found.addf("%s retries calls to %s, on top of the service's own tries", service.ID, host)
			}

			for _, match := range route.GetMatch() {
				if match.GetPort() != 0 && match.GetPort() != port {
					continue
				}

				for _, way := range route.GetRoute() {
					leads = append(leads, way.GetDestination().GetPort().GetNumber())
				}
			}
		}
	}

	if len(leads) == 0 {
		found.addf("no VirtualService routes port %d of %s: the proxy would retry", port, host)
	}

	for _, lead := range leads {
		if !slices.ContainsFunc(s.destinationRules, func(rule resource[*networking.DestinationRule]) bool {
			return rule.Namespace == entry.Namespace && rule.Spec.GetHost() == host && slices.Contains(encrypts(rule.Spec), lead)
		}) {
			found.addf("port %d of %s: plain HTTP would leave through port %d, since no DestinationRule originates TLS there", port, host, lead)
		}
	}

	return found.err()
}

// checkVirtualServices looks for the hosts, ports and subsets that routes name.
func (s *set) checkVirtualServices(found *problems) {
	owners := map[string]string{}

	for _, service := range s.virtualServices {
		for _, host := range service.Spec.GetHosts() {
			if other, ok := owners[host]; ok {
				found.addf("%s: %s has the host %s too (IST0109)", service.ID, other, host)
			}

			owners[host] = service.ID

			if _, ok := s.ports(service.Namespace, host); !ok {
				found.addf("%s: nothing has the host %s", service.ID, host)
			}
		}

		var (
			destinations []*networking.Destination
			matched      []uint32
		)

		for _, route := range service.Spec.GetHttp() {
			for _, way := range route.GetRoute() {
				destinations = append(destinations, way.GetDestination())
			}

			for _, match := range route.GetMatch() {
				matched = append(matched, match.GetPort())
			}
		}

		for _, route := range service.Spec.GetTls() {
			for _, way := range route.GetRoute() {
				destinations = append(destinations, way.GetDestination())
			}

			for _, match := range route.GetMatch() {
				matched = append(matched, match.GetPort())

				for _, sni := range match.GetSniHosts() {
					if !slices.Contains(service.Spec.GetHosts(), sni) {
						found.addf("%s: the SNI %s is none of its hosts", service.ID, sni)
					}
				}
			}
		}

		for _, host := range service.Spec.GetHosts() {
			for _, port := range matched {
				if ports, _ := s.ports(service.Namespace, host); port != 0 && !slices.Contains(ports, port) {
					found.addf("%s: %s has no port %d", service.ID, host, port)
				}
			}
		}

		for _, destination := range destinations {
			found.add(within(service.ID, s.checkDestination(service.Namespace, destination)))
		}
	}
}

func (s *set) checkDestination(namespace string, destination *networking.Destination) error {
	var found problems

	host, port, subset := destination.GetHost(), destination.GetPort().GetNumber(), destination.GetSubset()

	ports, ok := s.ports(namespace, host)
	if !ok {
		found.addf("nothing has the host %s", host)
	}

	if ok && port != 0 && !slices.Contains(ports, port) {
		found.addf("%s has no port %d", host, port)
	}

	if subset == "" {
		return found.err()
	}

	for _, rule := range s.destinationRules {
		if rule.Namespace != namespace || rule.Spec.GetHost() != host {
			continue
		}

		for _, one := range rule.Spec.GetSubsets() {
			if one.GetName() == subset && s.anyPod(namespace, matches(one.GetLabels())) {
				return found.err()
			}
		}
	}

	found.addf("no DestinationRule gives %s a subset %s that has pods (IST0101)", host, subset)

	return found.err()
}

// checkDestinationRules looks for the hosts and ports of rules. A rule that originates TLS has to say whom to trust, and
// for which name, and that has to be the name asked for.
func (s *set) checkDestinationRules(found *problems) {
	for _, rule := range s.destinationRules {
		host := rule.Spec.GetHost()

		ports, ok := s.ports(rule.Namespace, host)
		if !ok {
			found.addf("%s: nothing has the host %s", rule.ID, host)
		}

		for _, settings := range rule.Spec.GetTrafficPolicy().GetPortLevelSettings() {
			if port := settings.GetPort().GetNumber(); ok && !slices.Contains(ports, port) {
				found.addf("%s: %s has no port %d", rule.ID, host, port)
			}

			if tls := settings.GetTls(); tls != nil {
				found.add(within(rule.ID, s.checkOrigination(host, tls)))
			}
		}
	}
}

func (s *set) checkOrigination(host string, tls *networking.ClientTLSSettings) error {
	var found problems

	if tls.GetMode() != networking.ClientTLSSettings_SIMPLE {
		found.addf("TLS of mode %s", tls.GetMode())
	}

	if tls.GetInsecureSkipVerify().GetValue() {
		found.addf("the certificate of %s is not checked", host)
	}

	if tls.GetSni() != host || !slices.Equal(tls.GetSubjectAltNames(), []string{host}) {
		found.addf("the name in the certificate of %s is not checked: sni %q, subjectAltNames %q", host, tls.GetSni(), tls.GetSubjectAltNames())
	}

	switch file := tls.GetCaCertificates(); file {
	case "":
		found.addf("no caCertificates (IST0129)")
	case "system":
	default:
		if !slices.ContainsFunc(s.deployments, func(deployment *appsv1.Deployment) bool {
			mounts, err := sidecarMounts(deployment)

			return err == nil && slices.Contains(slices.Collect(maps.Values(mounts)), path.Dir(file))
		}) {
			found.addf("no sidecar has the file %s", file)
		}
	}

	return found.err()
}

// checkSidecars looks for the workload and the hosts of Sidecar resources.
func (s *set) checkSidecars(found *problems) {
	for _, sidecar := range s.sidecars {
		if !s.anyPod(sidecar.Namespace, matches(sidecar.Spec.GetWorkloadSelector().GetLabels())) {
			found.addf("%s: selects no pod", sidecar.ID)
		}

		for _, egress := range sidecar.Spec.GetEgress() {
			for _, host := range egress.GetHosts() {
				name, local := strings.CutPrefix(host, "./")
				if _, ok := s.ports(sidecar.Namespace, name); !local || !ok {
					found.addf("%s: this namespace has no host %s", sidecar.ID, host)
				}
			}
		}
	}
}

// checkGatewayAPI looks for the Services of routes, and for the waypoint of a namespace.
func (s *set) checkGatewayAPI(found *problems) {
	for _, route := range s.httpRoutes {
		id := "HTTPRoute " + route.Name
		namespace := namespaceOf(route.Namespace)

		for _, parent := range route.Spec.ParentRefs {
			if ports, ok := s.ports(namespace, string(parent.Name)); !ok || parent.Port == nil || !slices.Contains(ports, uint32(*parent.Port)) {
				found.addf("%s: no parent Service %s with that port", id, parent.Name)
			}

			if slices.ContainsFunc(s.virtualServices, func(service resource[*networking.VirtualService]) bool {
				return slices.Contains(service.Spec.GetHosts(), string(parent.Name))
			}) {
				found.addf("%s: a VirtualService routes %s too", id, parent.Name)
			}
		}

		for _, rule := range route.Spec.Rules {
			for _, backend := range rule.BackendRefs {
				if ports, ok := s.ports(namespace, string(backend.Name)); !ok || backend.Port == nil || !slices.Contains(ports, uint32(*backend.Port)) {
					found.addf("%s: no backend Service %s with that port", id, backend.Name)
				}
			}
		}
	}

	for _, namespace := range s.namespaces {
		if waypoint := namespace.Labels[label.IoIstioUseWaypoint.Name]; waypoint != "" && !s.has("Gateway", namespace.Name, waypoint) {
			found.addf("Namespace %s: no waypoint %s", namespace.Name, waypoint)
		}
	}
}

// checkTargets looks for the objects that policies attach to.
func (s *set) checkTargets(found *problems) {
	for _, policy := range s.policies {
		if len(policy.Spec.GetTargetRefs()) == 0 {
			found.addf("%s: attached to nothing, it would hold for every pod of the namespace", policy.ID)
		}

		for _, target := range policy.Spec.GetTargetRefs() {
			if !s.has(target.GetKind(), policy.Namespace, target.GetName()) {
				found.addf("%s: no %s %s", policy.ID, target.GetKind(), target.GetName())
			}
		}
	}

	for _, log := range s.telemetries {
		for _, target := range log.Spec.GetTargetRefs() {
			if !s.has(target.GetKind(), log.Namespace, target.GetName()) {
				found.addf("%s: no %s %s", log.ID, target.GetKind(), target.GetName())
			}
		}
	}
}

// ports returns the ports of a host as seen from the namespace: of a ServiceEntry there or exported to it, or of a
// Service by its short or its full name.
func (s *set) ports(namespace, host string) ([]uint32, bool) {
	for _, entry := range s.serviceEntries {
		seen := entry.Namespace == namespace || !slices.Contains(entry.Spec.GetExportTo(), ".")
		if !seen || !slices.Contains(entry.Spec.GetHosts(), host) {
			continue
		}

		var ports []uint32
		for _, port := range entry.Spec.GetPorts() {
			ports = append(ports, port.GetNumber())
		}

		return ports, true
	}

	for _, service := range s.services {
		home := namespaceOf(service.Namespace)
		if host != fmt.Sprintf("%s.%s.svc.cluster.local", service.Name, home) && (host != service.Name || home != namespace) {
			continue
		}

		var ports []uint32
		for _, port := range service.Spec.Ports {
			ports = append(ports, uint32(port.Port))
		}

		return ports, true
	}

	return nil, false
}

// has says whether the set holds the object.
func (s *set) has(kind, namespace, name string) bool {
	return slices.ContainsFunc(s.objects, func(object *unstructured.Unstructured) bool {
		return object.GetKind() == kind && namespaceOf(object.GetNamespace()) == namespace && object.GetName() == name
	})
}

// anyPod says whether some Deployment of the namespace makes pods with labels that suit.
func (s *set) anyPod(namespace string, suits func(map[string]string) bool) bool {
	return slices.ContainsFunc(s.deployments, func(deployment *appsv1.Deployment) bool {
		return namespaceOf(deployment.Namespace) == namespaceOf(namespace) && suits(deployment.Spec.Template.Labels)
	})
}

// matches returns a test for labels that hold all of those given. No labels match nothing.
func matches(wanted map[string]string) func(map[string]string) bool {
	return func(have map[string]string) bool {
		return len(wanted) > 0 && labels.SelectorFromSet(wanted).Matches(labels.Set(have))
	}
}

func selects(selector *metav1.LabelSelector, have map[string]string) bool {
	parsed, err := metav1.LabelSelectorAsSelector(selector)

	return err == nil && !parsed.Empty() && parsed.Matches(labels.Set(have))
}

// offers says whether the container names the port, by name or by number.
func offers(container corev1.Container, port intstr.IntOrString) bool {
	return slices.ContainsFunc(container.Ports, func(own corev1.ContainerPort) bool {
		return own.Name == port.String() || strconv.Itoa(int(own.ContainerPort)) == port.String()
	})
}

func podOffers(deployment *appsv1.Deployment, port intstr.IntOrString) bool {
	return slices.ContainsFunc(deployment.Spec.Template.Spec.Containers, func(container corev1.Container) bool {
		return offers(container, port)
	})
}

// sidecarMounts returns where the pod's volumes are mounted into the injected sidecar, by the volume's name. The
// injection template ranges over a JSON object whose keys are those names.
func sidecarMounts(deployment *appsv1.Deployment) (map[string]string, error) {
	text := deployment.Spec.Template.Annotations[annotation.SidecarUserVolumeMount.Name]
	if text == "" {
		return map[string]string{}, nil
	}

	var mounts map[string]corev1.VolumeMount
	if err := json.Unmarshal([]byte(text), &mounts); err != nil {
		return nil, fmt.Errorf("%s: %w", annotation.SidecarUserVolumeMount.Name, err)
	}

	paths := map[string]string{}
	for volume, mount := range mounts {
		paths[volume] = mount.MountPath
	}

	return paths, nil
}

// encrypts returns the ports on which the rule originates TLS.
func encrypts(rule *networking.DestinationRule) []uint32 {
	var ports []uint32

	for _, settings := range rule.GetTrafficPolicy().GetPortLevelSettings() {
		if settings.GetTls().GetMode() == networking.ClientTLSSettings_SIMPLE {
			ports = append(ports, settings.GetPort().GetNumber())
		}
	}

	return ports
}
