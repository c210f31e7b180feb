package vxlan

import (
	"errors"
	"fmt"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// Peer adds, for each family, the route to the peer's subnet through our device, the neighbour that says which MAC
// the peer's device has, and the forwarding entry that says where frames to this MAC go. With DirectRouting a peer
// on the uplink's own link gets a plain route instead.
func (b Backend) Peer(n backend.Node, peer subnet.Lease, s *kernel.State) error {
	families, err := n.Shared(peer)
	if err != nil {
		return backend.Explain(peer, err)
	}
	var add kernel.State
	var errs []error
	for _, f := range families {
		errs = append(errs, b.peer(n, f, peer, s.Forwards, &add))
	}
	if err := errors.Join(errs...); err != nil {
		return backend.Explain(peer, err)
	}
	if err := backend.Merge(s, add); err != nil {
		return backend.Explain(peer, err)
	}
	return nil
}

// forwards are the entries that other peers have.
type forwards = kernel.Set[kernel.ForwardKey, kernel.Forward]

// peer adds to s what the peer needs in family f.
func (b Backend) peer(n backend.Node, f subnet.Family, peer subnet.Lease, taken forwards, s *kernel.State) error {
	u, dst, public := n.Uplinks[f], peer.Subnets[f].Masked(), peer.PublicIP[f]
	if b.directRouting && u.Reaches(public) {
		s.Routes.Add(backend.Direct(u, dst, public))
		return nil
	}
	v, err := parse(peer.Data[f])
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", f, err)
	case !v.speaks(b.vni):
		return fmt.Errorf("%s: VNI %d is not %d, the one of this node: it is part of another overlay", f, v.vni, b.vni)
	case v.mac == b.mac(n, f):
		return fmt.Errorf("%s: VtepMAC %s is this node's own: two nodes have one identity, as cloned machines do", f, v.mac)
	}
	link, gateway := b.device(f), dst.Addr()
	if other, ok := taken[kernel.ForwardKey{Link: link, MAC: v.mac}]; ok && other.Dst != public {
		return fmt.Errorf("%s: VtepMAC %s is also that of the node at %s: two nodes have one identity", f, v.mac, other.Dst)
	}
	s.Routes.Add(kernel.Route{Dst: dst, Metric: backend.Metric(dst), Via: gateway, Link: link, OnLink: true})
	s.Neighbours.Add(kernel.Neighbour{Link: link, IP: gateway, MAC: v.mac})
	s.Forwards.Add(kernel.Forward{Link: link, MAC: v.mac, Dst: public})
	return nil
}
