package lab

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/network"
	"github.com/weft-network/weft/subnet"
)

// change is one config of a running cluster after another.
type change struct {
	backend string   // the Backend object
	way     string   // by which all peers are reached in the end, or what it begins with
	devices []string // of IPv4, which are there then; those of IPv6 are named alike
	holds   string   // in the kernel then
}

// hostChanges are those that any kernel can make.
func hostChanges() []change {
	const vxlan = "vxlan (VNI 1 at port 8472)"
	one := []string{"flannel.1"}
	return []change{
		{`{"Type":"host-gw"}`, "host-gw", nil, " dev eth0 proto 87"},
		{`{"Type":"vxlan"}`, vxlan, one, " dev flannel.1 proto 87"},
		{`{"Type":"vxlan","DirectRouting":true}`, vxlan, one, " dev eth0 proto 87"},
		{`{"Type":"vxlan"}`, vxlan, one, " dev flannel.1 proto 87"},
		{`{"Type":"vxlan","MTU":1400}`, vxlan, one, "mtu 1350"},
		{`{"Type":"vxlan","VNI":2}`, "vxlan (VNI 2 at port 8472)", []string{"flannel.2"}, " dev flannel.2 proto 87"},
		{`{"Type":"vxlan","VNI":2,"Port":4789}`, "vxlan (VNI 2 at port 4789)", []string{"flannel.2b"}, " dev flannel.2b proto 87"},
		{`{"Type":"auto"}`, vxlan, one, " dev flannel.1 proto 87 metric 87"},
		{`{"Type":"host-gw"}`, "host-gw", nil, " dev eth0 proto 87"},
		{`{"Type":"auto"}`, vxlan, one, " dev flannel.1 proto 87 metric 87"},
	}
}

// TestBackendChanges changes the backend of a cluster again and again while its pods talk: no packet is lost, and nothing of a
// former backend is left.
func TestBackendChanges(t *testing.T) { testBackendChanges(t, hostChanges(), "ipv4", "dual") }

// testBackendChanges begins with vxlan.
func testBackendChanges(t *testing.T, changes []change, combinations ...string) {
	for _, families := range combinations {
		t.Run(families, func(t *testing.T) {
			t.Parallel()
			opts := Options{Nodes: 3, Pods: 1, Backend: `{"Type":"vxlan"}`, Families: parsedFamilies(t, families), DropForward: true}
			runLab(t, opts, func(l *Lab) {
				tr := startTraffic(t, l, l.Nodes...)
				for i, c := range changes {
					t.Run(fmt.Sprintf("%d to %s", i+1, c.backend), func(t *testing.T) {
						c.put(t, l)
						c.done(t, l.Nodes...)
						tr.flow(t, 20)
						c.checkLeftovers(t, l.Nodes...)
					})
				}
				checkMatrix(t, l)
				for _, n := range l.Nodes {
					checkRestart(t, n, tr)
				}
				tr.check(t)
			})
		})
	}
}

// TestBackendChangesWithoutANode changes the backend while one node is down and another one begins anew: the former backend
// stays until the node is back, and nobody loses a packet.
func TestBackendChangesWithoutANode(t *testing.T) {
	t.Parallel()
	opts := Options{Nodes: 3, Pods: 1, Backend: `{"Type":"vxlan"}`, Families: subnet.Families[:], DropForward: true}
	runLab(t, opts, func(l *Lab) {
		away := l.Nodes[2]
		tr := startTraffic(t, l, l.Nodes...)
		for i, c := range []change{hostChanges()[0], hostChanges()[5], hostChanges()[1]} {
			t.Run(fmt.Sprintf("%d to %s", i+1, c.backend), func(t *testing.T) {
				must(t, away.Kill())
				c.put(t, l)
				others := l.Nodes[:2]
				for _, n := range others {
					c.waits(t, n, away)
				}
				must(t, others[0].Kill())
				tr.flow(t, 10)
				must(t, others[0].Start())
				for _, n := range others {
					c.waits(t, n, away)
				}
				tr.flow(t, 20)
				must(t, away.Start())
				c.done(t, l.Nodes...)
				tr.flow(t, 20)
				c.checkLeftovers(t, l.Nodes...)
			})
		}
		tr.check(t)
	})
}

