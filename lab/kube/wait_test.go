package kube

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
)

// says waits until weftd says what it waits for: to the CNI plugin, in its log and, where the API can be reached, in an
// Event; and, where there is a Node, in its condition.
func (a *agent) says(sentence string, event, condition bool) {
	k := a.k
	k.t.Helper()
	k.until("the file with "+sentence, func() bool { return strings.Contains(a.file("subnet.env.waiting"), sentence) })
	k.until("the log with "+sentence, func() bool { return strings.Contains(strings.ReplaceAll(a.file(logName), `\"`, `"`), sentence) })
	if event {
		k.until("the Event with "+sentence, func() bool {
			return slices.ContainsFunc(k.events("node-1"), func(e string) bool {
				return strings.HasPrefix(e, "Warning NetworkUnavailable ") && strings.Contains(e, sentence)
			})
		})
	}
	if condition {
		k.until("the condition with "+sentence, func() bool {
			c := k.condition("node-1")
			return strings.HasPrefix(c, "True WeftIsNotReady ") && strings.Contains(c, sentence)
		})
	}
	if a.file("subnet.env") != "" {
		k.t.Errorf("pods are let in with %q", sentence)
	}
}

// testWaiting starts weftd where nothing is there, and lets one thing come after the other.
func testWaiting(k *cluster) {
	k.line.cut()
	a := k.run(k.weftd(), "node-1")
	a.says("the store has not answered yet", false, false)
	a.says("is it running, and reachable from here?", false, false)
	k.line.join()
	a.says("there is no network config yet; put net-conf.json into "+k.configPath()+", or the ConfigMap that is mounted there", true, false)
	k.SetConfig(`{"Network": "10.5.0.0"}`)
	a.says("the network config cannot be used: ", true, false)
	k.SetConfig(single)
	a.says("no IPv4 uplink: no IPv4 default route through a device with an address; add one, or name the device with --iface", true, false)
	uplink(k.t, "eth7", "192.168.0.1/24")
	defaultRoute(k, "192.168.0.254")
	a.says("the cluster has no Node node-1 yet: its kubelet makes it when it joins; if the node is known by another name, set NODE_NAME", true, false)
	k.makeNode("node-1")
	k.internal("node-1", "192.168.0.1")
	a.says("Node node-1 has no pod CIDR yet: kube-controller-manager gives it one when it runs with --allocate-node-cidrs and --cluster-cidr 10.5.0.0/16", true, true)
	k.do("DELETE", "/api/v1/nodes/node-1", nil)
	k.makeNode("node-1", "10.6.1.0/24")
	k.internal("node-1", "192.168.0.1")
	a.says("pod CIDR 10.6.1.0/24 of Node node-1 is not inside the network 10.5.0.0/16 of net-conf.json: make the network the --cluster-cidr", true, true)
	k.Store("node-2")
	k.annotate("node-2", object{prefix + "kube-subnet-manager": "true", prefix + "backend-type": "vxlan", prefix + "public-ip": "192.168.0.1",
		prefix + "backend-data": `{"VNI":1,"VtepMAC":"0e:00:00:00:00:02"}`})
	k.do("DELETE", "/api/v1/nodes/node-1", nil)
	k.makeNode("node-1", "10.5.1.0/24")
	k.internal("node-1", "192.168.0.1")
	a.says("public address is announced by another node: Node node-2 at 192.168.0.1 with 10.5.3.0/24; if that node is gone, delete its Node", true, true)
	k.do("DELETE", "/api/v1/nodes/node-2", nil)

	k.until("subnet.env", func() bool { return strings.Contains(a.file("subnet.env"), "FLANNEL_SUBNET=10.5.1.1/24\n") })
	k.until("the condition", func() bool { return strings.HasPrefix(k.condition("node-1"), "False FlannelIsUp") })
	k.until("the Event", func() bool {
		e := k.events("node-1")
		return strings.HasPrefix(e[len(e)-1], "Normal NetworkReady ")
	})
	a.stop() // it is the one that was started
}

// defaultRoute gives the machine one.
func defaultRoute(k *cluster, via string) {
	k.t.Helper()
	addr, err := netlink.ParseAddr(via + "/32")
	must(k.t, err)
	must(k.t, netlink.RouteAdd(&netlink.Route{Gw: addr.IP}))
}

