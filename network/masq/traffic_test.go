package masq

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/weft-network/weft/network/kernel/kerneltest"
	"github.com/weft-network/weft/subnet"
)

// Ports of the world: one that is nothing special, one whose packets kube-proxy would have marked, and the tunnel's.
const (
	plain  = 1000
	marked = 4000
	tunnel = 8472
)

func TestTraffic(t *testing.T) {
	for _, r := range renderings {
		t.Run(r.name, func(t *testing.T) {
			w := newWorld(t)
			fw, err := r.firewall()
			if err != nil {
				t.Fatal(err)
			}
			w.node.Do(t, func() {
				r.both(t, "-P FORWARD DROP") // as Docker does
				r.both(t, "-t mangle -A PREROUTING -p udp --dport 4000 -j MARK --or-mark 0x4000")
				r.both(t, "-t mangle -A PREROUTING -p tcp --dport 4000 -j MARK --or-mark 0x4000")
				sync(t, fw, dualStack())
			})
			for _, ns := range []*kerneltest.NS{w.node, w.pod, w.peer, w.far, w.friend} {
				for _, port := range []uint16{plain, marked, tunnel} {
					report(t, ns, port)
				}
			}
			for _, f := range subnet.Families {
				w.tryAll(t, f)
			}
			for name, c := range splits() {
				t.Run(name, func(t *testing.T) {
					w.node.Do(t, func() { sync(t, fw, c) })
					for _, f := range subnet.Families {
						w.tryAll(t, f)
					}
				})
			}
		})
	}
}

// splits are clusters of more than one network, with the pod in the first one or in another. Nothing else is different.
func splits() map[string]Config {
	first, second := dualStack(), dualStack()
	first.Networks, second.Networks = prefixes("10.5.0.0/23", "fd00:5:0:0::/63"), prefixes("10.5.2.0/24", "fd00:5:0:2::/64")
	for f := range subnet.Families {
		first.Further[f] = []netip.Prefix{prefixes("10.9.0.0/16", "fd00:99::/56")[f], second.Networks[f]}
		second.Further[f] = []netip.Prefix{first.Networks[f]}
	}
	return map[string]Config{"pod in the first network": first, "pod in a further network": second}
}

func (w world) tryAll(t *testing.T, f subnet.Family) {
	tests := []struct {
		name     string
		from     *kerneltest.NS
		to       [2]string
		port     uint16
		wantFrom [2]string
	}{
		{"pod to pod of another node", w.pod, peerAddr, plain, podAddr},
		{"pod of another node to pod", w.peer, podAddr, plain, peerAddr},
		{"outside to pod", w.far, podAddr, plain, farAddr},
		{"pod to outside", w.pod, farAddr, plain, uplinkAddr},
		{"pod to outside, marked by kube-proxy", w.pod, farAddr, marked, podAddr},
		{"pod to a network that knows pods", w.pod, friendAddr, plain, podAddr},
		{"outside to pod of another node", w.far, peerAddr, plain, overlayAddr},
		{"outside to pod of another node, marked", w.far, peerAddr, marked, farAddr},
		{"pod to its node", w.pod, bridgeAddr, plain, podAddr},
		{"node to pod", w.node, podAddr, plain, bridgeAddr},
		{"node to pod of another node", w.node, peerAddr, plain, overlayAddr},
		{"node to outside", w.node, farAddr, plain, uplinkAddr},
		{"pod to the tunnel's port outside", w.pod, farAddr, tunnel, uplinkAddr},
		{"node to the tunnel's port outside", w.node, farAddr, tunnel, uplinkAddr},
		{"outside to the tunnel's port of the node", w.far, uplinkAddr, tunnel, farAddr},
	}
	for _, test := range tests {
		for _, network := range []string{"udp", "tcp"} {
			to := netip.AddrPortFrom(netip.MustParseAddr(test.to[f]), test.port)
			if got := ask(t, test.from, network, to); got != test.wantFrom[f] {
				t.Errorf("%s %s: %s: seen from %s, want %s", f, network, test.name, got, test.wantFrom[f])
			}
		}
	}
}