// put makes c the backend of the cluster.
func (c change) put(t *testing.T, l *Lab) {
	t.Helper()
	must(t, l.Etcd.PutConfig(within(t, patience), netConf(l.opts.Families, c.backend)))
}

// done waits until nodes have made the change, and nothing is left to do.
func (c change) done(t *testing.T, nodes ...*Node) {
	t.Helper()
	for _, n := range nodes {
		eventually(t, n.Name+" to change to "+c.backend, func() error {
			s, err := n.Status(within(t, patience))
			if err != nil {
				return err
			}
			if !s.Ready || s.Transition != nil || !c.isReached(s) {
				return fmt.Errorf("ready %t, transition %+v, peers reached by %q, warnings %q, waiting for %q", s.Ready, s.Transition, reached(s), s.Warnings, s.Waiting)
			}
			if all := listing(t, n.Host).String(); !strings.Contains(all, c.holds) {
				return fmt.Errorf("the kernel holds nothing with %q:\n%s", c.holds, all)
			}
			return nil
		})
	}
}

// waits waits until a node has changed as far as it can while another one is missing.
func (c change) waits(t *testing.T, n, missing *Node) {
	t.Helper()
	eventually(t, n.Name+" to wait for "+missing.Name, func() error {
		s, err := n.Status(within(t, patience))
		if err != nil {
			return err
		}
		if !s.Ready || s.Transition == nil || !slices.Equal(s.Transition.Missing, []string{missing.Name}) || !slices.Contains(reached(s), c.way) {
			return fmt.Errorf("ready %t, transition %+v, peers reached by %q", s.Ready, s.Transition, reached(s))
		}
		return nil
	})
}

// isReached tells whether all peers are reached by the way of c.
func (c change) isReached(s network.Status) bool {
	all := reached(s)
	return len(all) == 1 && strings.HasPrefix(all[0], c.way)
}

// reached are the ways by which the peers of a node are reached, without repetitions.
func reached(s network.Status) []string {
	var all []string
	for _, p := range s.Peers {
		all = append(all, p.Way)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// checkLeftovers holds that nodes have the devices of the backend in force and no others.
func (c change) checkLeftovers(t *testing.T, nodes ...*Node) {
	t.Helper()
	for _, n := range nodes {
		var have []string
		links, err := n.nl.LinkList()
		must(t, err)
		for _, l := range links {
			if name := l.Attrs().Name; strings.HasPrefix(name, "flannel") && !strings.Contains(name, "-v6") {
				have = append(have, name)
			}
		}
		if diff := cmp.Diff(c.devices, have); diff != "" {
			t.Errorf("devices of %s (-want +got):\n%s", n.Name, diff)
		}
	}
}

// guestChanges are those that need a kernel with WireGuard and IPIP.
func guestChanges() []change {
	wireguard := []string{"flannel-wg"}
	return []change{
		{`{"Type":"wireguard"}`, "wireguard", wireguard, " dev flannel-wg proto 87"},
		{`{"Type":"vxlan"}`, "vxlan (VNI 1 at port 8472)", []string{"flannel.1"}, " dev flannel.1 proto 87"},
		{`{"Type":"host-gw"}`, "host-gw", nil, " dev eth0 proto 87"},
		{`{"Type":"wireguard"}`, "wireguard", wireguard, " dev flannel-wg proto 87"},
		{`{"Type":"auto"}`, "vxlan (VNI 1 at port 8472)", []string{"flannel.1"}, " dev flannel.1 proto 87 metric 87"},
		{`{"Type":"auto","Encrypt":true}`, "wireguard", wireguard, " dev flannel-wg proto 87"},
		{`{"Type":"ipip"}`, "ipip", []string{"flannel.ipip"}, " dev flannel.ipip proto 87"},
		{`{"Type":"vxlan"}`, "vxlan (VNI 1 at port 8472)", []string{"flannel.1"}, " dev flannel.1 proto 87"},
	}
}

// TestGuestBackendChanges is TestBackendChanges with the backends of which this machine's kernel may lack the devices.
func TestGuestBackendChanges(t *testing.T) { testBackendChanges(t, guestChanges(), "ipv4") }
