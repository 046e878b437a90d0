// Reads compose and Kubernetes files with the libraries that Compose and Kubernetes read them with,
// refusing unknown fields, and prints what they say as JSON.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
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
	options, err := cli.NewProjectOptions([]string{path})
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
	case "apps/v1 StatefulSet":
		object = &appsv1.StatefulSet{}
	case "batch/v1 CronJob":
		object = &batchv1.CronJob{}
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
