package kernel_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/network/kernel"
)

// patience is how long a test waits for what must happen. It decides only how soon a broken test fails.
const patience = 20 * time.Second

// listener collects what Watch says.
type listener struct {
	events chan kernel.Events
}

// watch watches until the test ends, and takes the first call.
func (h host) watch(t testing.TB) *listener {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &listener{events: make(chan kernel.Events, 1000)}
	var g errgroup.Group
	g.Go(func() error {
		return h.Watch(ctx, func(e kernel.Events) {
			select {
			case l.events <- e:
			case <-ctx.Done():
			}
		})
	})
	t.Cleanup(func() {
		cancel()
		if err := g.Wait(); !errors.Is(err, context.Canceled) {
			t.Errorf("Watch: %v", err)
		}
	})
	if first := l.next(t); !first.All || !first.Uplink {
		t.Fatalf("first events: %+v, want All and Uplink", first)
	}
	return l
}

func (l *listener) next(t testing.TB) kernel.Events {
	t.Helper()
	select {
	case e := <-l.events:
		return e
	case <-time.After(patience):
		t.Fatal("nothing announced")
		return kernel.Events{}
	}
}

// until collects events until done is content with all of them together.
func (l *listener) until(t testing.TB, done func(kernel.Events) bool) kernel.Events {
	t.Helper()
	var all kernel.Events
	deadline := time.After(patience)
	for !done(all) {
		select {
		case e := <-l.events:
			all = merge(all, e)
		case <-deadline:
			t.Fatalf("announced only: %+v\nseen:\n%sgone:\n%s", all, all.Seen, all.Gone)
		}
	}
	return all
}

func merge(a, b kernel.Events) kernel.Events {
	a.All, a.Uplink = a.All || b.All, a.Uplink || b.Uplink
	mergeSet(&a.Seen.Links, &a.Gone.Links, b.Seen.Links, b.Gone.Links)
	mergeSet(&a.Seen.Addrs, &a.Gone.Addrs, b.Seen.Addrs, b.Gone.Addrs)
	mergeSet(&a.Seen.Routes, &a.Gone.Routes, b.Seen.Routes, b.Gone.Routes)
	mergeSet(&a.Seen.Neighbours, &a.Gone.Neighbours, b.Seen.Neighbours, b.Gone.Neighbours)
	mergeSet(&a.Seen.Forwards, &a.Gone.Forwards, b.Seen.Forwards, b.Gone.Forwards)
	mergeSet(&a.Seen.Sysctls, &a.Gone.Sysctls, b.Seen.Sysctls, b.Gone.Sysctls)
	return a
}

func mergeSet[K comparable, V kernel.Object[K]](seen, gone *kernel.Set[K, V], nowSeen, nowGone kernel.Set[K, V]) {
	for k, v := range nowSeen {
		seen.Add(v)
		delete(*gone, k)
	}
	for k, v := range nowGone {
		gone.Add(v)
		delete(*seen, k)
	}
}

// other makes a change with another netlink implementation, as another process would.
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

// What Apply does comes back exactly as it was wanted.
func TestOwnChangesAreAnnouncedAsWanted(t *testing.T) {
	for _, inet6 := range []bool{false, true} {
		h := newHost(t)
		h.converge(t, overlay(inet6, 0))
		l := h.watch(t)
		want := overlay(inet6, 50)
		if err := h.Apply(t.Context(), kernel.Diff(h.list(t), want)); err != nil {
			t.Fatal(err)
		}
		told := l.until(t, func(e kernel.Events) bool {
			e.Seen.Addrs = nil // the kernel may announce an IPv6 address late
			return e.Seen.Len() == 150
		})
		if told.All || told.Gone.Len() != 0 || !kernel.Diff(told.Seen, restrict(want, told.Seen)).IsEmpty() {
			t.Errorf("All %v\ngone:\n%sseen:\n%s", told.All, told.Gone, told.Seen)
		}
		if err := h.Apply(t.Context(), kernel.Diff(h.list(t), overlay(inet6, 0))); err != nil {
			t.Fatal(err)
		}
		told = l.until(t, func(e kernel.Events) bool { return e.Gone.Len() == 150 })
		if told.All || told.Seen.Len() != 0 {
			t.Errorf("All %v\nseen:\n%s", told.All, told.Seen)
		}
	}
}

