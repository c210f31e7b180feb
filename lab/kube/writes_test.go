package kube

import (
	"strings"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
)

// testWritesNothing claims again and again, and restarts.
func testWritesNothing(k *cluster) {
	k.SetConfig(single)
	k.Store("node-1")
	w := want(k.t, single, "node-1", "192.168.0.1")
	s := k.store("node-1")
	claim(k.t, s, w)
	must(k.t, s.Report(k.t.Context(), true, ""))
	before := k.node("node-1")
	for range 3 {
		claim(k.t, s, w)
		must(k.t, s.Report(k.t.Context(), true, ""))
		s = k.store("node-1")
	}
	if after := k.node("node-1").Metadata.ResourceVersion; after != before.Metadata.ResourceVersion {
		k.t.Errorf("version %s before, %s after claims that changed nothing", before.Metadata.ResourceVersion, after)
	}
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
