package etcd

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/weft-network/weft/subnet"
)

// insert gives c its subnets, unless an older key has them; younger ones give way.
func (m *mirror) insert(c candidate) {
	rivals := m.overlapping(c.subnets)
	for _, r := range rivals {
		if r.before(c.entry) {
			m.hidden[c.key], m.touched = c, true
			return
		}
	}
	for _, r := range rivals {
		m.hidden[r.key], m.touched = m.take(r), true
	}
	m.place(c)
	for _, r := range rivals {
		m.reveal(r.subnets) // what only the loser was in the way of
	}
}

// place puts c in, where nothing is in its way.
func (m *mirror) place(c candidate) {
	for f, p := range c.subnets {
		if p.IsValid() {
			m.index[f][p] = c.entry
			m.lengths[f][p.Bits()]++
		}
	}
	if c.err == nil && c.lease != 0 {
		c.err = incomplete(c.attrs)
	}
	switch {
	case c.err == nil && incomplete(c.attrs) == nil:
		m.leases[c.subnets] = subnet.Lease{Subnets: c.subnets, Attrs: c.attrs}
	case c.lease == 0 && (c.err == nil || !c.meant):
		// Whatever note an operator wrote into it, a key without an etcd lease keeps others away from its subnets.
		m.reservations[c.subnets] = subnet.Lease{Subnets: c.subnets, Attrs: c.attrs}
	default:
		m.bad[c.key], m.touched = c.err, true
	}
	m.changed = append(m.changed, c.subnets)
}

// incomplete says what a value lacks to be a lease.
func incomplete(a subnet.Attrs) error {
	switch {
	case !a.PublicIP[subnet.Inet].IsValid() && !a.PublicIP[subnet.Inet6].IsValid():
		return errors.New("the value has neither a PublicIP nor a PublicIPv6: its node cannot be reached")
	case a.Backend == "":
		return errors.New("the value has no BackendType: nobody knows how to reach its node")
	}
	return nil
}

// take is the inverse of place.
func (m *mirror) take(e *entry) candidate {
	c := candidate{entry: e, err: m.bad[e.key], meant: true}
	for f, p := range e.subnets {
		if p.IsValid() {
			delete(m.index[f], p)
			if m.lengths[f][p.Bits()]--; m.lengths[f][p.Bits()] == 0 {
				delete(m.lengths[f], p.Bits())
			}
		}
	}
	if l, ok := m.leases[e.subnets]; ok {
		c.attrs = l.Attrs
		delete(m.leases, e.subnets)
	} else if l, ok := m.reservations[e.subnets]; ok {
		c.attrs = l.Attrs
		delete(m.reservations, e.subnets)
	} else {
		delete(m.bad, e.key)
		m.touched = true
	}
	m.changed = append(m.changed, e.subnets)
	return c
}

// reveal lets those back in that gave way to what was at s.
func (m *mirror) reveal(s subnet.Subnets) {
	var back []candidate
	for _, c := range m.hidden {
		if c.subnets.Overlaps(s) {
			back = append(back, c)
		}
	}
	slices.SortFunc(back, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.created, b.created), cmp.Compare(a.key, b.key))
	})
	for _, c := range back {
		delete(m.hidden, c.key)
		m.touched = true
		m.insert(c)
	}
}

// overlapped says what e gave way to: the oldest, if there are several.
func (m *mirror) overlapped(e *entry) error {
	rivals := m.overlapping(e.subnets)
	if len(rivals) == 0 {
		return errors.New("overlaps an older key")
	}
	oldest := slices.MinFunc(rivals, func(a, b *entry) int {
		if a.before(b) {
			return -1
		}
		return 1
	})
	return fmt.Errorf("overlaps %s of the older key %s: delete the one that is wrong", oldest.subnets, oldest.key)
}

// find returns the entry of exactly these subnets, nil if there is none.
func (m *mirror) find(s subnet.Subnets) *entry {
	for f, p := range s {
		if !p.IsValid() {
			continue
		}
		if e := m.index[f][p]; e != nil && e.subnets == s {
			return e
		}
		return nil
	}
	return nil
}

// overlapping returns the entries that hold a part of s. It looks at each length that is in use, which is one in
// nearly every cluster.
func (m *mirror) overlapping(s subnet.Subnets) []*entry {
	var out []*entry
	add := func(e *entry) {
		if e != nil && !slices.Contains(out, e) {
			out = append(out, e)
		}
	}
	for f, p := range s {
		if !p.IsValid() {
			continue
		}
		longer := false
		for bits := range m.lengths[f] {
			if bits > p.Bits() {
				longer = true
				continue
			}
			wide, _ := p.Addr().Prefix(bits)
			add(m.index[f][wide])
		}
		if !longer {
			continue
		}
		for q, e := range m.index[f] {
			if p.Overlaps(q) {
				add(e)
			}
		}
	}
	return out
}
