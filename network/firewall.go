package network

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/network/masq"
	"github.com/weft-network/weft/subnet"
)

// firewall is what the rules should be. The pass that keeps the kernel says it, the task that keeps the firewall does
// it, because a host's iptables may take its time.
type firewall struct {
	mu     sync.Mutex
	want   masq.Config
	prefer string
	set    bool
	asked  int // grows with every question
	done   int // the last question that the rules answer
}

// wantFirewall says what the plan asks of the firewall.
func (a *Agent) wantFirewall() {
	p := &a.loop.plan
	first, further := p.networks()
	c := masq.Config{Networks: first, Further: further, Subnets: p.own.Subnets, RandomFully: a.o.RandomFully,
		NoMasquerade: p.config.NoMasquerade, Forward: a.o.Forward}
	for _, f := range subnet.Families {
		c.Masquerade[f] = a.masquerades(p.config, f)
		if !p.node.Uplinks[f].Valid() {
			continue
		}
		for _, w := range p.ways {
			for _, port := range w.b.Ports() {
				c.Tunnels = append(c.Tunnels, masq.Tunnel{Family: f, Port: port})
			}
			if carrier, ok := w.b.(backend.Carrier); ok {
				c.Tunnels = append(c.Tunnels, masq.Tunnel{Family: f, Protocol: carrier.Protocol(f)})
			}
		}
	}
	c.Guard = p.guarded()
	a.fire.mu.Lock()
	a.fire.want, a.fire.prefer, a.fire.set = c, a.rendering(p.config), true
	a.fire.asked++
	a.fire.mu.Unlock()
	a.guard.ring()
}

// guarded returns the devices by which alone packets may leave for pods of other nodes: those of the backends, where all of them
// encrypt. While the cluster changes from or to one that does not, peers still need that one.
func (p plan) guarded() []string {
	var devices []string
	for i := range p.ways {
		w := &p.ways[i]
		if !backend.Encrypts(w.b) {
			return nil
		}
		var s kernel.State
		_ = w.b.Base(w.node, p.own, &s) // what is wrong is told by the plan
		for name, l := range s.Links {
			if l.XFRM != (kernel.XFRM{}) {
				return nil // netfilter sees its packets at the uplink before they are encrypted; the device drops what has no keys by itself
			}
			devices = append(devices, name)
		}
	}
	for f, u := range p.node.Uplinks {
		if slices.ContainsFunc(p.config.Networks[f:f+1], func(n subnet.Network) bool { return u.Valid() && n.Enabled() && n.Prefix.Contains(u.Addr) }) {
			return nil // the nodes themselves are in the pods' network, and must reach each other
		}
	}
	slices.Sort(devices)
	return slices.Compact(devices)
}

// masquerades tells whether pods of a family are masqueraded: as the config says, else as the flag does.
func (a *Agent) masquerades(c subnet.Config, f subnet.Family) bool {
	if m := c.Masquerade[f]; m != nil {
		return *m && c.Networks[f].Enabled()
	}
	return a.o.Masquerade && c.Networks[f].Enabled()
}

// rendering is the rendering that is asked for; "auto" lets the host decide.
func (a *Agent) rendering(c subnet.Config) string {
	switch {
	case a.o.Firewall != "auto" || c.NFTables == nil:
		return a.o.Firewall
	case *c.NFTables:
		return "nftables"
	}
	return masq.PreferIPTables // an image of Weft may have nothing else than nftables
}

// keepFirewall keeps the rules for as long as ctx lasts. It begins anew when another rendering is asked for.
func (a *Agent) keepFirewall(ctx context.Context) error {
	return keep(ctx, a.guard, pause{100 * time.Millisecond, 10 * time.Second}, func(ctx context.Context) error {
		_, prefer, set := a.fire.read()
		if !set {
			return nil
		}
		var choice masq.Choice
		err := a.kern.Inside(func() (err error) {
			choice, err = masq.Choose(ctx, a.o.Mark.Name, prefer, a.o.FirewallResync, a.o.Log)
			return err
		})
		if err != nil {
			a.report.firewall(a.o.Log, FirewallStatus{Error: err.Error()})
			return err
		}
		return a.serveFirewall(ctx, choice, prefer)
	})
}

