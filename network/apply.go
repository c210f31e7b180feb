package network

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// fullPass lists what the kernel holds, compares it with the whole plan, and changes what differs. Before the first
// complete snapshot it deletes nothing.
func (a *Agent) fullPass(ctx context.Context, complete bool) error {
	l := &a.loop
	l.full = true // until this pass has succeeded
	want, failed, shared, err := a.wholePlan()
	if err != nil {
		return fmt.Errorf("planning: %w", err)
	}
	l.shared, l.failed = shared, failed
	a.report.peersFailed(a.o.Log, failed)
	have, err := a.keeper.List(ctx, l.plan.scope(), names(want.Sysctls))
	if err != nil {
		return fmt.Errorf("listing what the kernel holds: %w", err)
	}
	before := a.wanted.replace(want)
	c := kernel.Diff(have, want)
	l.denied = nil
	if !complete {
		c.Drop = kernel.State{}
	}
	err = a.apply(ctx, c, lost(before, c.Put))
	a.report.warn(a.o.Log, "engines", a.keeper.warnings())
	if err != nil {
		return err
	}
	l.full = false
	for name := range c.Put.Links {
		if _, was := have.Links[name]; was {
			l.full = true // a device that was made again has lost what it held: look once more
			a.look.ring()
		}
	}
	return nil
}

// wholePlan computes the whole wanted state. Peers come in the order of their subnets, so that of two that want
// the same object for different ends the same one always loses. shared tells whether any two want the same object.
func (a *Agent) wholePlan() (want kernel.State, failed map[subnet.Subnets]error, shared bool, err error) {
	l := &a.loop
	if err := l.plan.base(&want); err != nil {
		return want, nil, false, err
	}
	peers := a.picture.peers(l.plan)
	slices.SortFunc(peers, func(x, y *subnet.Lease) int { return x.Subnets.Compare(y.Subnets) })
	grow(&want.Routes, len(peers))
	if len(l.plan.ways[0].b.Ports()) > 0 {
		grow(&want.Neighbours, len(peers))
		grow(&want.Forwards, len(peers))
	}
	failed = map[subnet.Subnets]error{}
	var s kernel.State
	for _, x := range peers {
		common, err := l.plan.add(*x, &s, &want)
		if err != nil {
			failed[x.Subnets] = err
		}
		shared = shared || common
	}
	return want, failed, shared, nil
}

// grow makes room in a set for n objects more, so that it does not grow step by step.
func grow[K comparable, V kernel.Object[K]](set *kernel.Set[K, V], n int) {
	larger := make(kernel.Set[K, V], len(*set)+n)
	maps.Copy(larger, *set)
	*set = larger
}

// partialPass puts right what a few leases and a few broken objects need. Its cost does not grow with the cluster.
func (a *Agent) partialPass(ctx context.Context, n news, dirty kernel.State) error {
	l := &a.loop
	var s, old, new kernel.State
	shared := l.shared
	for _, c := range n.changed {
		if l.plan.isPeer(c.old) && l.failed[c.old.Subnets] == nil {
			_, err := l.plan.add(c.old, &s, &old)
			shared = shared || err != nil
		}
		delete(l.failed, c.old.Subnets)
		if l.plan.isPeer(c.new) {
			common, err := l.plan.add(c.new, &s, &new)
			if err != nil {
				l.failed[c.new.Subnets] = err
			}
			shared = shared || common
		}
	}
	if len(n.changed) > 0 {
		a.report.peersFailed(a.o.Log, l.failed)
	}
	if shared || len(l.denied) > 0 || a.wanted.overlaps(new, old) {
		return a.fullPass(ctx, n.complete)
	}
	c := a.wanted.repair(dirty)
	if !n.complete {
		c.Drop = kernel.State{}
	}
	repairs := countKinds(c.Put)
	join(&c, a.wanted.change(old, new))
	l.full = true // until this pass has succeeded
	if err := a.apply(ctx, c, repairs); err != nil {
		return err
	}
	l.full = false
	return nil
}

// apply changes the kernel, and says what it changed.
func (a *Agent) apply(ctx context.Context, c kernel.Change, repairs map[string]int) error {
	if c.IsEmpty() {
		return nil
	}
	denied, err := kernel.Unwritable(a.keeper.Apply(ctx, c))
	repairs["sysctl"] = max(0, repairs["sysctl"]-len(denied))
	a.loop.deny(denied, &c.Put)
	a.report.changed(a.o.Log, c, repairs, err)
	if err != nil {
		return fmt.Errorf("changing the kernel: %w", err)
	}
	return nil
}

// lost counts the objects of put that were wanted before already: somebody else broke them.
func lost(before, put kernel.State) map[string]int {
	return map[string]int{
		"link": common(before.Links, put.Links), "addr": common(before.Addrs, put.Addrs),
		"route": common(before.Routes, put.Routes), "neigh": common(before.Neighbours, put.Neighbours),
		"fdb": common(before.Forwards, put.Forwards), "sysctl": common(before.Sysctls, put.Sysctls),
		"wireguard": common(before.WireGuardPeers, put.WireGuardPeers),
		"udp":       common(before.Datagrams, put.Datagrams), "ipsec": common(before.Associations, put.Associations), "command": common(before.Commands, put.Commands),
	}
}

// common counts the objects that both sets hold.
func common[K comparable, V kernel.Object[K]](a, b kernel.Set[K, V]) int {
	n := 0
	for k, v := range b {
		if have, ok := a[k]; ok && have == v {
			n++
		}
	}
	return n
}

func names(sysctls kernel.Set[string, kernel.Sysctl]) []string {
	var list []string
	for k := range sysctls {
		list = append(list, k)
	}
	return list
}

// join adds the objects of peers that more changes to c.
func join(c *kernel.Change, more kernel.Change) {
	for _, part := range []struct {
		to   *kernel.State
		from kernel.State
	}{{&c.Put, more.Put}, {&c.Drop, more.Drop}} {
		merge(&part.to.Routes, part.from.Routes, nil)
		merge(&part.to.Neighbours, part.from.Neighbours, nil)
		merge(&part.to.Forwards, part.from.Forwards, nil)
		merge(&part.to.WireGuardPeers, part.from.WireGuardPeers, nil)
		merge(&part.to.Datagrams, part.from.Datagrams, nil)
		merge(&part.to.Associations, part.from.Associations, nil)
		merge(&part.to.Commands, part.from.Commands, nil)
		merge(&part.to.Probes, part.from.Probes, nil)
	}
}
