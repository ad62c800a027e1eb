package manifests_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	istionetworking "istio.io/client-go/pkg/apis/networking/v1"
	istiosecurity "istio.io/client-go/pkg/apis/security/v1"
	istiotelemetry "istio.io/client-go/pkg/apis/telemetry/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
)

// object is any Kubernetes object as a typed value.
type object interface {
	metav1.Object
	runtime.Object
}

// cluster is the objects that a cluster holds.
type cluster []object

// all returns the objects of one type.
func all[T object](from cluster) []T {
	var found []T
	for _, one := range from {
		if typed, ok := one.(T); ok {
			found = append(found, typed)
		}
	}
	return found
}

func id(one object) string {
	return one.GetObjectKind().GroupVersionKind().Kind + " " + one.GetName()
}

// apiServer decodes objects as an API server with the custom resources of
// Istio and of Gateway API does. kubectl-validate would do the same, but its
// last release, v0.0.4, does not compile with today's Kubernetes modules.
type apiServer struct {
	decoder    runtime.Decoder
	validators map[schema.GroupVersionKind]func() (validator, error)
}

// validator returns what is wrong with an object, and sets its defaults.
type validator func(ctx context.Context, content map[string]any) error

func newAPIServer(t *testing.T) *apiServer {
	t.Helper()

	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		appsv1.AddToScheme, autoscalingv2.AddToScheme, corev1.AddToScheme, networkingv1.AddToScheme, policyv1.AddToScheme,
		gateway.Install, istionetworking.AddToScheme, istiosecurity.AddToScheme, istiotelemetry.AddToScheme,
	} {
		require.NoError(t, add(scheme))
	}
	api := &apiServer{
		decoder:    serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer(),
		validators: map[schema.GroupVersionKind]func() (validator, error){},
	}

	// The modules that publish the definitions, in the versions of go.mod.
	modules := strings.Fields(run(t, "go", "-C", "deploy/test", "list", "-m", "-f", "{{.Dir}}", "istio.io/api", "sigs.k8s.io/gateway-api"))
	gatewayAPI := filepath.Join(modules[1], "config", "crd", "standard", "gateway.networking.k8s.io_")
	for _, file := range []string{
		filepath.Join(modules[0], "kubernetes", "customresourcedefinitions.gen.yaml"),
		gatewayAPI + "gateways.yaml",
		gatewayAPI + "httproutes.yaml",
	} {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		definitions, err := parse(content)
		require.NoError(t, err)

		for _, one := range definitions {
			var definition apiextensionsv1.CustomResourceDefinition
			require.NoError(t, runtime.DefaultUnstructuredConverter.FromUnstructured(one.Object, &definition))
			spec := definition.Spec
			for _, version := range spec.Versions {
				kind := schema.GroupVersionKind{Group: spec.Group, Version: version.Name, Kind: spec.Names.Kind}
				// Compiling CEL rules takes long: only the schemas in use are compiled.
				api.validators[kind] = sync.OnceValues(func() (validator, error) { return newValidator(version.Schema) })
			}
		}
	}
	return api
}

// newValidator compiles a schema.
func newValidator(definition *apiextensionsv1.CustomResourceValidation) (validator, error) {
	internal := &apiextensions.CustomResourceValidation{}
	err := apiextensionsv1.Convert_v1_CustomResourceValidation_To_apiextensions_CustomResourceValidation(definition, internal, nil)
	if err != nil {
		return nil, err
	}
	structural, err := structuralschema.NewStructural(internal.OpenAPIV3Schema)
	if err != nil {
		return nil, err
	}
	openAPI, _, err := validation.NewSchemaValidator(internal.OpenAPIV3Schema)
	if err != nil {
		return nil, err
	}
	rules := cel.NewValidator(structural, true, celconfig.PerCallLimit)
	track := structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}

	return func(ctx context.Context, content map[string]any) error {
		var failures field.ErrorList
		for _, unknown := range pruning.PruneWithOptions(content, structural, true, track) {
			failures = append(failures, field.Forbidden(field.NewPath(unknown), "unknown field"))
		}
		defaulting.Default(content, structural)
		failures = append(failures, validation.ValidateCustomResource(nil, content, openAPI)...)
		broken, _ := rules.Validate(ctx, nil, structural, content, nil, celconfig.RuntimeCELCostBudget)
		return append(failures, broken...).ToAggregate()
	}, nil
}

// decode returns an error for whatever an API server would refuse, and for
// unknown fields, which it would drop.
func (s *apiServer) decode(ctx context.Context, raw *unstructured.Unstructured) (object, error) {
	if compile, ok := s.validators[raw.GroupVersionKind()]; ok {
		validate, err := compile()
		if err != nil {
			return nil, err
		}
		if err := validate(ctx, raw.DeepCopy().Object); err != nil {
			return nil, err
		}
	}

	text, err := raw.MarshalJSON()
	if err != nil {
		return nil, err
	}
	decoded, _, err := s.decoder.Decode(text, nil, nil)
	if err != nil {
		return nil, err
	}
	typed, ok := decoded.(object)
	if !ok {
		return nil, fmt.Errorf("%T has no metadata", decoded)
	}
	if _, ok := decoded.(*corev1.Namespace); !ok && typed.GetNamespace() == "" {
		typed.SetNamespace(metav1.NamespaceDefault)
	}
	return typed, nil
}
