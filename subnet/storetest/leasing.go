package storetest

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/weft-network/weft/subnet"
)

// leasingCases are about clusters in which nodes choose their subnets themselves.
func leasingCases() []testcase {
	return []testcase{
		{"previous subnet is honoured", previousFree},
		{"previous subnet is taken", previousTaken},
		{"previous subnet is not in the network", previousElsewhere},
		{"flanneld's lease is adopted", adopted},
		{"flanneld's lease of another node", foreign},
		{"flanneld's lease outside of the networks", adoptedElsewhere},
		{"node has a new name", renamed},
		{"all subnets are taken", exhausted},
		{"more nodes than subnets at the same time", exhaustedTogether},
		{"subnet length changes", lengthChanges},
		{"second family is added", familyAdded},
		{"further network is added", networkAdded},
		{"further network is taken away", networkRemoved},
		{"reservation for nobody", reserved},
		{"reservation for an address", reservedForAddress},
		{"wiped", wiped},
	}
}

// subnets returns subnets from their texts.
func subnets(texts ...string) subnet.Subnets {
	var s subnet.Subnets
	for _, text := range texts {
		p := netip.MustParsePrefix(text)
		s[subnet.FamilyOf(p.Addr())] = p
	}
	return s
}

// flanneld is the lease that flanneld would write on the node with this number.
func (b *bed) flanneld(number int, s subnet.Subnets) subnet.Lease {
	l := subnet.Lease{Subnets: s, Attrs: b.want(number).Attrs}
	l.Node = ""
	return l
}

func previousFree(b *bed) {
	b.configure(dual)
	w := b.want(1)
	w.Previous = subnets("10.5.77.0/24", "fd00:5:0:77::/64")
	own := b.claim(b.store(1), w)
	if own.Subnets != w.Previous {
		b.Errorf("Claim returned %s: want %s, which is free", own.Subnets, w.Previous)
	}
	w.Previous = subnets("10.5.78.0/24", "fd00:5:0:78::/64")
	if again := b.claim(b.store(1), w); again != own {
		b.Errorf("Claim returned %s: want the lease that is there, %s", again.Subnets, own.Subnets)
	}
}

func previousTaken(b *bed) {
	b.configure(dual)
	_, own, watcher := b.join(1)
	w := b.want(2)
	w.Previous = subnets(own.Subnets[subnet.Inet].String(), "fd00:5:0:77::/64")
	other := b.claim(b.store(2), w)
	if other.Subnets.Overlaps(own.Subnets) {
		b.Errorf("Claim returned %s, which overlaps %s of another node", other.Subnets, own.Subnets)
	}
	if want := w.Previous[subnet.Inet6]; own.Subnets[subnet.Inet6] != want && other.Subnets[subnet.Inet6] != want {
		b.Errorf("Claim returned %s: want %s, which is free", other.Subnets, want)
	}
	watcher.untilLease(other)
}

func previousElsewhere(b *bed) {
	b.configure(single)
	for n, previous := range []string{"10.6.1.0/24", "10.5.1.0/25", "10.5.0.0/24", "fd00:5:0:1::/64"} {
		w := b.want(n + 1)
		w.Previous = subnets(previous)
		b.claim(b.store(n+1), w) // which checks that the config holds what it returns
	}
}

// adopted takes over a node from flanneld, which leases by address.
func adopted(b *bed) {
	for number, config := range []string{single, dual} {
		b.configure(config)
		l := b.flanneld(number+1, subnets("10.5.52.0/24"))
		if b.config.Networks[subnet.Inet6].Enabled() {
			l.Subnets = subnets("10.5.53.0/24", "fd00:5:0:53::/64")
		}
		b.c.(Leasing).PutForeign(l)
		w := watch(b.T, b.store(9), nil)
		if p := w.untilLease(l); p.Leases[l.Subnets].Node != "" {
			b.Errorf("flanneld's lease has a node:\n%s", show(p))
		}
		own := b.claim(b.store(number+1), b.want(number+1))
		if own.Subnets != l.Subnets {
			b.Errorf("Claim returned %s: want %s, which flanneld leased for this address", own.Subnets, l.Subnets)
		}
		if p := w.untilLease(own); len(p.Leases) != number+1 {
			b.Errorf("the picture after adoption is\n%s", show(p))
		}
	}
}

