package kernel_test

import (
	"errors"
	"net"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/network/kernel"
)

// change is what is made with another netlink implementation, as another process would.
type change struct {
	name string
	make func(t *testing.T, h host) error
	told func(e kernel.Events) bool
}

func routeGone(e kernel.Events) bool { return len(e.Gone.Routes) == 1 }
func all(e kernel.Events) bool       { return e.All }

var breakages = []change{
	{"route deleted", func(t *testing.T, h host) error {
		return netlink.RouteDel(h.route(t, subnet(false, 1)))
	}, routeGone},
	{"route replaced by another gateway", func(t *testing.T, h host) error {
		r := h.route(t, subnet(false, 1))
		r.Gw = net.IPv4(10, 5, 2, 0)
		return netlink.RouteReplace(r)
	}, func(e kernel.Events) bool {
		return e.Seen.Routes[kernel.RouteKey{Dst: subnet(false, 1)}].Via == addr("10.5.2.0")
	}},
	{"route replaced by one of another protocol", func(t *testing.T, h host) error {
		r := h.route(t, subnet(false, 1))
		r.Protocol = unix.RTPROT_BOOT
		return netlink.RouteReplace(r)
	}, func(e kernel.Events) bool { return e.Seen.Routes[kernel.RouteKey{Dst: subnet(false, 1)}].Foreign }},
	{"route held to an MTU that is not locked", func(t *testing.T, h host) error {
		r := h.route(t, subnet(false, 1))
		r.MTU = 1400
		return netlink.RouteReplace(r)
	}, func(e kernel.Events) bool {
		r := e.Seen.Routes[kernel.RouteKey{Dst: subnet(false, 1)}]
		return r.MTU == 1400 && r.Loose
	}},
	{"all routes flushed", func(t *testing.T, h host) error {
		for i := 1; i <= 3; i++ {
			if err := netlink.RouteDel(h.route(t, subnet(false, i))); err != nil {
				return err
			}
		}
		return nil
	}, func(e kernel.Events) bool { return len(e.Gone.Routes) == 3 }},
	{"route of ours added", func(t *testing.T, h host) error {
		r := h.route(t, subnet(false, 1))
		r.Dst.IP = net.IPv4(10, 9, 9, 0).To4()
		return netlink.RouteAdd(r)
	}, func(e kernel.Events) bool { return len(e.Seen.Routes) == 1 }},
	{"neighbour deleted", func(t *testing.T, h host) error {
		return netlink.NeighDel(h.neighbour(t, 1))
	}, func(e kernel.Events) bool { return len(e.Gone.Neighbours) == 1 }},
	{"neighbour changed", func(t *testing.T, h host) error {
		n := h.neighbour(t, 1)
		n.HardwareAddr[5]++
		return netlink.NeighSet(n)
	}, func(e kernel.Events) bool { return len(e.Seen.Neighbours) == 1 }},
	{"neighbour not permanent any more", func(t *testing.T, h host) error {
		n := h.neighbour(t, 1)
		n.State = unix.NUD_STALE
		return netlink.NeighSet(n)
	}, func(e kernel.Events) bool { return len(e.Gone.Neighbours) == 1 }},
	{"forward deleted", func(t *testing.T, h host) error {
		return netlink.NeighDel(h.forward(t, 1))
	}, func(e kernel.Events) bool { return len(e.Gone.Forwards) == 1 }},
	{"forward changed", func(t *testing.T, h host) error {
		f := h.forward(t, 1)
		f.IP = net.IPv4(198, 18, 9, 9)
		return netlink.NeighSet(f)
	}, func(e kernel.Events) bool { return len(e.Seen.Forwards) == 1 }},
	{"address deleted", func(t *testing.T, h host) error {
		link := h.device(t, "flannel.1")
		addrs, err := netlink.AddrList(link, netlink.FAMILY_V4)
		if err != nil {
			return err
		}
		return netlink.AddrDel(link, &addrs[0])
	}, func(e kernel.Events) bool { return len(e.Gone.Addrs) == 1 && e.All }},
	{"address added", func(t *testing.T, h host) error {
		a, err := netlink.ParseAddr("10.77.0.1/24")
		if err != nil {
			return err
		}
		return netlink.AddrAdd(h.device(t, "flannel.1"), a)
	}, func(e kernel.Events) bool { return len(e.Seen.Addrs) == 1 }},
	{"device deleted", func(t *testing.T, h host) error {
		return netlink.LinkDel(h.device(t, "flannel.1"))
	}, func(e kernel.Events) bool { return len(e.Gone.Links) == 1 && e.All }},
	{"device down", func(t *testing.T, h host) error {
		return netlink.LinkSetDown(h.device(t, "flannel.1"))
	}, all},
	{"device down and up", func(t *testing.T, h host) error {
		link := h.device(t, "flannel.1")
		return errors.Join(netlink.LinkSetDown(link), netlink.LinkSetUp(link))
	}, all},
	{"device renamed", func(t *testing.T, h host) error {
		link := h.device(t, "flannel.1")
		return errors.Join(netlink.LinkSetDown(link), netlink.LinkSetName(link, "gone"), netlink.LinkDel(link))
	}, func(e kernel.Events) bool { return len(e.Gone.Links) == 1 && e.All }},
	{"device with another MTU", func(t *testing.T, h host) error {
		return netlink.LinkSetMTU(h.device(t, "flannel.1"), 1280)
	}, func(e kernel.Events) bool { return e.Seen.Links["flannel.1"].MTU == 1280 }},
	{"device with another MAC", func(t *testing.T, h host) error {
		return netlink.LinkSetHardwareAddr(h.device(t, "flannel.1"), net.HardwareAddr{2, 2, 2, 2, 2, 2})
	}, all},
	{"uplink down and up", func(t *testing.T, h host) error {
		link := h.device(t, "eth0")
		return errors.Join(netlink.LinkSetDown(link), netlink.LinkSetUp(link))
	}, func(e kernel.Events) bool { return e.All && e.Uplink }},
	{"forwarding off", func(_ *testing.T, h host) error {
		return writeSysctl("net/ipv4/ip_forward", "0")
	}, func(e kernel.Events) bool { return e.Seen.Sysctls["net/ipv4/ip_forward"].Value == "0" }},
	{"IPv6 forwarding off", func(_ *testing.T, h host) error {
		return writeSysctl("net/ipv6/conf/all/forwarding", "0")
	}, func(e kernel.Events) bool { return e.Seen.Sysctls["net/ipv6/conf/all/forwarding"].Value == "0" }},
}

