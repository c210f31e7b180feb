package kernel

import (
	"fmt"
	"net/netip"
)

// Secret is a key that is compared like a string and never written like one.
type Secret string

// String hides the secret.
func (Secret) String() string { return "(secret)" }

// GoString hides the secret.
func (Secret) GoString() string { return "(secret)" }

// MarshalText hides the secret.
func (Secret) MarshalText() ([]byte, error) { return []byte("(secret)"), nil }

// AssociationKey is what makes an association unique on a node.
type AssociationKey struct {
	Link string
	Peer netip.Prefix
}

// Association is an IPsec tunnel to a peer, whose keys an IKE daemon agrees with it: packets from Own to Peer that leave by Link go
// encrypted from Local to Remote, and only such packets come in by it.
type Association struct {
	Link          string       // the XFRM interface
	ID            uint32       // its XFRM interface id, which ties policies and states to it
	Own, Peer     netip.Prefix // subnets, masked
	Local, Remote netip.Addr   // outer addresses; also the names by which the two sides know each other
	Encap         bool         // ESP in UDP, where ESP itself does not get through
	Proposal      string       // for ESP, as strongSwan writes it
	PSK           Secret       // with which both sides prove who they are; zero, as listed: not known
}

// Key returns device and the peer's subnet.
func (a Association) Key() AssociationKey { return AssociationKey{a.Link, a.Peer} }

// String returns the association without its secret.
func (a Association) String() string {
	encap := ""
	if a.Encap {
		encap = " encap udp"
	}
	return fmt.Sprintf("ipsec %s to %s dev %s if_id %d local %s remote %s esp %s%s", a.Own, a.Peer, a.Link, a.ID, a.Local, a.Remote, a.Proposal, encap)
}
