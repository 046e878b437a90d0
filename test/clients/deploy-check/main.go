// Reads compose and Kubernetes files with the libraries that Compose and Kubernetes read them with,
// and a cluster of CloudNativePG by the schema of its operator (environment: CRD, a file). Refuses
// unknown fields, and prints what they say as JSON.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/santhosh-tekuri/jsonschema/v6"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

func main() {
	found := map[string]any{}
	for _, path := range os.Args[1:] {
		read := kubernetes
		if strings.Contains(path, "compose") {
			read = compose
		}
		value, err := read(path)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", path, err)
			os.Exit(1)
		}
		found[path] = value
	}
	_ = json.NewEncoder(os.Stdout).Encode(found)
}

func compose(path string) (any, error) {
	options, err := cli.NewProjectOptions([]string{path}, cli.WithOsEnv)
	if err != nil {
		return nil, err
	}
	return options.LoadProject(context.Background())
}

func kubernetes(path string) (any, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var objects []any
	for _, document := range strings.Split(string(text), "\n---\n") {
		object, err := strictly([]byte(document))
		if err != nil {
			return nil, err
		}
		objects = append(objects, object)
	}
	return objects, nil
}

// strictly reads one object as its kind, unknown and repeated fields refused.
func strictly(document []byte) (any, error) {
	var kind metav1.TypeMeta
	if err := yaml.Unmarshal(document, &kind); err != nil {
		return nil, err
	}
	var object any
	switch kind.APIVersion + " " + kind.Kind {
	case "apps/v1 Deployment":
		object = &appsv1.Deployment{}
	case "apps/v1 StatefulSet":
		object = &appsv1.StatefulSet{}
	case "batch/v1 CronJob":
		object = &batchv1.CronJob{}
	case "postgresql.cnpg.io/v1 Cluster":
		return operated(document)
	case "v1 PersistentVolumeClaim":
		object = &corev1.PersistentVolumeClaim{}
	case "v1 Service":
		object = &corev1.Service{}
	case "networking.k8s.io/v1 NetworkPolicy":
		object = &networkingv1.NetworkPolicy{}
	default:
		return nil, fmt.Errorf("unexpected %s %s", kind.APIVersion, kind.Kind)
	}
	return object, yaml.UnmarshalStrict(document, object)
}

// operated reads an object of the operator, judged by the schema that the operator gives Kubernetes.
func operated(document []byte) (any, error) {
	text, err := os.ReadFile(os.Getenv("CRD"))
	if err != nil {
		return nil, err
	}
	definition, err := valueOf(text)
	if err != nil {
		return nil, err
	}
	versions := at(definition, "spec", "versions").([]any)
	schema := at(versions[0], "schema", "openAPIV3Schema")
	closed(schema)
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("cluster.json", schema); err != nil {
		return nil, err
	}
	compiled, err := compiler.Compile("cluster.json")
	if err != nil {
		return nil, err
	}
	object, err := valueOf(document)
	if err != nil {
		return nil, err
	}
	return object, compiled.Validate(object)
}

func valueOf(text []byte) (any, error) {
	converted, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return nil, err
	}
	return jsonschema.UnmarshalJSON(bytes.NewReader(converted))
}

func at(value any, names ...string) any {
	for _, name := range names {
		value = value.(map[string]any)[name]
	}
	return value
}

// closed lets a schema accept no fields that it does not name.
func closed(schema any) {
	switch schema := schema.(type) {
	case []any:
		for _, each := range schema {
			closed(each)
		}
	case map[string]any:
		_, named := schema["properties"].(map[string]any)
		_, more := schema["additionalProperties"]
		if named && !more && schema["x-kubernetes-preserve-unknown-fields"] != true {
			schema["additionalProperties"] = false
		}
		for _, each := range schema {
			closed(each)
		}
	}
}
