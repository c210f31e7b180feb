package network

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/subnet"
)

// errNoLease is what the node waits for between the first snapshot and the first lease.
var errNoLease = errors.New("the store has not given a lease yet")

// lease says what this node wants to announce, and returns the lease that it holds; zero while there is none.
func (a *Agent) lease(n news) (subnet.Lease, error) {
	l := &a.loop
	kept := a.kept()
	attrs, err := a.announcement(kept)
	if err != nil {
		return subnet.Lease{}, err
	}
	previous := kept.Subnets
	if previous.IsZero() {
		previous = a.envSubnets()
	}
	if a.claims.ask(subnet.Want{Config: l.config, Attrs: attrs, Previous: previous}) && n.complete {
		a.ask.ring()
	}
	held := a.claims.lease()
	if held == (subnet.Lease{}) {
		a.report.waiting("lease", cmp.Or(a.claims.failure(), errNoLease))
		return held, nil
	}
	a.report.waiting("lease", nil)
	return held, nil
}

// former finds the lease that this node had before it was started: by its identity, else flanneld's by its address.
func (a *Agent) former() subnet.Lease {
	var found subnet.Lease
	a.picture.each(func(x subnet.Lease) {
		if x.Node == a.o.Node {
			found = x
		}
		for f, u := range a.loop.uplinks {
			if found == (subnet.Lease{}) && x.Node == "" && u.Valid() && x.PublicIP[f] == u.Public {
				found = x
			}
		}
	})
	return found
}

// announcement is what this node wants to tell its peers of itself: every way that is in place.
func (a *Agent) announcement(kept subnet.Lease) (subnet.Attrs, error) {
	l := &a.loop
	l.choices.ways = slices.Clone(l.choices.ways) // plans hold the old ones
	var all subnet.Attrs
	var list []subnet.Way
	for i := range l.choices.ways {
		w := &l.choices.ways[i]
		if w.Silent || !w.announced && !w.ready && kept != (subnet.Lease{}) {
			continue
		}
		attrs, err := w.b.Attrs(a.nodeOf(w, kept))
		if err != nil {
			return subnet.Attrs{}, fmt.Errorf("backend %s: %w", w.Backend, err)
		}
		if len(list) == 0 {
			all = attrs
		}
		w.Data = attrs.Data
		list = append(list, w.Way)
	}
	if len(list) == 0 { // this node was reached by nothing that it knows
		l.choices.ways[0].ready = true
		return a.announcement(kept)
	}
	all.Node = a.o.Node
	one := list[0]
	return all, all.SetWays(list, one.Suffix != "" || one.Agreed != a.implied(one.Backend, one.Data))
}

// ownBackend is the backend that the config names.
func (a *Agent) ownBackend() (backend.Backend, error) { return a.loop.choices.ways[0].b, nil }

// node is what plans know of this node.
func (a *Agent) node(kept subnet.Attrs) backend.Node { return a.nodeUnder(a.loop.config, kept) }

// nodeUnder is what they know of it under another config.
func (a *Agent) nodeUnder(c subnet.Config, kept subnet.Attrs) backend.Node {
	return backend.Node{Name: a.o.Node, Mark: a.o.Mark, Networks: c.Networks, Further: c.Further, Uplinks: a.loop.uplinks, Kept: kept, Prepared: a.loop.prepared.text,
		WireGuardKey: a.loop.secret.key, Works: a.loop.works}
}
