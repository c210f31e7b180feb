package network

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/subnet"
)

// The configs of a cluster that outgrows its range: before and after.
const (
	tight = `{"Network":"10.5.0.0/22","SubnetLen":24,"IPv6Network":"fd00:5::/48","EnableIPv6":true,"Backend":{"Type":"vxlan"}}`
	wider = `{"Network":"10.5.0.0/22","SubnetLen":24,"IPv6Network":"fd00:5::/48","EnableIPv6":true,"Backend":{"Type":"vxlan"},
		"Networks":[{"Network":"10.6.0.0/22"},{"Network":"10.7.0.0/24","SubnetLen":27}]}`
)

// peerIn puts the lease of node n into the cluster, with another IPv4 subnet.
func (b *bed) peerIn(n int, inet string) subnet.Lease {
	l := b.peer(n)
	b.cluster.Remove(l.Subnets)
	l.Subnets[subnet.Inet] = prefix(inet+"/%d", 24)
	b.cluster.Put(l)
	return l
}

// A network is added under a running agent, is used, and cannot be taken away before nobody uses it any more.
func TestAgentFollowsNetworks(t *testing.T) {
	b := newBed(t, tight)
	b.peer(2)
	b.peer(3)
	a, stop := b.run()
	s := until(t, a, "ready", ready)
	before := b.held()
	device := b.link("flannel.1").Attrs().Index

	stranger := b.peerIn(6, "10.6.1.0")
	until(t, a, "peer of no network", func(s Status) bool {
		return strings.Contains(fmt.Sprint(s.Warnings), "10.6.1.0/24 is not a part of the cluster's network 10.5.0.0/22")
	})
	b.cluster.SetConfig(wider)
	until(t, a, "three peers", func(s Status) bool {
		env, err := subnet.ReadEnv(b.o.SubnetFile) // it is written last
		return len(s.Peers) == 3 && s.Peers[2].Programmed && s.Config == wider && err == nil && env.Further != ""
	})
	state := b.held()
	for line := range strings.Lines(before) {
		if !strings.Contains(state, line) {
			t.Errorf("a network was added, and the kernel lost %s", line)
		}
	}
	if !strings.Contains(state, "route 10.6.1.0/24 via 10.6.1.0 dev flannel.1 proto 87 onlink\n") {
		t.Errorf("there is no route into the further network:\n%s", state)
	}
	if again := a.Status(); b.link("flannel.1").Attrs().Index != device || cmp.Diff(s.Lease, again.Lease) != "" {
		t.Errorf("a network was added, and the node has the lease %v and the device %v", again.Lease, b.link("flannel.1").Attrs())
	}
	env, err := subnet.ReadEnv(b.o.SubnetFile)
	if err != nil || env.Networks[subnet.Inet].String() != "10.5.0.0/22" || env.Further != "10.6.0.0/22,10.7.0.0/24" {
		t.Errorf("subnet.env is %+v, %v", env, err)
	}

	b.cluster.SetConfig(tight)
	until(t, a, "refused", func(s Status) bool {
		return strings.Contains(fmt.Sprint(s.Warnings), "a network is in use: node n6 has the subnets 10.6.1.0/24,fd00:5:0:6::/64, which are not inside the new network 10.5.0.0/22,fd00:5::/48")
	})
	if b.held() != state || a.Status().Config != wider {
		t.Errorf("a network in use was taken away:\n%s", b.held())
	}
	until(t, a, "saved", func(Status) bool {
		s, err := subnet.LoadSaved(b.o.StateFile)
		return err == nil && s.Config == wider
	})
	stop()
	a, stop = b.run()
	until(t, a, "refused after a restart", func(s Status) bool {
		return s.Ready && s.Config == wider && strings.Contains(fmt.Sprint(s.Warnings), "a network is in use: node n6 ")
	})
	if b.held() != state {
		t.Errorf("a network in use was taken away by a restart:\n%s", b.held())
	}
	b.cluster.Remove(stranger.Subnets)
	until(t, a, "taken away", func(s Status) bool {
		return s.Config == tight && !strings.Contains(fmt.Sprint(s.Warnings), "in use") && s.Kernel.Changes["rule"] > 0 && s.Firewall.InStep
	})
	b.holds(before)
	stop()

	again, _ := b.run()
	s = until(t, again, "ready again", ready)
	for kind, n := range s.Kernel.Changes {
		if n != 0 {
			t.Errorf("the second start made %d changes of kind %s", n, kind)
		}
	}
}

// A node that finds the first network full gets its subnet from the next, and its peers are in both.
func TestAgentInFurtherNetwork(t *testing.T) {
	b := newBed(t, wider)
	for n := 1; n <= 3; n++ {
		b.peerIn(10+n, fmt.Sprintf("10.5.%d.0", n))
	}
	a, stop := b.run()
	s := until(t, a, "ready", func(s Status) bool { return s.Ready && s.Firewall.InStep })
	own := s.Lease.Subnets[0]
	if !strings.HasPrefix(own, "10.6.") || len(s.Peers) != 3 {
		t.Errorf("the node has %s and %d peers", own, len(s.Peers))
	}
	state := b.held()
	for _, line := range []string{"route 10.5.1.0/24 via 10.5.1.0 dev flannel.1 ", "route unreachable " + own + " "} {
		if !strings.Contains(state, line) {
			t.Errorf("the kernel lacks %q, it holds\n%s", line, state)
		}
	}
	env, err := subnet.ReadEnv(b.o.SubnetFile)
	if err != nil || env.Networks[subnet.Inet].String() != "10.5.0.0/22" || env.Leased()[subnet.Inet].String() != own {
		t.Errorf("subnet.env is %+v, %v", env, err)
	}
	stop()
	again, _ := b.run()
	s = until(t, again, "ready again", ready)
	if s.Lease.Subnets[0] != own || b.held() != state {
		t.Errorf("after a restart the node has %s, the kernel\n%s", s.Lease.Subnets[0], b.held())
	}
}
