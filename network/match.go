package network

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// match is a way that this node and a peer have in common.
type match struct {
	*way
	data    [2]string // the peer's
	leaving bool      // the peer needs it no more

	rotation string // the peer's Way.Rotation
	follows  string // the peer's Way.Follows
}

// shared returns the ways that peers who announce said have in common with ways, in our order. implied says what a
// node has agreed to of which nothing but type and data are known.
func shared(ways []way, said []subnet.Way, implied func(kind string, data [2]string) string) []match {
	if len(said) == 1 && said[0].Silent {
		return silent(ways, said[0], implied)
	}
	var list []match
	for i := range ways {
		for _, x := range said {
			if ways[i].is(x.Backend, x.Agreed) {
				list = append(list, match{way: &ways[i], data: x.Data, leaving: x.Leaving, rotation: x.Rotation, follows: x.Follows})
				break
			}
		}
	}
	return list
}

// silent returns the way that a peer fits best that does not say what it has agreed to: the one that its type and data
// stand for where there is nothing out of the ordinary, else the newest that they do not contradict.
func silent(ways []way, said subnet.Way, implied func(string, [2]string) string) []match {
	var fit []match
	for i := range ways {
		if ways[i].Backend == said.Backend && ways[i].Rotation == "" && fits(ways[i].b, said.Data) {
			fit = append(fit, match{way: &ways[i], data: said.Data})
		}
	}
	if len(fit) < 2 {
		return fit
	}
	agreed := implied(said.Backend, said.Data)
	for _, m := range fit {
		if m.Agreed == agreed {
			return []match{m}
		}
	}
	return fit[:1]
}

// invite adds ways for peers that have none in common with this node: they have not seen the config yet, or are of
// another kind.
func (a *Agent) invite(n news) {
	l := &a.loop
	held := a.claims.lease().Subnets
	isStrange := func(x subnet.Lease) bool {
		if x.Backend == "" || x.Node != "" && x.Node == a.o.Node || x.Subnets == held {
			return false
		}
		said, err := x.AllWays()
		return err == nil && len(shared(l.choices.ways, said, a.implied)) == 0
	}
	var strange []subnet.Lease // they are looked at when the picture is free again
	if n.all || !l.set {
		a.picture.each(func(x subnet.Lease) {
			if isStrange(x) {
				strange = append(strange, x)
			}
		})
	}
	for _, c := range n.changed {
		if isStrange(c.new) {
			strange = append(strange, c.new)
		}
	}
	for _, x := range strange {
		if !isStrange(x) {
			continue // a way that another one needed serves it too
		}
		said, _ := x.AllWays()
		for _, y := range said {
			if w, err := a.guest(y); err == nil {
				l.choices.ways = append(slices.Clone(l.choices.ways), w) // plans hold the old ones
				l.set, l.full = false, true
				break
			}
		}
	}
}

// guest makes a way that a peer has and this node has not. Where the config encrypts, one that does not is refused.
func (a *Agent) guest(x subnet.Way) (way, error) {
	if x.Rotation != "" {
		return way{}, fmt.Errorf("%s is for a change of keys alone", wayText(x))
	}
	config, _ := backend.Publish(x.Config) // a peer gives this node no commands to run
	if x.Silent {
		config = a.likely(x.Backend, x.Data)
	}
	b, _, err := a.o.Backend(x.Backend, config)
	if err != nil {
		return way{}, err
	}
	w := newWay(x.Backend, config, b)
	w.Silent, w.announced = x.Silent, x.Silent
	switch first := a.loop.choices.ways[0].b; {
	case w.Backend != x.Backend:
		return way{}, fmt.Errorf("%s is not what nodes announce", x.Backend)
	case x.Partial || !x.Silent && w.Agreed != x.Agreed:
		return way{}, fmt.Errorf("this node cannot make %s", wayText(x))
	case backend.Encrypts(first) && !backend.Encrypts(b):
		return way{}, fmt.Errorf("%s does not encrypt", &w)
	}
	return w, a.fitIn(&w, a.loop.choices.ways)
}

