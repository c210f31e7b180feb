package network

import (
	"crypto/ecdh"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// countRotation adds what a peer has to do with changes of keys. It is reached by the way by, nil where it is not, and list is what it has in common.
func (p plan) countRotation(u *usage, r rotation, x subnet.Lease, by *way, list []match, now time.Time) {
	keyed := false
	for _, m := range list {
		keyed = keyed || backend.NeedsKey(m.b)
		i := slices.IndexFunc(p.ways, func(w way) bool { return w.is(m.Backend, m.Agreed) })
		u.away[i] = u.away[i] || m.rotation == subnet.Away
		if m.way == by && (m.rotation == subnet.Away || m.rotation == subnet.Back) {
			u.follows[i] = append(u.follows[i], m.keys(x)...)
		}
	}
	if r.stage == noRotation || !keyed {
		return
	}
	u.turning.peers++
	if why := r.behind(x, by, list); why != "" {
		u.turning.missing = append(u.turning.missing, nodeText(x)+": "+why)
		if !r.leaves(x, now) {
			u.turning.awaited++
		}
	}
}

// keys are the public keys by which m reaches the peer.
func (m match) keys(x subnet.Lease) (keys []string) {
	var s kernel.State
	if err := m.b.Peer(m.node, m.lease(x), &s); err != nil {
		return nil
	}
	for k := range s.WireGuardPeers {
		keys = append(keys, k.PublicKey.String())
	}
	return keys
}

// behind tells why a peer has not followed yet; "" where it has.
func (r rotation) behind(x subnet.Lease, by *way, list []match) string {
	i := slices.IndexFunc(list, func(m match) bool { return m.hasNewKey() })
	if r.stage != moving {
		switch {
		case i >= 0 && list[i].rotation == subnet.Away:
			return "" // it changes its own key, and is to be reached so
		case by != nil && by.hasNewKey():
			return "it has not answered at the usual ports yet"
		case i >= 0 && r.isFollowed(list[i].follows):
			return "it has not come back to the usual ports yet"
		}
		return ""
	}
	switch {
	case x.Node == "":
		return "it runs flanneld, which knows one key of a node at a time"
	case i < 0:
		return "it has no second device yet; does weftd run there?"
	case by != list[i].way:
		return fmt.Sprintf("it has not answered by its second device; UDP port %s must be open between the nodes", portsText(list[i].b.Ports()))
	case !r.isFollowed(list[i].follows):
		return "it has not gone over to the new key yet"
	}
	return ""
}

// isFollowed tells whether the new key is one of those that a peer says.
func (r rotation) isFollowed(follows string) bool {
	return slices.Contains(strings.Fields(follows), r.public().String())
}

func portsText(ports []uint16) string {
	var list []string
	for _, p := range ports {
		list = append(list, fmt.Sprint(p))
	}
	return strings.Join(list, " or ")
}

// advance says in ways which keys this node follows, and moves its own change of keys on. It tells whether there is something to be done.
func (a *Agent) advance(ways []way, u usage, now time.Time) (changed bool) {
	for i := range ways {
		slices.Sort(u.follows[i])
		follows := strings.Join(slices.Compact(u.follows[i]), " ")
		if ways[i].Rotation != "" && follows != ways[i].Follows {
			ways[i].Follows, changed = follows, true
		}
	}
	r := a.rotations.now()
	own := slices.IndexFunc(ways, func(w way) bool { return w.hasNewKey() })
	if r.stage == noRotation || own < 0 {
		return changed
	}
	slices.Sort(u.turning.missing)
	a.rotations.tell(u.turning)
	if !r.forced.IsZero() && u.turning.awaited > 0 {
		a.wakeIn(contactEvery)
	}
	if r.stage == undoing {
		return a.letGo(false) || changed
	}
	l := &a.loop
	if !ways[own].announced || u.turning.awaited > 0 {
		l.followed = time.Time{}
		return a.letGo(false) || changed
	}
	if l.followed.IsZero() {
		l.followed = now
	}
	if left := a.o.WayGrace - now.Sub(l.followed); left > 0 { // for what is on its way
		a.wakeIn(left)
		return changed
	}
	switch {
	case r.stage == returning:
		a.endRotation(r)
	case !l.plan.parted:
		return a.letGo(true)
	default:
		a.turn(r)
	}
	return true
}

// letGo says whether the devices of the config are to be let go of, so that what was agreed on with their keys is forgotten. It tells
// whether that is new.
func (a *Agent) letGo(yes bool) (changed bool) {
	l := &a.loop
	if l.parted == yes {
		return false
	}
	l.parted, l.set, l.full = yes, false, true
	return true
}

// turn makes the new key the one of this node. Nobody uses a device with the old one any more.
func (a *Agent) turn(r rotation) {
	r.stage = returning
	err := a.rotations.set(r)
	a.report.warn(a.o.Log, "change of keys", texts(err))
	if err != nil {
		a.wakeIn(contactEvery)
		return
	}
	l := &a.loop
	l.secret = secret{key: r.key, from: "a change of keys"}
	l.followed = time.Time{}
	a.letGo(false)
	a.writeKey()
	a.o.Log.WithField("publicKey", r.public().String()).Info("all peers follow the new private key, which takes the place of the old one")
}

// endRotation forgets a rotation of which nothing is left to do. The new key is then in its file, unless it was given up.
func (a *Agent) endRotation(r rotation) {
	l := &a.loop
	l.followed = time.Time{}
	if r.stage != undoing {
		l.secret.key, l.secret.from, l.secret.written = r.key, "a change of keys", l.secret.written && l.secret.key == r.key
		if a.writeKey(); !l.secret.written {
			a.wakeIn(contactEvery)
			return
		}
	}
	err := a.rotations.set(rotation{})
	a.report.warn(a.o.Log, "change of keys", texts(err))
	if err != nil {
		a.wakeIn(contactEvery)
		return
	}
	l.set, l.full = false, true
	a.look.ring()
	a.o.Log.WithField("stage", string(r.stage)).Info("the change of the private key for WireGuard is over")
}

// publicOf is the public half of a key; zero for the zero key.
func publicOf(private kernel.Key) kernel.PublicKey {
	key, err := ecdh.X25519().NewPrivateKey(private[:])
	if private == (kernel.Key{}) || err != nil {
		return kernel.PublicKey{}
	}
	return kernel.PublicKey(key.PublicKey().Bytes())
}
