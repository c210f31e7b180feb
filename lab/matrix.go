package lab

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weft-network/weft/subnet"
)

// Kind is what a check looks at.
type Kind string

// The kinds of check, in the order in which they are printed.
const (
	Answer   Kind = "answers"             // a small ping is answered
	FullSize Kind = "full-size packets"   // a ping as large as the pod's MTU, not to be fragmented, is answered
	Source   Kind = "source address kept" // the other pod sees the pod's own address
	Outside  Kind = "outside masqueraded" // the world sees the node's address
)

// Check is one thing that was tried between two hosts.
type Check struct {
	Kind     Kind
	Family   subnet.Family
	From, To string
	Size     int           // of the packet in bytes; 0 where it does not matter
	Time     time.Duration // how long the answer took
	Err      error         // why it failed; nil if it did not
}

// Matrix is what was tried between all pairs.
type Matrix struct {
	From, To []string // rows and columns, in order
	Families []subnet.Family
	Checks   []Check
}

// Failed are the checks that failed.
func (m Matrix) Failed() []Check {
	var failed []Check
	for _, c := range m.Checks {
		if c.Err != nil {
			failed = append(failed, c)
		}
	}
	return failed
}

// Err is nil when every check passed; else it says how many failed, and why the first did.
func (m Matrix) Err() error {
	failed := m.Failed()
	if len(failed) == 0 {
		return nil
	}
	c := failed[0]
	return fmt.Errorf("%d of %d checks failed, the first: %s, %s, %s to %s: %w",
		len(failed), len(m.Checks), c.Kind, c.Family, c.From, c.To, c.Err)
}

// pairsAtOnce is how many pairs are tried at the same time.
const pairsAtOnce = 8

// Matrix tries everything between all pods, from all nodes to all pods, and from all pods to the world outside.
func (l *Lab) Matrix(ctx context.Context) (Matrix, error) {
	m := Matrix{Families: l.opts.Families}
	var trials []func(context.Context) Check
	pods := l.Pods()
	for _, p := range pods {
		if err := p.answer(); err != nil {
			return m, err
		}
		m.From = append(m.From, p.Name)
		m.To = append(m.To, p.Name)
		trials = append(trials, l.podTrials(p)...)
	}
	for _, n := range l.Nodes {
		m.From = append(m.From, n.Name)
		for _, p := range pods {
			trials = append(trials, l.nodeTrials(n, p)...)
		}
	}
	world, err := startEcho(l.underlay.router)
	if err != nil {
		return m, err
	}
	defer world.close()
	m.Checks = try(ctx, trials)
	return m, ctx.Err()
}

// try runs the trials, some at a time, and returns their results in order.
func try(ctx context.Context, trials []func(context.Context) Check) []Check {
	checks := make([]Check, len(trials))
	var g errgroup.Group
	g.SetLimit(pairsAtOnce)
	for i, t := range trials {
		g.Go(func() error {
			checks[i] = t(ctx)
			return nil
		})
	}
	_ = g.Wait() // failures are in the checks
	return checks
}

// podTrials is what is tried from one pod.
func (l *Lab) podTrials(p *Pod) []func(context.Context) Check {
	var trials []func(context.Context) Check
	for i, f := range l.opts.Families {
		for _, q := range l.Pods() {
			if p == q {
				continue
			}
			trials = append(trials, ping(Answer, f, p.Host, q.Name, q.Addrs[i]), ping(FullSize, f, p.Host, q.Name, q.Addrs[i]),
				seen(Source, f, p.Host, q.Name, q.Addrs[i], p.Addrs[i]))
		}
		trials = append(trials, seen(Outside, f, p.Host, "outside", outsideAddrs[f], p.Node.Addrs[i]))
	}
	return trials
}

// nodeTrials is what is tried from a node to a pod.
func (l *Lab) nodeTrials(n *Node, p *Pod) []func(context.Context) Check {
	var trials []func(context.Context) Check
	for i, f := range l.opts.Families {
		trials = append(trials, ping(Answer, f, n.Host, p.Name, p.Addrs[i]))
	}
	return trials
}

// ping tries a small or a full-size ping.
func ping(kind Kind, f subnet.Family, h *Host, to string, dst netip.Addr) func(context.Context) Check {
	return func(ctx context.Context) Check {
		c := Check{Kind: kind, Family: f, From: h.Name, To: to, Size: smallPacket}
		if kind == FullSize {
			if c.Size, c.Err = h.mtu(uplink); c.Err != nil {
				return c
			}
		}
		c.Time, c.Err = h.Ping(ctx, dst, c.Size)
		return c
	}
}

// seen tries whether dst sees want as the source of what h sends.
func seen(kind Kind, f subnet.Family, h *Host, to string, dst, want netip.Addr) func(context.Context) Check {
	return func(ctx context.Context) Check {
		begin := time.Now()
		c := Check{Kind: kind, Family: f, From: h.Name, To: to}
		got, err := source(ctx, h, dst)
		c.Time, c.Err = time.Since(begin), err
		if err == nil && got != want {
			c.Err = fmt.Errorf("%s sees %s as the source, not %s", to, got, want)
		}
		return c
	}
}

// mtu is the MTU of a device of the host.
func (h *Host) mtu(device string) (int, error) {
	link, err := h.nl.LinkByName(device)
	if err != nil {
		return 0, fmt.Errorf("find %s on %s: %w", device, h.Name, err)
	}
	return link.Attrs().MTU, nil
}
