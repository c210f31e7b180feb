package storetest

import (
	"slices"

	"github.com/weft-network/weft/subnet"
)

// garblingCases are about entries that cannot be understood. Each costs its own node, and nobody else.
func garblingCases() []testcase {
	return []testcase{
		{"garbage beside leases", garbageBeside},
		{"garbage in the place of a lease", garbageInPlace},
	}
}

// garbage is no lease in any store.
var garbage = []string{
	`nonsense`, `{"PublicIP":`, `[1,2]`, `"text"`, `42`, `{"PublicIP":"nonsense","BackendType":"vxlan"}`,
	`{"PublicIP":42}`, "\x00\xff\xfe",
}

// faulty waits for a picture with a Fault of this key, or without one.
func (w *watcher) faulty(key string, there bool) subnet.Snapshot {
	w.t.Helper()
	what := "no fault of " + key
	if there {
		what = "a fault of " + key
	}
	return w.until(what, func(p subnet.Snapshot) bool {
		return there == slices.ContainsFunc(p.Faults, func(f subnet.Fault) bool { return f.Key == key && f.Err != nil })
	})
}

func garbageBeside(b *bed) {
	b.configure(single)
	_, own, w := b.join(1)
	place := subnets("10.5.99.0/24")
	if own.Subnets == place {
		place = subnets("10.5.98.0/24")
	}
	for n, value := range garbage {
		key := b.c.(Garbling).PutGarbage(place, value)
		p := w.faulty(key, true)
		if len(p.Leases) != 1 || p.Leases[own.Subnets] != own {
			b.Errorf("garbage %q costs more than itself:\n%s", value, show(p))
		}
		if first := watch(b.T, b.store(9), nil).next("the first picture"); len(first.Faults) != 1 || first.Faults[0].Key != key || first.Leases[own.Subnets] != own {
			b.Errorf("the first picture with garbage %q is\n%s", value, show(first))
		}
		want := b.want(n + 20)
		want.Previous = place
		l := b.claim(b.store(n+20), want)
		if l.Subnets == place {
			b.Errorf("Claim returned %s, where there is garbage %q", place, value)
		}
		w.untilLease(l)
		b.c.Remove(l.Subnets)
		w.untilGone(l.Subnets)
		b.c.Remove(place)
		w.faulty(key, false)
	}
}

// garbageInPlace damages the lease of a peer, and mends it.
func garbageInPlace(b *bed) {
	b.configure(single)
	_, own, w := b.join(1)
	peer := b.claim(b.store(2), b.want(2))
	w.untilLease(peer)
	key := b.c.(Garbling).PutGarbage(peer.Subnets, garbage[0])
	p := w.faulty(key, true)
	if _, there := p.Leases[peer.Subnets]; there || p.Leases[own.Subnets] != own || !mayDiffer(p, peer.Subnets) {
		b.Errorf("the picture with a damaged lease is\n%s", show(p))
	}
	b.c.Remove(peer.Subnets)
	w.faulty(key, false)
	w.untilLease(b.claim(b.store(2), b.want(2)))
}

// garbageNames puts entries whose names are no subnets.
func garbageNames(b *bed) {
	b.configure(single)
	_, own, w := b.join(1)
	for _, name := range []string{"nonsense", "10.5.300.0-24", "10.5.7.0-99", "10.5.7.0", "10.5.7.0-24&nonsense", "-", "&"} {
		key := b.c.(NamedEntries).PutNamed(name, `{"PublicIP":"192.168.0.77","BackendType":"vxlan"}`)
		if p := w.faulty(key, true); len(p.Leases) != 1 || p.Leases[own.Subnets] != own {
			b.Errorf("an entry named %q costs more than itself:\n%s", name, show(p))
		}
	}
	w.untilLease(b.claim(b.store(2), b.want(2)))
}
