package network

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"github.com/weft-network/weft/network/engine/probe"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/network/kernel/kerneltest"
	"github.com/weft-network/weft/subnet/memory"
)

// nodes are agents on one link, each in a network namespace of its own, with a store in memory.
type nodes struct {
	t       *testing.T
	cluster *memory.Cluster
	spaces  []*kerneltest.NS
	options []Options
	agents  []*Agent
	stops   []func()
}

// newNodes makes n namespaces with an uplink eth0, joined by a bridge, and starts their agents.
func newNodes(t *testing.T, n int, config string) *nodes {
	t.Helper()
	c := &nodes{t: t, cluster: memory.New()}
	c.cluster.SetConfig(config)
	hub := kerneltest.NewNS(t)
	hub.Do(t, func() { must(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "hub"}})) })
	for i := range n {
		ns := kerneltest.NewNS(t)
		ns.Join(t, "eth0", hub, fmt.Sprint("port", i), []string{fmt.Sprintf("192.0.2.%d/24", i+1), fmt.Sprintf("2001:db8::%d/64", i+1)}, nil)
		hub.Do(t, func() {
			bridge, err := netlink.LinkByName("hub")
			must(t, err)
			port, err := netlink.LinkByName(fmt.Sprint("port", i))
			must(t, err)
			must(t, netlink.LinkSetMaster(port, bridge))
			must(t, netlink.LinkSetUp(bridge))
		})
		dir := t.TempDir()
		c.spaces = append(c.spaces, ns)
		c.options = append(c.options, Options{Node: fmt.Sprint("n", i), Store: c.cluster.Store(), StoreKind: "memory", Backend: backends,
			Uplink: UplinkRules{Ifaces: []string{"eth0"}}, SubnetFile: filepath.Join(dir, "subnet.env"), WayGrace: 50 * time.Millisecond, Log: testLog(t)})
	}
	c.agents, c.stops = make([]*Agent, n), make([]func(), n)
	for i := range n {
		c.start(i)
	}
	c.converge()
	return c
}

// start runs the agent of a node.
func (c *nodes) start(i int) {
	c.t.Helper()
	c.spaces[i].Do(c.t, func() {
		var err error
		o := c.options[i]
		o.Engines = append(slices.Clone(o.Engines), probe.New(o.Log)) // another process has another one
		c.agents[i], err = New(o)
		must(c.t, err)
	})
	c.stops[i] = running(c.t, c.agents[i])
}

// stop ends it. What the kernel holds stays.
func (c *nodes) stop(i int) {
	c.stops[i]()
	c.agents[i] = nil
}

// running are the agents that run.
func (c *nodes) running() []*Agent {
	return slices.DeleteFunc(slices.Clone(c.agents), func(a *Agent) bool { return a == nil })
}

// converge waits until all agents serve all peers by one way, with nothing left of others.
func (c *nodes) converge() {
	c.t.Helper()
	for _, a := range c.running() {
		until(c.t, a, "converged", func(s Status) bool {
			return s.Ready && len(s.Peers) == len(c.agents)-1 && s.Transition == nil && s.Lease != nil && !slices.ContainsFunc(s.Peers, func(p PeerStatus) bool { return !p.Programmed })
		})
	}
}

// ways are the ways by which the peers of a node are reached, without repetitions.
func ways(s Status) []string {
	found := map[string]bool{}
	for _, p := range s.Peers {
		found[p.Way] = true
	}
	return slices.Sorted(maps.Keys(found))
}

// held is what a node's kernel holds of ours.
func (c *nodes) held(i int) (s kernel.State) {
	c.spaces[i].Do(c.t, func() {
		k, err := kernel.Open()
		must(c.t, err)
		defer k.Close()
		s, err = k.List(context.Background(), kernel.Scope{}, nil)
		must(c.t, err)
	})
	return s
}

// holds waits until a node's kernel holds what has this text.
func (c *nodes) holds(i int, text string) {
	c.t.Helper()
	until(c.t, c.agents[i], "the kernel to hold "+text, func(Status) bool { return strings.Contains(c.held(i).String(), text) })
}

// devices are the names of our devices in a node's kernel.
func (c *nodes) devices(i int) []string { return slices.Sorted(maps.Keys(c.held(i).Links)) }

// backendConfig is a network config with this Backend object.
func backendConfig(object string) string { return `{"Network":"10.5.0.0/16","Backend":` + object + `}` }

