package lab

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/subnet"
)

// way is a backend as the suite below runs it: what is known of it from outside.
type way struct {
	name     string
	config   string    // the Backend object
	racks    int       // 0: one
	near     [2]string // devices by which peers in the same rack are reached, by family
	far      [2]string // the same for another rack
	overhead [2]int    // what its headers add to a pod's packet, by family of the underlay
	block    int       // packets for a smaller uplink are of a multiple of it; 0: of any size
	direct   bool      // peers in the same rack get whole packets of the underlay
	foreign  bool      // what it makes is the operator's own: nobody repairs it
	tries    bool      // near paths are used when they have proven themselves, so that not everything is as before at once
	keyed    bool      // packets are dropped until two nodes have agreed on keys
}

// onUplink is the uplink in both families.
var onUplink = [2]string{uplink, uplink}

// hostWays are the backends that work on any kernel: WireGuard is weftd's own where the kernel has none.
func hostWays() []way {
	tunnel := [2]string{"flannel.1", "flannel-v6.1"}
	tun := [2]string{"flannel0", "flannel-v6.0"}
	return []way{
		{name: "vxlan", config: `{"Type":"vxlan"}`, racks: 2, near: tunnel, far: tunnel, overhead: [2]int{50, 70}},
		{name: "host-gw", config: `{"Type":"host-gw"}`, near: onUplink, far: onUplink, direct: true},
		{name: "direct-routing", config: `{"Type":"vxlan","DirectRouting":true}`, racks: 2, near: onUplink, far: tunnel,
			overhead: [2]int{50, 70}, direct: true},
		{name: "auto", config: `{"Type":"auto"}`, racks: 2, near: onUplink, far: tunnel, overhead: [2]int{50, 70}, direct: true, tries: true},
		{name: "udp", config: `{"Type":"udp"}`, racks: 2, near: tun, far: tun, overhead: [2]int{28, 48}},
		wireguardWay(),
		{name: "extension", config: extensionConfig, near: onUplink, far: onUplink, foreign: true},
	}
}

// extensionConfig makes of extension what host-gw is, in both families.
const extensionConfig = `{"Type":"extension",
	"SubnetAddCommand":"if [ -n \"$SUBNET\" ]; then ip route replace \"$SUBNET\" via \"$PUBLIC_IP\" || exit 1; fi; if [ -n \"$IPV6_SUBNET\" ]; then ip -6 route replace \"$IPV6_SUBNET\" via \"$PUBLIC_IPV6\"; fi",
	"SubnetRemoveCommand":"if [ -n \"$SUBNET\" ]; then ip route del \"$SUBNET\"; fi; if [ -n \"$IPV6_SUBNET\" ]; then ip -6 route del \"$IPV6_SUBNET\"; fi"}`

// guestWays are those that need a kernel with their kinds of device.
func guestWays() []way {
	ipip, esp := [2]string{"flannel.ipip", "flannel-v6.ipip"}, [2]string{"flannel.esp", "flannel-v6.esp"}
	return []way{
		{name: "ipip", config: `{"Type":"ipip"}`, racks: 2, near: ipip, far: ipip, overhead: [2]int{20, 40}},
		wireguardWay(),
		{name: "ipsec", config: ipsecConfig, racks: 2, near: esp, far: esp, overhead: [2]int{57, 77}, keyed: true},
	}
}

const ipsecConfig = `{"Type":"ipsec","PSK":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}`

func wireguardWay() way {
	wg := [2]string{"flannel-wg", "flannel-wg-v6"}
	return way{name: "wireguard", config: `{"Type":"wireguard"}`, racks: 2, near: wg, far: wg, overhead: [2]int{60, 80}, block: 16}
}

func TestBackends(t *testing.T) { testBackends(t, hostWays()) }

// TestGuestBackends is the same with the backends of which this machine's kernel may lack the devices.
func TestGuestBackends(t *testing.T) { testBackends(t, guestWays()) }

// testBackends runs the whole suite for each backend and combination of families, in one lab each: three nodes in
// dual-stack clusters, of which one leaves at last; two nodes in the others, to which a third one comes.
func testBackends(t *testing.T, ways []way) {
	for _, w := range ways {
		for _, families := range []string{"ipv4", "ipv6", "dual"} {
			t.Run(w.name+"/"+families, func(t *testing.T) {
				t.Parallel()
				nodes := map[string]int{"ipv4": 2, "ipv6": 2, "dual": 3}[families]
				opts := Options{Nodes: nodes, Backend: w.config, Families: parsedFamilies(t, families), Racks: w.racks, DropForward: true}
				runLab(t, opts, func(l *Lab) {
					w.suite(t, l)
					if nodes == 3 {
						t.Run("two-nodes", func(t *testing.T) { leave(t, l); w.again(t, l) })
					} else {
						t.Run("three-nodes", func(t *testing.T) { join(t, l); w.again(t, l) })
					}
				})
			})
		}
	}
}