func TestMulticastKeepsItsSource(t *testing.T) {
	groups := [2]string{"224.0.0.251", "ff02::fb"}
	for _, r := range renderings {
		t.Run(r.name, func(t *testing.T) {
			w := newWorld(t)
			fw, err := r.firewall()
			if err != nil {
				t.Fatal(err)
			}
			w.node.Do(t, func() { sync(t, fw, dualStack()) })
			for _, f := range subnet.Families {
				var listener, sender *net.UDPConn
				w.far.Do(t, func() {
					device, err := net.InterfaceByName("eth0")
					if err != nil {
						t.Fatal(err)
					}
					listener, err = net.ListenMulticastUDP("udp", device, &net.UDPAddr{IP: net.ParseIP(groups[f]), Port: 5353})
					if err != nil {
						t.Fatal(err)
					}
				})
				w.node.Do(t, func() { sender, err = multicastSocket(bridgeAddr[f], "uplink") })
				if err != nil {
					t.Fatal(err)
				}
				var from netip.AddrPort
				for range 20 { // a device that has just been made may lose a packet
					if _, err = sender.WriteToUDP([]byte("hello"), &net.UDPAddr{IP: net.ParseIP(groups[f]), Port: 5353}); err != nil {
						break
					}
					listener.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
					if _, from, err = listener.ReadFromUDPAddrPort(make([]byte, 64)); err == nil {
						break
					}
				}
				if err != nil || from.Addr().Unmap().String() != bridgeAddr[f] {
					t.Errorf("%s: seen from %v, %v; want %s", f, from, err, bridgeAddr[f])
				}
				listener.Close()
				sender.Close()
			}
		})
	}
}

// TestTunnelIsUntracked looks for entries of connection tracking after packets of the tunnel and of others.
func TestTunnelIsUntracked(t *testing.T) {
	for _, r := range renderings {
		t.Run(r.name, func(t *testing.T) {
			w := newWorld(t)
			fw, err := r.firewall()
			if err != nil {
				t.Fatal(err)
			}
			w.node.Do(t, func() { sync(t, fw, dualStack()) })
			for _, ns := range []*kerneltest.NS{w.node, w.far} {
				report(t, ns, plain)
				report(t, ns, tunnel)
			}
			for f := range subnet.Families {
				for _, port := range []uint16{plain, tunnel} {
					ask(t, w.node, "udp", netip.AddrPortFrom(netip.MustParseAddr(farAddr[f]), port))
					ask(t, w.far, "udp", netip.AddrPortFrom(netip.MustParseAddr(uplinkAddr[f]), port))
				}
				ask(t, w.pod, "udp", netip.AddrPortFrom(netip.MustParseAddr(farAddr[f]), tunnel))
			}
			for f, family := range []netlink.InetFamily{netlink.FAMILY_V4, netlink.FAMILY_V6} {
				got := map[string]bool{}
				w.node.Do(t, func() {
					flows, err := netlink.ConntrackTableList(netlink.ConntrackTable, family)
					if err != nil {
						t.Fatal(err)
					}
					for _, flow := range flows {
						got[net.JoinHostPort(flow.Forward.SrcIP.String(), portName(flow.Forward.DstPort))] = true
					}
				})
				for end, want := range map[string]bool{
					net.JoinHostPort(uplinkAddr[f], "plain"):  true,
					net.JoinHostPort(farAddr[f], "plain"):     true,
					net.JoinHostPort(podAddr[f], "tunnel"):    true, // not this node's own tunnel
					net.JoinHostPort(uplinkAddr[f], "tunnel"): false,
					net.JoinHostPort(farAddr[f], "tunnel"):    false,
				} {
					if got[end] != want {
						t.Errorf("packets from %s are tracked: %v, want %v", end, got[end], want)
					}
				}
			}
		})
	}
}

func portName(port uint16) string {
	return map[uint16]string{plain: "plain", tunnel: "tunnel"}[port]
}

// TestConnectionsSurvive keeps a masqueraded TCP connection open while rules are changed, lost and restored.
func TestConnectionsSurvive(t *testing.T) {
	for _, r := range renderings {
		t.Run(r.name, func(t *testing.T) {
			w := newWorld(t)
			fw, err := r.firewall()
			if err != nil {
				t.Fatal(err)
			}
			w.node.Do(t, func() {
				// Connections stay tracked for as long as any rule asks for it, as some rule does on every real node.
				r.both(t, "-A INPUT -m conntrack --ctstate INVALID -j DROP")
				sync(t, fw, dualStack())
			})
			echo := w.connect(t)
			other := dualStack()
			other.RandomFully, other.NoMasquerade = true, nil
			for _, disturb := range []func(){
				func() { sync(t, fw, other) },
				func() { sync(t, fw, dualStack()) },
				func() { // what is tracked goes on, also without rules
					if r.name == "nftables" {
						run(t, "nft flush chain inet weft postrouting")
					} else {
						r.both(t, "-t nat -F WEFT-POSTRTG")
					}
				},
				func() { sync(t, fw, dualStack()) },
			} {
				w.node.Do(t, disturb)
				echo()
			}
		})
	}
}
