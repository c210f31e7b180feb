package kernel_test

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/network/kernel"
)

var comparePrefixes = cmp.Options{
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
}

func TestFacts(t *testing.T) {
	h := newHost(t)
	h.Join(t, "eth1", h.peer, "eth1", []string{"198.51.100.7/24", "198.51.100.8/24"}, nil)
	h.converge(t, overlay(false, 1))
	h.do(t, func() error {
		eth1 := h.device(t, "eth1")
		add := func(s string, flags, preferred int) error {
			a, err := netlink.ParseAddr(s)
			if err != nil {
				return err
			}
			a.Flags = flags
			if preferred >= 0 {
				a.PreferedLft, a.ValidLft = preferred, 3600
			}
			return netlink.AddrAdd(eth1, a)
		}
		return errors.Join(
			netlink.LinkSetMTU(eth1, 9000),
			add("2001:db8:7::1/64", unix.IFA_F_NODAD, 0),    // deprecated
			add("2001:db8:7::2/64", unix.IFA_F_NODAD, 3600), //
			add("198.51.101.1/24", 0, 0),                    // deprecated
			netlink.RouteAdd(&netlink.Route{Gw: net.IPv4(198, 51, 100, 1), Priority: 200}),
			netlink.RouteAdd(&netlink.Route{Gw: net.IPv4(192, 0, 2, 2), Priority: 100, Src: net.IPv4(192, 0, 2, 1)}),
			netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP("2001:db8::2")}),
			netlink.RouteAdd(&netlink.Route{Gw: net.IPv4(192, 0, 2, 9), Table: 100}),
			netlink.RouteAdd(&netlink.Route{Dst: ipnet(prefix("0.0.0.0/0")), Type: unix.RTN_UNREACHABLE, Priority: 9999}),
			netlink.RouteAdd(&netlink.Route{Dst: ipnet(prefix("0.0.0.0/0")), Priority: 300, MultiPath: []*netlink.NexthopInfo{
				{LinkIndex: eth1.Attrs().Index, Gw: net.IPv4(198, 51, 100, 2)},
				{LinkIndex: eth1.Attrs().Index, Gw: net.IPv4(198, 51, 100, 3)},
			}}),
		)
	})
	f, err := h.Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	prefixes := func(list ...string) (ps []netip.Prefix) {
		for _, s := range list {
			ps = append(ps, prefix(s))
		}
		return ps
	}
	want := []kernel.Device{
		{Name: "lo", MTU: 65536, Up: true, Loopback: true},
		{Name: "eth0", MTU: 1500, Up: true, Kind: "veth", Addrs: prefixes("192.0.2.1/24", "2001:db8::1/64")},
		{Name: "eth1", MTU: 9000, Up: true, Kind: "veth", Addrs: prefixes("198.51.100.7/24", "198.51.100.8/24", "2001:db8:7::2/64")},
		{Name: "flannel.1", MTU: 1430, Up: true, Kind: "vxlan", Ours: true, Addrs: prefixes("10.5.0.0/32")},
	}
	if diff := cmp.Diff(want, f.Devices, comparePrefixes, cmpopts.IgnoreFields(kernel.Device{}, "Index")); diff != "" {
		t.Errorf("devices (-want +got):\n%s", diff)
	}
	for _, d := range f.Devices {
		if index := h.device(t, d.Name).Attrs().Index; d.Index != index {
			t.Errorf("%s has index %d, want %d", d.Name, d.Index, index)
		}
	}
	all, all6 := prefix("0.0.0.0/0"), prefix("::/0")
	wantDefaults := []kernel.DefaultRoute{
		{Dst: all, Link: "eth0", Via: addr("192.0.2.2"), Src: addr("192.0.2.1"), Metric: 100},
		{Dst: all, Link: "eth1", Via: addr("198.51.100.1"), Metric: 200},
		{Dst: all, Link: "eth1", Via: addr("198.51.100.2"), Metric: 300},
		{Dst: all, Link: "eth1", Via: addr("198.51.100.3"), Metric: 300},
		{Dst: all6, Link: "eth0", Via: addr("2001:db8::2"), Metric: 1024},
	}
	if diff := cmp.Diff(wantDefaults, f.Defaults, comparePrefixes); diff != "" {
		t.Errorf("default routes (-want +got):\n%s", diff)
	}
}

func TestRouteTo(t *testing.T) {
	h := newHost(t)
	h.Join(t, "eth1", h.peer, "eth1", []string{"198.51.100.7/24"}, nil)
	h.do(t, func() error {
		return netlink.RouteAdd(&netlink.Route{Dst: ipnet(prefix("203.0.113.0/24")), Gw: net.IPv4(198, 51, 100, 1)})
	})
	for _, test := range []struct{ to, link, src string }{
		{"192.0.2.77", "eth0", "192.0.2.1"},
		{"203.0.113.5", "eth1", "198.51.100.7"},
		{"::ffff:203.0.113.5", "eth1", "198.51.100.7"},
		{"2001:db8::99", "eth0", "2001:db8::1"},
		{"192.0.2.1", "lo", "192.0.2.1"},
	} {
		link, src, err := h.RouteTo(t.Context(), addr(test.to))
		if err != nil || link != test.link || src != addr(test.src) {
			t.Errorf("RouteTo(%s) = %s, %v, %v, want %s, %s", test.to, link, src, err, test.link, test.src)
		}
	}
	for _, to := range []string{"100.64.0.1", "2001:db8:ffff::1"} {
		if _, _, err := h.RouteTo(t.Context(), addr(to)); !errors.Is(err, unix.ENETUNREACH) {
			t.Errorf("RouteTo(%s): error %v, want %v", to, err, unix.ENETUNREACH)
		}
	}
	if _, _, err := h.RouteTo(t.Context(), netip.Addr{}); err == nil {
		t.Error("RouteTo of no address succeeds")
	}
}
