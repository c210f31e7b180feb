package etcd

import (
	"iter"
	"slices"

	"github.com/weft-network/weft/subnet"
)

// plan is what a Claim has to do. Where key equals from.key the value is written anew; where there is no from, the key
// is created; else the key is created and from goes.
type plan struct {
	done   bool           // the store holds what is wanted
	rivals []rival        // keys whose holders must not be alive for the plan to be right
	from   *entry         // what the node has now
	to     subnet.Subnets // what it shall have
	extra  []*entry       // what it has besides, from a claim that was cut short
}

// rival is a key and what it says.
type rival struct {
	*entry
	lease subnet.Lease
}

// decide compares what the node has with what it wants. recent is what this process is known to hold, which may be
// newer than m; also are subnets that are taken although m does not know it.
func decide(m *mirror, recent holding, want subnet.Want, also []subnet.Subnets) (plan, error) {
	own, rivals := m.own(want, recent)
	p := plan{from: own, extra: m.extra(want, own)}
	for _, e := range rivals {
		p.rivals = append(p.rivals, rival{e, m.lease(e)})
	}
	if own == nil {
		var err error
		p.to, err = pick(m, want, want.Previous, nil, also)
		return p, err
	}
	held := m.lease(own)
	if recent.is(own) && recent.newer(m) {
		held = recent.value
	}
	if held.Node != "" && !held.Shares(want.Attrs) && !recent.is(own) && !slices.Contains(rivals, own) {
		p.rivals = append(p.rivals, rival{own, held})
	}
	if want.Config.Holds(own.subnets) {
		p.to, p.done = own.subnets, held.Attrs == want.Attrs
		return p, nil
	}
	// The network changed: what can be kept of the old subnets is kept.
	previous := want.Previous
	for f, q := range own.subnets {
		if want.Config.HoldsIn(subnet.Family(f), q) {
			previous[f] = q
		}
	}
	var err error
	p.to, err = pick(m, want, previous, own, also)
	return p, err
}

// own finds the key that is the node's already: under its identity, else one with its address, which is flanneld's, a
// reservation, or its own under the name that it had before; nil if there is none. Rivals are the keys of other nodes
// that announce the same address.
func (m *mirror) own(want subnet.Want, recent holding) (own *entry, rivals []*entry) {
	var byNode, byAddress []*entry
	for l := range m.known() {
		e := m.find(l.Subnets)
		switch {
		case l.Node == want.Attrs.Node || recent.is(e):
			byNode = append(byNode, e)
		case !l.Shares(want.Attrs):
		case l.Node != "":
			rivals = append(rivals, e)
		default:
			byAddress = append(byAddress, e)
		}
	}
	if recent.newer(m) {
		byNode = []*entry{recent.entry()} // the picture is older than what this process did
	} else if e := m.find(recent.value.Subnets); e != nil && e.key == recent.key && e.created == recent.created && m.bad[e.key] != nil {
		byNode = append(byNode, e) // somebody wrote nonsense into it
	}
	for _, list := range [][]*entry{byNode, byAddress, rivals} {
		if len(list) > 0 {
			return slices.MinFunc(list, better(want)), rivals
		}
	}
	return nil, nil
}

// extra lists the keys with the node's identity and address other than own. A reservation stays what it is.
func (m *mirror) extra(want subnet.Want, own *entry) []*entry {
	var out []*entry
	add := func(e *entry, a subnet.Attrs) {
		if a.Node == want.Attrs.Node && a.Shares(want.Attrs) && e.lease != 0 && (own == nil || e.key != own.key) {
			out = append(out, e)
		}
	}
	for l := range m.known() {
		add(m.find(l.Subnets), l.Attrs)
	}
	for _, c := range m.hidden {
		add(c.entry, c.attrs)
	}
	return out
}

// known lists what is held or reserved by somebody who can be told from the value.
func (m *mirror) known() iter.Seq[subnet.Lease] {
	return func(yield func(subnet.Lease) bool) {
		for _, set := range []map[subnet.Subnets]subnet.Lease{m.leases, m.reservations} {
			for _, l := range set {
				if !yield(l) {
					return
				}
			}
		}
	}
}

// lease returns what the value of e says.
func (m *mirror) lease(e *entry) subnet.Lease {
	if l, ok := m.leases[e.subnets]; ok {
		return l
	}
	return m.reservations[e.subnets]
}

// better puts the keys first that the config holds, then the one that the node remembers, then the oldest.
func better(want subnet.Want) func(a, b *entry) int {
	rank := func(e *entry) int {
		switch {
		case want.Config.Holds(e.subnets) && e.subnets == want.Previous:
			return 0
		case want.Config.Holds(e.subnets):
			return 1
		}
		return 2
	}
	return func(a, b *entry) int {
		if d := rank(a) - rank(b); d != 0 {
			return d
		}
		if a.before(b) {
			return -1
		}
		return 1
	}
}

// pick chooses free subnets; those of except do not count as taken.
func pick(m *mirror, want subnet.Want, previous subnet.Subnets, except *entry, also []subnet.Subnets) (subnet.Subnets, error) {
	taken := want.Config.Taken(func(yield func(subnet.Subnets) bool) {
		for s := range m.held() {
			if (except == nil || s != except.subnets) && !yield(s) {
				return
			}
		}
		for _, s := range also {
			if !yield(s) {
				return
			}
		}
	})
	return subnet.Pick(want.Config, want.Attrs.Node, previous, taken)
}

// is tells whether h is e, and nobody else has written to it.
func (h holding) is(e *entry) bool {
	return h.key != "" && h.key == e.key && h.created == e.created && h.modified >= e.modified
}

// entry returns h as what the mirror will hold as soon as it has caught up.
func (h holding) entry() *entry {
	return &entry{key: h.key, subnets: h.value.Subnets, created: h.created, modified: h.modified, lease: int64(h.lease)}
}
