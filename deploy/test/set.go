package manifests

import (
	"cmp"
	"encoding/json"
	"fmt"

	networking "istio.io/api/networking/v1"
	security "istio.io/api/security/v1"
	telemetry "istio.io/api/telemetry/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
)

// defaultNamespace is where objects go that name no namespace.
const defaultNamespace = "default"

// resource is an object of Istio's, whose API module has the specs only.
type resource[T any] struct {
	ID        string
	Namespace string
	Name      string
	Labels    map[string]string
	Spec      T
}

// set is what one namespace of a cluster would hold once all its objects are applied, each in its own type.
type set struct {
	objects []*unstructured.Unstructured

	namespaces  []*corev1.Namespace
	services    []*corev1.Service
	deployments []*appsv1.Deployment
	autoscalers []*autoscalingv2.HorizontalPodAutoscaler
	budgets     []*policyv1.PodDisruptionBudget
	gateways    []*gateway.Gateway
	httpRoutes  []*gateway.HTTPRoute

	serviceEntries   []resource[*networking.ServiceEntry]
	virtualServices  []resource[*networking.VirtualService]
	destinationRules []resource[*networking.DestinationRule]
	sidecars         []resource[*networking.Sidecar]
	policies         []resource[*security.AuthorizationPolicy]
	telemetries      []resource[*telemetry.Telemetry]
}

// newSet decodes the objects. A kind it does not know is an error: nothing goes unchecked.
func newSet(objects []*unstructured.Unstructured) (*set, error) {
	s := &set{objects: objects}

	var found problems

	for _, object := range objects {
		found.add(within(ID(object), s.put(object)))
	}

	return s, found.err()
}

func (s *set) put(object *unstructured.Unstructured) error {
	switch kind := object.GetKind(); kind {
	case "Namespace":
		return decode(object, &s.namespaces)
	case "Service":
		return decode(object, &s.services)
	case "Deployment":
		return decode(object, &s.deployments)
	case "HorizontalPodAutoscaler":
		return decode(object, &s.autoscalers)
	case "PodDisruptionBudget":
		return decode(object, &s.budgets)
	case "Gateway":
		return decode(object, &s.gateways)
	case "HTTPRoute":
		return decode(object, &s.httpRoutes)
	case "ServiceEntry":
		return decodeSpec(object, &s.serviceEntries)
	case "VirtualService":
		return decodeSpec(object, &s.virtualServices)
	case "DestinationRule":
		return decodeSpec(object, &s.destinationRules)
	case "Sidecar":
		return decodeSpec(object, &s.sidecars)
	case "AuthorizationPolicy":
		return decodeSpec(object, &s.policies)
	case "Telemetry":
		return decodeSpec(object, &s.telemetries)
	default:
		return fmt.Errorf("no check knows the kind %s", kind)
	}
}

// decode appends the object to the list of its type.
func decode[T any](object *unstructured.Unstructured, list *[]*T) error {
	text, err := object.MarshalJSON()
	if err != nil {
		return err
	}

	typed := new(T)
	if err := json.Unmarshal(text, typed); err != nil {
		return err
	}

	*list = append(*list, typed)

	return nil
}

// decodeSpec appends the object's spec to the list of its type.
func decodeSpec[T any](object *unstructured.Unstructured, list *[]resource[*T]) error {
	text, err := json.Marshal(object.Object["spec"])
	if err != nil {
		return err
	}

	spec := new(T)
	if err := json.Unmarshal(text, spec); err != nil {
		return err
	}

	*list = append(*list, resource[*T]{
		ID:        ID(object),
		Namespace: namespaceOf(object.GetNamespace()),
		Name:      object.GetName(),
		Labels:    object.GetLabels(),
		Spec:      spec,
	})

	return nil
}

func namespaceOf(name string) string { return cmp.Or(name, defaultNamespace) }
