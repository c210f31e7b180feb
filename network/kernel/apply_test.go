package kernel_test

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/network/kernel/kerneltest"
)

var (
	addr   = netip.MustParseAddr
	prefix = netip.MustParsePrefix
)

// with returns base after edits.
func with(base kernel.State, edits ...func(*kernel.State)) kernel.State {
	for _, edit := range edits {
		edit(&base)
	}
	return base
}

// device returns an edit of the device of an overlay.
func device(name string, edit func(*kernel.Link)) func(*kernel.State) {
	return func(s *kernel.State) {
		l := s.Links[name]
		edit(&l)
		s.Links.Add(l)
	}
}

func routes(list ...kernel.Route) kernel.State {
	var s kernel.State
	for _, r := range list {
		s.Routes.Add(r)
	}
	return s
}

func TestListReturnsWhatWasApplied(t *testing.T) {
	set := func(edit func(*kernel.Link)) func(*kernel.State) { return device("flannel.1", edit) }
	for _, test := range []struct {
		name string
		want kernel.State
	}{
		{"nothing", kernel.State{}},
		{"overlay", overlay(false, 3)},
		{"overlay over IPv6", overlay(true, 3)},
		{"group policy and learning", with(overlay(false, 1), set(func(l *kernel.Link) { l.VXLAN.GBP, l.VXLAN.Learning = true, true }))},
		{"other port", with(overlay(false, 1), set(func(l *kernel.Link) { l.VXLAN.Port = 4789 }))},
		{"device down", with(overlay(false, 0), set(func(l *kernel.Link) { l.Up = false }))},
		{"direct route", routes(kernel.Route{Dst: subnet(false, 1), Via: addr("192.0.2.2"), Link: "eth0"})},
		{"direct IPv6 route", routes(kernel.Route{Dst: subnet(true, 1), Metric: 1024, Via: addr("2001:db8::2"), Link: "eth0"})},
		{"route to a gateway off the network", routes(
			kernel.Route{Dst: subnet(false, 1), Via: addr("203.0.113.9"), Link: "eth0", OnLink: true},
			kernel.Route{Dst: subnet(true, 1), Metric: 1024, Via: addr("fd99::9"), Link: "eth0", OnLink: true})},
		{"route of a device", routes(
			kernel.Route{Dst: subnet(false, 1), Link: "eth0"},
			kernel.Route{Dst: subnet(true, 1), Metric: 1024, Link: "eth0"})},
		{"IPv4 by way of IPv6", routes(kernel.Route{Dst: subnet(false, 1), Via: addr("2001:db8::2"), Link: "eth0"})},
		{"unreachable", routes(
			kernel.Route{Dst: subnet(false, 0), Metric: 4278198272, Type: kernel.Unreachable},
			kernel.Route{Dst: subnet(true, 0), Metric: 4278198272, Type: kernel.Unreachable})},
		{"other types", routes(
			kernel.Route{Dst: subnet(false, 1), Type: kernel.Blackhole},
			kernel.Route{Dst: subnet(false, 2), Type: kernel.Prohibit},
			kernel.Route{Dst: subnet(false, 3), Type: kernel.Throw},
			kernel.Route{Dst: subnet(true, 1), Metric: 1, Type: kernel.Blackhole})},
		{"two metrics, source and MTU", routes(
			kernel.Route{Dst: subnet(false, 1), Via: addr("192.0.2.2"), Link: "eth0", Src: addr("192.0.2.1"), MTU: 1400},
			kernel.Route{Dst: subnet(false, 1), Metric: 7, Via: addr("192.0.2.3"), Link: "eth0"},
			kernel.Route{Dst: subnet(true, 1), Metric: 7, Via: addr("2001:db8::2"), Link: "eth0", Src: addr("2001:db8::1"), MTU: 1400})},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHost(t)
			h.converge(t, test.want)
			h.converge(t, kernel.State{})
		})
	}
}

func TestPeersComeGoAndMove(t *testing.T) {
	for _, inet6 := range []bool{false, true} {
		h := newHost(t)
		h.converge(t, overlay(inet6, 3))
		h.converge(t, overlay(inet6, 1))
		moved := overlay(inet6, 4)
		for _, f := range moved.Forwards {
			f.Dst = f.Dst.Next()
			moved.Forwards.Add(f)
		}
		for _, n := range moved.Neighbours {
			n.MAC[5] += 100
			moved.Neighbours.Add(n)
		}
		h.converge(t, moved)
	}
}

