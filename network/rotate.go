package network

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// RotateOptions say how a private key is changed.
type RotateOptions struct {
	Force bool `json:"force"` // peers that cannot follow, or do not within half a minute, are left behind
	Abort bool `json:"abort"` // a change that is under way is given up
}

// Rotate begins to change the private key of this node for WireGuard, and returns when that is written down. The change goes on by
// itself, also in an agent that is started anew; Status tells how far it is. Where one is under way already, Rotate lets it go on. It
// is an error where the backend has no key, where peers cannot follow, or where a change cannot be given up any more.
func (a *Agent) Rotate(o RotateOptions) error {
	p := a.report.inPlan()
	a.rotations.mu.Lock()
	defer a.rotations.mu.Unlock()
	next := a.rotations.is
	switch {
	case o.Abort && next.stage == noRotation:
		return errors.New("there is no change of the private key under way that could be given up")
	case o.Abort && next.stage == returning:
		return errors.New("the new private key is in force already, and the old one is gone; run weftctl wireguard rotate again for another one when this is over")
	case o.Abort:
		next.stage = undoing
	case next.stage == noRotation:
		key, err := a.mayRotate(p, o.Force)
		if err != nil {
			return err
		}
		next = rotation{stage: moving, key: key}
	}
	if o.Force && next.forced.IsZero() {
		next.forced = time.Now()
	}
	if next == a.rotations.is {
		return nil
	}
	if err := a.rotations.put(next); err != nil {
		return err
	}
	a.o.Log.WithField("stage", string(next.stage)).WithField("publicKey", next.public().String()).Info("private key for WireGuard is being changed")
	a.look.ring()
	return nil
}

// mayRotate makes the new key, where nothing is in the way of a change.
func (a *Agent) mayRotate(p plan, force bool) (kernel.Key, error) {
	if len(p.ways) == 0 || !a.report.isReady() {
		return kernel.Key{}, errors.New("this node is not connected yet; weftctl status shows what it waits for")
	}
	b, ok := p.ways[0].b.(backend.Rotating)
	if !ok {
		return kernel.Key{}, fmt.Errorf("the backend is %s, which has no private key for WireGuard", &p.ways[0])
	}
	if a.o.KeyFile == "" {
		return kernel.Key{}, errors.New("weftd keeps no state on disk (--state-dir), where a change of the private key has to be kept")
	}
	for i := range p.ways[1:] {
		if w := &p.ways[1+i]; w.Rotation == "" && !w.Silent {
			return kernel.Key{}, fmt.Errorf("%s is still in place beside %s; weftctl status shows which nodes have not followed that change", w, &p.ways[0])
		}
	}
	var foreign []string
	a.picture.each(func(x subnet.Lease) {
		if p.isPeer(x) && x.Node == "" && x.Backend == p.ways[0].Backend {
			foreign = append(foreign, x.Addresses())
		}
	})
	if len(foreign) > 0 && !force {
		slices.Sort(foreign)
		return kernel.Key{}, fmt.Errorf("peers run flanneld, which knows one key of a node at a time, and would lose packets: %s; --force leaves them behind for the moments "+
			"until they have read the new key", strings.Join(foreign, ", "))
	}
	if !slices.ContainsFunc(p.ways, func(w way) bool { return w.Rotation != "" }) {
		if err := a.kern.Inside(func() error { return areFree(b.Beside().Ports()) }); err != nil {
			return kernel.Key{}, err
		}
	}
	return makeKey()
}

// areFree tells whether UDP ports can be had.
func areFree(ports []uint16) error {
	for _, port := range ports {
		c, err := net.ListenUDP("udp", &net.UDPAddr{Port: int(port)})
		if err != nil {
			return fmt.Errorf("UDP port %d is needed for a second device: %w; ss -lunp shows who has it", port, err)
		}
		c.Close()
	}
	return nil
}

// hasNewKey tells whether the devices of w have the key to which this node changes.
func (w *way) hasNewKey() bool { return w.Rotation == subnet.Away || w.Rotation == subnet.Back }

