package manifests

import (
	"path"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

// sidecarUser is the user the injected proxy runs as, whose traffic is never captured.
const sidecarUser = 1337

// CheckPods returns an error for every Deployment whose pods restricted Pod Security would refuse, and for what it does
// not ask of them but these manifests do.
func CheckPods(objects []*unstructured.Unstructured) error {
	s, err := newSet(objects)
	if err != nil {
		return err
	}

	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		return err
	}

	var found problems

	for _, deployment := range s.deployments {
		template := deployment.Spec.Template

		result := policy.AggregateCheckResults(evaluator.EvaluatePod(
			api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}, &template.ObjectMeta, &template.Spec))
		if !result.Allowed {
			found.addf("Deployment %s: restricted Pod Security forbids %s", deployment.Name, result.ForbiddenDetail())
		}

		found.add(within("Deployment "+deployment.Name, checkPod(deployment)))
	}

	return found.err()
}

func checkPod(deployment *appsv1.Deployment) error {
	var found problems

	pod := deployment.Spec.Template.Spec

	if pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
		found.addf("mounts a token it has no use for")
	}

	if pod.EnableServiceLinks == nil || *pod.EnableServiceLinks {
		found.addf("gets the environment variables of other Services")
	}

	if pod.SecurityContext == nil || pod.SecurityContext.RunAsUser == nil || *pod.SecurityContext.RunAsUser == sidecarUser {
		found.addf("says no user, or the sidecar's, whose traffic is never captured")
	}

	for _, container := range pod.Containers {
		found.add(within("container "+container.Name, checkContainer(container)))
	}

	return found.err()
}

func checkContainer(container corev1.Container) error {
	var found problems

	if context := container.SecurityContext; context == nil || context.ReadOnlyRootFilesystem == nil || !*context.ReadOnlyRootFilesystem {
		found.addf("the root file system can be written to")
	}

	if container.Resources.Requests.Cpu().IsZero() || container.Resources.Requests.Memory().IsZero() || container.Resources.Limits.Memory().IsZero() {
		found.addf("CPU and memory requests and a memory limit belong together")
	}

	if container.ReadinessProbe == nil || container.LivenessProbe == nil {
		found.addf("has no readiness or no liveness probe")
	}

	if repository, tag, ok := strings.Cut(path.Base(container.Image), ":"); !ok || tag == "latest" || strings.Contains(container.Image, "/") {
		found.addf("image %s: wanted is %s with a tag, and no registry", container.Image, repository)
	}

	if container.ImagePullPolicy != corev1.PullIfNotPresent {
		found.addf("image pull policy %q", container.ImagePullPolicy)
	}

	for _, mount := range container.VolumeMounts {
		if !mount.ReadOnly {
			found.addf("mount %s can be written to", mount.Name)
		}
	}

	return found.err()
}

// Environment returns what the named container sets its environment variables to. One that is set from elsewhere, such
// as a Secret, has no value.
func Environment(objects []*unstructured.Unstructured, container string) (map[string]string, error) {
	found, err := containers(objects, container)
	values := map[string]string{}

	for _, one := range found {
		for _, variable := range one.Env {
			values[variable.Name] = variable.Value
		}
	}

	return values, err
}

// Arguments returns the arguments of the named container.
func Arguments(objects []*unstructured.Unstructured, container string) ([]string, error) {
	found, err := containers(objects, container)

	var args []string
	for _, one := range found {
		args = append(args, one.Args...)
	}

	return args, err
}

// containers returns the Deployments' containers of that name.
func containers(objects []*unstructured.Unstructured, name string) ([]corev1.Container, error) {
	s, err := newSet(objects)
	if err != nil {
		return nil, err
	}

	var found []corev1.Container

	for _, deployment := range s.deployments {
		for _, container := range deployment.Spec.Template.Spec.Containers {
			if container.Name == name {
				found = append(found, container)
			}
		}
	}

	return found, nil
}