// suite is all that is seen of a backend.
func (w way) suite(t *testing.T, l *Lab) {
	w.proven(t, l)
	w.agree(t, l)
	t.Run("connectivity", func(t *testing.T) { checkMatrix(t, l); w.checkPaths(t, l) })
	for _, f := range Faults() {
		if f.usual(l.opts) && !w.foreign {
			t.Run("repair/"+f.Name, func(t *testing.T) { w.checkRepair(t, l, f) })
		}
	}
	restarted, faults := restartWays(), storeFaultList()
	if len(l.opts.Families) == 1 {
		faults = faults[:2] // to wait for what etcd does takes long; dual-stack clusters have both families
	}
	restarts(t, l, restarted)
	storeFaults(t, l, faults)
	if !w.foreign {
		t.Run("mtu", func(t *testing.T) { w.checkMTU(t, l) })
	}
	t.Run("connectivity afterwards", func(t *testing.T) { checkMatrix(t, l) })
}

// again is the core of the suite, for another number of nodes.
func (w way) again(t *testing.T, l *Lab) {
	w.proven(t, l)
	w.agree(t, l)
	checkMatrix(t, l)
	w.checkPaths(t, l)
	if f, err := FaultNamed("everything"); err != nil {
		t.Error(err)
	} else if !w.foreign {
		w.checkRepair(t, l, f)
	}
	restarts(t, l, restartWays()[:1])
	storeFaults(t, l, storeFaultList()[:1])
}

// agree waits until all nodes have keys with each other, where they need some.
func (w way) agree(t *testing.T, l *Lab) {
	t.Helper()
	for _, a := range l.Nodes {
		for _, b := range l.Nodes {
			for i, f := range l.opts.Families {
				if a == b || !w.keyed {
					continue
				}
				eventually(t, fmt.Sprintf("%s keys of %s and %s", f, a.Name, b.Name), func() error {
					_, err := a.Pods[0].Ping(t.Context(), b.Pods[0].Addrs[i], 0)
					return err
				})
			}
		}
	}
}

// checkPaths looks at whether packets take the way that the backend promises, from node 1 to all others.
func (w way) checkPaths(t *testing.T, l *Lab) {
	t.Helper()
	lines := listing(t, l.Nodes[0].Host)
	for _, n := range l.Nodes[1:] {
		for i, f := range l.opts.Families {
			want := w.near[f]
			if n.Rack != l.Nodes[0].Rack {
				want = w.far[f]
			}
			if route := firstRoute(lines, nodeSubnet(t, n, i)); !strings.Contains(route, " dev "+want+" ") {
				t.Errorf("%s: route to %s %q, want it by %s", f, n.Name, route, want)
			}
		}
	}
}

// join adds a node with pods to a running lab.
func join(t *testing.T, l *Lab) {
	t.Helper()
	n, err := newNode(l, len(l.Nodes))
	must(t, err)
	l.Nodes = append(l.Nodes, n)
	must(t, n.Start())
	must(t, l.Ready(within(t, patience)))
	for range l.opts.Pods {
		_, err := n.AddPod(within(t, patience))
		must(t, err)
	}
}

// leave takes the last node away for good, and sees nothing of it stay on the others.
func leave(t *testing.T, l *Lab) {
	t.Helper()
	last := len(l.Nodes) - 1
	n := l.Nodes[last]
	subnets := nodeStatus(t, n).Lease.Subnets
	must(t, n.Kill())
	deleteLease(t, l, n.Name)
	l.Nodes = l.Nodes[:last]
	must(t, n.close())
	must(t, l.Ready(within(t, patience)))
	for _, other := range l.Nodes {
		eventually(t, "routes to "+n.Name+" to be gone", func() error {
			for _, s := range subnets {
				if route := find(listing(t, other.Host), "route "+s+" "); route != "" {
					return fmt.Errorf("%s still has: %s", other.Name, route)
				}
			}
			return nil
		})
	}
}

// pods returns what the pods of a node can send at once, over an uplink of this MTU.
func (w way) pods(families []subnet.Family, mtu int) int {
	most := 0
	for _, f := range families {
		most = max(most, w.overhead[f])
	}
	return mtu - most
}