func TestBackendChanges(t *testing.T) {
	for _, test := range []struct {
		name     string
		from, to string
		way      string
		devices  []string
		told     bool   // the lease says what is agreed when all is over
		holds    string // in the kernel then
	}{
		{"vxlan to host-gw", `{"Type":"vxlan"}`, `{"Type":"host-gw"}`, "host-gw", nil, false, "dev eth0 proto 87"},
		{"host-gw to vxlan", `{"Type":"host-gw"}`, `{"Type":"vxlan"}`, "vxlan (VNI 1 at port 8472)", []string{"flannel.1"}, false, "dev flannel.1 proto 87"},
		{"another VNI", `{"Type":"vxlan"}`, `{"Type":"vxlan","VNI":2}`, "vxlan (VNI 2 at port 8472)", []string{"flannel.2"}, false, "dev flannel.2 proto 87"},
		{"another port", `{"Type":"vxlan"}`, `{"Type":"vxlan","Port":4789}`, "vxlan (VNI 1 at port 4789)", []string{"flannel.1b"}, true, "dev flannel.1b proto 87"},
		{"another port and VNI", `{"Type":"vxlan","VNI":7}`, `{"Type":"vxlan","VNI":70000,"Port":4789}`, "vxlan (VNI 70000 at port 4789)", []string{"flannel.70000"}, true, "dev flannel.70000 proto 87"},
		{"another MTU", `{"Type":"vxlan"}`, `{"Type":"vxlan","MTU":1400}`, "vxlan (VNI 1 at port 8472)", []string{"flannel.1"}, false, "mtu 1350 up"},
		{"vxlan to auto", `{"Type":"vxlan"}`, `{"Type":"auto"}`, "vxlan (VNI 1 at port 8472)", []string{"flannel.1"}, false, "dev eth0 proto 87\n"},
		{"host-gw to auto", `{"Type":"host-gw"}`, `{"Type":"auto","VNI":3}`, "vxlan (VNI 3 at port 8472)", []string{"flannel.3"}, false, "dev eth0 proto 87\n"},
		{"auto to host-gw", `{"Type":"auto"}`, `{"Type":"host-gw"}`, "host-gw", nil, false, "dev eth0 proto 87\n"},
		{"auto at another port", `{"Type":"auto"}`, `{"Type":"auto","Port":4789}`, "vxlan (VNI 1 at port 4789)", []string{"flannel.1b"}, true, "dev eth0 proto 87\n"},
		{"direct routing", `{"Type":"vxlan"}`, `{"Type":"vxlan","DirectRouting":true}`, "vxlan (VNI 1 at port 8472)", []string{"flannel.1"}, false, "dev eth0 proto 87"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newNodes(t, 3, backendConfig(test.from))
			c.cluster.SetConfig(backendConfig(test.to))
			c.moved(test.way)
			for i := range c.agents {
				c.holds(i, test.holds)
			}
			for i, a := range c.agents {
				if diff := cmp.Diff(test.devices, c.devices(i)); diff != "" {
					t.Errorf("devices of node %d (-want +got):\n%s", i, diff)
				}
				if w := a.Status().Warnings; len(w) > 0 {
					t.Errorf("node %d warns %q", i, w)
				}
			}
			for _, l := range c.cluster.Leases() {
				if (l.Ways != "") != test.told {
					t.Errorf("lease %s says the ways %q", l.Subnets, l.Ways)
				}
			}
			c.restartsWithoutChange()
		})
	}
}

// moved waits until all agents that run reach all peers by a way, and nothing else is left.
func (c *nodes) moved(to string) {
	c.t.Helper()
	for _, a := range c.running() {
		until(c.t, a, "moved to "+to, func(s Status) bool {
			w := ways(s)
			told := !strings.Contains(a.claims.lease().Ways, "Leaving")
			return s.Ready && s.Transition == nil && told && len(s.Peers) == len(c.agents)-1 && len(w) == 1 && w[0] == to
		})
	}
}

// restartsWithoutChange holds that agents which begin anew find all as it should be.
func (c *nodes) restartsWithoutChange() {
	c.t.Helper()
	writes := c.cluster.Writes()
	for i := range c.agents {
		c.stop(i)
	}
	for i := range c.agents {
		c.start(i)
	}
	c.converge()
	for i, a := range c.agents {
		for kind, n := range a.Status().Kernel.Changes {
			if n > 0 {
				c.t.Errorf("node %d changed %d of %s after a restart", i, n, kind)
			}
		}
	}
	if now := c.cluster.Writes(); now != writes {
		c.t.Errorf("%d writes to the store after a restart", now-writes)
	}
}

