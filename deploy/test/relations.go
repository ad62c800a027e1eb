package manifests

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"istio.io/api/annotation"
	"istio.io/api/label"
	networking "istio.io/api/networking/v1"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
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