func TestLostMessagesMeanAll(t *testing.T) {
	h := newHost(t)
	h.converge(t, overlay(false, 0))
	block, entered := make(chan struct{}), make(chan struct{})
	events := make(chan kernel.Events, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	var g errgroup.Group
	g.Go(func() error {
		first := true
		return h.Watch(ctx, func(e kernel.Events) {
			if !first {
				events <- e
				return
			}
			first = false
			close(entered)
			<-block
		})
	})
	<-entered
	for range 10 { // far more than fits into the buffer of a socket that may not exceed the limit
		for _, want := range []kernel.State{overlay(false, 1000), overlay(false, 0)} {
			if err := h.Apply(t.Context(), kernel.Diff(h.list(t), want)); err != nil {
				t.Fatal(err)
			}
		}
	}
	close(block)
	l := &listener{events: events}
	l.until(t, all)
	if err := h.Apply(t.Context(), kernel.Diff(h.list(t), overlay(false, 1))); err != nil {
		t.Fatal(err)
	}
	l.until(t, func(e kernel.Events) bool {
		return len(e.Seen.Routes) == 1 && len(e.Seen.Neighbours) == 1 && len(e.Seen.Forwards) == 1
	})
	cancel()
	if err := g.Wait(); !errors.Is(err, context.Canceled) {
		t.Errorf("Watch: %v", err)
	}
}

func TestUplinkIsAnnounced(t *testing.T) {
	parse := func(s string) *netlink.Addr {
		a, err := netlink.ParseAddr(s)
		if err != nil {
			t.Fatal(err)
		}
		a.Flags = unix.IFA_F_NODAD
		return a
	}
	everywhere := func(gw string) *netlink.Route {
		return &netlink.Route{Gw: net.ParseIP(gw)}
	}
	for _, test := range []change{
		{name: "address added", make: func(t *testing.T, h host) error {
			return netlink.AddrAdd(h.device(t, "eth0"), parse("198.51.100.1/24"))
		}},
		{name: "IPv6 address removed", make: func(t *testing.T, h host) error {
			return netlink.AddrDel(h.device(t, "eth0"), parse("2001:db8::1/64"))
		}},
		{name: "MTU", make: func(t *testing.T, h host) error { return netlink.LinkSetMTU(h.device(t, "eth0"), 1400) }},
		{name: "default route", make: func(_ *testing.T, h host) error { return netlink.RouteAdd(everywhere("192.0.2.2")) }},
		{name: "IPv6 default route", make: func(_ *testing.T, h host) error { return netlink.RouteAdd(everywhere("2001:db8::2")) }},
		{name: "peer down", make: func(t *testing.T, h host) error {
			h.peer.Do(t, func() {
				if link, err := netlink.LinkByName("eth0"); err != nil || netlink.LinkSetDown(link) != nil {
					t.Fatal("cannot set it down")
				}
			})
			return nil
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHost(t)
			h.list(t)
			l := h.watch(t)
			h.do(t, func() error { return test.make(t, h) })
			l.until(t, func(e kernel.Events) bool { return e.Uplink })
		})
	}
}

// A host where pods come and go, a routing daemon works and neighbours are resolved must not keep the agent busy.
func TestOthersDoNotDisturb(t *testing.T) {
	h := newHost(t)
	want := overlay(false, 2)
	h.converge(t, want)
	l := h.watch(t)
	h.do(t, func() error {
		for range 3 { // a pod's device
			veth := netlink.NewVeth(netlink.LinkAttrs{Name: "veth0", MTU: 1430})
			veth.PeerName = "veth1"
			err := errors.Join(netlink.LinkAdd(veth), netlink.LinkSetUp(veth), netlink.LinkDel(veth))
			if err != nil {
				return err
			}
		}
		eth0 := h.device(t, "eth0")
		for i := range 20 {
			r := &netlink.Route{Dst: ipnet(subnet(false, 700+i)), Gw: net.IPv4(192, 0, 2, 2), Protocol: unix.RTPROT_BGP}
			if err := errors.Join(netlink.RouteAdd(r), netlink.RouteReplace(r), netlink.RouteDel(r)); err != nil {
				return err
			}
			n := &netlink.Neigh{LinkIndex: eth0.Attrs().Index, IP: net.IPv4(192, 0, 2, 50+byte(i)), State: unix.NUD_PERMANENT, HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 1}}
			if err := netlink.NeighSet(n); err != nil {
				return err
			}
		}
		return netlink.RouteDel(h.route(t, subnet(false, 1))) // the end
	})
	told := l.until(t, routeGone)
	if told.All || told.Uplink || told.Gone.Len() != 1 || told.Seen.Len() != 0 {
		t.Errorf("All %v, Uplink %v\ngone:\n%sseen:\n%s", told.All, told.Uplink, told.Gone, told.Seen)
	}
}

func TestWatchEndsWithItsContext(t *testing.T) {
	h := newHost(t)
	ctx, cancel := context.WithCancel(t.Context())
	if err := h.Watch(ctx, func(kernel.Events) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Errorf("Watch: %v", err)
	}
}
