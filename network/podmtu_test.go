package network

import (
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/weft-network/weft/network/kernel/kerneltest"
	"github.com/weft-network/weft/subnet"
)

// podBridge makes a bridge with the node's gateway address and one pod on it, whose namespace no file leads to.
func (b *bed) podBridge(mtu int) {
	b.t.Helper()
	env, err := subnet.ReadEnv(b.o.SubnetFile)
	must(b.t, err)
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "cni0"}}
	must(b.t, netlink.LinkAdd(bridge))
	a, err := netlink.ParseAddr(env.Subnets[subnet.Inet].String())
	must(b.t, err)
	must(b.t, netlink.AddrAdd(bridge, a))
	veth := netlink.NewVeth(netlink.LinkAttrs{Name: "veth0", MTU: mtu, MasterIndex: bridge.Index})
	veth.PeerName, veth.PeerNamespace, veth.PeerMTU = "eth0", netlink.NsFd(kerneltest.NewNS(b.t).Fd()), uint32(mtu)
	must(b.t, netlink.LinkAdd(veth))
}

// TestAgentTellsOfPodsThatKeepTheirMTU has a pod that cannot be entered: the node goes on and says so until the pod has gone, and
// a pod whose MTU is nobody's business is not mentioned.
func TestAgentTellsOfPodsThatKeepTheirMTU(t *testing.T) {
	for _, test := range []struct {
		name string
		mtu  int // of the pod
		want bool
	}{{"the node's", 1450, true}, {"another", 1400, false}} {
		t.Run(test.name, func(t *testing.T) {
			b := newBed(t, `{"Network":"10.5.0.0/16"}`)
			b.peer(2)
			a, _ := b.run()
			until(t, a, "ready", ready)
			b.podBridge(test.mtu)
			must(t, netlink.LinkSetMTU(b.link("eth0"), 1430))
			s := until(t, a, "smaller", func(s Status) bool { return s.MTU == 1380 && s.Ready })
			told := func(s Status) bool {
				return strings.Contains(strings.Join(s.Warnings, "\n"), "1 pod keeps an MTU of 1450")
			}
			if told(s) != test.want {
				t.Errorf("warnings %q, want one: %t", s.Warnings, test.want)
			}
			if got := b.link("veth0").Attrs().MTU; got != test.mtu {
				t.Errorf("the host's end of a pod that was not changed has an MTU of %d", got)
			}
			must(t, netlink.LinkDel(b.link("veth0")))
			a.wanted.doubt() // as now and then by itself
			a.look.ring()
			until(t, a, "told no more", func(s Status) bool { return !told(s) })
		})
	}
}

// TestAgentAnnouncesItsMTU sees the uplink's MTU reach the peers, and the peers' in the routes to them.
func TestAgentAnnouncesItsMTU(t *testing.T) {
	b := newBed(t, dual)
	small := b.peer(2)
	small.MTU = 1400
	b.cluster.Put(small)
	a, _ := b.run()
	s := until(t, a, "ready", ready)
	for _, route := range []string{"10.5.2.0 dev flannel.1 proto 87 onlink mtu lock 1350\n", "metric 1024 onlink mtu lock 1330\n"} {
		if !strings.Contains(b.held(), route) {
			t.Errorf("no route to the peer with the smaller uplink like %s%s", route, b.held())
		}
	}
	if got := a.claims.lease().MTU; got != 1500 {
		t.Errorf("announced an MTU of %d", got)
	}
	small.MTU = 9000
	b.cluster.Put(small)
	b.holds(strings.NewReplacer(" mtu lock 1350", "", " mtu lock 1330", "").Replace(b.held()))
	must(t, netlink.LinkSetMTU(b.link("eth0"), 1480))
	until(t, a, "smaller", func(s Status) bool { return s.MTU == 1410 && a.claims.lease().MTU == 1480 })
	if s.MTU != 1430 {
		t.Errorf("pods had an MTU of %d", s.MTU)
	}
}

// TestAgentRefusesAnMTUThatIPv6CannotHave keeps what is there.
func TestAgentRefusesAnMTUThatIPv6CannotHave(t *testing.T) {
	b := newBed(t, dual)
	b.peer(2)
	a, _ := b.run()
	until(t, a, "ready", ready)
	state := b.held()
	b.cluster.SetConfig(strings.Replace(dual, `"vxlan"`, `"vxlan","MTU":1300`, 1))
	const want = "Backend.MTU: 1300 leaves pods 1230 bytes"
	s := until(t, a, "refused", func(s Status) bool { return strings.Contains(strings.Join(s.Warnings, " "), want) })
	if s.Config != dual || !s.Ready || b.held() != state {
		t.Errorf("in force %s, ready %v, kernel\n%s", s.Config, s.Ready, b.held())
	}
	b.peer(3) // the peers are followed all the same
	until(t, a, "another peer", func(s Status) bool { return len(s.Peers) == 2 && s.Peers[1].Programmed })
}
