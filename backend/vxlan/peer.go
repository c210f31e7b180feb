package vxlan

import (
	"errors"
	"fmt"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// entries are what one peer has in the kernel in one family.
type entries struct {
	route     kernel.Route
	tunnel    bool // the others are in use
	neighbour kernel.Neighbour
	forward   kernel.Forward
}

// Peer adds, for each family, the route to the peer's subnet through our device, the neighbour that says which MAC
// the peer's device has, and the forwarding entry that says where frames to this MAC go. With DirectRouting a peer
// on the uplink's own link gets a plain route instead.
func (b Backend) Peer(n backend.Node, peer subnet.Lease, s *kernel.State) error {
	shared, err := n.Shared(&peer)
	if err != nil {
		return backend.Explain(peer, err)
	}
	var all [2]entries
	var errs []error
	for _, f := range subnet.Families {
		if !shared[f] {
			continue
		}
		var err error
		if all[f], err = b.entries(&n, f, &peer); err == nil {
			err = all[f].fit(s)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f, err))
		}
	}
	if len(errs) > 0 {
		return backend.Explain(peer, errors.Join(errs...))
	}
	for _, f := range subnet.Families {
		if shared[f] {
			all[f].add(s)
		}
	}
	return nil
}

// entries returns what the peer needs in family f.
func (b Backend) entries(n *backend.Node, f subnet.Family, peer *subnet.Lease) (entries, error) {
	dst, public := peer.Subnets[f].Masked(), peer.PublicIP[f]
	if b.directRouting && n.Uplinks[f].Reaches(public) {
		return entries{route: n.Direct(f, peer)}, nil
	}
	v, err := parse(peer.Data[f])
	switch {
	case err != nil:
		return entries{}, err
	case !v.speaks(b.vni):
		return entries{}, fmt.Errorf("VNI %d is not %d, the one of this node: it is part of another overlay", v.vni, b.vni)
	case v.mac == b.mac(n, f):
		return entries{}, fmt.Errorf("VtepMAC %s is this node's own: two nodes have one identity, as cloned machines do", v.mac)
	}
	link, gateway := n.Mark.Device(b.devices[f]), dst.Addr()
	return entries{
		route: kernel.Route{
			Dst: dst, Metric: backend.Metric(dst), Via: gateway, Link: link, OnLink: true, MTU: n.RouteMTU(f, peer, b.MTU),
		},
		tunnel:    true,
		neighbour: kernel.Neighbour{Link: link, IP: gateway, MAC: v.mac},
		forward:   kernel.Forward{Link: link, MAC: v.mac, Dst: public},
	}, nil
}

// fit tells whether s holds nothing else under the keys of e, which other peers would need.
func (e *entries) fit(s *kernel.State) error {
	if other, ok := s.Routes[e.route.Key()]; ok && other != e.route {
		return fmt.Errorf("the subnet is another peer's too: %s", other)
	}
	if !e.tunnel {
		return nil
	}
	if other, ok := s.Neighbours[e.neighbour.Key()]; ok && other != e.neighbour {
		return fmt.Errorf("the subnet's first address is another peer's too: %s", other)
	}
	if other, ok := s.Forwards[e.forward.Key()]; ok && other != e.forward {
		return fmt.Errorf("VtepMAC %s is also that of the node at %s: two nodes have one identity", other.MAC, other.Dst)
	}
	return nil
}

func (e *entries) add(s *kernel.State) {
	s.Routes.Add(e.route)
	if e.tunnel {
		s.Neighbours.Add(e.neighbour)
		s.Forwards.Add(e.forward)
	}
}
