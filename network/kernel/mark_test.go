package kernel_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/network/kernel/kerneltest"
)

func TestMarkCheck(t *testing.T) {
	for _, test := range []struct {
		mark kernel.Mark
		want string // in the error; "" for none
	}{
		{kernel.Mark{}, ""},
		{kernel.Mark{Name: "blue", Number: 1}, ""},
		{kernel.Mark{Name: "storage", Number: 8}, ""},
		{kernel.Mark{Name: "b2", Number: 1}, ""},
		{kernel.Mark{Name: "storages", Number: 1}, `name "storages" is not 1 to 7`},
		{kernel.Mark{Name: "Blue", Number: 1}, `name "Blue" is not`},
		{kernel.Mark{Name: "b.1", Number: 1}, `name "b.1" is not`},
		{kernel.Mark{Name: "b-v6", Number: 1}, `name "b-v6" is not`},
		{kernel.Mark{Name: "2b", Number: 1}, `name "2b" is not`},
		{kernel.Mark{Name: "", Number: 1}, `name "" is not`},
		{kernel.Mark{Name: "flannel", Number: 1}, "what devices of the first network begin with"},
		{kernel.Mark{Name: "subnet", Number: 1}, "files of the first"},
		{kernel.Mark{Name: "ipsec", Number: 1}, "files of the first"},
		{kernel.Mark{Name: "blue"}, "number 0 is not between 1 and 8"},
		{kernel.Mark{Name: "blue", Number: 9}, "number 9 is not between 1 and 8"},
	} {
		err := test.mark.Check()
		if (err == nil) != (test.want == "") || !strings.Contains(fmt.Sprint(err), test.want) {
			t.Errorf("%+v: %v, want %q", test.mark, err, test.want)
		}
	}
}

// Every name that the first network gives has one in any other, which is that network's alone, and which the kernel takes.
func TestMarkDevices(t *testing.T) {
	first, blue, longest := kernel.Mark{}, kernel.Mark{Name: "blue", Number: 1}, kernel.Mark{Name: "bluebl2", Number: 2}
	for _, test := range []struct{ name, kind, blue string }{
		{"flannel.1", "vxlan", "blue.1"},
		{"flannel.70000b", "vxlan", "blue.70000b"},
		{"flannel-v6.4096", "vxlan", "blue-v6.4096"},
		{"flannel.ipip", "ipip", "blue.ipip"},
		{"flannel-v6.ipip", "ip6tnl", "blue-v6.ipip"},
		{"flannel-wg", "wireguard", "blue-wg"},
		{"flannel-wg-v6b", "wireguard", "blue-wg-v6b"},
		{"flannel-wg", "tun", "blue-wg"},
		{"flannel0", "tun", "blue.0"},
		{"flannel0b", "tun", "blue.0b"},
		{"flannel-v6.0", "tun", "blue-v6.0"},
		{"flannel.esp", "xfrm", "blue.esp"},
		{"flannel-v6.espc", "xfrm", "blue-v6.espc"},
	} {
		if got := blue.Device(test.name); got != test.blue {
			t.Errorf("%s is %s in another network, want %s", test.name, got, test.blue)
		}
		if got := first.Device(test.name); got != test.name {
			t.Errorf("%s is %s in the first network", test.name, got)
		}
		for _, m := range []kernel.Mark{first, blue, longest} {
			name := m.Device(test.name)
			if len(name) >= unix.IFNAMSIZ && len(test.name) < unix.IFNAMSIZ-1 {
				t.Errorf("%s is too long for the kernel", name)
			}
			for _, other := range []kernel.Mark{first, blue, longest} {
				if got := other.Owns(name, test.kind); got != (other == m) {
					t.Errorf("%q owns %s of %q: %v", other.Name, name, m.Name, got)
				}
			}
		}
	}
	for _, strange := range []struct{ name, kind string }{
		{"blue0", "tun"}, {"blue", "vxlan"}, {"blue.1", "vlan"}, {"blue.1", "bridge"}, {"blue.x", "vxlan"}, {"bluetooth.1", "vxlan"}, {"eth0", ""},
	} {
		if blue.Owns(strange.name, strange.kind) {
			t.Errorf("%s of kind %s is taken for a network's", strange.name, strange.kind)
		}
	}
	if name := blue.Device("eth0"); name != "eth0" {
		t.Errorf("eth0 is %s", name)
	}
}