func foreign(b *bed) {
	b.configure(single)
	l := b.flanneld(7, subnets("10.5.52.0/24"))
	b.c.(Leasing).PutForeign(l)
	want := b.want(1)
	want.Previous = l.Subnets
	own := b.claim(b.store(1), want)
	if own.Subnets == l.Subnets {
		b.Errorf("Claim returned %s, which flanneld of another node has", own.Subnets)
	}
	if p := watch(b.T, b.store(1), nil).untilLease(own); p.Leases[l.Subnets] != l {
		b.Errorf("flanneld's lease is not as it was:\n%s", show(p))
	}
}

func adoptedElsewhere(b *bed) {
	b.configure(single)
	l := b.flanneld(1, subnets("10.9.52.0/24"))
	b.c.(Leasing).PutForeign(l)
	own := b.claim(b.store(1), b.want(1))
	if p := watch(b.T, b.store(2), nil).untilLease(own); len(p.Leases) != 1 {
		b.Errorf("the node has more than one lease:\n%s", show(p))
	}
}

// renamed starts an agent under another name where one was before: it is the same machine.
func renamed(b *bed) {
	b.configure(single)
	_, own, w := b.join(1)
	w.stop()
	want := b.want(2)
	want.Attrs.PublicIP = own.PublicIP
	l := b.claim(b.store(2), want)
	if p := watch(b.T, b.store(3), nil).untilLease(l); l.Subnets != own.Subnets || len(p.Leases) != 1 {
		b.Errorf("the node with %s has another name; the picture is\n%s", own.Subnets, show(p))
	}
}

func exhausted(b *bed) {
	b.configure(threeLeft)
	var held []subnet.Lease
	for n := range 3 {
		held = append(held, b.claim(b.store(n+1), b.want(n+1)))
	}
	late := b.store(4)
	if l, err := tryClaim(b.Context(), late, b.want(4)); !errors.Is(err, subnet.ErrExhausted) {
		b.Fatalf("Claim of the fourth of three subnets returned %s, %v: want ErrExhausted", showLease(l), err)
	}
	b.c.Remove(held[1].Subnets)
	if l := b.claim(late, b.want(4)); l.Subnets != held[1].Subnets {
		b.Errorf("Claim returned %s: want %s, the only one that is free", l.Subnets, held[1].Subnets)
	}
}

