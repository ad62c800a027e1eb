package manifests

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"istio.io/api/annotation"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

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
