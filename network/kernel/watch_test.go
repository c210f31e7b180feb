package kernel_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

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
