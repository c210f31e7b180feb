package network

import (
	"sync"

	"github.com/weft-network/weft/network/kernel"
)

// wanted is what the kernel should hold, and the keys at which it was seen to hold something else. The task that
// keeps the kernel writes it before it changes the kernel, so that the echo of its own changes is known for what it
// is; the task that listens to the kernel compares.
type wanted struct {
	mu     sync.Mutex
	state  kernel.State
	set    bool         // state is a whole plan
	dirty  kernel.State // the objects as they were seen; a key here has to be put right
	all    bool         // everything may differ
	uplink bool         // the uplink may be another one
}

// hear compares what the kernel announces with what is wanted. It tells whether there is something to do.
func (w *wanted) hear(e kernel.Events) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = w.all || e.All
	w.uplink = w.uplink || e.Uplink
	if w.set {
		d, want := &w.dirty, &w.state
		compare(&d.Addrs, want.Addrs, e.Seen.Addrs, e.Gone.Addrs)
		compare(&d.Routes, want.Routes, e.Seen.Routes, e.Gone.Routes)
		compare(&d.Neighbours, want.Neighbours, e.Seen.Neighbours, e.Gone.Neighbours)
		compare(&d.Forwards, want.Forwards, e.Seen.Forwards, e.Gone.Forwards)
		compare(&d.Sysctls, want.Sysctls, e.Seen.Sysctls, e.Gone.Sysctls)
		for k, l := range e.Seen.Links {
			w.all = w.all || want.Links[k] != l
		}
		w.all = w.all || len(e.Gone.Links) > 0
	}
	return w.all || w.uplink || !w.dirty.IsEmpty() || len(e.Seen.Sysctls) > 0 // one that could not be set may be right now
}

// compare marks the keys at which the kernel differs from want, and unmarks those at which it no longer does.
func compare[K comparable, V kernel.Object[K]](dirty *kernel.Set[K, V], want, seen, gone kernel.Set[K, V]) {
	for k, v := range gone {
		if _, ok := want[k]; ok {
			dirty.Add(v)
		} else {
			delete(*dirty, k)
		}
	}
	for k, v := range seen {
		if w, ok := want[k]; ok && w == v {
			delete(*dirty, k)
		} else {
			dirty.Add(v)
		}
	}
}

// doubt has everything looked at again.
func (w *wanted) doubt() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all, w.uplink = true, true
}

// doubtObjects has all objects looked at again.
func (w *wanted) doubtObjects() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = true
}

// heard is what a pass learns from the kernel's announcements.
type heard struct {
	all, uplink bool
	dirty       kernel.State
}

// take returns what was heard since the last take.
func (w *wanted) take() heard {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := heard{w.all, w.uplink, w.dirty}
	w.all, w.uplink, w.dirty = false, false, kernel.State{}
	return h
}

// replace makes s the wanted state and returns the one before.
func (w *wanted) replace(s kernel.State) (before kernel.State) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before, w.state, w.set = w.state, s, true
	return before
}

// change turns the objects of old into those of new in the wanted state, and returns what the kernel has to change
// for that.
func (w *wanted) change(old, new kernel.State) kernel.Change {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := kernel.Diff(old, new)
	merge(&w.state.Routes, c.Put.Routes, c.Drop.Routes)
	merge(&w.state.Neighbours, c.Put.Neighbours, c.Drop.Neighbours)
	merge(&w.state.Forwards, c.Put.Forwards, c.Drop.Forwards)
	merge(&w.state.WireGuardPeers, c.Put.WireGuardPeers, c.Drop.WireGuardPeers)
	merge(&w.state.Datagrams, c.Put.Datagrams, c.Drop.Datagrams)
	merge(&w.state.Associations, c.Put.Associations, c.Drop.Associations)
	merge(&w.state.Commands, c.Put.Commands, c.Drop.Commands)
	merge(&w.state.Probes, c.Put.Probes, c.Drop.Probes)
	return c
}

// overlaps tells whether new would take over an object that is wanted already and is not one of old.
func (w *wanted) overlaps(new, old kernel.State) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return taken(w.state.Routes, new.Routes, old.Routes) ||
		taken(w.state.Neighbours, new.Neighbours, old.Neighbours) ||
		taken(w.state.Forwards, new.Forwards, old.Forwards) ||
		taken(w.state.WireGuardPeers, new.WireGuardPeers, old.WireGuardPeers) ||
		taken(w.state.Datagrams, new.Datagrams, old.Datagrams) ||
		taken(w.state.Associations, new.Associations, old.Associations) ||
		taken(w.state.Commands, new.Commands, old.Commands) ||
		taken(w.state.Probes, new.Probes, old.Probes)
}

func taken[K comparable, V kernel.Object[K]](want, new, old kernel.Set[K, V]) bool {
	for k := range new {
		_, wanted := want[k]
		_, ours := old[k]
		if wanted && !ours {
			return true
		}
	}
	return false
}

func merge[K comparable, V kernel.Object[K]](set *kernel.Set[K, V], put, drop kernel.Set[K, V]) {
	for k := range drop {
		delete(*set, k)
	}
	for _, v := range put {
		set.Add(v)
	}
}

// repair returns the change that puts the dirty keys right.
func (w *wanted) repair(dirty kernel.State) kernel.Change {
	w.mu.Lock()
	defer w.mu.Unlock()
	var c kernel.Change
	mend(&c.Put.Addrs, &c.Drop.Addrs, w.state.Addrs, dirty.Addrs)
	mend(&c.Put.Routes, &c.Drop.Routes, w.state.Routes, dirty.Routes)
	mend(&c.Put.Neighbours, &c.Drop.Neighbours, w.state.Neighbours, dirty.Neighbours)
	mend(&c.Put.Forwards, &c.Drop.Forwards, w.state.Forwards, dirty.Forwards)
	var none kernel.Set[string, kernel.Sysctl]
	mend(&c.Put.Sysctls, &none, w.state.Sysctls, dirty.Sysctls)
	return c
}

func mend[K comparable, V kernel.Object[K]](put, drop *kernel.Set[K, V], want, dirty kernel.Set[K, V]) {
	for k, v := range dirty {
		if w, ok := want[k]; ok {
			put.Add(w)
		} else {
			drop.Add(v)
		}
	}
}

// count returns how many objects of each kind are wanted.
func (w *wanted) count() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return countKinds(w.state)
}

// countKinds counts the objects of a state by kind, under the names that ip and bridge use.
func countKinds(s kernel.State) map[string]int {
	return map[string]int{"link": len(s.Links), "addr": len(s.Addrs), "route": len(s.Routes),
		"neigh": len(s.Neighbours), "fdb": len(s.Forwards), "sysctl": len(s.Sysctls),
		"wireguard": len(s.WireGuardPeers), "udp": len(s.Datagrams), "ipsec": len(s.Associations), "command": len(s.Commands)}
}
