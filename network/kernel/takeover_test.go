package kernel_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/network/kernel"
)

// flannel makes what flanneld makes on a node: the device, its address, and for each peer a route of protocol boot, a neighbour
// and a forwarding entry. It is called in the namespace of the node.
func flannel(device, parent string, local netip.Addr, own netip.Prefix, lladdr kernel.MAC, peers ...peer) error {
	link, err := netlink.LinkByName(parent)
	if err != nil {
		return err
	}
	vxlan := &netlink.Vxlan{
		LinkAttrs:    netlink.LinkAttrs{Name: device, HardwareAddr: lladdr[:], MTU: link.Attrs().MTU - 70},
		VxlanId:      1,
		VtepDevIndex: link.Attrs().Index,
		SrcAddr:      local.AsSlice(),
		Port:         8472,
	}
	addr := &netlink.Addr{IPNet: ipnet(netip.PrefixFrom(own.Addr(), own.Addr().BitLen())), Flags: unix.IFA_F_NODAD}
	if err := errors.Join(netlink.LinkAdd(vxlan), netlink.LinkSetUp(vxlan), netlink.AddrAdd(vxlan, addr)); err != nil {
		return err
	}
	for _, p := range peers {
		if err := p.add(vxlan); err != nil {
			return err
		}
	}
	return nil
}

// peer is another node as flannel sees it.
type peer struct {
	subnet netip.Prefix
	mac    kernel.MAC
	public netip.Addr
}

func (p peer) add(link netlink.Link) error {
	index, ip := link.Attrs().Index, net.IP(p.subnet.Addr().AsSlice())
	return errors.Join(
		netlink.NeighSet(&netlink.Neigh{LinkIndex: index, State: unix.NUD_PERMANENT, Type: unix.RTN_UNICAST, IP: ip, HardwareAddr: p.mac[:]}),
		netlink.NeighSet(&netlink.Neigh{LinkIndex: index, Family: unix.AF_BRIDGE, State: unix.NUD_PERMANENT, Flags: unix.NTF_SELF,
			IP: p.public.AsSlice(), HardwareAddr: p.mac[:]}),
		netlink.RouteReplace(&netlink.Route{LinkIndex: index, Scope: unix.RT_SCOPE_UNIVERSE, Dst: ipnet(p.subnet), Gw: ip, Flags: unix.RTNH_F_ONLINK}),
	)
}