// A route under a key may become one of another kind, in one step.
func TestRouteIsReplacedWhateverItWas(t *testing.T) {
	kinds := map[string]func(dst netip.Prefix, metric uint32) kernel.Route{
		"gateway": func(dst netip.Prefix, metric uint32) kernel.Route {
			via := addr("192.0.2.2")
			if dst.Addr().Is6() {
				via = addr("2001:db8::2")
			}
			return kernel.Route{Dst: dst, Metric: metric, Via: via, Link: "eth0"}
		},
		"on link": func(dst netip.Prefix, metric uint32) kernel.Route {
			return kernel.Route{Dst: dst, Metric: metric, Via: dst.Addr(), Link: "eth0", OnLink: true}
		},
		"device": func(dst netip.Prefix, metric uint32) kernel.Route {
			return kernel.Route{Dst: dst, Metric: metric, Link: "eth0"}
		},
		"unreachable": func(dst netip.Prefix, metric uint32) kernel.Route {
			return kernel.Route{Dst: dst, Metric: metric, Type: kernel.Unreachable}
		},
		"blackhole": func(dst netip.Prefix, metric uint32) kernel.Route {
			return kernel.Route{Dst: dst, Metric: metric, Type: kernel.Blackhole}
		},
	}
	h := newHost(t)
	for from, first := range kinds {
		for to, then := range kinds {
			t.Run(from+" to "+to, func(t *testing.T) {
				h.converge(t, routes(first(subnet(false, 1), 0), first(subnet(true, 1), 1024)))
				h.converge(t, routes(then(subnet(false, 1), 0), then(subnet(true, 1), 1024)))
			})
		}
	}
}

// The kernel refuses an IPv6 route through a gateway in its own destination while another one leads there by another device.
func TestRouteMovesToAnotherDevice(t *testing.T) {
	for _, inet6 := range []bool{false, true} {
		h := newHost(t)
		tunnel, direct := overlay(inet6, 3), overlay(inet6, 3)
		via := addr("192.0.2.2")
		if inet6 {
			via = addr("2001:db8::2")
		}
		for _, r := range tunnel.Routes {
			direct.Routes.Add(kernel.Route{Dst: r.Dst, Metric: r.Metric, Via: via, Link: "eth0"})
		}
		h.converge(t, direct)
		h.converge(t, tunnel)
		h.converge(t, direct)
	}
}

