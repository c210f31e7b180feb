package ipip_test

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/backend/ipip"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// devices are the names of the tunnels.
var devices = [2]string{subnet.Inet: "flannel.ipip", subnet.Inet6: "flannel-v6.ipip"}

// reach waits until the pod of a reaches that of b in all families with small packets, and checks that the largest that fit
// get through both ways in one piece, and larger ones in several.
func reach(t *testing.T, a, b *node, fs []subnet.Family) {
	t.Helper()
	mtu := backend.MTU(ipip.Backend{}, a.Node)
	for _, f := range fs {
		to := netip.AddrPortFrom(b.addr[f], 7)
		a.pod.Reach(t, to)
		headers := []int{20 + 8, 40 + 8}[f]
		for _, size := range []int{mtu - headers, mtu - headers + 1, 4000} {
			if err := a.pod.Ping(t, to, size, 10*time.Second); err != nil {
				t.Errorf("%s: %d bytes to %s: %v", f, size, to, err)
			}
		}
	}
}

// echo answers at the pod of n.
func echo(t *testing.T, n *node, fs []subnet.Family) {
	t.Helper()
	for _, f := range fs {
		n.pod.Echo(t, netip.AddrPortFrom(n.addr[f], 7))
	}
}

// Pods talk as soon as both nodes hold what the backend says. Whatever somebody breaks is repaired, and nothing is left
// of it in the end but what the kernel makes by itself.
func TestGuestPodsTalk(t *testing.T) {
	for name, fs := range families {
		t.Run(name, func(t *testing.T) {
			nodes := newNodes(t, fs)
			a, b := &nodes[0], &nodes[1]
			echo(t, b, fs)
			want := a.plan(t, "{}", b)
			a.converge(t, want)
			b.converge(t, b.plan(t, "{}", a))
			reach(t, a, b, fs)
			for _, f := range fs {
				if len(fs) == 1 {
					breakEach(t, a, devices[f], func() {
						a.converge(t, want)
						a.pod.Reach(t, netip.AddrPortFrom(b.addr[f], 7))
					})
				}
			}
			a.converge(t, kernel.State{Sysctls: want.Sysctls})
			a.do(t, func() error {
				links, err := netlink.LinkList()
				for _, l := range links {
					if strings.HasPrefix(l.Attrs().Name, "flannel") {
						t.Errorf("%s is left", l.Attrs().Name)
					}
				}
				return err
			})
		})
	}
}

// Nodes that route directly and nodes that do not yet talk all the same, so that the key can be changed node by node.
func TestGuestDirectRouting(t *testing.T) {
	fs := families["dual-stack"]
	nodes := newNodes(t, fs)
	a, b := &nodes[0], &nodes[1]
	echo(t, b, fs)
	a.converge(t, a.plan(t, "{}", b))
	b.converge(t, b.plan(t, "{}", a))
	reach(t, a, b, fs)
	a.converge(t, a.plan(t, `{"DirectRouting": true}`, b))
	reach(t, a, b, fs)
	b.converge(t, b.plan(t, `{"DirectRouting": true}`, a))
	reach(t, a, b, fs)
}

// breakEach breaks the device in all ways that there are, and calls repair after each.
func breakEach(t *testing.T, n *node, name string, repair func()) {
	t.Helper()
	for _, damage := range []func(netlink.Link) error{
		netlink.LinkDel,
		netlink.LinkSetDown,
		func(l netlink.Link) error { return netlink.LinkSetMTU(l, 1300) },
		func(l netlink.Link) error {
			addrs, err := netlink.AddrList(l, netlink.FAMILY_ALL)
			for _, a := range addrs {
				if err == nil && !a.IP.IsLinkLocalUnicast() {
					err = netlink.AddrDel(l, &a)
				}
			}
			return err
		},
		func(l netlink.Link) error {
			routes, err := netlink.RouteList(l, netlink.FAMILY_ALL)
			for _, r := range routes {
				if err == nil && r.Protocol == kernel.RouteProtocol {
					err = netlink.RouteDel(&r)
				}
			}
			return err
		},
	} {
		device := n.device(t, name)
		n.do(t, func() error { return damage(device) })
		repair()
	}
}

// A node that gets another address keeps its devices: peers' packets find them as soon as peers know.
func TestGuestLocalAddressChanges(t *testing.T) {
	fs := families["dual-stack"]
	nodes := newNodes(t, fs)
	a, b := &nodes[0], &nodes[1]
	echo(t, b, fs)
	a.converge(t, a.plan(t, "{}", b))
	b.converge(t, b.plan(t, "{}", a))
	reach(t, a, b, fs)
	index := map[string]int{}
	for _, name := range devices {
		index[name] = a.device(t, name).Attrs().Index
	}
	for f, p := range [2]string{"192.0.2.11/24", "2001:db8::11/64"} {
		prefix := netip.MustParsePrefix(p)
		a.do(t, func() error {
			link, err := netlink.LinkByName("eth0")
			if err != nil {
				return err
			}
			return netlink.AddrAdd(link, &netlink.Addr{IPNet: ipnet(prefix), Flags: 0x02}) // no duplicate detection
		})
		a.Uplinks[f].Addr, a.Uplinks[f].Public = prefix.Addr(), prefix.Addr()
	}
	a.converge(t, a.plan(t, "{}", b))
	b.converge(t, b.plan(t, "{}", a))
	reach(t, a, b, fs)
	for _, name := range devices {
		if now := a.device(t, name).Attrs().Index; now != index[name] {
			t.Errorf("%s was made anew", name)
		}
	}
}

