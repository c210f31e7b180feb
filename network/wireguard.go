package network

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// wireGuard is who keeps WireGuard devices: the kernel, or an engine that takes its place.
type wireGuard interface {
	// WireGuardTraffic lists what the devices count of their peers.
	WireGuardTraffic(ctx context.Context) ([]kernel.WireGuardTraffic, error)
	// Redirect gives a peer another endpoint. A peer that is not there is left so.
	Redirect(ctx context.Context, peer kernel.WireGuardPeerKey, to netip.AddrPort) error
}

// WireGuardStatus is what one WireGuard device counts of a peer.
type WireGuardStatus struct {
	Link      string     `json:"link"`
	Endpoint  string     `json:"endpoint,omitempty"`  // where packets to it go now
	Handshake *time.Time `json:"handshake,omitempty"` // when both sides agreed on keys last; absent for never
	Received  uint64     `json:"received"`            // bytes
	Sent      uint64     `json:"sent"`
}

// contacts is how things are with the WireGuard peers: what was counted last, and where each has been looked for.
type contacts struct {
	mu      sync.Mutex
	counted []kernel.WireGuardTraffic
	tries   map[kernel.WireGuardPeerKey]try
}

// try is an endpoint at which a peer is being looked for.
type try struct {
	at   netip.AddrPort
	from time.Time
	sent uint64 // bytes that had been sent to the peer by then
}

const (
	contactsEvery = 5 * time.Second
	// aliveFor is how long after a handshake a peer counts as being in contact; see the kernel's own idea of it.
	aliveFor = 200 * time.Second
	// searchFor is how long a peer is looked for at one endpoint: three attempts of the protocol.
	searchFor = 15 * time.Second
)

// followContacts counts traffic with WireGuard peers, looks for those at their next endpoint that do not answer at the one in
// use, and has everything looked at when somebody took peers away, of which the kernel tells nobody.
func (a *Agent) followContacts(ctx context.Context) error {
	for range ticks(ctx, contactsEvery) {
		want := a.wanted.wireGuardPeers()
		if len(want) == 0 && len(a.contacts.last()) == 0 {
			continue
		}
		if err := a.lookForPeers(ctx, want, time.Now()); err != nil && ctx.Err() == nil {
			a.o.Log.WithError(err).Debug("reading the WireGuard devices failed")
		}
	}
	return ctx.Err()
}

// lookForPeers does so once.
func (a *Agent) lookForPeers(ctx context.Context, want kernel.Set[kernel.WireGuardPeerKey, kernel.WireGuardPeer], now time.Time) error {
	var all []kernel.WireGuardTraffic
	var errs []error
	for _, w := range a.wireGuards() {
		list, err := w.WireGuardTraffic(ctx)
		errs = append(errs, err)
		for _, move := range a.contacts.moves(list, want, now) {
			errs = append(errs, w.Redirect(ctx, move.peer, move.to))
		}
		all = append(all, list...)
	}
	missing := a.contacts.count(all, want)
	if missing && errors.Join(errs...) == nil {
		a.wanted.doubtObjects()
		a.look.ring()
	}
	return errors.Join(errs...)
}

// wireGuards are all who keep WireGuard devices.
func (a *Agent) wireGuards() []wireGuard {
	list := []wireGuard{a.kern}
	for _, e := range a.keeper.list {
		if w, ok := e.(wireGuard); ok {
			list = append(list, w)
		}
	}
	return list
}

// move says where a peer is to be looked for next.
type move struct {
	peer kernel.WireGuardPeerKey
	to   netip.AddrPort
}

