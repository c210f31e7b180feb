package weft

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/weft-network/weft/subnet"
	"github.com/weft-network/weft/subnet/kube"
)

// manifest reads every document of the manifest into the type of the API that it is of. A field that the type does not
// have is an error.
func manifest(t *testing.T) []runtime.Object {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, appsv1.AddToScheme, rbacv1.AddToScheme, admissionv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	var all []runtime.Object
	for _, document := range bytes.Split([]byte(read(t, "dist/kubernetes/weft.yaml")), []byte("\n---\n"))[1:] {
		o, _, err := decoder.Decode(append(document, '\n'), nil, nil)
		if err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		all = append(all, o)
	}
	return all
}

// only returns the one object of type T in the manifest.
func only[T runtime.Object](t *testing.T) T {
	t.Helper()
	var found []T
	for _, o := range manifest(t) {
		if o, ok := o.(T); ok {
			found = append(found, o)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d of %T", len(found), *new(T))
	}
	return found[0]
}

func TestManifestConfig(t *testing.T) {
	data := only[*corev1.ConfigMap](t).Data
	if c, warnings, err := subnet.Parse(data["net-conf.json"]); err != nil || len(warnings) > 0 || !c.Networks[subnet.Inet].Prefix.IsValid() {
		t.Errorf("net-conf.json: %+v, %v, %v", c, warnings, err)
	}
	var want, got any
	if err := json.Unmarshal([]byte(read(t, "dist/10-weft.conflist")), &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(data["cni-conf.json"]), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" || len(data) != 2 {
		t.Errorf("-dist/10-weft.conflist +cni-conf.json:\n%s", diff)
	}
}

// TestManifestRights holds that nobody notices too late that the agent may do more than before.
func TestManifestRights(t *testing.T) {
	var got []string
	note := func(where string, rules []rbacv1.PolicyRule) {
		for _, r := range rules {
			got = append(got, strings.Join([]string{where, strings.Join(r.APIGroups, ","), strings.Join(r.Resources, ","), strings.Join(r.Verbs, ",")}, " "))
		}
	}
	note("cluster", only[*rbacv1.ClusterRole](t).Rules)
	role := only[*rbacv1.Role](t)
	note(role.Namespace, role.Rules)
	want := []string{"cluster  nodes get,list,watch,patch", "cluster  nodes/status patch", "default  events create,patch"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	account := []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "weft-system", Name: "weft"}}
	for _, subjects := range [][]rbacv1.Subject{only[*rbacv1.ClusterRoleBinding](t).Subjects, only[*rbacv1.RoleBinding](t).Subjects} {
		if diff := cmp.Diff(account, subjects); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
}

func TestManifestPolicies(t *testing.T) {
	var bound, policies []string
	for _, o := range manifest(t) {
		switch o := o.(type) {
		case *admissionv1.ValidatingAdmissionPolicy:
			policies = append(policies, o.Name)
			if o.Spec.FailurePolicy == nil || *o.Spec.FailurePolicy != admissionv1.Fail || len(o.Spec.MatchConditions) != 1 {
				t.Errorf("%s: %+v", o.Name, o.Spec)
			}
			for _, v := range o.Spec.Validations {
				if v.MessageExpression == "" {
					t.Errorf("%s does not say why %s", o.Name, v.Expression)
				}
			}
		case *admissionv1.ValidatingAdmissionPolicyBinding:
			bound = append(bound, o.Spec.PolicyName)
			if !slices.Equal(o.Spec.ValidationActions, []admissionv1.ValidationAction{admissionv1.Deny}) {
				t.Errorf("%s does not deny", o.Name)
			}
		}
	}
	if diff := cmp.Diff(policies, bound); diff != "" || len(policies) == 0 {
		t.Errorf("-policies +bound:\n%s", diff)
	}
}

// TestPolicyKnowsAnnotations holds that an agent may write what it writes, and that operators are told of it: a key that the policy does not
// have would be refused in clusters alone.
func TestPolicyKnowsAnnotations(t *testing.T) {
	want := slices.Sorted(slices.Values(kube.Written()))
	compare := func(where, text, pattern string) {
		t.Helper()
		var got []string
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
			got = append(got, m[1])
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-subnet/kube +%s:\n%s", where, diff)
		}
	}
	for _, o := range manifest(t) {
		if p, ok := o.(*admissionv1.ValidatingAdmissionPolicy); ok && p.Name == "weft" {
			i := slices.IndexFunc(p.Spec.Variables, func(v admissionv1.Variable) bool { return v.Name == "keys" })
			if i < 0 {
				t.Fatal("the policy has no variable keys")
			}
			list, prefix, _ := strings.Cut(p.Spec.Variables[i].Expression, "]")
			compare("dist/kubernetes/weft.yaml", list, `'([^']*)'`)
			if !strings.Contains(prefix, "'"+kube.DefaultPrefix+"/'") {
				t.Errorf("the prefix is not in %q", prefix)
			}
		}
	}
	document := read(t, "Documentation/kubernetes.md")
	_, table, _ := strings.Cut(document, "## What weftd writes")
	var names []string
	for line := range strings.Lines(table) {
		if cell, _, ok := strings.Cut(strings.TrimPrefix(line, "| "), " | "); ok && strings.Contains(cell, kube.DefaultPrefix+"/") {
			names = append(names, strings.ReplaceAll(cell, kube.DefaultPrefix+"/", ""))
		} else if strings.HasPrefix(line, "## ") {
			break
		}
	}
	compare("Documentation/kubernetes.md", strings.Join(names, " "), "`([^`]*)`")
	_, remove, _ := strings.Cut(document, "kubectl annotate nodes --all "+kube.DefaultPrefix+"/{")
	remove, _, _ = strings.Cut(remove, "}-")
	want = slices.DeleteFunc(want, func(name string) bool { return name == "weft-contest" }) // it goes by itself
	compare("Documentation/kubernetes.md, to uninstall", remove, `([^,]+)`)
}