// checkMTU changes the MTU of the underlay under traffic. Devices, subnet.env, and the pods that are there follow, nothing
// is lost, and what fits is carried, also between nodes with different uplinks.
func (w way) checkMTU(t *testing.T, l *Lab) {
	start := nodeListings(t, l)
	least := 1280
	if len(l.opts.Families) > 1 || l.opts.Families[0] == subnet.Inet6 {
		least = 2*1280 - w.pods(l.opts.Families, 1280) // pods that talk IPv6 need 1280
	}
	tr := startTraffic(t, l, l.Nodes...)
	for _, mtus := range [][]int{{9000}, {least}, {9000, 1500, 1400}, {1500}} {
		t.Run(fmt.Sprint(mtus), func(t *testing.T) {
			for i, n := range l.Nodes {
				must(t, n.setUplinkMTU(mtus[i%len(mtus)]))
			}
			for i, n := range l.Nodes {
				eventually(t, "pods of "+n.Name+" to follow", func() error { return followed(t, n, w.pods(l.opts.Families, mtus[i%len(mtus)])) })
			}
			eventually(t, "routes to follow", func() error { return w.held(t, l) })
			w.checkSizes(t, l)
			tr.flow(t, 5)
		})
	}
	tr.check(t)
	for _, n := range l.Nodes {
		if diff := cmp.Diff(start[n.Name], listing(t, n.Host)); diff != "" {
			t.Errorf("the kernel of %s is not as before (-before +after):\n%s", n.Name, diff)
		}
	}
}

// whole is the largest packet of the backend's that is not larger than size.
func (w way) whole(size int) int { return size - size%max(w.block, 1) }

// followed says what of a node has another MTU than it should.
func followed(t *testing.T, n *Node, want int) error {
	if s := nodeStatus(t, n); s.MTU != want || !s.Ready || !s.Kernel.InStep {
		return fmt.Errorf("%s says %d, ready %t: %v", n.Name, s.MTU, s.Ready, s.Waiting)
	}
	if got, err := n.mtu("cni0"); err != nil || got != want {
		return fmt.Errorf("bridge of %s: %d, %w", n.Name, got, err)
	}
	for _, p := range n.Pods {
		if got, err := p.mtu(uplink); err != nil || got != want {
			return fmt.Errorf("pod %s: %d, %w", p.Name, got, err)
		}
	}
	return nil
}

// held says which route is not held to what the uplink at its end takes.
func (w way) held(t *testing.T, l *Lab) error {
	for _, n := range l.Nodes {
		own, err := n.mtu(uplink)
		must(t, err)
		lines := listing(t, n.Host)
		for _, peer := range l.Nodes {
			theirs, err := peer.mtu(uplink)
			must(t, err)
			for i, f := range l.opts.Families {
				if n == peer {
					continue
				}
				fits := theirs - w.overhead[f]
				if w.direct && n.Rack == peer.Rack {
					fits = theirs
				}
				want := fmt.Sprintf(" mtu lock %d", w.whole(fits))
				route := firstRoute(lines, nodeSubnet(t, peer, i))
				if route == "" || strings.Contains(route+" ", want+" ") != (theirs < own) || theirs >= own && strings.Contains(route, " mtu ") {
					return fmt.Errorf("%s with %d to %s with %d: %q, want%s there: %t", n.Name, own, peer.Name, theirs, route, want, theirs < own)
				}
			}
		}
	}
	return nil
}

// checkSizes sends the largest packets that fit between pods of all nodes, and a lot of data by TCP. A sender of larger ones is
// told what fits.
func (w way) checkSizes(t *testing.T, l *Lab) {
	for _, a := range l.Nodes {
		for _, b := range l.Nodes {
			if a == b {
				continue
			}
			from, to := a.Pods[0], b.Pods[0]
			mine, err := from.mtu(uplink)
			must(t, err)
			theirs, err := to.mtu(uplink)
			must(t, err)
			for i, f := range l.opts.Families {
				name := fmt.Sprintf("%s %s (%d) to %s (%d)", f, from.Name, mine, to.Name, theirs)
				fits := mine
				if mine != theirs {
					fits = w.whole(min(mine, theirs))
				}
				if _, err := from.Ping(within(t, patience), to.Addrs[i], fits); err != nil {
					t.Errorf("%s: largest packet: %v", name, err)
				}
				if err := from.exchange(within(t, patience), to, to.Addrs[i]); err != nil {
					t.Errorf("%s: data: %v", name, err)
				}
				if mine > theirs {
					eventually(t, name+": the sender of a packet that is too large to be told", func() error { return from.learns(to.Addrs[i], mine) })
				}
			}
		}
	}
}
