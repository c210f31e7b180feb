package kernel_test

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vishvananda/netlink"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/network/kernel/kerneltest"
)

// pair are two hosts on one link, each with a subnet of the pods' network and something in it that answers.
type pair [2]host

func newPair(t testing.TB) pair {
	t.Helper()
	p := pair{{NS: kerneltest.NewNS(t)}, {NS: kerneltest.NewNS(t)}}
	p[0].Join(t, "eth0", p[1].NS, "eth0", []string{"192.0.2.1/24", "2001:db8::1/64"}, []string{"192.0.2.2/24", "2001:db8::2/64"})
	for i := range p {
		p[i].Kernel = open(t, p[i].NS)
	}
	return p
}

// underlay is the address of a host on the link.
func underlay(inet6 bool, i int) netip.Addr {
	if inet6 {
		return addr([]string{"2001:db8::1", "2001:db8::2"}[i])
	}
	return addr([]string{"192.0.2.1", "192.0.2.2"}[i])
}

// converge makes both kernels hold what want says for them.
func (p pair) converge(t testing.TB, want func(i int) kernel.State) {
	t.Helper()
	for i, h := range p {
		h.converge(t, want(i))
	}
}

// talk sees packets pass from the first host to the second one's address in its subnet, small ones and such that fill the MTU.
func (p pair) talk(t testing.TB, inet6 bool, device string) {
	t.Helper()
	to := netip.AddrPortFrom(subnet(inet6, 1).Addr(), 7)
	p[1].Echo(t, to)
	p[0].Reach(t, to)
	size := p[0].device(t, device).Attrs().MTU - 28 // less the headers of IP and UDP
	if inet6 {
		size -= 20
	}
	if err := p[0].Ping(t, to, size, patience); err != nil {
		t.Errorf("a packet that fills the MTU of %s: %v", device, err)
	}
}

// tunnel is what host i of a pair holds with tunnels of IP in IP.
func tunnel(i int) (s kernel.State) {
	const name = "flannel.ipip"
	other := 1 - i
	s.Links.Add(kernel.Link{Name: name, MTU: 1480, Up: true, Tunnel: kernel.Tunnel{Local: underlay(false, i)}})
	s.Addrs.Add(kernel.Addr{Link: name, Prefix: netip.PrefixFrom(subnet(false, i).Addr(), 32)})
	s.Routes.Add(kernel.Route{Dst: subnet(false, other), Via: underlay(false, other), Link: name, OnLink: true})
	return s
}

// Tunnels of IP in IP carry packets, are listed as they were made, are changed in place where the kernel can do that, and
// come back after somebody deleted them.
func TestGuestTunnels(t *testing.T) {
	const name = "flannel.ipip"
	p := newPair(t)
	p.converge(t, tunnel)
	p.talk(t, false, name)
	index := p[0].device(t, name).Attrs().Index
	p[0].converge(t, with(tunnel(0), device(name, func(l *kernel.Link) { l.MTU = 1400 })))
	if now := p[0].device(t, name).Attrs().Index; now != index {
		t.Errorf("index of %s is %d, was %d: it was made anew", name, now, index)
	}
	p[0].do(t, func() error { return netlink.LinkDel(p[0].device(t, name)) })
	p[0].converge(t, tunnel(0))
	p[0].Reach(t, netip.AddrPortFrom(subnet(false, 1).Addr(), 7))
	p[0].converge(t, kernel.State{})
}

// encrypted is what host i of a pair holds with WireGuard: the packets of a family within those of outer.
func encrypted(keys [2]wgtypes.Key, inet6, outer bool, i int) (s kernel.State) {
	const name, port = "flannel-wg", 51820
	metric := uint32(0)
	if inet6 {
		metric = 1024
	}
	other := 1 - i
	s.Links.Add(kernel.Link{Name: name, MTU: 1420, Up: true, WireGuard: kernel.WireGuard{PrivateKey: kernel.Key(keys[i]), Port: port}})
	s.Addrs.Add(kernel.Addr{Link: name, Prefix: netip.PrefixFrom(subnet(inet6, i).Addr(), subnet(inet6, i).Addr().BitLen())})
	s.Routes.Add(kernel.Route{Dst: subnet(inet6, other), Metric: metric, Link: name})
	s.WireGuardPeers.Add(kernel.WireGuardPeer{
		Link: name, PublicKey: kernel.PublicKey(keys[other].PublicKey()), PSK: kernel.Key{1, 2, 3}, Keepalive: 25,
		Endpoints: kernel.EndpointText(netip.AddrPortFrom(underlay(outer, other), port)),
		Allowed:   kernel.AllowedText(subnet(inet6, other)),
	})
	return s
}