// serve adds what one peer needs, and tells the way by which it is reached: the newest that both announce and that can
// serve it; hindrance says why no newer one can. Of the other common ways everything is added but the routes, so that what the
// peer sends by them is received. It adds nothing where it returns an error.
func (p plan) serve(l subnet.Lease, s *kernel.State) (by *way, hindrance, err error) {
	for _, f := range subnet.Families {
		own := p.own.Subnets[f]
		if own.IsValid() && l.Subnets[f].IsValid() && own.Overlaps(l.Subnets[f]) {
			return nil, nil, fmt.Errorf("peer %s claims a subnet that overlaps this node's %s", l.Subnets, own)
		}
	}
	list, err := p.common(&l)
	if err != nil {
		return nil, nil, backend.Explain(l, err)
	}
	list = slices.DeleteFunc(list, match.isUnneeded)
	var errs []error
	for i, m := range list {
		if i+1 < len(list) && !p.inContact(m, l) {
			errs = append(errs, backend.Explain(l, fmt.Errorf("%s: the peer has not answered yet", m.way)))
			continue
		}
		if err := m.b.Peer(m.node, m.lease(l), s); err != nil {
			errs = append(errs, err)
			continue
		}
		by = m.way
		break
	}
	for i := len(list) - 2; by == nil && i >= 0; i-- { // one that has not answered yet is better than none
		if m := list[i]; !p.inContact(m, l) && m.b.Peer(m.node, m.lease(l), s) == nil {
			by, errs = m.way, errs[:i]
		}
	}
	if by == nil {
		return nil, nil, errors.Join(errs...)
	}
	for _, m := range list {
		if m.way != by && !p.hasParted(m) {
			p.receive(m, l, s)
		}
	}
	return by, errors.Join(errs...), nil
}

// common returns the ways that this node and the peer have in common, the one to be used first; an error where there is none.
func (p plan) common(l *subnet.Lease) ([]match, error) {
	said, err := l.AllWays()
	if err != nil {
		return nil, err
	}
	list := shared(p.ways, said, p.implied)
	if len(list) == 0 {
		return nil, fmt.Errorf("it is reached by %s, which this node cannot serve", wayTexts(said))
	}
	slices.SortStableFunc(list, func(x, y match) int { return cmp.Compare(x.rank(), y.rank()) })
	return list, nil
}

// rank tells where m stands among others in common, the lowest first.
func (m match) rank() int {
	switch {
	case !m.announced: // the peer does not know of it yet
		return 3
	case m.isAway():
		return 0
	case m.Rotation != "":
		return 2
	}
	return 1
}

// receive adds what the peer needs so that this node takes in what it sends by m. A failure is no harm: the peer is served by
// another way.
func (p plan) receive(m match, l subnet.Lease, s *kernel.State) {
	var more kernel.State
	if err := m.b.Peer(m.node, m.lease(l), &more); err != nil {
		return
	}
	more.Routes, more.Probes = nil, nil
	for k, x := range more.WireGuardPeers {
		if !p.contact[k] {
			x.Keepalive = 1 // whether it answers is seen without packets of pods
			more.WireGuardPeers[k] = x
		}
	}
	_ = backend.Merge(s, more)
}

// inContact tells whether the peer takes in what this node sends by m, as far as that takes more than that the peer announces m: a
// WireGuard device drops what comes from a key that it has not been told yet.
func (p plan) inContact(m match, l subnet.Lease) bool {
	var s kernel.State
	if err := m.b.Peer(m.node, m.lease(l), &s); err != nil {
		return true // that is said when it is tried
	}
	for k := range s.WireGuardPeers {
		if !p.contact[k] {
			return false
		}
	}
	return true
}

// lease is l as if it had no other way than m.
func (m match) lease(l subnet.Lease) subnet.Lease {
	l.Backend, l.Data, l.Ways = m.Backend, m.data, ""
	return l
}

// wayTexts names ways for people.
func wayTexts(ways []subnet.Way) string {
	text := ""
	for i, w := range ways {
		if i > 0 {
			text += " or "
		}
		text += wayText(w)
	}
	return text
}
