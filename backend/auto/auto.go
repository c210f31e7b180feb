// Package auto is the backend that chooses by itself, peer by peer: a plain route where both nodes are on one link and the path
// between them is seen to carry pods' packets, VXLAN elsewhere; or WireGuard for all, where packets are to be encrypted. Nodes
// announce what they fall back to, so that nodes with that backend are peers. It knows what is tried and what follows from the
// outcome, and refuses to know how paths are tried.
package auto

import (
	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/backend/vxlan"
	"github.com/weft-network/weft/backend/wireguard"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// Kind is the backend type in net-conf.json. Leases have that of what a node falls back to.
const Kind = "auto"

// behind is what the metric of a peer's second route is larger by than that of the first.
const behind = kernel.RouteProtocol

// New checks config, the Backend object of net-conf.json: Encrypt, and beside it the keys of the backend that a node falls back to. The
// error joins all mistakes; the warnings name keys that are not known.
func New(config string) (backend.Backend, []string, error) {
	r := backend.Read(config)
	if r.Bool("Encrypt") {
		b, warnings, err := wireguard.From(r)
		return Encrypted{b}, warnings, err
	}
	b, warnings, err := vxlan.From(r)
	return Backend{b}, warnings, err
}

// Backend is the backend without encryption. It is that of VXLAN in all that peers see.
type Backend struct{ vxlan.Backend }

// Encrypted is the backend with encryption. A plain route would carry packets in the clear, so there are none.
type Encrypted struct{ wireguard.Backend }

var (
	_ backend.Backend    = Backend{}
	_ backend.Renamer    = Backend{}
	_ backend.Agreeing   = Backend{}
	_ backend.Guesser    = Backend{}
	_ backend.Alias      = Backend{}
	_ backend.Trying     = Backend{}
	_ backend.Backend    = Encrypted{}
	_ backend.Renamer    = Encrypted{}
	_ backend.Agreeing   = Encrypted{}
	_ backend.Alias      = Encrypted{}
	_ backend.Encrypting = Encrypted{}
	_ backend.Keyed      = Encrypted{}
)

// Kind is that of VXLAN.
func (Backend) Kind() string { return vxlan.Kind }

// Kind is that of WireGuard.
func (Encrypted) Kind() string { return wireguard.Kind }

// Tries is true.
func (Backend) Tries() bool { return true }

// Renamed returns b with a suffix at the end of its devices' names.
func (b Backend) Renamed(suffix string) backend.Backend {
	b.Backend = b.Backend.Renamed(suffix).(vxlan.Backend)
	return b
}

// Renamed returns b with a suffix at the end of its devices' names.
func (b Encrypted) Renamed(suffix string) backend.Backend {
	b.Backend = b.Backend.Renamed(suffix).(wireguard.Backend)
	return b
}

// Peer adds what the peer needs to be reached by VXLAN. For each family in which it is on the uplink's own link, the path to it
// is tried, and there are two routes to its subnet, by the tunnel and without it. The first one carries the packets. The other one is
// there for who asks for its device: the probes, and filters that look whether packets come in by a device that there is a route by.
func (b Backend) Peer(n backend.Node, peer subnet.Lease, s *kernel.State) error {
	var more kernel.State
	if err := b.Backend.Peer(n, peer, &more); err != nil {
		return err
	}
	for _, f := range subnet.Families {
		if own := n.Subnets[f]; own.IsValid() && n.Serves(f) && peer.Subnets[f].IsValid() && n.Uplinks[f].Reaches(peer.PublicIP[f]) {
			try(&n, f, &peer, &more)
		}
	}
	if err := backend.Merge(s, more); err != nil {
		return backend.Explain(peer, err)
	}
	return nil
}

// try adds the path to the peer in family f, and puts the routes into their order.
func try(n *backend.Node, f subnet.Family, peer *subnet.Lease, s *kernel.State) {
	first, second := n.Direct(f, peer), n.Direct(f, peer)
	path := kernel.Path{Dst: first.Dst, Via: first.Via, Link: first.Link}
	if tunnel := s.Routes[first.Key()]; n.Works[path] {
		second = tunnel
	} else {
		first = tunnel
	}
	second.Metric += behind
	s.Routes.Add(first)
	s.Routes.Add(second)
	s.Probes.Add(kernel.Probe{Path: path, From: n.Subnets[f].Masked().Addr()})
}
