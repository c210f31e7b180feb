package kube

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/subnet"
	"github.com/weft-network/weft/subnet/kube"
)

// testCondition says that all is well, and the contrary.
func testCondition(k *cluster) {
	k.SetConfig(single)
	k.Store("node-1")
	s := k.store("node-1")
	w := watch(k.t, s)
	// told reports at each picture, as the agent does every second, until the Node says what it should.
	told := func(ready bool, why, want string) {
		k.t.Helper()
		w.until("the condition "+want, func(subnet.Snapshot) bool {
			must(k.t, s.Report(k.t.Context(), ready, why))
			return k.condition("node-1") == want
		})
	}
	k.heartbeat("node-1")
	for _, step := range []struct {
		ready     bool
		why, want string
	}{
		{false, "waiting for a pod CIDR", "True WeftIsNotReady waiting for a pod CIDR"},
		{true, "", "False FlannelIsUp weftd has connected this node to its peers"},
		{false, strings.Repeat("x", 5000), "True WeftIsNotReady " + strings.Repeat("x", 1000) + "..."},
		{true, "", "False FlannelIsUp weftd has connected this node to its peers"},
	} {
		told(step.ready, step.why, step.want)
	}
	// What somebody else says is put right, and what he says in other words stays.
	for _, c := range []struct{ status, reason, want string }{
		{"True", "NoRouteCreated", "False FlannelIsUp weftd has connected this node to its peers"},
		{"False", "FlannelIsUp", "False FlannelIsUp Flannel is running on this node"},
	} {
		k.do("PATCH", "/api/v1/nodes/node-1/status", object{"status": object{"conditions": []object{{"type": "NetworkUnavailable", "status": c.status,
			"reason": c.reason, "message": "Flannel is running on this node"}}}})
		told(true, "", c.want)
	}
	ready := false
	for _, c := range k.node("node-1").Status.Conditions {
		ready = ready || c.Type == "Ready" && c.Status == "True"
	}
	if !ready {
		k.t.Error("the kubelet's condition is gone")
	}
}

// events are the Events about a Node, in the order in which they were made.
func (k *cluster) events(node string) []string {
	k.t.Helper()
	var list struct {
		Items []struct {
			Type, Reason, Message string
			Count                 int
		}
	}
	if err := json.Unmarshal(k.do("GET", "/api/v1/namespaces/default/events?fieldSelector=involvedObject.kind=Node,involvedObject.name="+node, nil), &list); err != nil {
		k.t.Fatal(err)
	}
	var words []string
	for _, e := range list.Items {
		words = append(words, fmt.Sprintf("%s %s %s (%d)", e.Type, e.Reason, e.Message, e.Count))
	}
	return words
}

// testEvents looks at a Node with kubectl as somebody does who wonders.
func testEvents(k *cluster) {
	k.SetConfig(single)
	k.makeNode("node-1", "10.5.1.0/24")
	s := k.store("node-1")
	w := watch(k.t, s)
	w.until("the Node", func(p subnet.Snapshot) bool { return !p.Self.Assigned.IsZero() })
	say := func(ready bool, why string) {
		k.t.Helper()
		must(k.t, s.Report(k.t.Context(), ready, why))
	}
	const first, second = "no pod CIDR yet: do this", "no uplink: do that"
	say(false, first)
	say(true, "")
	say(false, first)
	say(false, second)
	say(false, first)
	say(true, "")
	want := []string{
		"Warning NetworkUnavailable " + first + " (3)",
		"Normal NetworkReady weftd has connected this node to its peers (2)",
		"Warning NetworkUnavailable " + second + " (1)",
	}
	if diff := cmp.Diff(want, k.events("node-1")); diff != "" {
		k.t.Errorf("Events (-want +got):\n%s", diff)
	}
	admin := k.dir + "/admin"
	must(k.t, k.c.Kubeconfig(admin, "admin"))
	out, err := exec.Command(filepath.Join(k.c.bin, "kubectl"), "--kubeconfig", admin, "describe", "node", "node-1").CombinedOutput()
	if err != nil {
		k.t.Fatalf("kubectl: %v\n%s", err, out)
	}
	_, shown, _ := strings.Cut(string(out), "Events:")
	for _, part := range []string{first, second, "weftd", "NetworkReady", "(x3 over"} {
		if !strings.Contains(shown, part) {
			k.t.Errorf("kubectl describe node does not show %q:\n%s", part, out)
		}
	}
	say(false, "another name") // of a Node that is not there, too
	nobody := k.store("nobody")
	must(k.t, nobody.Report(k.t.Context(), false, "the cluster has no Node nobody yet"))
	if diff := cmp.Diff([]string{"Warning NetworkUnavailable the cluster has no Node nobody yet (1)"}, k.events("nobody")); diff != "" {
		k.t.Errorf("Events (-want +got):\n%s", diff)
	}
}

// testConditionIsLeft reports where nobody asked for the condition, and where Events are not allowed.
func testConditionIsLeft(k *cluster) {
	k.makeNode("node-1", "10.5.1.0/24")
	k.do("PATCH", "/api/v1/nodes/node-1/status", object{"status": object{"conditions": []object{{"type": "NetworkUnavailable", "status": "True", "reason": "NoRouteCreated", "message": "of a cloud"}}}})
	s, err := kube.New(kube.Options{Node: "node-1", Endpoints: []string{k.line.url()}, Kubeconfig: k.kubeconfig(), ConfigPath: k.configPath()})
	must(k.t, err)
	k.t.Cleanup(func() { _ = s.Close() })
	for _, ready := range []bool{true, false, true} {
		must(k.t, s.Report(k.t.Context(), ready, "no uplink"))
		if diff := cmp.Diff("True NoRouteCreated of a cloud", k.condition("node-1")); diff != "" {
			k.t.Errorf("condition (-want +got):\n%s", diff)
		}
	}
	if diff := cmp.Diff([]string{"Warning NetworkUnavailable no uplink (1)", "Normal NetworkReady weftd has connected this node to its peers (1)"}, k.events("node-1")); diff != "" {
		k.t.Errorf("Events (-want +got):\n%s", diff)
	}
	path := k.dir + "/other"
	must(k.t, k.c.Kubeconfig(path, "nobody"))
	mute, err := kube.New(kube.Options{Node: "node-1", Kubeconfig: path})
	must(k.t, err)
	k.t.Cleanup(func() { _ = mute.Close() })
	must(k.t, mute.Report(k.t.Context(), false, "no rights"))
	if h := mute.Health(); h.Err != nil || len(k.events("node-1")) != 2 {
		k.t.Errorf("without rights for Events: health %+v, Events %v", h, k.events("node-1"))
	}
}
