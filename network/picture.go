package network

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/weft-network/weft/subnet"
)

// picture is the agent's copy of what the store says, and what has changed in it since the agent last looked. The
// task that follows the store writes it, the task that keeps the kernel takes from it.
type picture struct {
	mu       sync.Mutex
	complete bool // a whole snapshot has come from the store itself, not from disk
	config   string
	place    string // where the config is to be put
	leases   map[subnet.Subnets]subnet.Lease
	leaving  map[subnet.Subnets]time.Time // leases that the store no longer has, since when; they still are in leases
	faults   []subnet.Fault
	self     subnet.Self
	all      bool                            // everything may have changed
	changed  map[subnet.Subnets]subnet.Lease // keys that changed, with what they held before (zero: nothing)
	flying   map[subnet.Subnets]bool         // keys that a pass has taken and not yet written into the kernel
	flyAll   bool                            // a pass has taken everything, and has not yet written it
	doubted  bool                            // the last snapshot was not believed
}

// news is what a pass learns from the picture.
type news struct {
	complete bool
	config   string
	place    string
	all      bool
	changed  []leaseChange
	self     subnet.Self
}

// leaseChange is one lease before and after; a zero Lease says that there is none.
type leaseChange struct{ old, new subnet.Lease }

// update takes in a snapshot. It returns false, and takes in nothing, for one that would drop more than half of the
// leases at once: a store that answers with next to nothing is more often broken than right, so it has to say it
// twice. A lease that is gone serves on until forget: its node may only have lost it, and be claiming it again. It does not
// where its node has another one.
func (p *picture) update(s subnet.Snapshot, now time.Time) (believed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.drops(s)*2 > len(p.leases) && !p.doubted {
		p.doubted = true
		return false
	}
	p.doubted = false
	if s.Config != "" { // a config that is gone leaves the last one in force
		p.config = s.Config
	}
	p.place = s.Place
	p.faults, p.self = append([]subnet.Fault(nil), s.Faults...), s.Self
	keys := s.Changed
	if s.Changed == nil || !p.complete {
		p.replace(s.Leases, now)
		keys = slices.Collect(maps.Keys(s.Leases))
	} else {
		for _, k := range s.Changed {
			if l, ok := s.Leases[k]; ok {
				delete(p.leaving, k)
				p.change(k, l)
			} else {
				p.leave(k, now)
			}
		}
	}
	p.moved(s, keys)
	return true
}

// moved drops leases that are leaving where their node has another one, which is under one of keys: it does not claim
// the old one again, and two leases with one MAC address would be in each other's way.
func (p *picture) moved(s subnet.Snapshot, keys []subnet.Subnets) {
	if len(p.leaving) == 0 {
		return
	}
	now := map[string]bool{}
	for _, k := range keys {
		if l := s.Leases[k]; l.Node != "" {
			now[l.Node] = true
		}
	}
	for k := range p.leaving {
		if now[p.leases[k].Node] {
			delete(p.leaving, k)
			p.change(k, subnet.Lease{})
		}
	}
}

// replace takes in all leases. What was known from disk only and is not among them goes at once.
func (p *picture) replace(leases map[subnet.Subnets]subnet.Lease, now time.Time) {
	before, first := p.leases, !p.complete
	p.leases = maps.Clone(leases)
	p.all, p.complete, p.changed = true, true, nil
	for k, l := range before {
		if _, ok := leases[k]; ok || first {
			delete(p.leaving, k)
			continue
		}
		if p.leases == nil {
			p.leases = map[subnet.Subnets]subnet.Lease{}
		}
		p.leases[k] = l
		p.leave(k, now)
	}
}

// leave notes that the store no longer has a lease.
func (p *picture) leave(k subnet.Subnets, now time.Time) {
	if _, known := p.leases[k]; !known {
		return
	}
	if _, already := p.leaving[k]; already {
		return
	}
	if p.leaving == nil {
		p.leaving = map[subnet.Subnets]time.Time{}
	}
	p.leaving[k] = now
}

