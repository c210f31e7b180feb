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
			for _, n := range w.nodes {
				n.change("flanneld")
			}
			check(100)
			for _, n := range w.nodes {
				for len(n.pods) > 0 {
					n.pods[0].remove()
				}
				if left := n.records(); len(left) > 0 {
					t.Errorf("%s has no pods any more, and records of some: %v", n.name, left)
				}
			}
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

// TestPeers lets nodes of both kinds come, change and go, and looks whether those of the other kind follow.
func TestPeers(t *testing.T) {
	bin := makeBinaries(t)
	w := newWorld(t, startAPI(t, bin), bin, testCase{backend: `{"Type": "vxlan"}`, dual: true, nodes: 2})
	w.nodes[0].start("weftd")
	w.nodes[0].addPod("weft")
	w.nodes[1].start("flanneld")
	w.nodes[1].addPod("flannel").reach()
	for _, kind := range []string{"flanneld", "weftd"} {
		n := w.addNode()
		n.start(kind)
		n.addPod(pluginOf(kind)).reach()
	}

	// A node that is made anew has other MAC addresses; flanneld follows only if both change.
	for _, n := range w.nodes {
		kind := n.agent.kind
		n.stop(syscall.SIGKILL)
		before := n.identity()
		n.forget()
		n.start(kind)
		if after := n.identity(); after["device flannel.1"] == before["device flannel.1"] {
			t.Errorf("%s still has the device %s", n.name, after["device flannel.1"])
		}
		n.pods[0].reach()
	}

	gone := w.nodes[2]
	gone.stop(syscall.SIGTERM)
	w.do("DELETE", "/api/v1/nodes/"+gone.name, nil)
	for _, n := range w.nodes {
		if n != gone {
			eventually(t, n.name+" to forget "+gone.name, func() error { return n.lacks(gone) })
		}
	}
}

// forget makes the node's device and what its Node tells of it go, as when a machine is installed anew.
func (n *node) forget() {
	t := n.w.t
	t.Helper()
	n.Do(t, func() {
		for _, name := range []string{"flannel.1", "flannel-v6.1"} {
			l, err := netlink.LinkByName(name)
			must(t, err)
			must(t, netlink.LinkDel(l))
		}
	})
	mac := func(last int) string {
		return fmt.Sprintf(`{"VNI":1,"VtepMAC":"0e:00:00:00:%02x:%02x"}`, last, n.number)
	}
	n.w.do("PATCH", "/api/v1/nodes/"+n.name, object{"metadata": object{"annotations": object{prefix + "backend-data": mac(4), prefix + "backend-v6-data": mac(6)}}})
}

// lacks tells whether the node has no route to the pods of another.
func (n *node) lacks(other *node) (err error) {
	n.Do(n.w.t, func() {
		for _, cidr := range other.cidrs() {
			dst, parseErr := netlink.ParseIPNet(cidr)
			must(n.w.t, parseErr)
			routes, listErr := netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Dst: dst}, netlink.RT_FILTER_DST)
			must(n.w.t, listErr)
			if len(routes) > 0 {
				err = fmt.Errorf("it still has %v", routes)
			}
		}
	})
	return err
}

// pluginOf is the name of the plugin that belongs to a kind of agent.
func pluginOf(kind string) string {
	return map[string]string{"weftd": "weft", "flanneld": "flannel"}[kind]
}

// change puts another agent in the place of that of the node, and looks whether the node is what it was: to its peers, to
// its pods, and to plugins.
func (n *node) change(to string) {
	t := n.w.t
	t.Helper()
	before, old := n.identity(), n.agent.kind
	stays := n.addPod(pluginOf(old))
	n.stop(map[bool]syscall.Signal{true: syscall.SIGTERM, false: syscall.SIGKILL}[n.number%2 == 1])
	n.start(to)
	if diff := cmp.Diff(before, n.identity()); diff != "" {
		t.Errorf("%s was changed from %s to %s, and it is not what it was (-want +got):\n%s", n.name, old, to, diff)
	}
	n.checkRules(to)
	stays.reach()
	added := n.addPod(pluginOf(to))
	added.reach()
	if n.number%2 == 0 {
		stays.plugin = pluginOf(to) // runtimes differ: some ask the plugin that made the pod, some that which is there now
	}
	stays.remove()
	added.remove()
}

// identity is what must stay.
func (n *node) identity() map[string]string {
	t := n.w.t
	t.Helper()
	id := map[string]string{}
	maps.Copy(id, n.annotations())
	maps.DeleteFunc(id, func(key, _ string) bool { return strings.HasSuffix(key, "/uplink-mtu") }) // weftd's own, which flanneld passes over
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
	if n.w.dual {
		delete(id, "FLANNEL_MTU") // flanneld forgets that an outer header of IPv6 is longer
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

// checkRules looks whether the node has the firewall rules of the agent. What was flanneld's has to go; flanneld knows nothing of
// what was weftd's, which says the same.
func (n *node) checkRules(kind string) {
	t := n.w.t
	t.Helper()
	own, other := "table inet weft", "FLANNEL-"
	if kind == "flanneld" {
		own, other = other, "nothing else"
	}
	eventually(t, "the rules of "+kind+" on "+n.name, func() (err error) {
		n.Do(t, func() {
			var out []byte
			out, err = exec.Command("nft", "list", "ruleset").CombinedOutput()
			if rules := string(out); err == nil && (!strings.Contains(rules, own) || strings.Contains(rules, other)) {
				err = fmt.Errorf("want %q, and not %q:\n%s", own, other, rules)
			}
		})
		return err
	})
}