func TestAddressChanges(t *testing.T) {
	for _, inet6 := range []bool{false, true} {
		h := newHost(t)
		before := overlay(inet6, 2)
		h.converge(t, before)
		for _, bits := range []int{1, 0} { // another length, then another address as well
			after := overlay(inet6, 2)
			for _, a := range before.Addrs {
				clear(after.Addrs)
				after.Addrs.Add(kernel.Addr{Link: a.Link, Prefix: netip.PrefixFrom(a.Prefix.Addr().Next(), a.Prefix.Bits()-bits)})
			}
			h.converge(t, after)
			for _, a := range after.Addrs {
				clear(after.Addrs)
				after.Addrs.Add(kernel.Addr{Link: a.Link, Prefix: netip.PrefixFrom(a.Prefix.Addr(), a.Prefix.Bits()-3)})
			}
			c := kernel.Diff(h.list(t), after)
			if err := h.Apply(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			h.holds(t, after)
		}
	}
}

func TestNoLinkLocalAddress(t *testing.T) {
	h := newHost(t)
	h.converge(t, overlay(true, 1))
	h.do(t, func() error {
		addrs, err := netlink.AddrList(h.device(t, "flannel-v6.1"), netlink.FAMILY_V6)
		if err == nil && (len(addrs) != 1 || !addrs[0].IP.Equal(subnet(true, 0).Addr().AsSlice())) {
			t.Errorf("addresses %v", addrs)
		}
		return err
	})
}

func TestGoneAlreadyIsSuccess(t *testing.T) {
	h := newHost(t)
	all := with(overlay(false, 2), func(s *kernel.State) {
		for _, r := range overlay(true, 2).Routes {
			r.Link = "eth0"
			s.Routes.Add(r)
		}
		s.Neighbours.Add(kernel.Neighbour{Link: "flannel.1", IP: addr("fd00:5::9"), MAC: mac(9)})
	})
	if err := h.Apply(t.Context(), kernel.Change{Drop: all}); err != nil {
		t.Errorf("without the device: %v", err)
	}
	h.converge(t, overlay(false, 0))
	entries := all
	entries.Links = nil
	if err := h.Apply(t.Context(), kernel.Change{Drop: entries}); err != nil {
		t.Errorf("with the device: %v", err)
	}
}

func TestOneBadEntryAmongMany(t *testing.T) {
	const peers = 1000
	h := newHost(t)
	want := overlay(false, peers)
	bad := kernel.Route{Dst: subnet(false, 500), Via: addr("203.0.113.1"), Link: "flannel.1"}
	want.Routes.Add(bad)
	err := h.Apply(t.Context(), kernel.Diff(h.list(t), want))
	var failures kernel.Failures
	if !errors.As(err, &failures) || len(failures) != 1 || failures[0].Object != bad {
		t.Fatalf("error: %v", err)
	}
	const text = "make route 10.6.244.0/24 via 203.0.113.1 dev flannel.1 proto 87: network is unreachable (Nexthop has invalid gateway)"
	if err.Error() != text {
		t.Errorf("error %q, want %q", err, text)
	}
	delete(want.Routes, bad.Key())
	h.holds(t, want)
}

func TestManyFailuresAreSummarised(t *testing.T) {
	h := newHost(t)
	var want kernel.State
	for i := range 700 {
		want.Routes.Add(kernel.Route{Dst: subnet(false, i), Via: addr("203.0.113.1"), Link: "eth0"})
		want.Routes.Add(kernel.Route{Dst: subnet(true, i), Metric: 1024, Via: addr("2001:db8::2"), Link: "eth0"})
	}
	err := h.Apply(t.Context(), kernel.Change{Put: want})
	var failures kernel.Failures
	if !errors.As(err, &failures) || len(failures) != 700 {
		t.Fatalf("error: %v", err)
	}
	if n := strings.Count(err.Error(), "make route"); n != 10 || !strings.Contains(err.Error(), "and 690 more like that: network is unreachable") {
		t.Errorf("error with %d routes: %v", n, err)
	}
	if n := len(h.list(t).Routes); n != 700 {
		t.Errorf("%d routes made, want the 700 good ones", n)
	}
}

func TestSysctls(t *testing.T) {
	h := newHost(t)
	want := kernel.Sysctl{Name: "net/ipv4/ip_forward", Value: "1"}
	dotted := kernel.Sysctl{Name: "net/ipv4/conf/eth0/rp_filter", Value: "2"}
	names := []string{want.Name, dotted.Name, "net/ipv4/conf/flannel.7/forwarding"}
	have := h.list(t, names...)
	if len(have.Sysctls) != 2 || have.Sysctls[want.Name].Value != "0" {
		t.Fatalf("before: %v", have.Sysctls)
	}
	var c kernel.Change
	c.Put.Sysctls.Add(want)
	c.Put.Sysctls.Add(dotted)
	c.Put.Sysctls.Add(kernel.Sysctl{Name: "net/ipv4/none", Value: "1"})
	err := h.Apply(t.Context(), c)
	if err == nil || !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "make sysctl net/ipv4/none=1: ") {
		t.Errorf("error: %v", err)
	}
	have = h.list(t, names...)
	if have.Sysctls[want.Name] != want || have.Sysctls[dotted.Name] != dotted {
		t.Errorf("after: %v", have.Sysctls)
	}
	if own, err := os.ReadFile("/proc/sys/net/ipv4/conf/lo/rp_filter"); err != nil || string(own) == "2\n" {
		t.Errorf("the process's own namespace was changed too: %q, %v", own, err)
	}
	if other := (host{Kernel: open(t, kerneltest.NewNS(t))}).list(t, want.Name); other.Sysctls[want.Name].Value != "0" {
		t.Errorf("another namespace was changed too: %v", other.Sysctls)
	}
}

func TestManyPeers(t *testing.T) {
	h := newHost(t)
	h.converge(t, overlay(false, 5000))
	h.converge(t, overlay(false, 4990))
}
