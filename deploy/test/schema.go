package manifests

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	celconfig "k8s.io/apiserver/pkg/apis/cel"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
)

// Schemas says what an API server with Istio's and Gateway API's definitions would take.
// It is safe for use by several goroutines.
type Schemas struct {
	builtin     runtime.Decoder
	definitions map[schema.GroupVersionKind]*apiextensionsv1.CustomResourceValidation

	mutex    sync.Mutex
	compiled map[schema.GroupVersionKind]*validator
}

// validator is one custom resource's schema, ready for use.
type validator struct {
	structural *structuralschema.Structural
	openAPI    validation.SchemaValidator
	rules      *cel.Validator
}

// LoadSchemas reads the definitions out of the modules that publish them, at the versions go.mod names.
func LoadSchemas(ctx context.Context) (*Schemas, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		appsv1.AddToScheme, autoscalingv2.AddToScheme, corev1.AddToScheme, policyv1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}

	schemas := &Schemas{
		builtin:     serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer(),
		definitions: map[schema.GroupVersionKind]*apiextensionsv1.CustomResourceValidation{},
		compiled:    map[schema.GroupVersionKind]*validator{},
	}

	for module, pattern := range map[string]string{
		"istio.io/api":            "kubernetes/customresourcedefinitions.gen.yaml",
		"sigs.k8s.io/gateway-api": "config/crd/standard/*.yaml",
	} {
		dir, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", module).Output()
		if err != nil {
			return nil, fmt.Errorf("go list -m %s: %w", module, err)
		}

		files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), filepath.FromSlash(pattern)))
		if err != nil || len(files) == 0 {
			return nil, fmt.Errorf("%s: no file %s: %w", module, pattern, err)
		}

		for _, file := range files {
			if err := schemas.read(file); err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
		}
	}

	return schemas, nil
}

// read adds the definitions of one file.
func (s *Schemas) read(file string) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}

	objects, err := Parse(content)
	if err != nil {
		return err
	}

	for _, object := range objects {
		if object.GetKind() != "CustomResourceDefinition" {
			continue
		}

		var definition apiextensionsv1.CustomResourceDefinition
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &definition); err != nil {
			return err
		}

		for _, version := range definition.Spec.Versions {
			if version.Served {
				kind := schema.GroupVersionKind{Group: definition.Spec.Group, Version: version.Name, Kind: definition.Spec.Names.Kind}
				s.definitions[kind] = version.Schema
			}
		}
	}

	return nil
}

// Check returns an error for everything about the object that an API server would refuse, and for fields that it would
// silently drop: those are misspelled.
func (s *Schemas) Check(ctx context.Context, object *unstructured.Unstructured) error {
	kind := object.GroupVersionKind()
	if _, ok := s.definitions[kind]; ok {
		return s.checkCustom(ctx, object)
	}

	text, err := object.MarshalJSON()
	if err != nil {
		return err
	}

	_, _, err = s.builtin.Decode(text, nil, nil)

	return err
}

// checkCustom does what an API server does with a custom resource, in its order.
func (s *Schemas) checkCustom(ctx context.Context, object *unstructured.Unstructured) error {
	compiled, err := s.compile(object.GroupVersionKind())
	if err != nil {
		return err
	}

	var found problems

	content := object.DeepCopy().Object

	invalid, unknown := objectmeta.CoerceWithOptions(nil, content, compiled.structural, true, objectmeta.CoerceOptions{ReturnUnknownFieldPaths: true})
	if invalid != nil {
		found.add(invalid)
	}

	unknown = append(unknown, pruning.PruneWithOptions(content, compiled.structural, true,
		structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})...)
	for _, field := range unknown {
		found.addf("unknown field %q", field)
	}

	defaulting.Default(content, compiled.structural)

	failures := validation.ValidateCustomResource(nil, content, compiled.openAPI)
	failures = append(failures, listtype.ValidateListSetsAndMaps(nil, compiled.structural, content)...)

	if compiled.rules != nil {
		broken, _ := compiled.rules.Validate(ctx, nil, compiled.structural, content, nil, celconfig.RuntimeCELCostBudget)
		failures = append(failures, broken...)
	}

	for _, failure := range failures {
		found.add(failure)
	}

	return found.err()
}

// compile makes a schema ready for use, once: the CEL rules take their time.
func (s *Schemas) compile(kind schema.GroupVersionKind) (*validator, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()

	if compiled, ok := s.compiled[kind]; ok {
		return compiled, nil
	}

	var internal apiextensions.CustomResourceValidation
	if err := apiextensionsv1.Convert_v1_CustomResourceValidation_To_apiextensions_CustomResourceValidation(
		s.definitions[kind], &internal, nil); err != nil {
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

	s.compiled[kind] = &validator{
		structural: structural,
		openAPI:    openAPI,
		rules:      cel.NewValidator(structural, true, celconfig.PerCallLimit),
	}

	return s.compiled[kind], nil
}

// CheckSchemas returns an error for every object, in the files and in what the folders build, that does not decode
// strictly or that breaks its schema.
func CheckSchemas(ctx context.Context, tree *Tree, schemas *Schemas) error {
	var found problems

	check := func(name string, objects []*unstructured.Unstructured, err error) {
		found.add(err)

		for _, object := range objects {
			found.add(within(name+": "+ID(object), schemas.Check(ctx, object)))
		}
	}

	for _, name := range tree.Files() {
		objects, err := tree.Read(name)
		check(name, objects, err)
	}

	for _, folder := range tree.Folders() {
		objects, err := tree.Build(folder)
		check(folder, objects, err)
	}

	return found.err()
}