func exhaustedTogether(b *bed) {
	b.configure(threeLeft)
	var mu sync.Mutex
	got := map[subnet.Subnets]string{}
	g, ctx := errgroup.WithContext(b.Context())
	for n := range 6 {
		s := b.store(n + 1)
		g.Go(func() error {
			l, err := tryClaim(ctx, s, b.want(n+1))
			if errors.Is(err, subnet.ErrExhausted) {
				return nil
			}
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			if other, taken := got[l.Subnets]; taken {
				return fmt.Errorf("%s and %s have %s", other, l.Node, l.Subnets)
			}
			got[l.Subnets] = l.Node
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		b.Fatal(err)
	}
	if len(got) != 3 {
		b.Errorf("six nodes share three subnets: %v", got)
	}
}

// lengthChanges cuts the network anew while leases of the old length are there.
func lengthChanges(b *bed) {
	b.configure(single)
	first := b.claim(b.store(1), b.want(1))
	second := b.claim(b.store(2), b.want(2))
	b.configure(`{"Network": "10.5.0.0/16", "SubnetLen": 20, "Backend": {"Type": "vxlan"}}`)
	moved := b.claim(b.store(1), b.want(1))
	if moved.Subnets.Overlaps(second.Subnets) {
		b.Errorf("Claim returned %s, which overlaps %s of another node", moved.Subnets, second.Subnets)
	}
	p := watch(b.T, b.store(3), nil).untilLease(moved)
	if _, there := p.Leases[first.Subnets]; there || len(p.Leases) != 2 {
		b.Errorf("the picture after the length changed is\n%s", show(p))
	}
}

func familyAdded(b *bed) {
	b.configure(single)
	want := b.want(1)
	want.Previous = subnets("10.5.77.0/24") // not the one that the node would choose by itself
	before := b.claim(b.store(1), want)
	b.configure(dual)
	after := b.claim(b.store(1), b.want(1))
	if after.Subnets[subnet.Inet] != before.Subnets[subnet.Inet] {
		b.Errorf("with a second family the node with %s got %s", before.Subnets, after.Subnets)
	}
	if p := watch(b.T, b.store(3), nil).untilLease(after); len(p.Leases) != 1 {
		b.Errorf("the node has more than one lease:\n%s", show(p))
	}
}

// The configs of a cluster that has outgrown its range, before and after.
const (
	tight = `{"Network": "10.5.0.0/22", "SubnetLen": 24, "EnableIPv6": true, "IPv6Network": "fd00:5::/56", "Backend": {"Type": "vxlan"}}`
	wider = `{"Network": "10.5.0.0/22", "SubnetLen": 24, "EnableIPv6": true, "IPv6Network": "fd00:5::/56", "Backend": {"Type": "vxlan"},
		"Networks": [{"Network": "10.6.0.0/22"}, {"Network": "10.7.0.0/24", "SubnetLen": 26}]}`
)

// networkAdded fills a network, adds two more, and fills these, the last of them by nodes that come together.
func networkAdded(b *bed) {
	b.configure(tight)
	var before []subnet.Lease
	for n := range 3 {
		before = append(before, b.claim(b.store(n+1), b.want(n+1)))
	}
	if l, err := tryClaim(b.Context(), b.store(4), b.want(4)); !errors.Is(err, subnet.ErrExhausted) {
		b.Fatalf("Claim in a full network returned %s, %v: want ErrExhausted", showLease(l), err)
	}
	b.configure(wider)
	all := b.config.All(subnet.Inet)
	for n, held := range before {
		if again := b.claim(b.store(n+1), b.want(n+1)); again.Subnets != held.Subnets {
			b.Errorf("another network was added, and the node with %s got %s", held.Subnets, again.Subnets)
		}
	}
	for n := range 3 {
		l := b.claim(b.store(n+4), b.want(n+4))
		if !all[1].Holds(l.Subnets[subnet.Inet]) {
			b.Errorf("Claim returned %s: want one of %s, the first that is not full", l.Subnets, all[1])
		}
		if again := b.claim(b.store(n+4), b.want(n+4)); again != l {
			b.Errorf("the node with %s got %s after a restart", l.Subnets, again.Subnets)
		}
	}
	g, ctx := errgroup.WithContext(b.Context())
	for n := range 3 {
		s, want := b.store(n+7), b.want(n+7)
		g.Go(func() error {
			l, err := tryClaim(ctx, s, want)
			if err == nil && !all[2].Holds(l.Subnets[subnet.Inet]) {
				err = fmt.Errorf("claim returned %s: want one of %s, the only one that is not full", l.Subnets, all[2])
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		b.Error(err)
	}
	l, err := tryClaim(b.Context(), b.store(10), b.want(10))
	if !errors.Is(err, subnet.ErrExhausted) || !strings.Contains(err.Error(), all[0].Prefix.String()) || !strings.Contains(err.Error(), all[2].Prefix.String()) {
		b.Errorf("Claim in full networks returned %s, %v: want ErrExhausted with all networks", showLease(l), err)
	}
}

// networkRemoved takes a network away in which a node has its subnet. That node is given another one.
func networkRemoved(b *bed) {
	b.configure(wider)
	want := b.want(1)
	want.Previous = subnets("10.7.0.64/26", "fd00:5:0:77::/64")
	before := b.claim(b.store(1), want)
	if before.Subnets != want.Previous {
		b.Fatalf("Claim returned %s: want %s, which is free", before.Subnets, want.Previous)
	}
	b.configure(tight)
	after := b.claim(b.store(1), b.want(1))
	if after.Subnets[subnet.Inet6] != before.Subnets[subnet.Inet6] {
		b.Errorf("the IPv4 network was taken away, and the node with %s got %s", before.Subnets, after.Subnets)
	}
	if p := watch(b.T, b.store(3), nil).untilLease(after); len(p.Leases) != 1 {
		b.Errorf("the node has more than one lease:\n%s", show(p))
	}
}

// reserved keeps one of three subnets for nobody.
func reserved(b *bed) {
	b.configure(threeLeft)
	kept := subnets("10.5.2.0/24")
	b.c.(Leasing).Reserve(subnet.Lease{Subnets: kept})
	w := watch(b.T, b.store(9), nil)
	for n := range 2 {
		want := b.want(n + 1)
		want.Previous = kept
		l := b.claim(b.store(n+1), want)
		if l.Subnets == kept {
			b.Errorf("Claim returned %s, which is reserved", kept)
		}
		if p := w.untilLease(l); len(p.Leases) != n+1 {
			b.Errorf("a reservation for nobody is among the leases:\n%s", show(p))
		}
	}
	if l, err := tryClaim(b.Context(), b.store(3), b.want(3)); !errors.Is(err, subnet.ErrExhausted) {
		b.Errorf("Claim with none but a reserved subnet left returned %s, %v: want ErrExhausted", showLease(l), err)
	}
	b.c.Remove(kept)
	if l := b.claim(b.store(3), b.want(3)); l.Subnets != kept {
		b.Errorf("Claim returned %s: want %s, which is reserved no more", l.Subnets, kept)
	}
}

// reservedForAddress keeps a subnet for a node that is named by its address, as flannel's operators do.
func reservedForAddress(b *bed) {
	b.configure(single)
	kept := subnet.Lease{Subnets: subnets("10.5.2.0/24")}
	kept.PublicIP = b.want(1).Attrs.PublicIP
	b.c.(Leasing).Reserve(kept)
	other := b.want(2)
	other.Previous = kept.Subnets
	if l := b.claim(b.store(2), other); l.Subnets == kept.Subnets {
		b.Errorf("Claim returned %s, which is reserved for another address", l.Subnets)
	}
	s, own, w := b.join(1)
	if own.Subnets != kept.Subnets {
		b.Fatalf("Claim returned %s: want %s, which is reserved for the node's address", own.Subnets, kept.Subnets)
	}
	if expires := s.Health().Expires; !expires.IsZero() {
		b.Errorf("a reserved subnet expires at %v", expires)
	}
	changed := b.want(1)
	changed.Attrs.PublicIP[subnet.Inet] = address(subnet.Inet, 101)
	if l := b.claim(s, changed); l.Subnets != kept.Subnets {
		b.Errorf("the node has another address, and %s in the place of %s", l.Subnets, kept.Subnets)
	} else {
		w.untilLease(l)
	}
}

// wiped empties the store under running agents, which put everything back.
func wiped(b *bed) {
	b.configure(single)
	s, own, w := b.join(1)
	other, peer, _ := b.join(2)
	w.untilLease(peer)
	b.c.(Leasing).Wipe()
	w.until("an empty picture", func(p subnet.Snapshot) bool { return p.Config == "" && len(p.Leases) == 0 })
	b.c.SetConfig(single)
	for n, restored := range map[subnet.Store]subnet.Lease{s: own, other: peer} {
		want := subnet.Want{Config: b.config, Attrs: restored.Attrs, Previous: restored.Subnets}
		if diff := cmp.Diff(showLease(restored), showLease(b.claim(n, want))); diff != "" {
			b.Errorf("lease after the store was wiped (-before +after):\n%s", diff)
		}
	}
	w.until("all leases", func(p subnet.Snapshot) bool {
		return p.Config == single && p.Leases[own.Subnets] == own && p.Leases[peer.Subnets] == peer
	})
}