// inNetwork returns s with the devices of another network, another VNI and other destinations.
func inNetwork(m kernel.Mark, s kernel.State) (out kernel.State) {
	for _, l := range s.Links {
		l.Name = m.Device(l.Name)
		if l.VXLAN != (kernel.VXLAN{}) {
			l.VXLAN.VNI += uint32(m.Number)
		}
		out.Links.Add(l)
	}
	for _, a := range s.Addrs {
		a.Link, a.Prefix = m.Device(a.Link), netip.PrefixFrom(moved(m, a.Prefix.Addr()), a.Prefix.Bits())
		out.Addrs.Add(a)
	}
	for _, r := range s.Routes {
		r.Link, r.Dst = m.Device(r.Link), netip.PrefixFrom(moved(m, r.Dst.Addr()), r.Dst.Bits())
		if r.OnLink {
			r.Via = r.Dst.Addr()
		}
		out.Routes.Add(r)
	}
	for _, n := range s.Neighbours {
		n.Link, n.IP = m.Device(n.Link), moved(m, n.IP)
		out.Neighbours.Add(n)
	}
	for _, f := range s.Forwards {
		f.Link = m.Device(f.Link)
		out.Forwards.Add(f)
	}
	return out
}

// moved is the address that has the place of a in another network: 10.105 for 10.5.
func moved(m kernel.Mark, a netip.Addr) netip.Addr {
	b := a.AsSlice()
	b[1] += 100 * m.Number
	out, _ := netip.AddrFromSlice(b)
	return out
}

// Several networks share a node: each sees its own objects and no others, whatever these are, and leaves the others'
// alone.
func TestNetworksApart(t *testing.T) {
	for _, inet6 := range []bool{false, true} {
		plain := overlay(inet6, 3)
		gateway, metric := netip.MustParseAddr("192.0.2.2"), uint32(0)
		if inet6 {
			gateway, metric = netip.MustParseAddr("2001:db8::2"), 1024
		}
		for name, of := range map[string]kernel.State{
			"vxlan": plain,
			"tun":   tunnelled(inet6, 2),
			"routes alone": {Routes: kernel.Set[kernel.RouteKey, kernel.Route]{
				{Dst: subnet(inet6, 1), Metric: metric}:     {Dst: subnet(inet6, 1), Metric: metric, Via: gateway, Link: "eth0"},
				{Dst: subnet(inet6, 0), Metric: 4294967295}: {Dst: subnet(inet6, 0), Metric: 4294967295, Type: kernel.Unreachable},
			}},
		} {
			t.Run(fmt.Sprintf("%s inet6 %v", name, inet6), func(t *testing.T) { checkApart(t, of) })
		}
	}
}

// checkApart puts first, and what it is in another network, on one node, and takes them away one after the other.
func checkApart(t *testing.T, first kernel.State) {
	blue := kernel.Mark{Name: "blue", Number: 2}
	h := newHost(t)
	other := host{NS: h.NS, Kernel: openAs(t, h.NS, blue), peer: h.peer}
	second := inNetwork(blue, first)

	h.converge(t, first)
	other.holds(t, kernel.State{})
	other.converge(t, second)
	h.holds(t, first)

	other.converge(t, kernel.State{})
	h.holds(t, first)
	other.converge(t, second)
	h.converge(t, kernel.State{})
	other.holds(t, second)
	h.do(t, func() error {
		list, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Protocol: 89}, netlink.RT_FILTER_PROTOCOL)
		if len(list) != len(second.Routes) {
			t.Errorf("%d routes have the protocol 89, %v; want %d", len(list), err, len(second.Routes))
		}
		return nil
	})
}

func openAs(t testing.TB, ns *kerneltest.NS, m kernel.Mark) *kernel.Kernel {
	t.Helper()
	var k *kernel.Kernel
	ns.Do(t, func() {
		var err error
		if k, err = kernel.OpenAs(m, kernel.SysctlDir); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(k.Close)
	return k
}

// What flannel made becomes the first network's, and no other takes it.
func TestNetworksTakeNothingOfFlannels(t *testing.T) {
	h := newHost(t)
	blue := host{NS: h.NS, Kernel: openAs(t, h.NS, kernel.Mark{Name: "blue", Number: 1}), peer: h.peer}
	h.do(t, func() error {
		return flannel("flannel.1", "eth0", addr("192.0.2.1"), subnet(false, 0), mac(0), peer{subnet(false, 1), mac(1), addr("192.0.2.2")})
	})
	blue.holds(t, kernel.State{})
	if have := h.list(t); len(have.Routes) != 1 || len(have.Links) != 1 {
		t.Errorf("the first network sees\n%s", have)
	}
}

// A route that is another network's is not replaced, and the failure names the protocol that the own one would have.
func TestNetworksDoNotReplaceRoutes(t *testing.T) {
	h := newHost(t)
	blue := host{NS: h.NS, Kernel: openAs(t, h.NS, kernel.Mark{Name: "blue", Number: 1}), peer: h.peer}
	var s kernel.State
	s.Routes.Add(kernel.Route{Dst: subnet(false, 1), Via: addr("192.0.2.2"), Link: "eth0"})
	h.converge(t, s)
	err := blue.Apply(t.Context(), kernel.Diff(blue.list(t), s))
	if want := "make route 10.5.1.0/24 via 192.0.2.2 dev eth0 proto 88: file exists: there is another route"; !strings.Contains(fmt.Sprint(err), want) {
		t.Errorf("%v, want %s", err, want)
	}
	h.holds(t, s)
}