// WireGuard's devices carry packets in all combinations of families, and come back with their peers after somebody deleted
// them.
func TestGuestWireGuard(t *testing.T) {
	var keys [2]wgtypes.Key
	for i := range keys {
		var err error
		if keys[i], err = wgtypes.GeneratePrivateKey(); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ inet6, outer bool }{{false, false}, {false, true}, {true, false}, {true, true}} {
		p := newPair(t)
		p.converge(t, func(i int) kernel.State { return encrypted(keys, c.inet6, c.outer, i) })
		p.talk(t, c.inet6, "flannel-wg")
		p[0].do(t, func() error { return netlink.LinkDel(p[0].device(t, "flannel-wg")) })
		p[0].converge(t, encrypted(keys, c.inet6, c.outer, 0))
		p[0].Reach(t, netip.AddrPortFrom(subnet(c.inet6, 1).Addr(), 7))
		p[0].converge(t, kernel.State{})
	}
}

// TestGuestIPsec holds that policies of devices and the SPIs of keys are listed, whoever has made them, for as long as they are there.
func TestGuestIPsec(t *testing.T) {
	h := newHost(t)
	want := kernel.IPsecState{SPIs: map[uint32]bool{}, Policies: map[kernel.Policy]bool{}}
	directions := map[kernel.Direction]netlink.Dir{kernel.In: netlink.XFRM_DIR_IN, kernel.Out: netlink.XFRM_DIR_OUT, kernel.Through: netlink.XFRM_DIR_FWD}
	for i, inet6 := range []bool{false, true} {
		a := kernel.Association{ID: uint32(87 + i), Own: subnet(inet6, 1), Peer: subnet(inet6, 2)}
		spi := 0xc0000001 + i
		h.do(t, func() error {
			return netlink.XfrmStateAdd(&netlink.XfrmState{Src: underlay(inet6, 0).AsSlice(), Dst: underlay(inet6, 1).AsSlice(), Spi: spi, Ifid: int(a.ID),
				Proto: netlink.XFRM_PROTO_ESP, Mode: netlink.XFRM_MODE_TUNNEL,
				Aead: &netlink.XfrmStateAlgo{Name: "rfc4106(gcm(aes))", Key: make([]byte, 20), ICVLen: 128}})
		})
		want.SPIs[uint32(spi)] = true
		for dir, theirs := range directions {
			p := a.Policy(dir)
			h.do(t, func() error {
				return netlink.XfrmPolicyAdd(&netlink.XfrmPolicy{Src: ipnet(p.Src), Dst: ipnet(p.Dst), Dir: theirs, Ifid: int(p.ID)})
			})
			want.Policies[p] = true
		}
	}
	h.do(t, func() error { // nobody's device's
		return netlink.XfrmPolicyAdd(&netlink.XfrmPolicy{Src: ipnet(subnet(false, 1)), Dst: ipnet(subnet(false, 2)), Dir: netlink.XFRM_DIR_OUT})
	})
	var ipsec *kernel.IPsec
	h.do(t, func() (err error) {
		ipsec, err = kernel.OpenIPsec()
		return err
	})
	defer ipsec.Close()
	for range 2 {
		have, err := ipsec.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, have, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
			t.Errorf("the kernel holds something else (-want +have):\n%s", diff)
		}
		h.do(t, func() error {
			return errors.Join(netlink.XfrmPolicyFlush(), netlink.XfrmStateFlush(netlink.XFRM_PROTO_ESP))
		})
		clear(want.SPIs)
		clear(want.Policies)
	}
}