// TestManifestPod holds what makes the pod one that may be on every node, and harmless there.
func TestManifestPod(t *testing.T) {
	d := only[*appsv1.DaemonSet](t)
	pod := d.Spec.Template.Spec
	c := pod.Containers[0]
	checks := map[string]bool{
		"the host's network":                    pod.HostNetwork && !pod.HostPID && !pod.HostIPC,
		"not the cluster's DNS":                 pod.DNSPolicy == corev1.DNSDefault,
		"tolerates everything":                  cmp.Equal(pod.Tolerations, []corev1.Toleration{{Operator: corev1.TolerationOpExists}}),
		"critical":                              pod.PriorityClassName == "system-node-critical",
		"nothing that runs before":              len(pod.InitContainers) == 0 && len(pod.Containers) == 1,
		"one node at a time":                    d.Spec.UpdateStrategy.RollingUpdate.MaxUnavailable.IntValue() == 1 && d.Spec.MinReadySeconds > 0,
		"the namespace lets it be":              only[*corev1.Namespace](t).Labels["pod-security.kubernetes.io/enforce"] == "privileged",
		"memory without limit, requests of all": len(c.Resources.Limits) == 0 && len(c.Resources.Requests) == 2,
		"liveness is not readiness":             c.LivenessProbe.HTTPGet.Path == "/healthz" && c.ReadinessProbe.HTTPGet.Path == "/readyz" && c.StartupProbe == nil,
		"asked on loopback":                     c.LivenessProbe.HTTPGet.Host == "127.0.0.1" && c.ReadinessProbe.HTTPGet.Host == "127.0.0.1",
		"pulled where it is not":                c.Image == "weft:latest" && c.ImagePullPolicy == corev1.PullIfNotPresent,
	}
	for what, ok := range checks {
		if !ok {
			t.Errorf("not so: %s", what)
		}
	}
	no, yes, root := false, true, int64(0)
	want := &corev1.SecurityContext{Privileged: &no, AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes, RunAsUser: &root, RunAsGroup: &root,
		Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}, Add: []corev1.Capability{"NET_ADMIN"}}}
	if diff := cmp.Diff(want, c.SecurityContext); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if s := pod.SecurityContext.SeccompProfile; s == nil || s.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("seccomp %v", s)
	}
}

// TestManifestMounts compares what the pod sees of its host with the table in the documentation.
func TestManifestMounts(t *testing.T) {
	pod := only[*appsv1.DaemonSet](t).Spec.Template.Spec
	places := map[string]string{}
	for _, m := range pod.Containers[0].VolumeMounts {
		if m.SubPath != "" || m.ReadOnly != (m.Name == "config") {
			t.Errorf("mount %+v", m)
		}
		places[m.Name] = m.MountPath
	}
	var got []string
	for _, v := range pod.Volumes {
		source := "ConfigMap weft-config"
		if v.HostPath != nil {
			source = v.HostPath.Path
		}
		got = append(got, source+" at "+places[v.Name])
	}
	slices.Sort(got)
	_, section, _ := strings.Cut(read(t, "Documentation/kubernetes.md"), "| of the host | in the container | for |")
	section, _, _ = strings.Cut(section, "\n\n")
	var want []string
	for _, m := range regexp.MustCompile("(?m)^\\| (.+?) \\| `(.+?)` \\|").FindAllStringSubmatch(section, -1) {
		want = append(want, strings.ReplaceAll(m[1], "`", "")+" at "+m[2])
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-Documentation/kubernetes.md +manifest:\n%s", diff)
	}
}

// TestManifestFlags holds that weftd knows the flags that it is given.
func TestManifestFlags(t *testing.T) {
	documented := read(t, "Documentation/configuration.md")
	for _, arg := range only[*appsv1.DaemonSet](t).Spec.Template.Spec.Containers[0].Args {
		name, _, _ := strings.Cut(arg, "=")
		if !strings.Contains(documented, "| `"+name+"` |") {
			t.Errorf("no flag %s is documented", name)
		}
	}
}

// TestValuesAreDocumented compares the table with the values of the chart.
func TestValuesAreDocumented(t *testing.T) {
	var values map[string]any
	if err := yaml.Unmarshal([]byte(read(t, "dist/chart/values.yaml")), &values); err != nil {
		t.Fatal(err)
	}
	free := []string{"backend", "podAnnotations", "podLabels", "resources", "nodeSelector", "affinity", "updateStrategy", "seLinuxOptions"}
	var want []string
	for name, value := range values {
		below, ok := value.(map[string]any)
		if !ok || slices.Contains(free, name) {
			want = append(want, name)
			continue
		}
		for key := range below {
			want = append(want, name+"."+key)
		}
	}
	slices.Sort(want)
	got := rows(t, read(t, "Documentation/kubernetes.md"), "### Values", "\n## ")
	if diff := cmp.Diff(want, got); diff != "" || len(want) < 30 {
		t.Errorf("-values.yaml +Documentation/kubernetes.md:\n%s", diff)
	}
}
