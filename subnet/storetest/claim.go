package storetest

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/weft-network/weft/subnet"
)

// claimCases are about Claim alone, in any cluster.
func claimCases() []testcase {
	return []testcase{
		{"claim", claimOnce},
		{"claim dual-stack", claimDual},
		{"claim IPv6 only", claimSixOnly},
		{"second claim writes nothing", claimTwice},
		{"restart keeps the subnet", claimRestart},
		{"changed attributes keep the subnet", claimChanged},
		{"lost lease is claimed again", claimLost},
		{"address of another node", claimAddressInUse},
		{"identity of another node", claimCloned},
		{"claims at the same time", claimMany},
	}
}

func claimOnce(b *bed) {
	b.configure(single)
	w := watch(b.T, b.store(1), nil)
	own := b.claim(b.store(2), b.want(2))
	p := w.untilLease(own)
	if len(p.Leases) != 1 {
		b.Errorf("one node has claimed a lease; the picture is\n%s", show(p))
	}
}

func claimDual(b *bed) {
	b.configure(dual)
	_, first, w := b.join(1)
	second := b.claim(b.store(2), b.want(2))
	if first.Subnets.Overlaps(second.Subnets) {
		b.Errorf("two nodes have the same subnet: %s and %s", first.Subnets, second.Subnets)
	}
	w.untilLease(second)
	restarted := b.claim(b.store(1), b.want(1))
	if diff := cmp.Diff(showLease(first), showLease(restarted)); diff != "" {
		b.Errorf("lease after a restart (-before +after):\n%s", diff)
	}
}

func claimSixOnly(b *bed) {
	b.configure(sixOnly)
	_, first, w := b.join(1)
	second := b.claim(b.store(2), b.want(2))
	if first.Subnets == second.Subnets {
		b.Errorf("two nodes have the same subnet: %s", first.Subnets)
	}
	w.untilLease(second)
}

// claimTwice looks for writes through the eyes of another node.
func claimTwice(b *bed) {
	b.configure(single)
	s, own, _ := b.join(1)
	w := watch(b.T, b.store(2), nil)
	w.untilLease(own)
	again := b.claim(s, b.want(1))
	restarted := b.claim(b.store(1), b.want(1))
	b.c.SetConfig(single + " ")
	w.until("a change of the config", func(p subnet.Snapshot) bool {
		if mayDiffer(p, own.Subnets) {
			b.Errorf("a claim that changed nothing was seen as a change: %v", p.Changed)
		}
		return p.Config == single+" "
	})
	for _, l := range []subnet.Lease{again, restarted} {
		if diff := cmp.Diff(showLease(own), showLease(l)); diff != "" {
			b.Errorf("lease of another claim (-first +another):\n%s", diff)
		}
	}
}

func claimRestart(b *bed) {
	b.configure(single)
	var before []subnet.Lease
	for n := range 5 {
		before = append(before, b.claim(b.store(n+1), b.want(n+1)))
	}
	for n, want := range before {
		got := b.claim(b.store(n+1), b.want(n+1))
		if diff := cmp.Diff(showLease(want), showLease(got)); diff != "" {
			b.Errorf("lease after a restart (-before +after):\n%s", diff)
		}
	}
}

// claimChanged moves a node to another address, by its running agent and by one that starts.
func claimChanged(b *bed) {
	b.configure(single)
	s, own, _ := b.join(1)
	w := watch(b.T, b.store(2), nil)
	w.untilLease(own)
	changed := b.want(1)
	changed.Attrs.PublicIP[subnet.Inet] = address(subnet.Inet, 101)
	moved := b.claim(s, changed)
	p := w.untilLease(moved)
	if moved.Subnets != own.Subnets || len(p.Leases) != 1 || !mayDiffer(p, own.Subnets) {
		b.Errorf("node with %s has another address; its lease is %s, the picture\n%s", own.Subnets, showLease(moved), show(p))
	}
	changed.Attrs.Data[subnet.Inet] = `{"VNI":1,"VtepMAC":"0e:00:00:00:00:ff"}`
	changed.Attrs.MTU = 9000
	moved = b.claim(s, changed)
	p = w.untilLease(moved)
	if moved.Subnets != own.Subnets || len(p.Leases) != 1 {
		b.Errorf("node with %s has other data; its lease is %s, the picture\n%s", own.Subnets, showLease(moved), show(p))
	}
}

