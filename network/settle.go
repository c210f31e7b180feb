package network

import (
	"context"
	"slices"
	"time"

	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// settle moves a change of the backend on after a pass that left the kernel as planned: ways whose devices and firewall rules
// are in place are announced; former ones are marked in the lease as not needed when this node reaches no peer by them, and
// are taken away when all peers have said the same, and some time has passed. Nodes that are away hold their former ways
// in place with their leases.
func (a *Agent) settle(complete bool, now time.Time) {
	l := &a.loop
	if !complete || len(l.choices.ways) == 1 && l.choices.ways[0].ready {
		return
	}
	ways := slices.Clone(l.choices.ways) // plans hold the old ones
	changed := false
	for i := range ways {
		if !ways[i].ready && a.fire.settled() {
			ways[i].ready, changed = true, true
		}
	}
	use := a.usage(now)
	if use.silent {
		a.wakeIn(contactEvery)
	}
	changed = a.advance(ways, use, now) || changed
	keep := ways[:1]
	for i := 1; i < len(ways); i++ {
		w := &ways[i]
		leaving := ways[0].announced && use.served[i] == 0 && w.Rotation != subnet.Away && !use.away[i]
		changed = changed || leaving != w.Leaving
		w.Leaving = leaving
		if !a.isIdle(w, leaving && use.open[i] == 0) {
			w.idle = time.Time{}
		} else if w.idle.IsZero() {
			w.idle = now
		}
		if left := a.o.WayGrace - now.Sub(w.idle); w.idle.IsZero() || left > 0 {
			keep = append(keep, *w)
			if !w.idle.IsZero() {
				a.wakeIn(left)
			}
			continue
		}
		a.o.Log.WithField("way", w.String()).Info("a former way is needed no more")
		changed, l.set, l.full = true, false, true
	}
	l.choices.ways = keep
	if changed {
		a.look.ring()
	}
}

// isIdle tells whether no node needs w, when the peers say so, and this node has told them that it does not.
func (a *Agent) isIdle(w *way, unneeded bool) bool {
	if !unneeded || w.Silent {
		return unneeded
	}
	said, err := a.loop.plan.own.AllWays()
	if err != nil {
		return false
	}
	for _, x := range said {
		if w.is(x.Backend, x.Agreed) && !x.Leaving {
			return false
		}
	}
	return true
}

// contactEvery is how often is looked whether peers have answered by a new way.
const contactEvery = time.Second

// usage is by how many peers the ways of a plan are used, by place.
type usage struct {
	served []int  // this node reaches them so
	silent bool   // some have not answered yet by the way that is to be used
	open   []int  // they have the way, and have not said that they need it no more
	away   []bool // some want to be reached by it while they change their key

	follows [][]string // keys of peers that change theirs, and that this node reaches so
	turning turning    // how far the peers are with this node's own change of its key
}

// usage looks at all peers.
func (a *Agent) usage(now time.Time) usage {
	p, r := a.loop.plan, a.rotations.now()
	u := usage{served: make([]int, len(p.ways)), open: make([]int, len(p.ways)), away: make([]bool, len(p.ways)), follows: make([][]string, len(p.ways))}
	a.picture.each(func(x subnet.Lease) {
		if !p.isPeer(x) {
			return
		}
		var s kernel.State
		by, hindrance, err := p.serve(x, &s)
		list, errCommon := p.common(&x)
		if errCommon != nil {
			return
		}
		u.silent = u.silent || hindrance != nil
		for i := range p.ways {
			if err == nil && &p.ways[i] == by {
				u.served[i]++
			}
			for _, m := range list {
				if m.way == &p.ways[i] && !m.leaving {
					u.open[i]++
				}
			}
		}
		p.countRotation(&u, r, x, by, list, now)
	})
	return u
}

// wakeIn has the pass look again after some time.
func (a *Agent) wakeIn(d time.Duration) {
	select {
	case a.later <- d:
	default: // it is going to look, and then asks again
	}
}

// remind rings the pass's bell when it asked for that.
func (a *Agent) remind(ctx context.Context) error {
	for {
		var d time.Duration
		select {
		case <-ctx.Done():
			return ctx.Err()
		case d = <-a.later:
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(d):
		}
		a.look.ring()
	}
}