// testBootWithoutAPI reboots a machine while the API is away.
func testBootWithoutAPI(k *cluster) {
	k.SetConfig(dual)
	uplink(k.t, "eth7", "192.168.0.1/24", "2001:db8::1/64")
	k.makeNode("node-1", "10.5.1.0/24", "fd00:5:0:1::/64")
	k.do("PATCH", "/api/v1/nodes/node-1/status", object{"status": object{"addresses": []object{
		{"type": "InternalIP", "address": "192.168.0.1"}, {"type": "InternalIP", "address": "2001:db8::1"}}}})
	peer := dualPeer{[2]string{"10.5.2.0/24", "fd00:5:0:2::/64"}, [2]string{"192.168.0.2", "2001:db8::2"}, [2]string{"0e:00:00:00:04:02", "0e:00:00:00:06:02"}}
	peer.make(k, "node-2")
	bin := k.weftd()
	a := k.run(bin, "node-1")
	k.until("subnet.env", func() bool { return a.file("subnet.env") != "" })
	k.until("the state file", func() bool { return strings.Contains(a.file("leases.json"), "0e:00:00:00:06:02") })
	env, kernel, base := a.file("subnet.env"), overlay(k.t), k.base()
	a.stop()
	sweep()
	must(k.t, os.Remove(filepath.Join(a.dir, "subnet.env")))
	k.line.cut()

	b := k.run(bin, "node-1", "--state-dir="+a.dir)
	k.until("subnet.env", func() bool { return b.file("subnet.env") != "" })
	for what, diff := range map[string]string{"subnet.env": cmp.Diff(env, b.file("subnet.env")), "peers": cmp.Diff(kernel, overlay(k.t)), "base": cmp.Diff(base, k.base())} {
		if diff != "" {
			k.t.Errorf("%s without the API (-before the reboot +after it):\n%s", what, diff)
		}
	}
	before, node := len(b.changes(0)), k.node("node-1").Metadata.ResourceVersion
	k.line.join()
	k.until("the store", func() bool { return strings.Contains(b.file(logName), "the store is back") })
	peer.mac[1] = "0e:00:00:00:06:aa"
	k.annotate("node-2", peer.annotations())
	k.until("the peer's change", func() bool { return cmp.Equal(slices.Sorted(slices.Values(peer.kernel())), overlay(k.t)) })
	k.until("the log", func() bool { return len(b.changes(before)) > 0 })
	if diff := cmp.Diff([]string{"dropped fdb flannel-v6.1", "put fdb flannel-v6.1", "put neigh flannel-v6.1"}, b.changes(before)); diff != "" {
		k.t.Errorf("changes since the API is back (-want +got):\n%s", diff)
	}
	if after := k.node("node-1").Metadata.ResourceVersion; after != node {
		k.t.Errorf("the own Node was written without need:\n%v", k.node("node-1"))
	}
}

// base is what the kernel has for the node itself, in the words of ip.
func (k *cluster) base() []string {
	k.t.Helper()
	var lines []string
	for _, command := range []string{"ip -br addr show dev flannel.1", "ip -br addr show dev flannel-v6.1", "ip -br link show dev flannel.1", "ip -br link show dev flannel-v6.1",
		"ip -4 route show proto 87 type unreachable", "ip -6 route show proto 87 type unreachable"} {
		lines = append(lines, lookUp(k.t, command)...)
	}
	return lines
}

// testOtherCIDR deletes the own Node and makes it again, with other pod CIDRs: what there was for the old ones goes.
func testOtherCIDR(k *cluster) {
	k.SetConfig(dual)
	uplink(k.t, "eth7", "192.168.0.1/24", "2001:db8::1/64")
	again := func(cidrs ...string) {
		k.makeNode("node-1", cidrs...)
		k.do("PATCH", "/api/v1/nodes/node-1/status", object{"status": object{"addresses": []object{
			{"type": "InternalIP", "address": "192.168.0.1"}, {"type": "InternalIP", "address": "2001:db8::1"}}}})
	}
	again("10.5.1.0/24", "fd00:5:0:1::/64")
	k.peerNode()
	a := k.run(k.weftd(), "node-1")
	k.until("subnet.env", func() bool { return a.file("subnet.env") != "" })
	before := k.base()
	k.do("DELETE", "/api/v1/nodes/node-1", nil)
	again("10.5.77.0/24", "fd00:5:0:77::/64")
	k.until("subnet.env", func() bool {
		return strings.Contains(a.file("subnet.env"), "FLANNEL_SUBNET=10.5.77.1/24\n") && strings.Contains(a.file("subnet.env"), "FLANNEL_IPV6_SUBNET=fd00:5:0:77::1/64\n")
	})
	want := strings.NewReplacer("10.5.1.0", "10.5.77.0", "fd00:5:0:1::", "fd00:5:0:77::").Replace(strings.Join(before, "\n"))
	if diff := cmp.Diff(strings.Split(want, "\n"), k.base()); diff != "" {
		k.t.Errorf("the kernel (-want +got):\n%s", diff)
	}
	if got := k.peers(); got != "10.5.3.0/24" {
		k.t.Errorf("peers: %s", got)
	}
	k.until("the condition", func() bool { return strings.HasPrefix(k.condition("node-1"), "False FlannelIsUp") })
	if got := k.node("node-1").Metadata.Annotations[prefix+"public-ipv6"]; got != "2001:db8::1" {
		k.t.Errorf("announced is %q", got)
	}
}

// testOtherName starts the machine under another name: its own Node is the new one, and the old one is not touched.
func testOtherName(k *cluster) {
	k.SetConfig(single)
	uplink(k.t, "eth7", "192.168.0.1/24")
	k.makeNode("node-1", "10.5.1.0/24")
	k.internal("node-1", "192.168.0.1")
	bin := k.weftd()
	a := k.run(bin, "node-1")
	k.until("subnet.env", func() bool { return a.file("subnet.env") != "" })
	a.stop()
	old := k.node("node-1").Metadata
	k.makeNode("node-2", "10.5.2.0/24")
	k.internal("node-2", "192.168.0.1")
	b := k.run(bin, "node-2", "--state-dir="+a.dir, "--subnet-file="+a.dir+"/subnet.env")
	k.until("what is in the way", func() bool {
		return strings.Contains(k.condition("node-2"), "Node node-1 at 192.168.0.1 with 10.5.1.0/24; if that node is gone, delete its Node")
	})
	if diff := cmp.Diff(old, k.node("node-1").Metadata); diff != "" {
		k.t.Errorf("the old Node was changed (-before +after):\n%s", diff)
	}
	k.do("DELETE", "/api/v1/nodes/node-1", nil)
	k.until("subnet.env", func() bool { return strings.Contains(a.file("subnet.env"), "FLANNEL_SUBNET=10.5.2.1/24\n") })
	k.until("the kernel", func() bool { return strings.Contains(strings.Join(k.base(), "\n"), "10.5.2.0/32") })
	b.stop()
}
