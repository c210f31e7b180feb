package network

import (
	"os"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/weft-network/weft/subnet"
)

func TestAgentBuildsTheOverlay(t *testing.T) {
	b := newBed(t, dual)
	b.peer(2)
	b.peer(3)
	a, stop := b.run()
	s := until(t, a, "ready", ready)
	if len(s.Peers) != 2 || !s.Peers[0].Programmed || s.MTU != 1430 || s.Lease == nil {
		t.Fatalf("status %+v", s)
	}
	state := b.held()
	for _, line := range []string{
		"route 10.5.2.0/24 via 10.5.2.0 dev flannel.1 proto 87 onlink\n",
		"route fd00:5:0:3::/64 via fd00:5:0:3:: dev flannel-v6.1 proto 87 metric 1024 onlink\n",
		"neigh 10.5.3.0 lladdr 0e:00:00:00:04:03 dev flannel.1 nud permanent\n",
		"fdb 0e:00:00:00:06:02 dev flannel-v6.1 dst 2001:db8::2 self permanent\n",
		"route unreachable " + s.Lease.Subnets[0] + " proto 87 metric 4294967295\n",
	} {
		if !strings.Contains(state, line) {
			t.Errorf("the kernel lacks %sit holds\n%s", line, state)
		}
	}
	env, err := subnet.ReadEnv(b.o.SubnetFile)
	if err != nil || env.MTU != 1430 || !env.Masquerade || env.Leased().String() != strings.Join(s.Lease.Subnets, ",") {
		t.Errorf("subnet.env %+v, %v", env, err)
	}
	if err := a.claims.failure(); err != nil {
		t.Error(err)
	}
	stop()
	if got := b.held(); got != state {
		t.Errorf("the end of the agent changed the kernel to\n%s", got)
	}

	writes := b.cluster.Writes()
	again, _ := b.run()
	s = until(t, again, "ready again", ready)
	for kind, n := range s.Kernel.Changes {
		if n != 0 {
			t.Errorf("the second start made %d changes of kind %s", n, kind)
		}
	}
	if b.held() != state || b.cluster.Writes() != writes {
		t.Errorf("the second start changed something; %d writes", b.cluster.Writes()-writes)
	}
}

func TestAgentFollowsPeers(t *testing.T) {
	b := newBed(t, dual)
	for n := 2; n < 8; n++ {
		b.peer(n)
	}
	a, _ := b.run()
	until(t, a, "ready", ready)
	seven := b.held()

	b.peer(8)
	until(t, a, "a peer more", func(s Status) bool { return len(s.Peers) == 7 && s.Peers[6].Programmed })
	if !strings.Contains(b.held(), "route 10.5.8.0/24 ") {
		t.Errorf("no route to the new peer:\n%s", b.held())
	}
	moved := b.peer(8)
	moved.PublicIP[subnet.Inet] = prefix("192.0.2.%d/32", 88).Addr()
	b.cluster.Put(moved)
	b.holds(strings.Replace(b.held(), "dst 192.0.2.8 ", "dst 192.0.2.88 ", 1))
	b.cluster.Remove(moved.Subnets)
	b.holds(seven)
}

func TestAgentRepairs(t *testing.T) {
	b := newBed(t, dual)
	b.peer(2)
	b.peer(3)
	a, _ := b.run()
	until(t, a, "ready", ready)
	state := b.held()
	device := func() netlink.Link { return b.link("flannel.1") }
	for _, c := range []struct {
		name string
		harm func() error
	}{
		{"route deleted", func() error { return netlink.RouteDel(b.find(t, "10.5.2.0/24")) }},
		{"route changed", func() error {
			r := b.find(t, "10.5.2.0/24")
			r.Gw = prefix("10.5.3.0/%d", 24).Addr().AsSlice()
			return netlink.RouteReplace(r)
		}},
		{"all routes flushed", func() error {
			for _, s := range []string{"10.5.2.0/24", "10.5.3.0/24", "fd00:5:0:2::/64", "fd00:5:0:3::/64"} {
				if err := netlink.RouteDel(b.find(t, s)); err != nil {
					return err
				}
			}
			return nil
		}},
		{"neighbour deleted", func() error { return netlink.NeighDel(b.neighbour(t, device(), "10.5.2.0")) }},
		{"device deleted", func() error { return netlink.LinkDel(device()) }},
		{"device down", func() error { return netlink.LinkSetDown(device()) }},
		{"device down and up", func() error {
			if err := netlink.LinkSetDown(device()); err != nil {
				return err
			}
			return netlink.LinkSetUp(device())
		}},
		{"device's MTU changed", func() error { return netlink.LinkSetMTU(device(), 1300) }},
		{"address deleted", func() error {
			addrs, err := netlink.AddrList(device(), netlink.FAMILY_V4)
			if err != nil {
				return err
			}
			return netlink.AddrDel(device(), &addrs[0])
		}},
		{"forwarding off", func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("0"), 0o644) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			b.t = t
			must(t, c.harm())
			b.holds(state)
		})
	}
	until(t, a, "forwarding on again", func(Status) bool {
		text, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward")
		return err == nil && strings.TrimSpace(string(text)) == "1"
	})
}

// find returns the route to dst.
func (b *bed) find(t *testing.T, dst string) *netlink.Route {
	t.Helper()
	list, err := netlink.RouteList(nil, netlink.FAMILY_ALL)
	must(t, err)
	for _, r := range list {
		if r.Dst != nil && r.Dst.String() == dst && r.Type == 1 {
			return &r
		}
	}
	t.Fatalf("no route to %s", dst)
	return nil
}

// neighbour returns the entry of a device for ip.
func (b *bed) neighbour(t *testing.T, l netlink.Link, ip string) *netlink.Neigh {
	t.Helper()
	list, err := netlink.NeighList(l.Attrs().Index, netlink.FAMILY_V4)
	must(t, err)
	for _, n := range list {
		if n.IP.String() == ip {
			return &n
		}
	}
	t.Fatalf("no neighbour %s", ip)
	return nil
}