// forget drops the leases that the store no longer had at since. It returns how many others are leaving.
func (p *picture) forget(since time.Time) (left int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for k, gone := range p.leaving {
		if !gone.After(since) {
			delete(p.leaving, k)
			p.change(k, subnet.Lease{})
		}
	}
	return len(p.leaving)
}

// parting tells whether leases are leaving.
func (p *picture) parting() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.leaving) > 0
}

// drops counts the leases that s no longer holds, those that are leaving already not among them.
func (p *picture) drops(s subnet.Snapshot) int {
	n := 0
	count := func(k subnet.Subnets) {
		_, had := p.leases[k]
		_, leaving := p.leaving[k]
		if _, has := s.Leases[k]; had && !leaving && !has {
			n++
		}
	}
	if s.Changed != nil {
		for _, k := range s.Changed {
			count(k)
		}
		return n
	}
	for k := range p.leases {
		count(k)
	}
	return n
}

// change records that the lease of k is now l.
func (p *picture) change(k subnet.Subnets, l subnet.Lease) {
	old := p.leases[k]
	if old == l {
		return
	}
	if l == (subnet.Lease{}) {
		delete(p.leases, k)
	} else {
		if p.leases == nil {
			p.leases = map[subnet.Subnets]subnet.Lease{}
		}
		p.leases[k] = l
	}
	if p.all {
		return
	}
	if p.changed == nil {
		p.changed = map[subnet.Subnets]subnet.Lease{}
	}
	if _, ok := p.changed[k]; !ok {
		p.changed[k] = old
	}
}

// load fills a picture that the store has not filled yet from the last good snapshot. It does nothing afterwards.
func (p *picture) load(s subnet.Saved) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.complete {
		return false
	}
	p.config, p.self, p.all = s.Config, s.Self, true
	p.leases = make(map[subnet.Subnets]subnet.Lease, len(s.Peers)+1)
	p.leases[s.Own.Subnets] = s.Own
	for _, l := range s.Peers {
		p.leases[l.Subnets] = l
	}
	return true
}

// take returns what has changed since the last take.
func (p *picture) take() news {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := news{complete: p.complete, config: p.config, place: p.place, all: p.all, self: p.self}
	p.flyAll = p.flyAll || p.all
	for k, old := range p.changed {
		n.changed = append(n.changed, leaseChange{old, p.leases[k]})
		if p.flying == nil {
			p.flying = map[subnet.Subnets]bool{}
		}
		p.flying[k] = true
	}
	p.all, p.changed = false, nil
	return n
}

// landed says that all that was taken is in the kernel.
func (p *picture) landed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flying, p.flyAll = nil, false
}

// settled tells whether the lease of k has got into the kernel as it is now, if its peer can be served at all.
func (p *picture) settled(k subnet.Subnets) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, changed := p.changed[k]
	return !changed && !p.all && !p.flyAll && !p.flying[k]
}

// still tells whether all that the store has said has got into the kernel, as far as it can be served.
func (p *picture) still() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.changed) == 0 && !p.all && !p.flyAll && len(p.flying) == 0
}

// each calls f with every lease.
func (p *picture) each(f func(subnet.Lease)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.leases {
		f(l)
	}
}

// size is the number of leases.
func (p *picture) size() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.leases)
}

// peers returns the leases that are peers under a plan. They are copies.
func (p *picture) peers(l plan) []*subnet.Lease {
	p.mu.Lock()
	defer p.mu.Unlock()
	leases := make([]subnet.Lease, 0, len(p.leases))
	peers := make([]*subnet.Lease, 0, len(p.leases))
	for _, x := range p.leases {
		if l.isPeer(x) {
			leases = append(leases, x)
			peers = append(peers, &leases[len(leases)-1])
		}
	}
	return peers
}

// lease returns the lease with the subnets s, or the zero Lease.
func (p *picture) lease(s subnet.Subnets) subnet.Lease {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.leases[s]
}

// ofSelf returns what the store says of this node beside its lease.
func (p *picture) ofSelf() subnet.Self {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.self
}
