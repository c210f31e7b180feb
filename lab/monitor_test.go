package lab

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// monitor listens to what the kernel of a host says of changes, as "ip monitor" and "nft monitor" do.
type monitor struct {
	mu     sync.Mutex
	events []string
}

func (m *monitor) add(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events = append(m.events, fmt.Sprintf(format, args...))
}

// all are the events so far.
func (m *monitor) all() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.events)
}

// watchKernel listens on h until the test ends.
func watchKernel(t *testing.T, h *Host) *monitor {
	t.Helper()
	m := &monitor{}
	done := make(chan struct{})
	ns := netns.NsHandle(h.net)
	links, addrs := make(chan netlink.LinkUpdate), make(chan netlink.AddrUpdate)
	routes, neighbours := make(chan netlink.RouteUpdate), make(chan netlink.NeighUpdate)
	for _, err := range []error{
		netlink.LinkSubscribeWithOptions(links, done, netlink.LinkSubscribeOptions{Namespace: &ns}),
		netlink.AddrSubscribeWithOptions(addrs, done, netlink.AddrSubscribeOptions{Namespace: &ns}),
		netlink.RouteSubscribeWithOptions(routes, done, netlink.RouteSubscribeOptions{Namespace: &ns}),
		netlink.NeighSubscribeWithOptions(neighbours, done, netlink.NeighSubscribeOptions{Namespace: &ns}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	rules, closeRules := watchRules(t, h)
	list, err := h.nl.LinkList()
	must(t, err)
	known := map[string]string{}
	for _, l := range list {
		known[l.Attrs().Name] = made(l)
	}
	var g errgroup.Group
	collect(&g, links, func(u netlink.LinkUpdate) {
		name, is := u.Attrs().Name, made(u.Link)
		if strings.HasPrefix(name, "veth") || u.Header.Type == unix.RTM_NEWLINK && known[name] == is {
			return // of a pod: the bridge tells of its ports now and then; or of a carrier, which the kernel tells up to a second later (linkwatch)
		}
		known[name] = is
		m.add("link %s", name)
	})
	collect(&g, addrs, func(u netlink.AddrUpdate) { m.add("addr %s new %t", &u.LinkAddress, u.NewAddr) })
	collect(&g, routes, func(u netlink.RouteUpdate) { m.add("route %s", u.Route) })
	collect(&g, neighbours, func(u netlink.NeighUpdate) {
		if u.State&netlink.NUD_PERMANENT != 0 { // the kernel learns and forgets others all the time
			m.add("neighbour %d %s", u.Type, u.Neigh.String())
		}
	})
	collect(&g, rules, func(e *nftables.MonitorEvents) { m.add("rules in generation %v", e.GeneratedBy) })
	t.Cleanup(func() {
		close(done)
		closeRules()
		_ = g.Wait()
	})
	return m
}

// made is what of a link somebody made so, in contrast to what comes and goes with its carrier.
func made(l netlink.Link) string {
	a := l.Attrs()
	return fmt.Sprint(a.Index, l.Type(), a.MTU, a.HardwareAddr, a.MasterIndex, a.TxQLen, a.RawFlags&^(unix.IFF_RUNNING|unix.IFF_LOWER_UP|unix.IFF_DORMANT))
}

// collect calls f for what comes out of c until it is closed.
func collect[T any](g *errgroup.Group, c <-chan T, f func(T)) {
	g.Go(func() error {
		for v := range c {
			f(v)
		}
		return nil
	})
}

func watchRules(t *testing.T, h *Host) (chan *nftables.MonitorEvents, func()) {
	t.Helper()
	c, err := h.nft()
	if err != nil {
		t.Fatal(err)
	}
	m := nftables.NewMonitor()
	events, err := c.AddGenerationalMonitor(m)
	if err != nil {
		t.Fatal(err)
	}
	return events, func() { m.Close() }
}

// TestMonitor shows that the monitor sees each kind of change.
func TestMonitor(t *testing.T) {
	t.Parallel()
	runLab(t, Options{Nodes: 2, Pods: -1}, func(l *Lab) {
		n := l.Nodes[0]
		m := watchKernel(t, n.Host)
		for name, sign := range map[string]string{
			"route": "route", "neighbour": "neighbour", "fdb": "neighbour", "address": "addr", "mtu": "link flannel.1", "masquerade": "rules",
		} {
			from := len(m.all())
			f, err := FaultNamed(name)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := n.Break(within(t, patience), f); err != nil {
				t.Fatal(err)
			}
			eventually(t, "an event of "+name, func() error {
				if !slices.ContainsFunc(m.all()[from:], func(e string) bool { return strings.HasPrefix(e, sign) }) {
					return fmt.Errorf("events are %q", m.all()[from:])
				}
				return nil
			})
		}
	})
}