// What another process breaks is announced, and a pass mends it. So it is with what a host-gw route through the uplink needs.
func TestBreakageIsAnnouncedAndMended(t *testing.T) {
	for _, test := range breakages {
		t.Run(test.name, func(t *testing.T) {
			h := newHost(t)
			want := overlay(false, 3)
			want.Routes.Add(kernel.Route{Dst: subnet(false, 4), Via: addr("192.0.2.2"), Link: "eth0"})
			want.Sysctls.Add(kernel.Sysctl{Name: "net/ipv4/ip_forward", Value: "1"})
			want.Sysctls.Add(kernel.Sysctl{Name: "net/ipv6/conf/all/forwarding", Value: "1"})
			names := []string{"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"}
			if err := h.Apply(t.Context(), kernel.Diff(h.list(t, names...), want)); err != nil {
				t.Fatal(err)
			}
			l := h.watch(t)
			h.do(t, func() error { return test.make(t, h) })
			events := l.until(t, test.told)

			// Where there is no All, the announced keys alone are enough to find what to mend.
			have := h.list(t, names...)
			broken := kernel.Diff(have, want)
			if broken.IsEmpty() {
				t.Fatal("nothing was broken")
			}
			if !events.All {
				for _, line := range []string{broken.Put.String(), broken.Drop.String()} {
					if said := mentioned(events, want, have); line != "" && !slices.Contains(said, line) {
						t.Errorf("broken:\n%s\nannounced:\n%q", line, said)
					}
				}
			}
			if err := h.Apply(t.Context(), broken); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want.String(), h.list(t, names...).String()); diff != "" {
				t.Errorf("after the repair (-want +have):\n%s", diff)
			}
		})
	}
}

// mentioned returns what of want and have lies under the keys of events.
func mentioned(e kernel.Events, want, have kernel.State) []string {
	keys := merge(e, kernel.Events{Seen: e.Gone}).Seen
	return []string{restrict(want, keys).String(), restrict(have, keys).String()}
}

func restrict(s, keys kernel.State) kernel.State {
	return kernel.State{
		Links:      restrictSet(s.Links, keys.Links),
		Addrs:      restrictSet(s.Addrs, keys.Addrs),
		Routes:     restrictSet(s.Routes, keys.Routes),
		Neighbours: restrictSet(s.Neighbours, keys.Neighbours),
		Forwards:   restrictSet(s.Forwards, keys.Forwards),
		Sysctls:    restrictSet(s.Sysctls, keys.Sysctls),
	}
}

func restrictSet[K comparable, V kernel.Object[K]](s, keys kernel.Set[K, V]) kernel.Set[K, V] {
	var r kernel.Set[K, V]
	for k, v := range s {
		if _, ok := keys[k]; ok {
			r.Add(v)
		}
	}
	return r
}
