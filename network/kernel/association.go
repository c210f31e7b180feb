package kernel

import (
	"fmt"
	"net/netip"
)

// Secret is a text that is compared like any other and never shown.
type Secret string

// String hides the secret.
func (Secret) String() string { return "(secret)" }

// GoString hides the secret.
func (Secret) GoString() string { return "(secret)" }

// AssociationKey is what makes an association unique on a node.
type AssociationKey struct {
	Link string
	Peer netip.Prefix
}

// Association is an IPsec tunnel to a peer, for which an IKE daemon agrees on keys with the peer's: packets from Own to Peer that are
// sent to Link leave encrypted, from Local to Remote, and packets that come back are accepted by Link alone.
type Association struct {
	Link          string       // an XFRM device
	ID            uint32       // that of the device
	Own, Peer     netip.Prefix // subnets, masked
	Local, Remote netip.Addr   // of the outer packets
	Self          netip.Addr   // how the peer knows this node; Local unless the node is told to be known by another address
	Encap         bool         // outer packets are UDP also where there is no NAT between the nodes
	Proposal      string       // algorithms for packets, in strongSwan's words
	PSK           Secret       // what both nodes prove to know; "", as listed: it is not known which
}

// Key returns the device and the peer's subnet.
func (a Association) Key() AssociationKey { return AssociationKey{a.Link, a.Peer} }

// String returns the association without its secret.
func (a Association) String() string {
	s := fmt.Sprintf("ipsec %s to %s dev %s if_id %d local %s remote %s esp %s", a.Own, a.Peer, a.Link, a.ID, a.Local, a.Remote, a.Proposal)
	if a.Self != a.Local {
		s += " id " + a.Self.String()
	}
	if a.Encap {
		s += " encap"
	}
	return s
}