// moves returns the peers that have been sent to for long enough without an answer, and that may be elsewhere.
func (c *contacts) moves(list []kernel.WireGuardTraffic, want kernel.Set[kernel.WireGuardPeerKey, kernel.WireGuardPeer], now time.Time) []move {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tries == nil {
		c.tries = map[kernel.WireGuardPeerKey]try{}
	}
	var moves []move
	for _, x := range list {
		key := kernel.WireGuardPeerKey{Link: x.Link, PublicKey: x.PublicKey}
		candidates := want[key].EndpointList()
		if len(candidates) < 2 || now.Unix()-x.Handshake < int64(aliveFor/time.Second) {
			delete(c.tries, key)
			continue
		}
		t, ok := c.tries[key]
		if !ok || t.at != x.Endpoint || x.Sent == t.sent { // nobody has asked for the peer: where it is does not matter yet
			c.tries[key] = try{x.Endpoint, now, x.Sent}
			continue
		}
		if now.Sub(t.from) >= searchFor {
			to := behind(candidates, x.Endpoint)
			c.tries[key] = try{to, now, x.Sent}
			moves = append(moves, move{key, to})
		}
	}
	return moves
}

// behind returns the candidate behind the one in use, and the first one behind the last.
func behind(candidates []netip.AddrPort, used netip.AddrPort) netip.AddrPort {
	for i, c := range candidates {
		if c == used && i+1 < len(candidates) {
			return candidates[i+1]
		}
	}
	return candidates[0]
}

// count remembers what was counted. It tells whether peers are missing that were there the time before, or whose devices have others.
func (c *contacts) count(list []kernel.WireGuardTraffic, want kernel.Set[kernel.WireGuardPeerKey, kernel.WireGuardPeer]) (missing bool) {
	now := map[kernel.WireGuardPeerKey]bool{}
	for _, x := range list {
		now[kernel.WireGuardPeerKey{Link: x.Link, PublicKey: x.PublicKey}] = true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, x := range c.counted {
		key := kernel.WireGuardPeerKey{Link: x.Link, PublicKey: x.PublicKey}
		_, wanted := want[key]
		missing = missing || wanted && !now[key]
	}
	for key := range c.tries {
		if !now[key] {
			delete(c.tries, key)
		}
	}
	c.counted = list
	return missing
}

// last returns what was counted last.
func (c *contacts) last() []kernel.WireGuardTraffic {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counted
}

// wireGuardPeers are the peers that should be there.
func (w *wanted) wireGuardPeers() kernel.Set[kernel.WireGuardPeerKey, kernel.WireGuardPeer] {
	w.mu.Lock()
	defer w.mu.Unlock()
	var peers kernel.Set[kernel.WireGuardPeerKey, kernel.WireGuardPeer]
	for _, p := range w.state.WireGuardPeers {
		peers.Add(p)
	}
	return peers
}

// wireGuardStatus tells what was counted, by the subnets that are reached so.
func (a *Agent) wireGuardStatus() map[netip.Prefix][]WireGuardStatus {
	counted := a.contacts.last()
	if len(counted) == 0 {
		return nil
	}
	want := a.wanted.wireGuardPeers()
	found := map[netip.Prefix][]WireGuardStatus{}
	for _, x := range counted {
		s := WireGuardStatus{Link: x.Link, Received: x.Received, Sent: x.Sent}
		if x.Endpoint.IsValid() {
			s.Endpoint = x.Endpoint.String()
		}
		if x.Handshake != 0 {
			at := time.Unix(x.Handshake, 0)
			s.Handshake = &at
		}
		for _, p := range want[kernel.WireGuardPeerKey{Link: x.Link, PublicKey: x.PublicKey}].AllowedList() {
			found[p] = append(found[p], s)
		}
	}
	return found
}

// statusOf returns what is counted of the peer with these subnets, each device once.
func statusOf(found map[netip.Prefix][]WireGuardStatus, subnets subnet.Subnets) []WireGuardStatus {
	var list []WireGuardStatus
	seen := map[string]bool{}
	for _, p := range subnets {
		for _, s := range found[p.Masked()] {
			if !seen[s.Link] {
				seen[s.Link] = true
				list = append(list, s)
			}
		}
	}
	return list
}
