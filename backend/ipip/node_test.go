package ipip_test

import (
	"net"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/backend/ipip"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/network/kernel/kerneltest"
	"github.com/weft-network/weft/subnet"
)

// families are what a cluster may have.
var families = map[string][]subnet.Family{
	"IPv4": {subnet.Inet}, "IPv6": {subnet.Inet6}, "dual-stack": {subnet.Inet, subnet.Inet6},
}

// node is a node with one pod.
type node struct {
	*kerneltest.NS
	*kernel.Kernel
	backend.Node
	own  subnet.Lease
	pod  *kerneltest.NS
	addr [2]netip.Addr // of the pod
}

// uplinkMTU is the MTU between the nodes.
const uplinkMTU = 1500

var (
	networks = [2]netip.Prefix{netip.MustParsePrefix("10.5.0.0/16"), netip.MustParsePrefix("fd00:5::/56")}
	subnets  = [2][2]netip.Prefix{
		{netip.MustParsePrefix("10.5.1.0/24"), netip.MustParsePrefix("fd00:5:0:1::/64")},
		{netip.MustParsePrefix("10.5.2.0/24"), netip.MustParsePrefix("fd00:5:0:2::/64")},
	}
	publics = [2][2]netip.Addr{
		{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")},
		{netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::2")},
	}
)

// newNodes returns two nodes of a cluster with these families on one link. Nothing of a backend is there yet.
func newNodes(t *testing.T, fs []subnet.Family) (nodes [2]node) {
	t.Helper()
	for i := range nodes {
		nodes[i].NS = kerneltest.NewNS(t)
	}
	nodes[0].Join(t, "eth0", nodes[1].NS, "eth0", []string{"192.0.2.1/24", "2001:db8::1/64"}, []string{"192.0.2.2/24", "2001:db8::2/64"})
	for i := range nodes {
		nodes[i].open(t)
		nodes[i].Name = []string{"node-a", "node-b"}[i]
		for _, f := range fs {
			nodes[i].Networks[f].Prefix = networks[f]
			nodes[i].own.Subnets[f] = subnets[i][f]
			nodes[i].Uplinks[f] = backend.Uplink{Link: "eth0", MTU: uplinkMTU, Addr: publics[i][f], Public: publics[i][f],
				OnLink: []netip.Prefix{netip.PrefixFrom(publics[i][f], []int{24, 64}[f]).Masked()}}
		}
		nodes[i].addPod(t, backend.MTU(ipip.Backend{}, nodes[i].Node))
	}
	return nodes
}

func (n *node) open(t *testing.T) {
	t.Helper()
	n.Do(t, func() {
		var err error
		if n.Kernel, err = kernel.Open(); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(n.Kernel.Close)
}

// addPod joins a pod to the node, with the second and third address of the subnet at the two ends, and an MTU.
func (n *node) addPod(t *testing.T, mtu int) {
	t.Helper()
	n.pod = kerneltest.NewNS(t)
	var gateways [2]netip.Addr
	var here, there []string
	for f, p := range n.own.Subnets {
		if p.IsValid() {
			gateways[f] = p.Addr().Next()
			n.addr[f] = gateways[f].Next()
			here = append(here, netip.PrefixFrom(gateways[f], p.Bits()).String())
			there = append(there, netip.PrefixFrom(n.addr[f], p.Bits()).String())
		}
	}
	n.Join(t, "pod0", n.pod, "eth0", here, there)
	limit := func(name string) {
		link, err := netlink.LinkByName(name)
		check(t, err)
		check(t, netlink.LinkSetMTU(link, mtu))
	}
	n.Do(t, func() { limit("pod0") })
	n.pod.Do(t, func() {
		limit("eth0")
		for _, gateway := range gateways {
			if gateway.IsValid() {
				check(t, netlink.RouteAdd(&netlink.Route{Gw: gateway.AsSlice()}))
			}
		}
	})
}

// plan is what the node has to hold with these peers, by the backend with this config.
func (n *node) plan(t *testing.T, config string, peers ...*node) (s kernel.State) {
	t.Helper()
	b, warnings, err := ipip.New(config)
	if err != nil || warnings != nil {
		t.Fatalf("config %s: %v, %v", config, err, warnings)
	}
	check(t, b.Base(n.Node, n.own, &s))
	for _, p := range peers {
		l := p.own
		l.Attrs, err = b.Attrs(p.Node)
		check(t, err)
		check(t, b.Peer(n.Node, l, &s))
	}
	s.Sysctls.Add(kernel.Sysctl{Name: "net/ipv4/ip_forward", Value: "1"})
	s.Sysctls.Add(kernel.Sysctl{Name: "net/ipv6/conf/all/forwarding", Value: "1"})
	return s
}

func (n *node) list(t *testing.T) kernel.State {
	t.Helper()
	var scope kernel.Scope
	for f, p := range n.own.Subnets {
		if p.IsValid() {
			scope.Networks = append(scope.Networks, kernel.Subnetwork{Prefix: networks[f], SubnetLen: p.Bits()})
		}
	}
	s, err := n.List(t.Context(), scope, []string{"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"})
	check(t, err)
	return s
}

// converge makes the node hold want, and checks that it does and that a second pass has nothing to do.
func (n *node) converge(t *testing.T, want kernel.State) {
	t.Helper()
	check(t, n.Apply(t.Context(), kernel.Diff(n.list(t), want)))
	n.holds(t, want)
}

func (n *node) holds(t *testing.T, want kernel.State) {
	t.Helper()
	have := n.list(t)
	if diff := cmp.Diff(want.String(), have.String()); diff != "" {
		t.Fatalf("the kernel holds something else (-want +have):\n%s", diff)
	}
	if c := kernel.Diff(have, want); !c.IsEmpty() {
		t.Fatalf("a second pass would change something:\nput:\n%sdrop:\n%s", c.Put, c.Drop)
	}
}

// do runs f in the namespace of the node.
func (n *node) do(t *testing.T, f func() error) {
	t.Helper()
	n.Do(t, func() { check(t, f()) })
}

// device returns the named device, as another implementation sees it.
func (n *node) device(t *testing.T, name string) (link netlink.Link) {
	t.Helper()
	n.do(t, func() (err error) {
		link, err = netlink.LinkByName(name)
		return err
	})
	return link
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func ipnet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// flannel makes what flanneld's backend ipip makes on a node: the device with its address, and a route of protocol boot
// to the peer. To be called in the namespace of the node.
func flannel(own netip.Prefix, local netip.Addr, peer netip.Prefix, public netip.Addr) error {
	tunnel := &netlink.Iptun{LinkAttrs: netlink.LinkAttrs{Name: "flannel.ipip"}, Local: local.AsSlice()}
	if err := netlink.LinkAdd(tunnel); err != nil {
		return err
	}
	if err := netlink.LinkSetMTU(tunnel, uplinkMTU-20); err != nil {
		return err
	}
	if err := netlink.AddrAdd(tunnel, &netlink.Addr{IPNet: ipnet(netip.PrefixFrom(own.Addr(), 32))}); err != nil {
		return err
	}
	if err := netlink.LinkSetUp(tunnel); err != nil {
		return err
	}
	return netlink.RouteAdd(&netlink.Route{Dst: ipnet(peer), Gw: public.AsSlice(), LinkIndex: tunnel.Attrs().Index, Flags: unix.RTNH_F_ONLINK})
}