// A node that is away while the backend changes is reached as before when it comes back, until it has followed.
func TestBackendChangesWhileANodeIsAway(t *testing.T) {
	const vxlan, direct = "vxlan (VNI 1 at port 8472)", "host-gw"
	c := newNodes(t, 3, backendConfig(`{"Type":"vxlan"}`))
	c.stop(2)
	c.cluster.SetConfig(backendConfig(`{"Type":"host-gw"}`))
	for _, a := range c.running() {
		s := until(t, a, "one missing", func(s Status) bool {
			return s.Transition != nil && slices.Equal(s.Transition.Missing, []string{"n2"}) && slices.Equal(ways(s), []string{direct, vxlan})
		})
		if diff := cmp.Diff(&TransitionStatus{To: direct, From: []string{vxlan}, Missing: []string{"n2"}, Hinders: []string{}}, s.Transition); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if s.MTU != 1450 {
			t.Errorf("pods may send %d bytes while some peers are behind vxlan", s.MTU)
		}
	}
	// The others begin anew in the middle.
	for i := range 2 {
		c.stop(i)
		c.start(i)
		until(t, c.agents[i], "one missing still", func(s Status) bool {
			return s.Ready && s.Transition != nil && slices.Equal(s.Transition.Missing, []string{"n2"}) && slices.Equal(ways(s), []string{direct, vxlan})
		})
		if d := c.devices(i); !slices.Equal(d, []string{"flannel.1"}) {
			t.Errorf("node %d has the devices %q", i, d)
		}
	}
	c.start(2)
	c.moved(direct)
	for i := range c.agents {
		if d := c.devices(i); len(d) > 0 {
			t.Errorf("node %d has still the devices %q", i, d)
		}
	}
	until(t, c.agents[0], "larger packets", func(s Status) bool { return s.MTU == 1500 })
}

// A node that is gone for good no longer holds a former way.
func TestBackendChangesWhenANodeIsGone(t *testing.T) {
	c := newNodes(t, 3, backendConfig(`{"Type":"vxlan"}`))
	gone := c.agents[2].claims.lease()
	c.stop(2)
	c.cluster.SetConfig(backendConfig(`{"Type":"vxlan","VNI":9}`))
	for _, a := range c.running() {
		until(t, a, "one missing", func(s Status) bool { return s.Transition != nil && slices.Equal(s.Transition.Missing, []string{"n2"}) })
	}
	c.cluster.Remove(gone.Subnets)
	c.agents = c.agents[:2]
	c.moved("vxlan (VNI 9 at port 8472)")
}

// A config that changes again and again ends in the last one, on every node.
func TestBackendChangesBackAndForth(t *testing.T) {
	c := newNodes(t, 3, backendConfig(`{"Type":"vxlan"}`))
	for _, object := range []string{`{"Type":"host-gw"}`, `{"Type":"vxlan"}`, `{"Type":"vxlan","VNI":2}`, `{"Type":"host-gw"}`, `{"Type":"vxlan","VNI":2,"Port":4789}`, `{"Type":"vxlan"}`} {
		c.cluster.SetConfig(backendConfig(object))
	}
	c.moved("vxlan (VNI 1 at port 8472)")
	for i := range c.agents {
		if d := c.devices(i); !slices.Equal(d, []string{"flannel.1"}) {
			t.Errorf("node %d has the devices %q", i, d)
		}
	}
}

// A node that is new to the cluster finds nodes that have not seen the config yet.
func TestNodeJoinsWithANewerConfig(t *testing.T) {
	c := newNodes(t, 2, backendConfig(`{"Type":"vxlan"}`))
	c.stop(1)
	c.cluster.SetConfig(backendConfig(`{"Type":"host-gw"}`))
	until(t, c.agents[0], "one missing", func(s Status) bool { return s.Transition != nil && len(s.Transition.Missing) == 1 })
	lease := c.agents[0].claims.lease()
	c.stop(0)
	c.cluster.Remove(lease.Subnets) // n0 knows nothing of vxlan any more
	c.start(0)
	until(t, c.agents[0], "reached as before", func(s Status) bool {
		return s.Ready && len(s.Peers) == 1 && s.Peers[0].Programmed && s.Peers[0].Way == "vxlan (VNI 1 at port 8472)"
	})
	c.start(1)
	c.moved("host-gw")
}
