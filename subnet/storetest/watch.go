package storetest

import (
	"context"
	"errors"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/subnet"
)

// watchCases are about Watch and Health, in any cluster.
func watchCases() []testcase {
	return []testcase{
		{"watch begins with the whole picture", watchWhole},
		{"watch of nothing", watchNothing},
		{"watch names what changed", watchChanged},
		{"watch follows the config", watchConfig},
		{"what is not believed is read again", watchDoubt},
		{"watch ends with its context", watchEnds},
		{"two watches of one store", watchTwo},
	}
}

// outageCases are about a store that is away.
func outageCases() []testcase {
	return []testcase{
		{"outage", outage},
		{"watch begins in an outage", outageFirst},
		{"health", health},
	}
}

func watchWhole(b *bed) {
	b.configure(single)
	var leases []subnet.Lease
	for n := range 5 {
		leases = append(leases, b.claim(b.store(n+1), b.want(n+1)))
	}
	p := watch(b.T, b.store(9), nil).next("the first picture")
	if p.Changed != nil {
		b.Errorf("the first picture says that only %v changed", p.Changed)
	}
	for _, l := range leases {
		if p.Leases[l.Subnets] != l {
			b.Errorf("%s is missing", showLease(l))
		}
	}
	if len(p.Leases) != len(leases) || p.Config != single || len(p.Faults) != 0 {
		b.Errorf("the first picture is\n%s", show(p))
	}
}

func watchNothing(b *bed) {
	w := watch(b.T, b.store(1), nil)
	p := w.next("the first picture")
	if p.Config != "" || len(p.Leases) != 0 || p.Changed != nil {
		b.Errorf("the picture of an empty store is\n%s", show(p))
	}
	b.configure(single)
	w.until("a config", func(p subnet.Snapshot) bool { return p.Config == single })
}

// watchChanged looks at a peer that comes, changes and goes, and at one that stays.
func watchChanged(b *bed) {
	b.configure(single)
	_, stays, w := b.join(1)
	peer := b.store(2)
	l := b.claim(peer, b.want(2))
	check := func(p subnet.Snapshot, what string) {
		if !mayDiffer(p, l.Subnets) {
			b.Errorf("%s: a changed lease is not among the changed: %v", what, p.Changed)
		}
		if mayDiffer(p, stays.Subnets) {
			b.Errorf("%s: a lease that stayed as it is is among the changed: %v", what, p.Changed)
		}
		if p.Leases[stays.Subnets] != stays {
			b.Errorf("%s: a lease that stayed is missing:\n%s", what, show(p))
		}
	}
	check(w.untilLease(l), "peer comes")
	changed := b.want(2)
	changed.Attrs.PublicIP[subnet.Inet] = address(subnet.Inet, 102)
	l = b.claim(peer, changed)
	check(w.untilLease(l), "peer changes")
	b.c.Remove(l.Subnets)
	check(w.untilGone(l.Subnets), "peer goes")
}

func watchConfig(b *bed) {
	b.configure(single)
	_, own, w := b.join(1)
	for _, text := range []string{dual, "nonsense", "", single} {
		b.c.SetConfig(text)
		p := w.until("the config "+text, func(p subnet.Snapshot) bool { return p.Config == text })
		if p.Leases[own.Subnets] != own {
			b.Errorf("with the config %q the lease is missing:\n%s", text, show(p))
		}
		if mayDiffer(p, own.Subnets) {
			b.Errorf("the config changed to %q, and %v with it", text, p.Changed)
		}
	}
}

// watchDoubt does not believe the first picture, nor the first one in which a lease is gone.
func watchDoubt(b *bed) {
	b.configure(single)
	own := b.claim(b.store(1), b.want(1))
	first, gone := true, true
	w := watch(b.T, b.store(2), func(p subnet.Snapshot) bool {
		doubt := first
		first = false
		if _, there := p.Leases[own.Subnets]; !there && gone {
			doubt, gone = true, false
		}
		return doubt
	})
	for _, what := range []string{"the first picture", "the first picture again"} {
		if p := w.next(what); p.Changed != nil || p.Leases[own.Subnets] != own {
			b.Errorf("%s is\n%s", what, show(p))
		}
	}
	b.c.Remove(own.Subnets)
	w.untilGone(own.Subnets)
	p := w.next("the picture without the lease again")
	if _, there := p.Leases[own.Subnets]; there || p.Changed != nil {
		b.Errorf("what was read again after a lease had gone is\n%s", show(p))
	}
	w.untilLease(b.claim(b.store(1), b.want(1)))
}

