// Command manifests renders Weft's Helm chart as Helm does, with its default values, into the one file that kubectl
// applies. It knows of the chart only what Helm knows.
package main

import (
	"bytes"
	"fmt"
	"os"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/releaseutil"
)

const preface = `# Weft on Kubernetes: kubectl apply -f weft.yaml. Documentation/kubernetes.md says what to set, and how. Made from
# dist/chart by make manifests; change it there.
`

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "manifests:", err)
		os.Exit(1)
	}
}

// run renders the chart into a file.
func run(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("want the folder of the chart and the file to write, have %q", args)
	}
	text, err := render(args[0], "kube-system", nil)
	if err != nil {
		return err
	}
	return os.WriteFile(args[1], append([]byte(preface), text...), 0o644)
}

// render returns what helm template prints for a release in the given namespace with the given values on top of the
// chart's own, without the comments that name the templates. Values that the chart's schema refuses are an error.
func render(dir, namespace string, values map[string]any) ([]byte, error) {
	c, err := loader.Load(dir)
	if err != nil {
		return nil, fmt.Errorf("reading the chart %s: %w", dir, err)
	}
	release := chartutil.ReleaseOptions{Name: "weft", Namespace: namespace, Revision: 1, IsInstall: true}
	all, err := chartutil.ToRenderValues(c, values, release, chartutil.DefaultCapabilities)
	if err != nil {
		return nil, fmt.Errorf("values for the chart %s: %w", dir, err)
	}
	files, err := engine.Render(c, all)
	if err != nil {
		return nil, fmt.Errorf("rendering the chart %s: %w", dir, err)
	}
	for name, text := range files {
		if len(bytes.TrimSpace([]byte(text))) == 0 {
			delete(files, name)
		}
	}
	_, manifests, err := releaseutil.SortManifests(files, nil, releaseutil.InstallOrder)
	if err != nil {
		return nil, fmt.Errorf("sorting what the chart %s makes: %w", dir, err)
	}
	var out bytes.Buffer
	for _, m := range manifests {
		fmt.Fprintf(&out, "---\n%s\n", bytes.TrimSpace([]byte(m.Content)))
	}
	return out.Bytes(), nil
}