// What flannel left is adopted without a packet lost, and what it should not have left goes.
func TestGuestTakeover(t *testing.T) {
	fs := families["IPv4"]
	nodes := newNodes(t, fs)
	a, b := &nodes[0], &nodes[1]
	dead := netip.MustParsePrefix("10.5.9.0/24")
	for i, n := range nodes {
		j := 1 - i
		n.do(t, func() error {
			return flannel(subnets[i][0], publics[i][0], subnets[j][0], publics[j][0])
		})
	}
	a.do(t, func() error {
		link, err := netlink.LinkByName("flannel.ipip")
		if err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{Dst: ipnet(dead), Gw: []byte{192, 0, 2, 9}, LinkIndex: link.Attrs().Index, Flags: 4}) // onlink
	})
	for _, n := range nodes {
		check(t, n.Apply(t.Context(), kernel.Change{Put: kernel.State{Sysctls: a.plan(t, "{}").Sysctls}}))
	}
	echo(t, b, fs)
	to := netip.AddrPortFrom(b.addr[0], 7)
	a.pod.Reach(t, to)
	index := a.device(t, "flannel.ipip").Attrs().Index
	flood := a.pod.Flood(t, to, 2*time.Millisecond)
	want := a.plan(t, "{}", b)
	c := kernel.Diff(a.list(t), want)
	if got := c.Put.String(); got != "route 10.5.2.0/24 via 192.0.2.2 dev flannel.ipip proto 87 onlink\n" {
		t.Errorf("put:\n%s", got)
	}
	if got := c.Drop.String(); got != "route 10.5.9.0/24 via 192.0.2.9 dev flannel.ipip proto boot onlink\n" {
		t.Errorf("drop:\n%s", got)
	}
	a.converge(t, want)
	b.converge(t, b.plan(t, "{}", a))
	if now := a.device(t, "flannel.ipip").Attrs().Index; now != index {
		t.Error("the device was made anew")
	}
	if sent, lost := flood.Stop(t); lost != 0 || sent < 2 {
		t.Errorf("%d of %d packets lost", lost, sent)
	}
}

// A device of ours that is unlike what we make is made anew, and one of somebody else that the kernel refuses ours beside is named.
func TestGuestTunnelOfAnotherForm(t *testing.T) {
	nodes := newNodes(t, families["dual-stack"])
	a, b := &nodes[0], &nodes[1]
	a.do(t, func() error {
		err := netlink.LinkAdd(&netlink.Iptun{LinkAttrs: netlink.LinkAttrs{Name: "flannel.ipip"}, Local: publics[0][0].AsSlice(), Remote: publics[1][0].AsSlice()})
		if err != nil {
			return err
		}
		return netlink.LinkAdd(&netlink.Ip6tnl{LinkAttrs: netlink.LinkAttrs{Name: "flannel-v6.ipip"}, Local: publics[0][1].AsSlice(), Proto: 41})
	})
	if have := a.list(t); len(have.Links) != 2 || have.Links["flannel.ipip"].Tunnel != (kernel.Tunnel{}) || have.Links["flannel-v6.ipip"].Tunnel != (kernel.Tunnel{}) {
		t.Errorf("listed:\n%s", have)
	}
	want := a.plan(t, "{}", b)
	a.converge(t, want)
	none := kernel.State{Sysctls: want.Sysctls}
	a.converge(t, none)

	a.do(t, func() error {
		return netlink.LinkAdd(&netlink.Iptun{LinkAttrs: netlink.LinkAttrs{Name: "theirs"}, Local: publics[0][0].AsSlice()})
	})
	err := a.Apply(t.Context(), kernel.Diff(a.list(t), want))
	if err == nil || !strings.Contains(err.Error(), "make link flannel.ipip") || !strings.Contains(err.Error(), "the device theirs has the same properties and is not ours") {
		t.Errorf("error: %v", err)
	}
	if name := a.device(t, "theirs").Attrs().Name; name != "theirs" {
		t.Errorf("the device of somebody else is %s", name)
	}
	a.do(t, func() error {
		theirs, err := netlink.LinkByName("theirs")
		if err != nil {
			return err
		}
		return netlink.LinkDel(theirs)
	})
	a.converge(t, want)
}

// What happens to a tunnel is announced.
func TestGuestTunnelIsWatched(t *testing.T) {
	nodes := newNodes(t, families["dual-stack"])
	a, b := &nodes[0], &nodes[1]
	want := a.plan(t, "{}", b)
	a.converge(t, want)
	for f, name := range devices {
		told := a.watch(t, func() {
			device := a.device(t, name)
			a.do(t, func() error { return netlink.LinkSetMTU(device, 1290) })
		}, func(e kernel.Events) bool { return e.Seen.Links[name].MTU == 1290 })
		if told.Seen.Links[name].Tunnel != want.Links[name].Tunnel {
			t.Errorf("%s: told of %v", subnet.Family(f), told.Seen.Links[name])
		}
		a.watch(t, func() {
			device := a.device(t, name)
			a.do(t, func() error { return netlink.LinkDel(device) })
		}, func(e kernel.Events) bool { _, gone := e.Gone.Links[name]; return gone && e.All })
	}
}

// watch calls change once Watch has begun, and returns the first events after it that enough tells.
func (n *node) watch(t *testing.T, change func(), enough func(kernel.Events) bool) (told kernel.Events) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	begun := false
	err := n.Watch(ctx, func(e kernel.Events) {
		switch {
		case !begun:
			begun = true
			change()
		case enough(e):
			told = e
			stop()
		}
	})
	if ctx.Err() != context.Canceled {
		t.Fatalf("nothing was told: %v", err)
	}
	return told
}