// What flannel left is adopted without a packet lost, and what it should not have left goes.
func TestTakeover(t *testing.T) {
	for _, inet6 := range []bool{false, true} {
		device, locals, bits, metric := "flannel.1", []netip.Addr{addr("192.0.2.1"), addr("192.0.2.2")}, 32, uint32(0)
		if inet6 {
			device, locals, bits, metric = "flannel-v6.1", []netip.Addr{addr("2001:db8::1"), addr("2001:db8::2")}, 128, 1024
		}
		t.Run(device, func(t *testing.T) {
			h := newHost(t)
			own, other, dead := subnet(inet6, 0), subnet(inet6, 1), subnet(inet6, 2)
			h.do(t, func() error {
				return flannel(device, "eth0", locals[0], own, mac(0), peer{other, mac(1), locals[1]}, peer{dead, mac(2), locals[1].Next()})
			})
			peerHost := host{NS: h.peer}
			peerHost.do(t, func() error {
				return flannel(device, "eth0", locals[1], other, mac(1), peer{own, mac(0), locals[0]})
			})

			to := netip.AddrPortFrom(other.Addr(), 7)
			h.peer.Echo(t, to)
			h.Reach(t, to)
			index := h.device(t, device).Attrs().Index
			flood := h.Flood(t, to, 500*time.Microsecond)

			var want kernel.State
			want.Links.Add(kernel.Link{Name: device, MAC: mac(0), MTU: 1430, Up: true,
				VXLAN: kernel.VXLAN{VNI: 1, Port: 8472, Local: locals[0], Parent: "eth0"}})
			want.Addrs.Add(kernel.Addr{Link: device, Prefix: netip.PrefixFrom(own.Addr(), bits)})
			want.Routes.Add(kernel.Route{Dst: other, Metric: metric, Via: other.Addr(), Link: device, OnLink: true})
			want.Neighbours.Add(kernel.Neighbour{Link: device, IP: other.Addr(), MAC: mac(1)})
			want.Forwards.Add(kernel.Forward{Link: device, MAC: mac(1), Dst: locals[1]})

			c := kernel.Diff(h.list(t), want)
			const put, drop = "route %s via %s dev %s proto 87%s onlink\n", "route %[1]s via %[2]s dev %[3]s proto boot%[5]s onlink\n" +
				"neigh %[2]s lladdr 0e:00:00:00:00:02 dev %[3]s nud permanent\nfdb 0e:00:00:00:00:02 dev %[3]s dst %[4]s self permanent\n"
			suffix := map[uint32]string{0: "", 1024: " metric 1024"}[metric]
			if diff := cmp.Diff(fmt.Sprintf(put, other, other.Addr(), device, suffix), c.Put.String()); diff != "" {
				t.Errorf("put (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(fmt.Sprintf(drop, dead, dead.Addr(), device, locals[1].Next(), suffix), c.Drop.String()); diff != "" {
				t.Errorf("drop (-want +got):\n%s", diff)
			}
			for range 50 { // to and fro, so that a gap cannot hide between two packets
				h.converge(t, want)
				h.do(t, func() error {
					r := h.route(t, other)
					r.Protocol = unix.RTPROT_BOOT
					return netlink.RouteReplace(r)
				})
			}
			h.converge(t, want)
			if now := h.device(t, device).Attrs().Index; now != index {
				t.Error("the device was made anew")
			}
			if sent, lost := flood.Stop(t); lost != 0 || sent < 10 {
				t.Errorf("%d of %d packets lost", lost, sent)
			}
		})
	}
}

// Under traffic, changes to the rest lose nothing, and neither does a second pass or changes in place.
func TestTrafficSurvivesChanges(t *testing.T) {
	a := newHost(t)
	b := host{NS: a.peer, Kernel: open(t, a.peer)}
	state := func(own, other int, local, public string, edit func(*kernel.State)) kernel.State {
		var s kernel.State
		s.Links.Add(kernel.Link{Name: "flannel.1", MAC: mac(own), MTU: 1450, Up: true,
			VXLAN: kernel.VXLAN{VNI: 1, Port: 8472, Local: addr(local), Parent: "eth0"}})
		s.Addrs.Add(kernel.Addr{Link: "flannel.1", Prefix: netip.PrefixFrom(subnet(false, own).Addr(), 32)})
		addPeer(&s, false, other)
		s.Forwards.Add(kernel.Forward{Link: "flannel.1", MAC: mac(other), Dst: addr(public)})
		edit(&s)
		return s
	}
	plain := func(*kernel.State) {}
	b.converge(t, state(1, 0, "192.0.2.2", "192.0.2.1", plain))
	a.converge(t, state(0, 1, "192.0.2.1", "192.0.2.2", plain))
	to := netip.AddrPortFrom(subnet(false, 1).Addr(), 7)
	b.Echo(t, to)
	a.Reach(t, to)
	flood := a.Flood(t, to, 500*time.Microsecond)
	for name, edit := range map[string]func(*kernel.State){
		"more peers": func(s *kernel.State) {
			for i := 2; i < 500; i++ {
				addPeer(s, false, i)
			}
		},
		"MTU":      device("flannel.1", func(l *kernel.Link) { l.MTU = 1400 }),
		"learning": device("flannel.1", func(l *kernel.Link) { l.VXLAN.Learning = true }),
		"direct way": func(s *kernel.State) {
			s.Routes.Add(kernel.Route{Dst: subnet(false, 1), Via: addr("192.0.2.2"), Link: "eth0"})
		},
		"nothing": plain,
	} {
		for range 5 {
			a.converge(t, state(0, 1, "192.0.2.1", "192.0.2.2", edit))
			a.converge(t, state(0, 1, "192.0.2.1", "192.0.2.2", plain))
		}
		if err := a.Ping(t, to, 1400, patience); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if sent, lost := flood.Stop(t); lost != 0 || sent < 100 {
		t.Errorf("%d of %d packets lost", lost, sent)
	}
}

// everything returns all devices, addresses, routes, neighbours and forwarding entries of the namespace in text.
func (h host) everything(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	h.do(t, func() error {
		links, err := netlink.LinkList()
		for _, l := range links {
			fmt.Fprintln(&b, l.Attrs().Index, l.Attrs().Name, l.Type(), l.Attrs().MTU, l.Attrs().HardwareAddr, l.Attrs().Flags)
		}
		addrs, err2 := netlink.AddrList(nil, netlink.FAMILY_ALL)
		for _, a := range addrs {
			fmt.Fprintln(&b, a)
		}
		var errs []error
		for _, family := range []int{unix.AF_INET, unix.AF_INET6, unix.AF_BRIDGE} {
			neighs, err := netlink.NeighList(0, family)
			for _, n := range neighs {
				multicast := n.IP.IsMulticast() || len(n.HardwareAddr) > 0 && n.HardwareAddr[0]&1 != 0 // the kernel's own
				if n.State&(unix.NUD_PERMANENT|unix.NUD_NOARP) != 0 && !multicast {
					fmt.Fprintln(&b, n.LinkIndex, n.IP, n.HardwareAddr, n.State, n.Flags)
				}
			}
			errs = append(errs, err)
		}
		for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
			routes, err := netlink.RouteListFiltered(family, &netlink.Route{}, netlink.RT_FILTER_TABLE)
			for _, r := range routes {
				if r.Table != unix.RT_TABLE_LOCAL {
					fmt.Fprintln(&b, r)
				}
			}
			errs = append(errs, err)
		}
		return errors.Join(append(errs, err, err2)...)
	})
	return b.String()
}

// strangers puts objects into the namespace that resemble ours and are not.
func strangers(t *testing.T, h host) error {
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "cni0"}}
	vxlan := &netlink.Vxlan{LinkAttrs: netlink.LinkAttrs{Name: "vxlan.calico"}, VxlanId: 4096, Port: 4789}
	if err := errors.Join(netlink.LinkAdd(bridge), netlink.LinkSetUp(bridge), netlink.LinkAdd(vxlan), netlink.LinkSetUp(vxlan)); err != nil {
		return err
	}
	addr, err := netlink.ParseAddr("10.5.0.1/24")
	if err != nil {
		return err
	}
	eth0 := h.device(t, "eth0").Attrs().Index
	via, via6 := net.IPv4(192, 0, 2, 2), net.ParseIP("2001:db8::2")
	errs := []error{
		netlink.AddrAdd(bridge, addr),
		netlink.NeighSet(&netlink.Neigh{LinkIndex: vxlan.Index, State: unix.NUD_PERMANENT, IP: net.IPv4(10, 5, 9, 0), HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 1}}),
		netlink.NeighSet(&netlink.Neigh{LinkIndex: vxlan.Index, Family: unix.AF_BRIDGE, State: unix.NUD_PERMANENT, Flags: unix.NTF_SELF,
			IP: via, HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 1}}),
	}
	for _, r := range []netlink.Route{
		{Gw: via}, // default
		{Dst: ipnet(prefix("10.5.0.0/16")), Gw: via},                                         // the network, but no subnet of it
		{Dst: ipnet(prefix("10.5.20.0/25")), Gw: via},                                        // part of a subnet
		{Dst: ipnet(prefix("10.77.1.0/24")), Gw: via},                                        // elsewhere
		{Dst: ipnet(subnet(false, 21)), LinkIndex: bridge.Index},                             // a subnet, but no gateway
		{Dst: ipnet(subnet(false, 22)), Gw: via, Protocol: unix.RTPROT_STATIC},               // a subnet, but a protocol of its own
		{Dst: ipnet(subnet(false, 23)), Gw: via, Table: 100},                                 // another table
		{Dst: ipnet(subnet(false, 24)), Gw: via, Table: 100, Protocol: kernel.RouteProtocol}, // even with our protocol
		{Dst: ipnet(subnet(false, 25)), MultiPath: []*netlink.NexthopInfo{ // several next hops
			{LinkIndex: eth0, Gw: via}, {LinkIndex: eth0, Gw: net.IPv4(192, 0, 2, 3)}}},
		{Dst: ipnet(subnet(true, 22)), Gw: via6, Protocol: unix.RTPROT_STATIC},
		{Dst: ipnet(prefix("fd00:5::/48")), Gw: via6},
	} {
		errs = append(errs, netlink.RouteAdd(&r))
	}
	return errors.Join(errs...)
}

