package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-network/weft/subnet"
	"github.com/weft-network/weft/subnet/kube"
)

const (
	mergePatch     = "application/merge-patch+json"
	strategicPatch = "application/strategic-merge-patch+json"
)

// guarded is a cluster with Weft's manifest, in which the service account of the agents may do everything that the
// admission policies do not refuse.
type guarded struct {
	*cluster
	tokens map[string]string // by what they are bound to
}

// TestPolicy holds that the manifest's admission policies let an agent do what it does, and nothing else, whatever its
// rights are.
func TestPolicy(t *testing.T) {
	g := guard(t)
	t.Run("agents", g.testAgents)
	t.Run("requests", g.testRequests)
	t.Run("others", g.testOthers)
	t.Run("types", g.testTypes)
}

// guard starts the cluster with Nodes, the last of them without pod CIDRs.
func guard(t *testing.T) *guarded {
	t.Helper()
	bin, err := Binaries(t.Context(), "kubebin")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	c, err := Start(ctx, bin, Options{Dir: t.TempDir(), ClusterCIDR: "10.244.0.0/16", Users: map[string]string{"system:node:node-1": "node-1"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	if err := c.StartControllers("validatingadmissionpolicy-status-controller"); err != nil {
		t.Fatal(err)
	}
	g := &guarded{cluster: &cluster{t: t, c: c, line: newFront(t), dir: t.TempDir()}, tokens: map[string]string{}}
	config := g.kubeconfig()
	if err := c.Kubeconfig(config, "admin"); err != nil {
		t.Fatal(err)
	}
	apply := exec.CommandContext(ctx, filepath.Join(bin, "kubectl"), "--kubeconfig", config, "apply", "--validate=strict", "-f", "../../dist/kubernetes/weft.yaml")
	if out, err := apply.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	g.do("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", object{
		"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": object{"name": "everything"},
		"roleRef":  object{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
		"subjects": []object{{"kind": "ServiceAccount", "namespace": "weft-system", "name": "weft"}}})
	g.makeNode("node-1", "10.244.0.0/24")
	g.makeNode("node-2", "10.244.1.0/24")
	g.makeNode("node-3")
	g.do("PATCH", "/api/v1/nodes/node-1/status", object{"status": object{"conditions": []object{{"type": "Ready", "status": "True"}}}})
	g.tokens["pod"] = g.token("node-1", "Pod", g.pod("node-1"))
	g.tokens["node"] = g.token("node-1", "Node", g.node("node-1").Metadata.UID)
	g.tokens["bare"] = g.token("node-3", "Pod", g.pod("node-3"))
	g.tokens["nothing"] = g.token("", "", "")
	g.untilGuarded()
	return g
}

// pod makes the agent's pod on a node, and returns its UID.
func (g *guarded) pod(on string) string {
	g.t.Helper()
	var made node
	text := g.do("POST", "/api/v1/namespaces/weft-system/pods", object{"apiVersion": "v1", "kind": "Pod", "metadata": object{"name": on},
		"spec": object{"serviceAccountName": "weft", "nodeName": on, "containers": []object{{"name": "weft", "image": "weft"}}}})
	if err := json.Unmarshal(text, &made); err != nil {
		g.t.Fatal(err)
	}
	return made.Metadata.UID
}

// token is a token of the agents' service account, bound as those are that a kubelet gives to pods.
func (g *guarded) token(name, kind, uid string) string {
	g.t.Helper()
	spec := object{}
	if kind != "" {
		spec["boundObjectRef"] = object{"apiVersion": "v1", "kind": kind, "name": name, "uid": uid}
	}
	var answer struct{ Status struct{ Token string } }
	text := g.do("POST", "/api/v1/namespaces/weft-system/serviceaccounts/weft/token",
		object{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec})
	if err := json.Unmarshal(text, &answer); err != nil || answer.Status.Token == "" {
		g.t.Fatalf("%s, %v", text, err)
	}
	return answer.Status.Token
}

// untilGuarded waits until the API server has read the policies.
func (g *guarded) untilGuarded() {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), time.Minute)
	defer cancel()
	tries := []request{
		{"PATCH", "/api/v1/nodes/node-1?dryRun=All", mergePatch, `{"metadata":{"labels":{"a":"b"}}}`},
		{"POST", "/api/v1/namespaces/default/events?dryRun=All", "", event("e", "Node", "node-2")},
	}
	err := await(ctx, "the policies", g.c.api, func() error {
		for _, r := range tries {
			if err := g.send(ctx, g.tokens["pod"], r); err == nil || !strings.Contains(err.Error(), "ValidatingAdmissionPolicy") {
				return fmt.Errorf("%s %s ends with %v", r.method, r.path, err)
			}
		}
		return nil
	})
	if err != nil {
		g.t.Fatal(err)
	}
}

type request struct{ method, path, kind, body string }

// send sends a request with a token.
func (g *guarded) send(ctx context.Context, token string, r request) error {
	h, err := http.NewRequestWithContext(ctx, r.method, "https://"+APIAddress+r.path, bytes.NewReader([]byte(r.body)))
	if err != nil {
		return err
	}
	kind := r.kind
	if kind == "" {
		kind = "application/json"
	}
	h.Header.Set("Content-Type", kind)
	h.Header.Set("Accept", "application/json")
	h.Header.Set("Authorization", "Bearer "+token)
	_, err = answer(g.c.http, h)
	return err
}

func event(name, kind, about string) string {
	return fmt.Sprintf(`{"apiVersion":"v1","kind":"Event","metadata":{"name":%q,"namespace":"default"},"involvedObject":{"kind":%q,"name":%q},"reason":"R","message":"m","type":"Normal"}`,
		name, kind, about)
}

// testAgents runs the store as two agents with what a kubelet gives them: a token of a pod.
func (g *guarded) testAgents(t *testing.T) {
	text, err := os.ReadFile(g.kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	g.SetConfig(`{"Network": "10.244.0.0/16"}`)
	config, _, err := subnet.Parse(`{"Network": "10.244.0.0/16"}`)
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"node-1", "node-2"} {
		token := g.tokens["pod"]
		if i > 0 {
			token = g.token(name, "Pod", g.pod(name))
		}
		path := filepath.Join(t.TempDir(), "kubeconfig")
		own := strings.Replace(string(text), `token: "admin"`, fmt.Sprintf("token: %q", token), 1)
		if err := os.WriteFile(path, []byte(own), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := kube.New(kube.Options{Node: name, Kubeconfig: path, ConfigPath: g.configPath(), KeepCondition: true, ContestTime: 100 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		want := subnet.Want{Config: config, Attrs: subnet.Attrs{Node: name, Backend: "vxlan"}}
		for _, last := range []byte{1, 2} { // the second is another address, over which the agents have a contest
			want.Attrs.PublicIP[subnet.Inet] = netip.AddrFrom4([4]byte{192, 0, byte(i), last})
			want.Attrs.Data[subnet.Inet] = fmt.Sprintf(`{"VNI":1,"VtepMAC":"0e:00:00:00:00:%02x"}`, last)
			if _, err := s.Claim(t.Context(), want); err != nil {
				t.Errorf("%s may not announce itself: %v", name, err)
			}
		}
		for _, ready := range []bool{false, true} {
			if err := s.Report(t.Context(), ready, "waiting for a test"); err != nil {
				t.Errorf("%s may not report: %v", name, err)
			}
		}
	}
}

// testRequests sends what an agent may send, and what not.
func (g *guarded) testRequests(t *testing.T) {
	const node, status = "/api/v1/nodes/node-1", "/api/v1/nodes/node-1/status"
	merge := func(path, body string) request { return request{"PATCH", path, mergePatch, body} }
	strategic := func(path, body string) request { return request{"PATCH", path, strategicPatch, body} }
	ours := `{"metadata":{"annotations":{"flannel.alpha.coreos.com/%s":"x"}}}`
	tests := []struct {
		name  string
		token string
		request
		want string // what the refusal says; "" where it is allowed
	}{
		{"other Node", "pod", merge("/api/v1/nodes/node-2", fmt.Sprintf(ours, "public-ip")), "the agent on node node-1 may not change Node node-2"},
		{"other Node's status", "pod", strategic("/api/v1/nodes/node-2/status", `{"status":{"conditions":[{"type":"NetworkUnavailable","status":"True"}]}}`), "may not change Node node-2"},
		{"bound to the Node", "node", merge(node, fmt.Sprintf(ours, "public-ip")), ""},
		{"bound to another Node", "node", merge("/api/v1/nodes/node-2", fmt.Sprintf(ours, "public-ip")), "may not change Node node-2"},
		{"bound to nothing", "nothing", merge(node, fmt.Sprintf(ours, "public-ip")), "an agent whose token names no node may not change Node node-1"},
		{"label", "pod", merge(node, `{"metadata":{"labels":{"node-role.kubernetes.io/control-plane":""}}}`), "may not change metadata.labels"},
		{"finalizer", "pod", merge(node, `{"metadata":{"finalizers":["example.org/f"]}}`), "may not change metadata.finalizers"},
		{"owner", "pod", merge(node, `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"p","uid":"u"}]}}`), "may not change metadata.ownerReferences"},
		{"taint", "pod", merge(node, `{"spec":{"taints":[{"key":"k","effect":"NoExecute"}]}}`), "may not change the spec of a Node"},
		{"unschedulable", "pod", merge(node, `{"spec":{"unschedulable":true}}`), "may not change the spec of a Node"},
		{"provider", "pod", merge(node, `{"spec":{"providerID":"x://y"}}`), "may not change the spec of a Node"},
		{"pod CIDR", "bare", merge("/api/v1/nodes/node-3", `{"spec":{"podCIDR":"10.244.9.0/24","podCIDRs":["10.244.9.0/24"]}}`), "may not change the spec of a Node"},
		{"operators' annotation", "pod", merge(node, fmt.Sprintf(ours, "public-ip-overwrite")), "not flannel.alpha.coreos.com/public-ip-overwrite"},
		{"two", "pod", merge(node, `{"metadata":{"generateName":"g-","labels":{"a":"b"},"finalizers":["example.org/f"]}}`), "may not change metadata.finalizers"},
		{"foreign annotation", "pod", merge(node, `{"metadata":{"annotations":{"example.org/a":"x","flannel.alpha.coreos.com/public-ip":"x"}}}`), "not example.org/a"},
		{"foreign annotation changed", "pod", merge(node, `{"metadata":{"annotations":{"example.org/kept":"x"}}}`), "not example.org/kept"},
		{"foreign annotation removed", "pod", merge(node, `{"metadata":{"annotations":{"example.org/kept":null}}}`), "not example.org/kept"},
		{"foreign annotation with the status", "pod", merge(status, `{"metadata":{"annotations":{"example.org/a":"x"}}}`), "not example.org/a"},
		{"label with the status", "pod", merge(status, `{"metadata":{"labels":{"a":"x"}}}`), "may not change metadata.labels"},
		{"condition Ready", "pod", strategic(status, `{"status":{"conditions":[{"type":"Ready","status":"False"}]}}`), "may change the condition NetworkUnavailable only"},
		{"condition of its own", "pod", strategic(status, `{"status":{"conditions":[{"type":"Mine","status":"False"}]}}`), "may change the condition NetworkUnavailable only"},
		{"all conditions removed", "pod", merge(status, `{"status":{"conditions":null}}`), "may change the condition NetworkUnavailable only"},
		{"addresses", "pod", strategic(status, `{"status":{"addresses":[{"type":"InternalIP","address":"192.0.2.9"}]}}`), "may not change status.addresses"},
		{"capacity", "pod", strategic(status, `{"status":{"capacity":{"cpu":"64"}}}`), "status.allocatable"},
		{"image", "pod", merge(status, `{"status":{"images":[{"names":["x"],"sizeBytes":1}]}}`), "may not change status.images"},
		{"delete", "pod", request{"DELETE", node, "", ""}, "may change a Node and its status, nothing else: not DELETE nodes"},
		{"delete another", "pod", request{"DELETE", "/api/v1/nodes/node-2", "", ""}, "nothing else: not DELETE nodes"},
		{"delete all", "pod", request{"DELETE", "/api/v1/nodes", "", ""}, "nothing else: not DELETE nodes"},
		{"create", "pod", request{"POST", "/api/v1/nodes", "", `{"apiVersion":"v1","kind":"Node","metadata":{"name":"node-4"}}`}, "nothing else: not CREATE nodes"},
		{"proxy", "pod", request{"POST", node + "/proxy/run/a/b/c", "", ""}, "nothing else: not CONNECT nodes/proxy"},
		{"condition", "pod", strategic(status, `{"status":{"conditions":[{"type":"NetworkUnavailable","status":"True","reason":"R","message":"m"}]}}`), ""},
		{"event", "pod", request{"POST", "/api/v1/namespaces/default/events", "", event("own", "Node", "node-1")}, ""},
		{"event again", "pod", merge("/api/v1/namespaces/default/events/own", `{"count":2}`), ""},
		{"event about another Node", "pod", request{"POST", "/api/v1/namespaces/default/events", "", event("other", "Node", "node-2")}, "the agent on node node-1 may write Events about its own Node only"},
		{"event about a pod", "pod", request{"POST", "/api/v1/namespaces/default/events", "", event("other", "Pod", "node-1")}, "its own Node only"},
		{"new kind of event about another Node", "pod", request{"POST", "/apis/events.k8s.io/v1/namespaces/default/events", "", `{"apiVersion":"events.k8s.io/v1","kind":"Event","metadata":{"name":"n","namespace":"default"},
			"eventTime":"2026-01-01T00:00:00.000000Z","reportingController":"example.org/w","reportingInstance":"w","action":"A","reason":"R","type":"Normal","regarding":{"kind":"Node","name":"node-2"}}`}, "its own Node only"},
		{"event of another", "pod", merge("/api/v1/namespaces/default/events/admins", `{"count":2}`), "its own Node only"},
		{"event of another made its own", "pod", merge("/api/v1/namespaces/default/events/admins", `{"involvedObject":{"name":"node-1"}}`), "its own Node only"},
		{"event made that of another", "pod", merge("/api/v1/namespaces/default/events/own", `{"involvedObject":{"name":"node-2"}}`), "its own Node only"},
		{"event deleted", "pod", request{"DELETE", "/api/v1/namespaces/default/events/own", "", ""}, "its own Node only"},
		{"own annotations removed", "pod", merge(node, `{"metadata":{"annotations":{"flannel.alpha.coreos.com/public-ip":null}}}`), ""},
	}
	for _, name := range []string{"kube-subnet-manager", "backend-type", "backend-data", "backend-v6-data", "public-ip", "public-ipv6", "uplink-mtu", "weft-ways", "weft-contest"} {
		tests = append(tests, struct {
			name  string
			token string
			request
			want string
		}{name, "pod", merge(node, fmt.Sprintf(ours, name)), ""})
	}
	g.annotate("node-1", object{"example.org/kept": "yes"})
	if err := g.send(t.Context(), "admin", request{"POST", "/api/v1/namespaces/default/events", "", event("admins", "Node", "node-2")}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := g.send(t.Context(), g.tokens[tt.token], tt.request)
			var status *StatusError
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tt.want != "" && err == nil:
				t.Error("allowed")
			case tt.want != "" && (!errors.As(err, &status) || !strings.Contains(status.Text, tt.want)):
				t.Errorf("refused with %v, want %q", err, tt.want)
			}
		})
	}
}

// testOthers holds that the policies are for the agents alone.
func (g *guarded) testOthers(t *testing.T) {
	for token, r := range map[string]request{
		"admin":  {"PATCH", "/api/v1/nodes/node-2", mergePatch, `{"metadata":{"labels":{"a":"b"}},"spec":{"unschedulable":true}}`},
		"node-1": {"PATCH", "/api/v1/nodes/node-1/status", strategicPatch, `{"status":{"conditions":[{"type":"Ready","status":"False"}]}}`},
	} {
		if err := g.send(t.Context(), token, r); err != nil {
			t.Errorf("%s: %v", token, err)
		}
	}
}

// testTypes waits until the cluster has checked the types in the policies, and reads what it found.
func (g *guarded) testTypes(t *testing.T) {
	for _, name := range []string{"weft", "weft-events"} {
		var policy struct {
			Metadata struct{ Generation int }
			Status   struct {
				ObservedGeneration int
				TypeChecking       struct {
					ExpressionWarnings []struct{ FieldRef, Warning string }
				}
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := await(ctx, "the check of the types", g.c.controllers, func() error {
			text, err := g.c.Do(ctx, "GET", "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/"+name, "", nil)
			if err == nil {
				err = json.Unmarshal(text, &policy)
			}
			if err == nil && policy.Status.ObservedGeneration != policy.Metadata.Generation {
				err = errors.New("not checked yet")
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range policy.Status.TypeChecking.ExpressionWarnings {
			t.Errorf("%s: %s: %s", name, w.FieldRef, w.Warning)
		}
	}
}