func watchEnds(b *bed) {
	b.configure(single)
	ctx, cancel := context.WithCancel(b.Context())
	calls := 0
	err := b.store(1).Watch(ctx, func(subnet.Snapshot) bool {
		calls++
		cancel()
		return true
	})
	if !errors.Is(err, context.Canceled) || calls != 1 {
		b.Errorf("Watch called f %d times and returned %v: want 1 and %v", calls, err, context.Canceled)
	}
	err = b.store(1).Watch(ctx, func(subnet.Snapshot) bool { return true })
	if !errors.Is(err, context.Canceled) {
		b.Errorf("Watch returned %v at once: want %v", err, context.Canceled)
	}
}

// watchTwo calls Watch twice, one after the other, as the agent does after an error.
func watchTwo(b *bed) {
	b.configure(single)
	s := b.store(1)
	ctx, cancel := context.WithCancel(b.Context())
	if err := s.Watch(ctx, func(subnet.Snapshot) bool { cancel(); return true }); !errors.Is(err, context.Canceled) {
		b.Fatalf("Watch returned %v: want %v", err, context.Canceled)
	}
	own := b.claim(s, b.want(1))
	peer := b.claim(b.store(2), b.want(2))
	p := watch(b.T, s, nil).next("the first picture of a second Watch")
	if p.Changed != nil || p.Leases[own.Subnets] != own || p.Leases[peer.Subnets] != peer {
		b.Errorf("the first picture of a second Watch is\n%s", show(p))
	}
}

// outage breaks the connection of two nodes, of which one changes afterwards.
func outage(b *bed) {
	b.configure(single)
	s, own, w := b.join(1)
	peer, old, other := b.join(2)
	w.untilLease(old)
	b.c.Break()
	b.refused(b.store(3), b.want(3))
	b.c.Mend()
	close(w.retry)
	close(other.retry)
	if diff := cmp.Diff(showLease(own), showLease(b.claim(s, b.want(1)))); diff != "" {
		b.Errorf("lease after an outage (-before +after):\n%s", diff)
	}
	changed := b.want(2)
	changed.Attrs.PublicIP[subnet.Inet] = address(subnet.Inet, 102)
	moved := b.claim(peer, changed)
	if moved.Subnets != old.Subnets {
		b.Errorf("after an outage the node with %s got %s", old.Subnets, moved.Subnets)
	}
	if p := w.untilLease(moved); p.Leases[own.Subnets] != own || len(p.Leases) != 2 {
		b.Errorf("the picture after an outage is\n%s", show(p))
	}
	other.untilLease(moved)
}

// outageFirst starts an agent while the store is away.
func outageFirst(b *bed) {
	b.configure(single)
	own := b.claim(b.store(1), b.want(1))
	late := b.store(2)
	b.c.Break()
	w := watch(b.T, late, nil)
	b.refused(late, b.want(2))
	b.c.Mend()
	close(w.retry)
	if p := w.next("the first picture"); p.Changed != nil || p.Leases[own.Subnets] != own {
		b.Errorf("the first picture is\n%s", show(p))
	}
	w.untilLease(b.claim(late, b.want(2)))
}

func health(b *bed) {
	b.configure(single)
	s, _, w := b.join(1)
	h := s.Health()
	if h.Err != nil || h.Since.IsZero() || time.Since(h.Since) > time.Hour {
		b.Errorf("health of a store that works: %+v", h)
	}
	if !h.Expires.IsZero() && !h.Expires.After(time.Now()) {
		b.Errorf("a fresh lease has expired at %v", h.Expires)
	}
	b.c.Break()
	changed := b.want(1) // which cannot be answered without the store
	changed.Attrs.PublicIP[subnet.Inet] = address(subnet.Inet, 101)
	b.refused(s, changed)
	broken := s.Health()
	if broken.Err == nil || broken.Errors <= h.Errors || broken.Since.IsZero() {
		b.Errorf("health of a store that is away: %+v", broken)
	}
	b.c.Mend()
	close(w.retry)
	b.claim(s, b.want(1))
	if h := s.Health(); h.Err != nil || h.Since.Before(broken.Since) || h.Errors < broken.Errors {
		b.Errorf("health of a store that is back: %+v, after %+v", h, broken)
	}
}

// forgotten cuts the history while a Store cannot see it. What changes afterwards is seen all the same.
func forgotten(b *bed) {
	b.configure(single)
	_, own, w := b.join(1)
	gone := b.claim(b.store(2), b.want(2))
	w.untilLease(gone)
	b.c.Break()
	b.c.(Forgetful).Forget()
	b.c.Mend()
	close(w.retry)
	b.c.Remove(gone.Subnets)
	if p := w.untilGone(gone.Subnets); p.Leases[own.Subnets] != own || len(p.Leases) != 1 {
		b.Errorf("the picture after history was forgotten is\n%s", show(p))
	}
	peer := b.claim(b.store(3), b.want(3))
	if p := w.untilLease(peer); len(p.Leases) != 2 {
		b.Errorf("the picture after history was forgotten is\n%s", show(p))
	}
}