// claimLost loses the lease of a node whose agent runs, and whose agent remembers nothing.
func claimLost(b *bed) {
	b.configure(single)
	s, own, w := b.join(1)
	other := watch(b.T, b.store(2), nil)
	other.untilLease(own)
	b.c.Remove(own.Subnets)
	w.untilGone(own.Subnets)
	if p := other.untilGone(own.Subnets); !mayDiffer(p, own.Subnets) {
		b.Errorf("a lease is gone that is not among the changed: %v", p.Changed)
	}
	again := b.claim(s, b.want(1))
	if diff := cmp.Diff(showLease(own), showLease(again)); diff != "" {
		b.Errorf("lease that was lost and claimed again (-before +after):\n%s", diff)
	}
	w.untilLease(own)
	other.untilLease(own)
}

// claimAddressInUse announces the address of a node whose agent runs.
func claimAddressInUse(b *bed) {
	b.configure(single)
	_, own, w := b.join(1)
	intruder := b.want(2)
	intruder.Attrs.PublicIP = own.PublicIP
	l, err := tryClaim(b.Context(), b.store(2), intruder)
	if !errors.Is(err, subnet.ErrAddressInUse) {
		b.Fatalf("Claim with the address of another node returned %s, %v: want ErrAddressInUse", showLease(l), err)
	}
	for _, named := range []string{own.Node, own.Addresses(), own.Subnets.String()} {
		if !strings.Contains(err.Error(), named) {
			b.Errorf("the error does not name %s: %v", named, err)
		}
	}
	third := b.claim(b.store(3), b.want(3))
	if p := w.untilLease(third); len(p.Leases) != 2 || p.Leases[own.Subnets] != own {
		b.Errorf("a refused claim left something behind:\n%s", show(p))
	}
}

// claimCloned starts two agents with one identity, at two addresses, and stops the first.
func claimCloned(b *bed) {
	b.configure(single)
	_, own, w := b.join(1)
	clone, want := b.store(1), b.want(1)
	want.Attrs.PublicIP[subnet.Inet] = address(subnet.Inet, 101)
	l, err := tryClaim(b.Context(), clone, want)
	if !errors.Is(err, subnet.ErrIdentityInUse) {
		b.Fatalf("Claim with the identity of another node returned %s, %v: want ErrIdentityInUse", showLease(l), err)
	}
	for _, named := range []string{own.Node, own.Addresses(), own.Subnets.String()} {
		if !strings.Contains(err.Error(), named) {
			b.Errorf("the error does not name %s: %v", named, err)
		}
	}
	third := b.claim(b.store(3), b.want(3))
	if p := w.untilLease(third); p.Leases[own.Subnets] != own {
		b.Errorf("a refused claim changed something:\n%s", show(p))
	}
	w.stop()
	successor := b.claim(b.store(1), want)
	if successor.Subnets != own.Subnets {
		b.Errorf("the successor of a node with %s got %s", own.Subnets, successor.Subnets)
	}
}

// claimMany lets nodes start together.
func claimMany(b *bed) {
	const nodes = 40
	b.configure(dual)
	w := watch(b.T, b.store(0), nil)
	leases := make([]subnet.Lease, nodes)
	stores := make([]subnet.Store, nodes)
	for n := range nodes {
		stores[n] = b.store(n + 1)
	}
	g, ctx := errgroup.WithContext(b.Context())
	for n := range nodes {
		g.Go(func() (err error) {
			leases[n], err = tryClaim(ctx, stores[n], b.want(n+1))
			if err != nil {
				return fmt.Errorf("node %d: %w", n+1, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		b.Fatal(err)
	}
	for n, l := range leases {
		for _, o := range leases[:n] {
			if l.Subnets.Overlaps(o.Subnets) {
				b.Errorf("%s and %s overlap", showLease(l), showLease(o))
			}
		}
	}
	w.until("all leases", func(p subnet.Snapshot) bool {
		for _, l := range leases {
			if p.Leases[l.Subnets] != l {
				return false
			}
		}
		return len(p.Leases) == nodes
	})
}
