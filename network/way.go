package network

import (
	"errors"
	"fmt"
	"time"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// way is one of the ways in which this node reaches its peers, and they reach it: the one of the config, those of the
// configs before for as long as peers need them, and those of peers that have no other.
type way struct {
	subnet.Way                 // as it is announced; Silent is one that peers need who do not read what we say
	b          backend.Backend // with its devices named
	config     string          // the Backend object as it was written
	node       backend.Node    // as b knows it; set where the way is part of a plan
	announced  bool            // this node's lease has it, so that peers may use it
	ready      bool            // its devices are there, and it can be announced
	idle       time.Time       // since when no peer needs it; zero while one may
}

// newWay makes a way of the backend b. It has no data yet.
func newWay(kind, config string, b backend.Backend) way {
	w := way{Way: subnet.Way{Backend: backend.KindOf(kind, b), Agreed: backend.Agreed(b)}, b: b, config: config}
	w.Config, w.Partial = backend.Publish(config)
	return w
}

// is tells whether w is the way of this type and agreement.
func (w *way) is(kind, agreed string) bool { return w.Backend == kind && w.Agreed == agreed }

// String names w for people.
func (w *way) String() string { return wayText(w.Way) }

func wayText(w subnet.Way) string {
	if w.Agreed == "" {
		return w.Backend
	}
	return w.Backend + " (" + w.Agreed + ")"
}

// choices is the memory of the ways in which this node takes part, the newest first. An agent that starts finds them in
// its lease.
type choices struct {
	ways []way
	text string // config of ways[0]: type and Backend object
}

// choose brings the ways up to date with the config, and adds those that peers need.
func (a *Agent) choose(n news) error {
	l := &a.loop
	text := l.config.Backend + l.config.BackendConfig
	if l.choices.text != text || len(l.choices.ways) == 0 {
		ways := l.choices.ways
		if len(ways) == 0 {
			ways = a.formerWays(a.kept())
		}
		ways, err := a.withConfigured(ways, l.config)
		if err != nil && !l.set {
			a.report.warn(a.o.Log, formerSubject, texts(err))
			ways, err = a.withConfigured(nil, l.config)
		}
		if err != nil {
			return err
		}
		l.choices = choices{ways, text}
		l.set, l.full = false, true
	}
	a.invite(n)
	a.rotate(n)
	return nil
}

// withConfigured returns ways with the one of the config in front. Where it was there already, it keeps its place in the
// kernel and its data.
func (a *Agent) withConfigured(ways []way, c subnet.Config) ([]way, error) {
	b, _, err := a.o.Backend(c.Backend, c.BackendConfig)
	if err != nil {
		return nil, err
	}
	first := newWay(c.Backend, c.BackendConfig, b)
	rest := make([]way, 0, len(ways)+1)
	rest = append(rest, way{})
	found := false
	for _, w := range ways {
		if w.Rotation != "" && w.is(first.Backend, first.Agreed) {
			return nil, fmt.Errorf("%s has the ports by which private keys are being changed; take others, or wait until that is over", &first)
		}
		if !w.is(first.Backend, first.Agreed) {
			rest = append(rest, renewed(w, b))
			continue
		}
		found = true
		first.Data, first.announced, first.Suffix = w.Data, w.announced, w.Suffix
	}
	if found {
		first.b, err = renamed(b, first.Suffix)
	} else {
		err = a.fitIn(&first, rest[1:])
	}
	rest[0] = first
	return rest, err
}

// renamed returns b with its devices named so.
func renamed(b backend.Backend, suffix string) (backend.Backend, error) {
	if suffix == "" {
		return b, nil
	}
	r, ok := b.(backend.Renamer)
	if !ok {
		return nil, fmt.Errorf("its devices cannot have names that end in %s", suffix)
	}
	return r.Renamed(suffix), nil
}

// fitIn names the devices of w so that they can be beside those of others. It is an error where they cannot.
func (a *Agent) fitIn(w *way, others []way) error {
	own := a.kept()
	taken := map[string]*way{}
	for i := range others {
		for _, name := range a.devices(&others[i], own) {
			taken[name] = &others[i]
		}
	}
	inTheWay := func() (other *way, name string) {
		for _, name := range a.devices(w, own) {
			if taken[name] != nil {
				return taken[name], name
			}
		}
		return nil, ""
	}
	other, name := inTheWay()
	if other == nil {
		return nil
	}
	r, ok := w.b.(backend.Renamer)
	for c := 'b'; ok && c <= 'z'; c++ {
		w.Suffix = string(c)
		w.b = r.Renamed(w.Suffix)
		if other, name = inTheWay(); other == nil {
			return nil
		}
	}
	return fmt.Errorf("%s needs %s, which %s has until all nodes have changed; restart weftd on every node to change it at once, which interrupts what pods say to each other",
		w, name, other)
}

// devices are the devices of w and the ports that no other device can have, in words.
func (a *Agent) devices(w *way, own subnet.Lease) (names []string) {
	var s kernel.State
	_ = w.b.Base(a.nodeOf(w, own), own, &s) // what is wrong is told by the plan
	for name, l := range s.Links {
		names = append(names, "the device "+name)
		if l.WireGuard.Port != 0 {
			names = append(names, fmt.Sprintf("UDP port %d", l.WireGuard.Port))
		}
	}
	return names
}

// nodeOf is what the backend of w knows of this node.
func (a *Agent) nodeOf(w *way, own subnet.Lease) backend.Node {
	kept := own.Attrs
	kept.Backend, kept.Data, kept.Ways = w.Backend, w.Data, ""
	n := a.node(kept)
	n.Subnets = own.Subnets
	if w.hasNewKey() {
		n.WireGuardKey = a.rotations.now().key
	}
	return n
}

// kept is the lease that this node has, or had before it was started.
func (a *Agent) kept() subnet.Lease {
	if held := a.claims.lease(); held != (subnet.Lease{}) {
		return held
	}
	return a.former()
}

// formerWays are the ways that this node's lease says. Those that cannot be made again are left out, with a warning.
func (a *Agent) formerWays(own subnet.Lease) []way {
	if own == (subnet.Lease{}) || own.Backend == "" {
		return nil
	}
	said, err := own.AllWays()
	var ways []way
	errs := []error{err}
	for _, x := range said {
		w, err := a.again(x)
		if err != nil {
			errs = append(errs, fmt.Errorf("this node cannot serve peers that reach it by %s only: %w", wayText(x), err))
			continue
		}
		w.announced = true
		ways = append(ways, w)
	}
	a.report.warn(a.o.Log, formerSubject, texts(errors.Join(errs...)))
	return ways
}

// again makes a way of this node from what its lease says of it. That of the config is made from the config, which has the secrets that
// the lease does not say.
func (a *Agent) again(x subnet.Way) (way, error) {
	if x.Rotation != "" {
		return a.besideAgain(x)
	}
	kind, config := x.Backend, x.Config
	switch {
	case a.isConfigured(x):
		kind, config = a.loop.config.Backend, a.loop.config.BackendConfig
	case x.Silent:
		config = a.likely(x.Backend, x.Data)
	case x.Partial:
		return way{}, errors.New("the lease does not hold its secrets")
	}
	b, _, err := a.o.Backend(kind, config)
	if err != nil {
		return way{}, err
	}
	w := newWay(kind, config, b)
	w.Data, w.Suffix, w.Leaving = x.Data, x.Suffix, x.Leaving
	if !x.Silent && w.Agreed != x.Agreed {
		return way{}, fmt.Errorf("this version takes it for %s", &w)
	}
	w.b, err = renamed(b, w.Suffix)
	return w, err
}

// configured is the backend that the config names; nil if it cannot be made.
func (a *Agent) configured() backend.Backend {
	b, _, err := a.o.Backend(a.loop.config.Backend, a.loop.config.BackendConfig)
	if err != nil {
		return nil
	}
	return b
}

// isConfigured tells whether a way that a lease says is that of the config, or may be where the lease says nothing but type and data.
func (a *Agent) isConfigured(x subnet.Way) bool {
	b := a.configured()
	if b == nil || x.Backend != backend.KindOf(a.loop.config.Backend, b) {
		return false
	}
	if x.Silent {
		return fits(b, x.Data)
	}
	return x.Agreed == backend.Agreed(b)
}

// fits tells whether a node that announces data may have agreed to the same as b.
func fits(b backend.Backend, data [2]string) bool {
	x, ok := b.(backend.Guesser)
	return !ok || x.Fits(data)
}

// likely is the config to which a node has agreed that says nothing but data.
func (a *Agent) likely(kind string, data [2]string) string {
	b, _, err := a.o.Backend(kind, "{}")
	if x, ok := b.(backend.Guesser); err == nil && ok {
		return x.Like(data)
	}
	return "{}"
}

// implied is what a node has agreed to that says nothing but data.
func (a *Agent) implied(kind string, data [2]string) string {
	b, _, err := a.o.Backend(kind, a.likely(kind, data))
	if err != nil {
		return ""
	}
	return backend.Agreed(b)
}
