package kernel_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/network/kernel/kerneltest"
)

func TestMain(m *testing.M) { kerneltest.Main(m) }

// host is a namespace with an uplink eth0 (192.0.2.1/24, 2001:db8::1/64), and a Kernel in it.
type host struct {
	*kerneltest.NS
	*kernel.Kernel
	peer *kerneltest.NS // at the other end of eth0, with .2 and ::2
}

var scope = kernel.Scope{Networks: []kernel.Subnetwork{
	{Prefix: netip.MustParsePrefix("10.5.0.0/16"), SubnetLen: 24},
	{Prefix: netip.MustParsePrefix("fd00:5::/48"), SubnetLen: 64},
}}

func newHost(t testing.TB) host {
	t.Helper()
	h := host{NS: kerneltest.NewNS(t), peer: kerneltest.NewNS(t)}
	h.Join(t, "eth0", h.peer, "eth0", []string{"192.0.2.1/24", "2001:db8::1/64"}, []string{"192.0.2.2/24", "2001:db8::2/64"})
	h.Kernel = open(t, h.NS)
	return h
}

func open(t testing.TB, ns *kerneltest.NS) *kernel.Kernel {
	t.Helper()
	var k *kernel.Kernel
	ns.Do(t, func() {
		var err error
		if k, err = kernel.Open(); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(k.Close)
	return k
}

// list lists with the scope of the tests.
func (h host) list(t testing.TB, sysctls ...string) kernel.State {
	t.Helper()
	s, err := h.List(t.Context(), scope, sysctls)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// converge makes the kernel hold want and checks that it does, and that nothing is left to do.
func (h host) converge(t testing.TB, want kernel.State) {
	t.Helper()
	if err := h.Apply(t.Context(), kernel.Diff(h.list(t), want)); err != nil {
		t.Fatal(err)
	}
	h.holds(t, want)
}

// holds checks that the kernel holds want and nothing else of ours.
func (h host) holds(t testing.TB, want kernel.State) {
	t.Helper()
	have := h.list(t)
	if diff := cmp.Diff(want.String(), have.String()); diff != "" {
		t.Fatalf("the kernel holds something else (-want +have):\n%s", diff)
	}
	if c := kernel.Diff(have, want); !c.IsEmpty() {
		t.Fatalf("a second pass would change something:\nput:\n%sdrop:\n%s", c.Put, c.Drop)
	}
}

// do runs f in the namespace of h and fails with its error.
func (h host) do(t testing.TB, f func() error) {
	t.Helper()
	h.Do(t, func() {
		if err := f(); err != nil {
			t.Fatal(err)
		}
	})
}

// device returns a device of the namespace as another implementation sees it.
func (h host) device(t testing.TB, name string) netlink.Link {
	t.Helper()
	var link netlink.Link
	h.do(t, func() (err error) {
		link, err = netlink.LinkByName(name)
		return err
	})
	return link
}

func mac(i int) kernel.MAC { return kernel.MAC{0x0e, 0, 0, byte(i >> 16), byte(i >> 8), byte(i)} }

// overlay is what a vxlan node with so many peers holds, for one family.
func overlay(inet6 bool, peers int) kernel.State {
	var s kernel.State
	name, local, bits := "flannel.1", "192.0.2.1", 32
	if inet6 {
		name, local, bits = "flannel-v6.1", "2001:db8::1", 128
	}
	s.Links.Add(kernel.Link{Name: name, MAC: mac(0), MTU: 1430, Up: true, VXLAN: kernel.VXLAN{
		VNI: 1, Port: 8472, Local: netip.MustParseAddr(local), Parent: "eth0",
	}})
	s.Addrs.Add(kernel.Addr{Link: name, Prefix: netip.PrefixFrom(subnet(inet6, 0).Addr(), bits)})
	for i := 1; i <= peers; i++ {
		addPeer(&s, inet6, i)
	}
	return s
}

// addPeer adds peer i to s.
func addPeer(s *kernel.State, inet6 bool, i int) {
	name, metric := "flannel.1", uint32(0)
	public := netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)})
	if inet6 {
		name, metric = "flannel-v6.1", 1024
		public = netip.MustParseAddr(fmt.Sprintf("2001:db8:1::%x", i+1))
	}
	p := subnet(inet6, i)
	s.Routes.Add(kernel.Route{Dst: p, Metric: metric, Via: p.Addr(), Link: name, OnLink: true})
	s.Neighbours.Add(kernel.Neighbour{Link: name, IP: p.Addr(), MAC: mac(i)})
	s.Forwards.Add(kernel.Forward{Link: name, MAC: mac(i), Dst: public})
}

func subnet(inet6 bool, i int) netip.Prefix {
	if inet6 {
		return netip.MustParsePrefix(fmt.Sprintf("fd00:5:0:%x::/64", i))
	}
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 5 + byte(i>>8), byte(i), 0}), 24)
}

func ipnet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// route returns the route to dst as another implementation sees it. To be called in the namespace, like those below.
func (h host) route(t testing.TB, dst netip.Prefix) *netlink.Route {
	t.Helper()
	list, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Dst: ipnet(dst)}, netlink.RT_FILTER_DST)
	if err != nil || len(list) != 1 {
		t.Fatalf("routes to %s: %v, %v", dst, list, err)
	}
	return &list[0]
}

// neighbour returns the neighbour that stands for peer i.
func (h host) neighbour(t testing.TB, i int) *netlink.Neigh {
	t.Helper()
	return h.entry(t, netlink.FAMILY_V4, i)
}

// forward returns the forwarding entry of peer i.
func (h host) forward(t testing.TB, i int) *netlink.Neigh {
	t.Helper()
	return h.entry(t, unix.AF_BRIDGE, i)
}

func (h host) entry(t testing.TB, family, i int) *netlink.Neigh {
	t.Helper()
	list, err := netlink.NeighList(h.device(t, "flannel.1").Attrs().Index, family)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range list {
		if n.HardwareAddr.String() == mac(i).String() {
			n.Family = family
			return &n
		}
	}
	t.Fatalf("peer %d has no entry of family %d", i, family)
	return nil
}

func writeSysctl(name, value string) error {
	return os.WriteFile("/proc/sys/"+name, []byte(value), 0)
}
