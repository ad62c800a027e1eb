package manifests_test

import (
	"encoding/json"
	"maps"
	"slices"

	"istio.io/api/annotation"
	networking "istio.io/api/networking/v1"
	istionetworking "istio.io/client-go/pkg/apis/networking/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
)

// checkTwin reports where an offline folder differs from its original by more
// than the address and the CA of the stand-in.
func checkTwin(original, twin cluster, report reporter) {
	const standIn = "books-emulator.books-emulator.svc.cluster.local"
	for _, entry := range all[*istionetworking.ServiceEntry](twin) {
		ports := map[string]uint32{}
		for _, port := range entry.Spec.GetPorts() {
			ports[port.GetName()] = 8443
		}
		endpoints := entry.Spec.GetEndpoints()
		if len(endpoints) != 1 || endpoints[0].GetAddress() != standIn || !maps.Equal(endpoints[0].GetPorts(), ports) {
			report("%s: does not lead to the stand-in", id(entry))
		}
	}

	want, got := withoutStandIn(original, report), withoutStandIn(twin, report)
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if got[name] != want[name] {
			report("%s differs from its original:\n%s\n%s", name, want[name], got[name])
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			report("%s is not in the original", name)
		}
	}
}

// withoutStandIn returns the objects as JSON. It removes what an offline folder
// may change or add.
func withoutStandIn(from cluster, report reporter) map[string]string {
	texts := map[string]string{}
	for _, one := range from {
		switch one := one.(type) {
		case *corev1.ConfigMap:
			continue
		case *istionetworking.ServiceEntry:
			one.Spec.Endpoints, one.Labels = nil, nil
		case *istionetworking.DestinationRule:
			delete(one.Annotations, annotation.GalleyAnalyzeSuppress.Name)
			one.Spec.ExportTo, one.Spec.WorkloadSelector = nil, nil
			for _, tls := range tlsSettings(one) {
				if tls.GetMode() == networking.ClientTLSSettings_SIMPLE {
					tls.CaCertificates, tls.CredentialName = "", ""
				}
			}
		case *gateway.Gateway:
			one.Spec.Infrastructure = nil
		case *appsv1.Deployment:
			pod := &one.Spec.Template
			delete(pod.Annotations, annotation.SidecarUserVolumeMount.Name)
			pod.Spec.HostAliases = nil
			pod.Spec.Volumes = slices.DeleteFunc(pod.Spec.Volumes, func(one corev1.Volume) bool { return one.Name == "books-emulator-ca" })
			details := &pod.Spec.Containers[0]
			details.VolumeMounts = slices.DeleteFunc(details.VolumeMounts, func(one corev1.VolumeMount) bool { return one.Name == "books-emulator-ca" })
			details.Env = slices.DeleteFunc(details.Env, func(one corev1.EnvVar) bool { return one.Name == "GOOGLE_BOOKS_CA_FILE" })
		}
		if len(one.GetAnnotations()) == 0 {
			one.SetAnnotations(nil)
		}
		text, err := json.Marshal(one)
		if err != nil {
			report("%s: %v", id(one), err)
		}
		texts[id(one)] = string(text)
	}
	return texts
}
