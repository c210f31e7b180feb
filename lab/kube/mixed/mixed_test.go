package mixed

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"github.com/weft-network/weft/lab/kube"
)

// testCase is a cluster.
type testCase struct {
	name, backend string
	dual          bool
	nodes         int
}

// TestMoving changes the agent of every node, one after the other, from flanneld to weftd and back, while pods talk.
func TestMoving(t *testing.T) {
	bin := makeBinaries(t)
	api := startAPI(t, bin)
	for _, c := range []testCase{
		{"vxlan", `{"Type": "vxlan"}`, false, 3},
		{"vxlan, both families", `{"Type": "vxlan"}`, true, 2},
		{"vxlan with direct routes", `{"Type": "vxlan", "DirectRouting": true}`, true, 2},
		{"host-gw", `{"Type": "host-gw"}`, false, 3},
		{"host-gw, both families", `{"Type": "host-gw"}`, true, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, api, bin, c)
			for _, n := range w.nodes {
				n.start("flanneld")
				n.addPod("flannel")
			}
			check := w.traffic()
			for _, n := range w.nodes {
				n.change("weftd")
			}
			for i, n := range w.nodes {
				n.change("flanneld")
				_ = i
			}
			check(100)
		})
	}
}

// startAPI starts a control plane that ends with the test.
func startAPI(t *testing.T, bin binaries) *kube.ControlPlane {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	api, err := kube.Start(ctx, bin.kubernetes, kube.Options{Dir: t.TempDir(), ClusterCIDR: "10.5.0.0/16,fd00:5::/56"})
	must(t, err)
	t.Cleanup(api.Stop)
	return api
}

// change puts another agent in the place of that of the node, and looks whether the node is what it was: to its peers, to
// its pods, and to plugins.
func (n *node) change(to string) {
	t := n.w.t
	t.Helper()
	before := n.identity()
	old := n.agent.kind
	n.stop(syscall.SIGTERM)
	n.start(to)
	if diff := cmp.Diff(before, n.identity()); diff != "" {
		t.Errorf("%s was changed from %s to %s, and it is not what it was (-want +got):\n%s", n.name, old, to, diff)
	}
	plugin := map[string]string{"weftd": "weft", "flanneld": "flannel"}[to]
	p := n.addPod(plugin)
	p.reach()
	p.remove()
}

// identity is what must stay.
func (n *node) identity() map[string]string {
	t := n.w.t
	t.Helper()
	id := map[string]string{}
	maps.Copy(id, n.annotations())
	for key, value := range id {
		var data any
		if json.Unmarshal([]byte(value), &data) == nil { // the order of keys does not matter
			id[key] = fmt.Sprint(data)
		}
	}
	for line := range strings.Lines(n.read("subnet.env")) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		id[key] = value
	}
	n.Do(t, func() {
		links, err := netlink.LinkList()
		must(t, err)
		for _, l := range links {
			if strings.HasPrefix(l.Attrs().Name, "flannel") {
				id["device "+l.Attrs().Name] = fmt.Sprint(l.Attrs().HardwareAddr, l.Attrs().Index, l.Attrs().MTU)
			}
		}
	})
	return id
}

// rules are the firewall rules of the node, in all languages.
func (n *node) rules() string {
	var text string
	n.Do(n.w.t, func() {
		out, err := exec.Command("nft", "list", "ruleset").CombinedOutput()
		must(n.w.t, err)
		text = string(out)
	})
	return text
}
