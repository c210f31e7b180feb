package network

import (
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/backend/auto"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/network/kernel/kerneltest"
	"github.com/weft-network/weft/subnet"
)

// autoConfigs are network configs with the backend auto, by families.
var autoConfigs = map[string]string{
	"ipv4": `{"Network":"10.5.0.0/16","Backend":{"Type":"auto"}}`,
	"ipv6": `{"EnableIPv4":false,"IPv6Network":"fd00:5::/48","EnableIPv6":true,"Backend":{"Type":"auto"}}`,
	"dual": `{"Network":"10.5.0.0/16","IPv6Network":"fd00:5::/48","EnableIPv6":true,"Backend":{"Type":"auto"}}`,
}

// direct waits until all agents reach all peers without the tunnel, or by it.
func (c *nodes) direct(is bool) {
	c.t.Helper()
	for _, a := range c.running() {
		const longest = 3 * patience // a path that was left is asked every ten seconds
		late := time.After(longest)
		for a.Status().Peers == nil || slices.ContainsFunc(a.Status().Peers, func(p PeerStatus) bool { return isDirect(p) != is || !p.Programmed }) {
			select {
			case <-late:
				c.t.Fatalf("%s: not all peers are reached so, without the tunnel %t, within %s: %+v", a.o.Node, is, longest, a.Status().Peers)
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
}

// isDirect tells whether the peer is reached without the tunnel in all its families.
func isDirect(p PeerStatus) bool {
	return len(p.Paths) > 0 && !slices.ContainsFunc(p.Paths, func(x PathStatus) bool { return !x.Direct })
}

// attach gives each node a pod behind a veth pair. The pods answer at c.pod.
func (c *nodes) attach() (pods []*kerneltest.NS) {
	c.t.Helper()
	for i, node := range c.spaces {
		own := c.pod(i).Addr()
		bits := map[bool]int{true: 24, false: 64}[own.Is4()]
		ns, gateway := kerneltest.NewNS(c.t), own.Prev()
		ns.Join(c.t, "eth0", node, "cni0", []string{netip.PrefixFrom(own, bits).String()}, []string{netip.PrefixFrom(gateway, bits).String()})
		ns.Do(c.t, func() { must(c.t, netlink.RouteAdd(&netlink.Route{Gw: gateway.AsSlice()})) })
		ns.Echo(c.t, c.pod(i))
		pods = append(pods, ns)
	}
	pods[0].Reach(c.t, c.pod(1))
	return pods
}

// filter makes node i drop packets with pods' addresses that come in by its uplink as they are, as clouds' networks do. some says
// which, in nft's words.
func (c *nodes) filter(i int, some string) {
	c.nft(i, fmt.Sprintf(`table inet cut {
		chain in {
			type filter hook prerouting priority -400; policy accept;
			iifname "eth0" ip saddr 10.5.0.0/16 %s drop
			iifname "eth0" ip6 saddr fd00:5::/48 %s drop
		}
	}`, some, some))
}

// unfilter ends that.
func (c *nodes) unfilter(i int) { c.nft(i, "delete table inet cut") }

func (c *nodes) nft(i int, script string) {
	c.t.Helper()
	c.spaces[i].Do(c.t, func() {
		cmd := exec.CommandContext(c.t.Context(), "nft", "-f", "-")
		cmd.Stdin = strings.NewReader(script)
		if out, err := cmd.CombinedOutput(); err != nil {
			c.t.Fatalf("nft: %v: %s", err, out)
		}
	})
}

// falls is how often paths of all agents have stopped to work.
func (c *nodes) falls() (n uint64) {
	for _, a := range c.running() {
		for _, p := range a.Status().Peers {
			for _, x := range p.Paths {
				n += x.Falls
			}
		}
	}
	return n
}

// firstRoutes are the devices of the first route to each peer of node i.
func (c *nodes) firstRoutes(i int) (links []string) {
	for _, r := range c.held(i).Routes {
		if r.Type == kernel.Unicast && r.Metric == backend.Metric(r.Dst) {
			links = append(links, r.Link)
		}
	}
	slices.Sort(links)
	return slices.Compact(links)
}

// A path is used when it has proven itself, left within seconds when pods' packets get lost there, and used again when they do not.
func TestPaths(t *testing.T) {
	for families, config := range autoConfigs {
		t.Run(families, func(t *testing.T) {
			c := newNodes(t, 2, config)
			pods := c.attach()
			for _, l := range c.cluster.Leases() {
				if l.Backend != "vxlan" || l.Ways != "" {
					t.Errorf("lease %s is of %s, %s", l.Subnets, l.Backend, l.Ways)
				}
			}
			to := c.pod(1)
			flood := pods[0].Flood(t, to, 10*time.Millisecond)
			c.direct(true)
			if _, lost := flood.Stop(t); lost > 0 {
				t.Errorf("%d packets lost while the nodes began to use the paths", lost)
			}
			if links := c.firstRoutes(0); !slices.Equal(links, []string{"eth0"}) {
				t.Errorf("routes lead to %q", links)
			}
			c.restartsWithoutChange()
			c.direct(true)

			c.filter(1, "")
			if pods[0].Ping(t, to, 8, 100*time.Millisecond) == nil {
				t.Error("the filter lets pods' packets through")
			}
			pods[0].Reach(t, to)
			c.direct(false)
			if links := c.firstRoutes(0); slices.Contains(links, "eth0") {
				t.Errorf("routes lead to %q", links)
			}
			must(t, pods[0].Ping(t, to, 1000, patience))
			if n := c.falls(); n < 1 {
				t.Errorf("%d falls are told", n)
			}
			flood = pods[0].Flood(t, to, 10*time.Millisecond)
			c.unfilter(1)
			c.direct(true)
			if _, lost := flood.Stop(t); lost > 0 {
				t.Errorf("%d packets lost while the nodes began to use the paths again", lost)
			}
		})
	}
}

// Where the network drops pods' addresses from the begin on, as clouds' do, the tunnel is used, and nothing is lost.
func TestPathsThatNeverWork(t *testing.T) {
	c := newNodes(t, 2, autoConfigs["ipv4"])
	for i := range c.agents {
		c.stop(i)
		c.filter(i, "")
		c.start(i)
	}
	c.direct(false)
	pods := c.attach()
	to := c.pod(1)
	flood := pods[0].Flood(t, to, 10*time.Millisecond)
	for _, a := range c.running() {
		until(t, a, "no answer", func(s Status) bool { return strings.Contains(s.Peers[0].Paths[0].Reason, "does not answer") })
	}
	if sent, lost := flood.Stop(t); lost > 0 || c.falls() > 0 {
		t.Errorf("%d of %d packets lost, %d falls", lost, sent, c.falls())
	}
}

// Paths that lose some packets of all are not left for that.
func TestPathsWithLoss(t *testing.T) {
	c := newNodes(t, 2, autoConfigs["ipv4"])
	pods := c.attach()
	c.direct(true)
	for i := range c.agents {
		c.filter(i, "numgen random mod 100 < 30")
	}
	answered := 0
	for range 200 {
		if pods[0].Ping(t, c.pod(1), 100, 100*time.Millisecond) == nil {
			answered++
		}
	}
	if answered > 180 || answered < 20 {
		t.Errorf("%d packets of 200 were answered", answered)
	}
	if n := c.falls(); n > 0 {
		t.Errorf("%d falls", n)
	}
	c.direct(true)
}

// A peer of the backend vxlan, such as a flanneld, is reached without the tunnel too, and need not do so itself.
func TestPathsToOtherBackends(t *testing.T) {
	c := newNodes(t, 2, backendConfig(`{"Type":"vxlan"}`))
	pods := c.attach()
	c.stop(0)
	c.options[0].Backend = func(kind, config string) (backend.Backend, []string, error) {
		if kind == "vxlan" {
			return auto.New(config)
		}
		return backends(kind, config)
	}
	c.start(0)
	until(t, c.agents[0], "a peer without the tunnel", func(s Status) bool { return len(s.Peers) == 1 && isDirect(s.Peers[0]) })
	if paths := c.agents[1].Status().Peers[0].Paths; len(paths) > 0 {
		t.Errorf("the other one tries paths: %+v", paths)
	}
	if links := c.firstRoutes(1); !slices.Equal(links, []string{"flannel.1"}) {
		t.Errorf("its routes lead to %q", links)
	}
	must(t, pods[0].Ping(t, c.pod(1), 1000, patience))
	must(t, pods[1].Ping(t, c.pod(0), 1000, patience))
}

// No node announces the type that is in the config. A lease that does makes no devices.
func TestLeaseOfTypeAuto(t *testing.T) {
	c := newNodes(t, 1, autoConfigs["ipv4"])
	c.cluster.Put(subnet.Lease{Subnets: subnet.Subnets{netip.MustParsePrefix("10.5.99.0/24")}, Attrs: subnet.Attrs{Backend: "auto",
		PublicIP: [2]netip.Addr{netip.MustParseAddr("192.0.2.99")}, Data: [2]string{`{"VNI":1,"VtepMAC":"0e:00:00:00:04:99"}`}}})
	for range 3 {
		until(t, c.agents[0], "a peer that cannot be served", func(s Status) bool {
			return len(s.Peers) == 1 && strings.Contains(s.Peers[0].Error, "it is reached by auto, which this node cannot serve")
		})
		c.agents[0].lookAtEngines()
	}
	if d := c.devices(0); !slices.Equal(d, []string{"flannel.1"}) {
		t.Errorf("devices %q", d)
	}
}

// Two nodes that drop what comes in by another device than answers would go out by never begin, and say what to do.
func TestPathsWithStrictFilters(t *testing.T) {
	c := newNodes(t, 2, backendConfig(`{"Type":"vxlan"}`))
	for i := range c.agents {
		c.stop(i)
		c.spaces[i].Do(t, func() {
			k, err := kernel.Open()
			must(t, err)
			defer k.Close()
			var s kernel.State
			s.Sysctls.Add(kernel.Sysctl{Name: rpFilter("eth0"), Value: "1"})
			must(t, k.Apply(t.Context(), kernel.Change{Put: s}))
		})
	}
	c.cluster.SetConfig(autoConfigs["ipv4"])
	for i := range c.agents {
		c.start(i)
	}
	for _, a := range c.running() {
		until(t, a, "a warning and the tunnel", func(s Status) bool {
			return s.Ready && len(s.Peers) == 1 && len(s.Peers[0].Paths) == 1 && strings.Contains(s.Peers[0].Paths[0].Reason, "does not answer") &&
				len(s.Warnings) == 1 && strings.Contains(s.Warnings[0], "never reached without a tunnel; sysctl -w net.ipv4.conf.eth0.rp_filter=2")
		})
	}
	c.attach()
}

// Back to the tunnel alone, nothing of the paths is left.
func TestPathsAreGivenUp(t *testing.T) {
	c := newNodes(t, 2, autoConfigs["ipv4"])
	pods := c.attach()
	c.direct(true)
	flood := pods[0].Flood(t, c.pod(1), 10*time.Millisecond)
	c.cluster.SetConfig(backendConfig(`{"Type":"vxlan"}`))
	for i, a := range c.running() {
		until(t, a, "the tunnel", func(s Status) bool {
			return s.Ready && len(s.Peers[0].Paths) == 0 && !strings.Contains(c.held(i).String(), "dev eth0 proto 87")
		})
	}
	if _, lost := flood.Stop(t); lost > 0 {
		t.Errorf("%d packets lost", lost)
	}
	c.restartsWithoutChange()
	c.cluster.SetConfig(backendConfig(`{"Type":"auto"}`))
	c.direct(true)
}

func TestPathStatus(t *testing.T) {
	tunnel, _, err := auto.New("{}")
	must(t, err)
	n := backend.Node{Name: "n1", Subnets: subnet.Subnets{netip.MustParsePrefix("10.5.1.0/24")}}
	n.Networks[subnet.Inet].Prefix = netip.MustParsePrefix("10.5.0.0/16")
	n.Uplinks[subnet.Inet] = backend.Uplink{Link: "eth0", MTU: 1500, Addr: netip.MustParseAddr("192.0.2.1"), Public: netip.MustParseAddr("192.0.2.1"),
		OnLink: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}
	peer := func(number int, public string) subnet.Lease {
		return subnet.Lease{Subnets: subnet.Subnets{prefix("10.5.%d.0/24", number)}, Attrs: subnet.Attrs{Node: fmt.Sprint("n", number), Backend: "vxlan",
			PublicIP: [2]netip.Addr{netip.MustParseAddr(public)}, Data: [2]string{fmt.Sprintf(`{"VNI":1,"VtepMAC":"0e:00:00:00:04:%02x"}`, number)}}}
	}
	works := kernel.Path{Dst: prefix("10.5.%d.0/24", 2), Via: netip.MustParseAddr("192.0.2.2"), Link: "eth0"}
	n.Works = map[kernel.Path]bool{works: true}
	w := newWay(auto.Kind, "{}", tunnel)
	w.node = n
	p := plan{node: n, ways: []way{w}, own: subnet.Lease{Subnets: n.Subnets}, implied: func(string, [2]string) string { return "VNI 1 at port 8472" }}
	since := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	tried := map[netip.Prefix]kernel.PathState{
		works.Dst:                 {Works: true, Since: since, Why: "it answers", Falls: 2},
		prefix("10.5.%d.0/24", 3): {Since: since, Why: "it does not answer"},
	}
	for _, test := range []struct {
		peer subnet.Lease
		want PathStatus
	}{
		{peer(2, "192.0.2.2"), PathStatus{Family: "IPv4", Direct: true, Since: &since, Reason: "it answers", Falls: 2}},
		{peer(3, "192.0.2.3"), PathStatus{Family: "IPv4", Since: &since, Reason: "it does not answer"}},
		{peer(4, "192.0.2.4"), PathStatus{Family: "IPv4", Reason: "the path without the tunnel is not tried yet"}},
		{peer(5, "198.51.100.5"), PathStatus{Family: "IPv4", Reason: "198.51.100.5 is not on the link of eth0"}},
	} {
		if diff := cmp.Diff([]PathStatus{test.want}, p.paths(test.peer, tried)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.peer.Subnets, diff)
		}
	}
	p.ways[0].b = backend.Backend(tunnel.(auto.Backend).Backend)
	if paths := p.paths(peer(2, "192.0.2.2"), tried); paths != nil {
		t.Errorf("%+v with vxlan", paths)
	}
}

// Two leases of one node have its forwarding entry in common, which is not to be taken away with one of them.
func TestLeasesThatShareAnEntry(t *testing.T) {
	b, _, err := auto.New("{}")
	must(t, err)
	n := dualNode()
	w := newWay(auto.Kind, "{}", b)
	w.node = n
	p := plan{node: n, ways: []way{w}, own: subnet.Lease{Subnets: n.Subnets}, implied: func(string, [2]string) string { return "VNI 1 at port 8472" }}
	lease := func(number int) subnet.Lease {
		return subnet.Lease{Subnets: subnet.Subnets{prefix("10.5.%d.0/24", number)}, Attrs: subnet.Attrs{Node: "n2", Backend: "vxlan",
			PublicIP: [2]netip.Addr{netip.MustParseAddr("192.0.2.2")}, Data: [2]string{`{"VNI":1,"VtepMAC":"0e:00:00:00:04:02"}`}}}
	}
	var all, scratch kernel.State
	for i, want := range []bool{false, true} {
		if shared, err := p.add(lease(2+i), &scratch, &all); err != nil || shared != want {
			t.Errorf("lease %d: shared %t, %v; want %t", i, shared, err, want)
		}
	}
}

// dualNode is a node of both families on one link with its peers.
func dualNode() backend.Node {
	n := backend.Node{Name: "n1", Subnets: subnet.Subnets{netip.MustParsePrefix("10.5.1.0/24"), netip.MustParsePrefix("fd00:5:0:1::/64")}}
	for f, x := range [2]struct{ network, addr, link string }{{"10.5.0.0/16", "192.0.2.1", "192.0.2.0/24"}, {"fd00:5::/48", "2001:db8::1", "2001:db8::/64"}} {
		n.Networks[f].Prefix = netip.MustParsePrefix(x.network)
		a := netip.MustParseAddr(x.addr)
		n.Uplinks[f] = backend.Uplink{Link: "eth0", MTU: 1500, Addr: a, Public: a, OnLink: []netip.Prefix{netip.MustParsePrefix(x.link)}}
	}
	return n
}