// serveFirewall keeps the rules in one rendering until another one is asked for.
func (a *Agent) serveFirewall(ctx context.Context, c masq.Choice, prefer string) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	rules, listen := newBell(), newBell()
	rules.ring()
	listen.ring()
	cleaned := false
	var g errgroup.Group
	g.Go(func() error {
		return keep(ctx, listen, pause{100 * time.Millisecond, 10 * time.Second}, func(ctx context.Context) error {
			return a.kern.Inside(func() error { return c.Watch(ctx, rules.ring) })
		})
	})
	g.Go(func() error { return forward(ctx, a.guard, rules) })
	g.Go(func() error {
		return keep(ctx, rules, pause{50 * time.Millisecond, 10 * time.Second}, func(ctx context.Context) error {
			question := a.fire.question()
			want, wish, _ := a.fire.read()
			if wish != prefer {
				stop()
				a.guard.ring()
				return nil
			}
			if err := a.syncFirewall(ctx, c, want); err != nil {
				return err
			}
			if a.fire.answer(question) {
				a.look.ring() // ways may be waiting for the rules
			}
			if !cleaned {
				a.cleanFirewall(ctx, c)
				cleaned = true
			}
			a.warnOfDrops(ctx, want)
			return nil
		})
	})
	_ = g.Wait() // all end because ctx did
	return nil
}

// forward rings one bell when another rings.
func forward(ctx context.Context, from, to bell) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-from:
			to.ring()
		}
	}
}

// read returns what the rules should be, and in which rendering.
func (f *firewall) read() (want masq.Config, prefer string, set bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.want, f.prefer, f.set
}

// question is the number of what is wanted now.
func (f *firewall) question() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked
}

// answer says that the rules are what was wanted then. It tells whether that is new.
func (f *firewall) answer(question int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	first := f.done != question
	f.done = question
	return first
}

// settled tells whether the rules are what is wanted.
func (f *firewall) settled() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.set && f.done == f.asked
}

// syncFirewall makes the rules what they should be, once.
func (a *Agent) syncFirewall(ctx context.Context, c masq.Choice, want masq.Config) error {
	before := a.report.firewallInStep()
	var changed int
	err := a.kern.Inside(func() (err error) {
		changed, err = c.Sync(ctx, want)
		return err
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s := FirewallStatus{Rendering: c.Name, Reason: c.Reason, InStep: err == nil}
	if err != nil {
		s.Error = err.Error()
	}
	a.report.firewall(a.o.Log, s)
	a.report.rulesChanged(a.o.Log, changed, before)
	if !before || err != nil {
		a.look.ring() // pods may be waiting for the rules
	}
	return err
}

// cleanFirewall removes flannel's rules and those of the rendering that is not in use, once ours are in place. A
// failure is a warning: ours work without it.
func (a *Agent) cleanFirewall(ctx context.Context, c masq.Choice) {
	var removed []string
	err := a.kern.Inside(func() error {
		other, errOther := masq.CleanOther(ctx, c.Firewall)
		removed = other
		if a.o.Mark != (kernel.Mark{}) {
			return errOther // flannel's are the first network's
		}
		flannel, errFlannel := masq.CleanFlannel(ctx, false)
		removed = append(removed, flannel...)
		return errors.Join(errOther, errFlannel)
	})
	for _, what := range removed {
		a.o.Log.WithField("what", what).Info("removed leftover firewall rules")
	}
	if ctx.Err() == nil {
		a.report.warn(a.o.Log, "leftover firewall rules", texts(err))
	}
}

// warnOfDrops says which rules of others drop pods' packets.
func (a *Agent) warnOfDrops(ctx context.Context, c masq.Config) {
	var drops []string
	err := a.kern.Inside(func() (err error) {
		drops, err = masq.ForeignDrops(ctx, a.o.Mark.Name, c)
		return err
	})
	if ctx.Err() == nil {
		a.report.warn(a.o.Log, "firewall", append(drops, texts(err)...))
	}
}
