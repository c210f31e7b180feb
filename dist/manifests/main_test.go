package main

import (
	"bytes"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pmezard/go-difflib/difflib"
	"golang.org/x/tools/txtar"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write what is made into testdata")

const (
	chart      = "../chart"
	kubernetes = "../kubernetes"
)

type object = map[string]any

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// values reads values as Helm does.
func values(t *testing.T, text []byte) object {
	t.Helper()
	var v object
	if err := yaml.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// rendered is what helm template prints for a release in kube-system.
func rendered(t *testing.T, values object) []byte {
	t.Helper()
	text, err := render(chart, "kube-system", values)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// objects reads a stream of documents, by kind, namespace and name.
func objects(t *testing.T, text []byte) map[string]object {
	t.Helper()
	all := map[string]object{}
	for _, document := range bytes.Split(append([]byte("\n"), text...), []byte("\n---\n")) {
		o := values(t, append(bytes.Clone(document), '\n'))
		if o == nil {
			continue
		}
		meta, _ := o["metadata"].(object)
		namespace, _ := meta["namespace"].(string)
		key := strings.Join([]string{o["kind"].(string), namespace, meta["name"].(string)}, "/")
		if all[key] != nil {
			t.Errorf("%s is there twice", key)
		}
		all[key] = o
	}
	return all
}

// TestManifest holds that the manifest is the chart.
func TestManifest(t *testing.T) {
	made := filepath.Join(t.TempDir(), "weft.yaml")
	if err := run([]string{chart, made}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(read(t, kubernetes+"/weft.yaml")), string(read(t, made))); diff != "" {
		t.Errorf("make manifests would change dist/kubernetes/weft.yaml:\n%s", diff)
	}
}

// TestKustomization holds that what kubectl apply -k applies is the chart too.
func TestKustomization(t *testing.T) {
	made, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), kubernetes)
	if err != nil {
		t.Fatal(err)
	}
	text, err := made.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(objects(t, rendered(t, nil)), objects(t, text)); diff != "" {
		t.Errorf("-chart +kustomization:\n%s", diff)
	}
}

// TestDualStack holds that the patch does what the chart does with both networks.
func TestDualStack(t *testing.T) {
	files := filesys.MakeFsInMemory()
	for name, text := range map[string][]byte{
		"weft.yaml":       read(t, kubernetes+"/weft.yaml"),
		"dual-stack.yaml": read(t, kubernetes+"/dual-stack.yaml"),
		"kustomization.yaml": append(read(t, kubernetes+"/kustomization.yaml"),
			"patches: [{path: dual-stack.yaml}]\n"...),
	} {
		if err := files.WriteFile("/k/"+name, text); err != nil {
			t.Fatal(err)
		}
	}
	made, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(files, "/k")
	if err != nil {
		t.Fatal(err)
	}
	text, err := made.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	want := rendered(t, object{"network": object{"ipv6": "fd00:10:244::/56"}})
	if diff := cmp.Diff(objects(t, want), objects(t, text)); diff != "" {
		t.Errorf("-chart +patch:\n%s", diff)
	}
}

// TestValues compares what values change with what they shall.
func TestValues(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("%v, %v", paths, err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			a := txtar.Parse(read(t, path))
			if len(a.Files) != 2 || a.Files[0].Name != "values.yaml" || a.Files[1].Name != "changes" {
				t.Fatal("want the files values.yaml and changes")
			}
			got, err := difflib.GetUnifiedDiffString(difflib.UnifiedDiff{
				A: difflib.SplitLines(string(rendered(t, nil))), B: difflib.SplitLines(string(rendered(t, values(t, a.Files[0].Data))))})
			if err != nil {
				t.Fatal(err)
			}
			got = withoutPlaces(got)
			if diff := cmp.Diff(string(a.Files[1].Data), got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if a.Files[1].Data = []byte(got); *update {
				if err := os.WriteFile(path, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// withoutPlaces leaves out the line numbers of a diff, which change with everything.
func withoutPlaces(diff string) string {
	var out strings.Builder
	for line := range strings.Lines(diff) {
		if strings.HasPrefix(line, "@@") {
			line = "@@\n"
		}
		out.WriteString(line)
	}
	return out.String()
}

// TestMistakes holds that wrong values are refused, with what is wrong.
func TestMistakes(t *testing.T) {
	for _, tt := range []struct{ name, values, want string }{
		{"unknown value", `netwrok: {}`, "additional properties 'netwrok' not allowed"},
		{"unknown value below", `cni: {bindir: /opt}`, "additional properties 'bindir' not allowed"},
		{"no network", `network: {ipv4: ""}`, "at '/network'"},
		{"address for network", `network: {ipv4: 10.244.0.0}`, "at '/network/ipv4'"},
		{"other family", `network: {ipv6: 10.244.0.0/16}`, "at '/network/ipv6'"},
		{"backend", `backend: {Type: vxlna}`, "at '/backend/Type'"},
		{"backend without type", `backend: {Type: null}`, "at '/backend': missing property 'Type'"},
		{"pull policy", `image: {pullPolicy: always}`, "at '/image/pullPolicy'"},
		{"tag with colon", `image: {tag: "weft:v1"}`, "at '/image/tag'"},
		{"port", `healthzPort: 0`, "at '/healthzPort'"},
		{"port as text", `healthzPort: "10274"`, "at '/healthzPort'"},
		{"level", `logLevel: verbose`, "at '/logLevel'"},
		{"URL", `apiServers: [192.0.2.1]`, "at '/apiServers/0'"},
		{"network's name", `networks: [{name: subnet, number: 1}]`, "at '/networks/0/name'"},
		{"network's number", `networks: [{name: blue, number: 9}]`, "at '/networks/0/number'"},
		{"network without number", `networks: [{name: blue}]`, "at '/networks/0': missing property 'number'"},
		{"networks without etcd", `networks: [{name: blue, number: 1}]`, "networks need an etcd: say in etcd.endpoints where it is"},
		{"etcd without scheme", `etcd: {endpoints: ["10.0.0.5:2379"]}`, "at '/etcd/endpoints/0'"},
		{"relative folder", `cni: {binDir: opt/cni/bin}`, "at '/cni/binDir'"},
		{"conflist's name", `cni: {confName: weft.conf}`, "at '/cni/confName'"},
		{"conflist without plugins", `cni: {conf: {plugins: []}}`, "at '/cni/conf/plugins'"},
		{"argument", `extraArgs: [iface]`, "at '/extraArgs/0'"},
		{"environment", `extraEnv: [{value: x}]`, "at '/extraEnv/0'"},
		{"capability", `extraCapabilities: [cap-net-raw]`, "at '/extraCapabilities/0'"},
		{"text for privileged", `privileged: "yes"`, "at '/privileged'"},
		{"text for switch", `admissionPolicy: {enabled: "no"}`, "at '/admissionPolicy/enabled'"},
		{"strategy", `updateStrategy: {type: Recreate}`, "at '/updateStrategy/type'"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := render(chart, "kube-system", values(t, []byte(tt.values)))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q in it", err, tt.want)
			}
		})
	}
}

// TestRelease holds that Helm, which needs the namespace of a release before it installs, is not asked to make it.
func TestRelease(t *testing.T) {
	for namespace, want := range map[string]bool{"kube-system": true, "weft-system": false} {
		text, err := render(chart, namespace, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := objects(t, text)["Namespace//weft-system"] != nil; got != want {
			t.Errorf("a release in %s makes the namespace: %t", namespace, got)
		}
	}
}

// TestPolicyOff holds that clusters too old for admission policies can have none.
func TestPolicyOff(t *testing.T) {
	want := objects(t, rendered(t, nil))
	policies := 0
	for key := range want {
		if strings.HasPrefix(key, "ValidatingAdmissionPolicy") {
			delete(want, key)
			policies++
		}
	}
	got := objects(t, rendered(t, object{"admissionPolicy": object{"enabled": false}}))
	if diff := cmp.Diff(want, got); diff != "" || policies != 4 {
		t.Errorf("%d policies and bindings; without them, -want +got:\n%s", policies, diff)
	}
}

// TestSchema holds that the schema knows every value, and no other.
func TestSchema(t *testing.T) {
	var schema node
	if err := yaml.Unmarshal(read(t, chart+"/values.schema.json"), &schema); err != nil {
		t.Fatal(err)
	}
	delete(schema.Properties, "global")
	compare(t, "", values(t, read(t, chart+"/values.yaml")), schema)
}

// node is a part of the schema, as far as values are named there.
type node struct{ Properties map[string]node }

func compare(t *testing.T, at string, values object, schema node) {
	t.Helper()
	if len(schema.Properties) == 0 || at == ".backend" || at == ".cni.conf" || at == ".resources" || at == ".seLinuxOptions" {
		return // free, or described by others
	}
	want, got := slices.Sorted(maps.Keys(values)), slices.Sorted(maps.Keys(schema.Properties))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("values%s, -values.yaml +values.schema.json:\n%s", at, diff)
	}
	for name, below := range schema.Properties {
		if v, ok := values[name].(object); ok {
			compare(t, at+"."+name, v, below)
		}
	}
}
