package kube

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"github.com/weft-network/weft/subnet"
	"github.com/weft-network/weft/subnet/kube"
)

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

// testWrites counts what weftd writes from its first start to its second: each thing once.
func testWrites(k *cluster) {
	k.SetConfig(single)
	k.makeNode("node-1", "10.5.1.0/24")
	k.internal("node-1", "192.168.0.1")
	uplink(k.t, "eth7", "192.168.0.1/24")
	p := k.newTap()
	writes := func() []string {
		return p.take(func(r string) bool { return !strings.HasPrefix(r, "GET ") })
	}
	bin := k.weftd()
	start := func() *agent {
		a := k.run(bin, "node-1", "--kube-api-url="+p.url)
		k.until("subnet.env", func() bool { return a.file("subnet.env") != "" })
		return a
	}
	a := start()
	k.until("the condition", func() bool { return strings.HasPrefix(k.condition("node-1"), "False FlannelIsUp") })
	k.until("the Event", func() bool { return len(k.events("node-1")) == 1 })
	if diff := cmp.Diff([]string{"PATCH /api/v1/nodes/node-1", "PATCH /api/v1/nodes/node-1/status", "POST /api/v1/namespaces/default/events"}, writes()); diff != "" {
		k.t.Errorf("writes of the first start (-want +got):\n%s", diff)
	}
	mac := k.node("node-1").Metadata.Annotations[prefix+"backend-data"]
	a.stop()
	sweep() // as a reboot does
	start()
	// Who claims that the network is away is the sign that the agent has nothing else to write.
	k.do("PATCH", "/api/v1/nodes/node-1/status", object{"status": object{"conditions": []object{{"type": "NetworkUnavailable", "status": "True", "reason": "Test"}}}})
	k.until("the condition", func() bool { return strings.HasPrefix(k.condition("node-1"), "False FlannelIsUp") })
	k.until("the Event", func() bool { return len(k.events("node-1")) == 2 })
	if diff := cmp.Diff([]string{"PATCH /api/v1/nodes/node-1/status", "POST /api/v1/namespaces/default/events"}, writes()); diff != "" {
		k.t.Errorf("writes of the second start (-want +got):\n%s", diff)
	}
	link, err := netlink.LinkByName("flannel.1")
	must(k.t, err)
	if got := k.node("node-1").Metadata.Annotations[prefix+"backend-data"]; got != mac || !strings.Contains(mac, link.Attrs().HardwareAddr.String()) {
		k.t.Errorf("announced was %s, now %s; the device has %s", mac, got, link.Attrs().HardwareAddr)
	}
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