func TestStrangersAreUntouched(t *testing.T) {
	h := newHost(t)
	h.do(t, func() error { return strangers(t, h) })
	before := h.everything(t)
	if have := h.list(t); !have.IsEmpty() {
		t.Fatalf("listed as ours:\n%s", have)
	}
	h.converge(t, with(overlay(false, 10), func(s *kernel.State) {
		for _, r := range overlay(true, 10).Routes {
			r.Via, r.Link, r.OnLink = addr("2001:db8::2"), "eth0", false
			s.Routes.Add(r)
		}
	}))
	h.converge(t, kernel.State{})
	if diff := cmp.Diff(before, h.everything(t)); diff != "" {
		t.Errorf("something of others changed (-before +after):\n%s", diff)
	}
}

// A route that somebody else made is in the way of ours: it stays, and the failure says so.
func TestStrangersRouteIsNotReplaced(t *testing.T) {
	h := newHost(t)
	h.do(t, func() error { return strangers(t, h) })
	before := h.everything(t)
	var want kernel.State
	for _, i := range []int{21, 22, 25} {
		want.Routes.Add(kernel.Route{Dst: subnet(false, i), Via: addr("192.0.2.2"), Link: "eth0"})
	}
	want.Routes.Add(kernel.Route{Dst: subnet(true, 22), Metric: 1024, Via: addr("2001:db8::2"), Link: "eth0"})
	err := h.Apply(t.Context(), kernel.Diff(h.list(t), want))
	var failures kernel.Failures
	if !errors.As(err, &failures) || len(failures) != len(want.Routes) || !errors.Is(err, unix.EEXIST) {
		t.Fatalf("error: %v", err)
	}
	if !strings.Contains(err.Error(), "make route 10.5.22.0/24 via 192.0.2.2 dev eth0 proto 87: file exists: there is another route") {
		t.Errorf("error: %v", err)
	}
	if diff := cmp.Diff(before, h.everything(t)); diff != "" {
		t.Errorf("something of others changed (-before +after):\n%s", diff)
	}
}