// isAway tells whether one of both sides wants to be reached by m while it changes its key.
func (m match) isAway() bool { return m.Rotation == subnet.Away || m.rotation == subnet.Away }

// isUnneeded tells whether m is there for other nodes' changes of keys alone.
func (m match) isUnneeded() bool { return m.Rotation == subnet.Along && m.rotation == subnet.Along }

// hasParted tells whether nothing is received by m, because its devices are about to have another key.
func (p plan) hasParted(m match) bool { return p.parted && m.Rotation == "" && backend.NeedsKey(m.b) }

// renewed is a way for changes of keys beside another config. Where that agrees to something else, it stays as it is until nobody needs it.
func renewed(w way, config backend.Backend) way {
	r, ok := config.(backend.Rotating)
	if w.Rotation == "" || !ok || backend.Agreed(r.Beside()) != w.Agreed {
		return w
	}
	if b, err := renamed(r.Beside(), w.Suffix); err == nil {
		w.b = b
	}
	return w
}

// besideAgain makes a way for changes of keys again from what the lease says.
func (a *Agent) besideAgain(x subnet.Way) (way, error) {
	config := a.configured()
	b, ok := config.(backend.Rotating)
	if !ok || x.Backend != backend.KindOf(a.loop.config.Backend, config) {
		return way{}, errors.New("the config has another backend")
	}
	w := beside(x.Backend, b)
	if w.Agreed != x.Agreed {
		return way{}, fmt.Errorf("this version takes it for %s", &w)
	}
	w.Way = x
	var err error
	w.b, err = renamed(w.b, x.Suffix)
	return w, err
}

// beside is a way for changes of keys, beside that of b.
func beside(kind string, b backend.Rotating) way {
	w := newWay(kind, "", b.Beside())
	w.Rotation = subnet.Along
	return w
}

// rotate brings the ways for changes of keys up to date with those of this node and of its peers.
func (a *Agent) rotate(n news) {
	l := &a.loop
	r := a.rotations.now()
	ways := slices.Clone(l.choices.ways) // plans hold the old ones
	var second way
	b, ok := ways[0].b.(backend.Rotating)
	if ok {
		second = beside(ways[0].Backend, b)
	}
	changed, have, own := false, false, false
	for i := range ways {
		w := &ways[i]
		if w.Rotation == "" {
			continue
		}
		mark := w.Rotation
		if mark != subnet.Along {
			mark = r.mark()
			if mark == subnet.Away && !w.is(second.Backend, second.Agreed) {
				mark = subnet.Back // the config is another one now
			}
		}
		have, own, changed = true, own || mark != subnet.Along, changed || mark != w.Rotation
		w.Rotation = mark
	}
	if ok && !have && (r.stage == moving || a.isAwaited(n, second.Way)) {
		second.Rotation = r.mark()
		err := a.fitIn(&second, ways)
		a.report.warn(a.o.Log, "change of keys", texts(err))
		if err == nil {
			ways, changed, own = append(ways, second), true, second.Rotation != subnet.Along
		}
	}
	if changed {
		l.choices.ways, l.set, l.full = ways, false, true
	}
	if r.stage == moving && !own {
		a.rotations.tell(turning{waiting: true})
	}
	if over := r.stage == returning || r.stage == undoing; over && !own || r.stage == moving && !slices.ContainsFunc(ways, func(w way) bool { return backend.NeedsKey(w.b) }) {
		a.endRotation(r)
	}
}

// isAwaited tells whether a peer wants to be reached by w while it changes its key.
func (a *Agent) isAwaited(n news, w subnet.Way) (yes bool) {
	look := func(x subnet.Lease) {
		if x.Ways == "" || x.Node == a.o.Node {
			return
		}
		said, err := x.AllWays()
		yes = yes || err == nil && slices.ContainsFunc(said, func(y subnet.Way) bool {
			return y.Rotation == subnet.Away && y.Backend == w.Backend && y.Agreed == w.Agreed
		})
	}
	if n.all || !a.loop.set {
		a.picture.each(look)
	}
	for _, c := range n.changed {
		look(c.new)
	}
	return yes
}
