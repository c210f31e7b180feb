// Package backend says what a backend is: a pure function from leases to kernel state. It knows what nodes announce
// to each other and refuses to know stores, sockets and the time. Each backend is a package below.
package backend

import (
	"net/netip"

	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// Backend says what the kernel must hold so that pods on different nodes can talk. Implementations are pure values:
// same arguments, same result, and safe for concurrent use.
type Backend interface {
	// Attrs returns what peers must know of us: PublicIP, Backend and Data. Node is left to the caller. What n.Kept holds is kept where it
	// still fits, so that an upgrade or takeover changes nothing for the peers.
	Attrs(n Node) (subnet.Attrs, error)
	// Base adds to s what is there once: devices and their addresses. own is this node's lease. A family that it
	// cannot serve it leaves out and names in the error; the other one is added all the same.
	Base(n Node, own subnet.Lease, s *kernel.State) error
	// Peer adds to s what one peer needs: routes, neighbours, FDB entries. It adds nothing where it returns an
	// error, which says why this peer cannot be served. It works for every family that both sides have, and it never
	// replaces an object of s by a different one: that is an error too, because two peers claim the same thing.
	Peer(n Node, peer subnet.Lease, s *kernel.State) error
	// Overhead is the number of bytes that the backend adds to a packet whose outer address is like outer.
	Overhead(outer netip.Addr) int
	// MTU is the size of the largest packet that fits through the backend over u, in bytes. See also the function
	// MTU, which is about a node's pods.
	MTU(u Uplink) int
	// Ports are the UDP ports that peers' outer packets arrive at; none for a backend without a tunnel.
	Ports() []uint16
}

// Node is what a plan knows of this node.
type Node struct {
	Name     string // identity
	Networks [2]subnet.Network
	Uplinks  [2]Uplink      // indexed by subnet.Family; the zero Uplink where the node has no address of that family
	Kept     subnet.Attrs   // what this node's lease says already; zero if there is none
	Prepared string         // what came of Prepare, of a backend that is a Preparer
	Subnets  subnet.Subnets // this node's own; zero while it has none

	// Mark is that of the network, by which its devices are named.
	Mark kernel.Mark

	// WireGuardKey is the private key of the node for WireGuard. It is zero where no backend of the node needs one.
	WireGuardKey kernel.Key

	// Further are the networks after the first ones, in order.
	Further [2][]subnet.Network

	// Works are the paths that are seen to carry pods' packets, of those that are tried.
	Works map[kernel.Path]bool
}

// Uplink is how a node reaches its peers in one family.
type Uplink struct {
	Link   string         // name of the device
	MTU    int            // of the device, bytes
	Addr   netip.Addr     // the device's own address: source of outer packets
	Public netip.Addr     // what peers are told; Addr unless somebody said otherwise
	OnLink []netip.Prefix // networks that the device reaches without a gateway
	Reason string         // why this one, in words for people
}

// Valid tells whether the node has an uplink of this family.
func (u Uplink) Valid() bool { return u.Addr.IsValid() }

// Reaches tells whether a lies in a network that the uplink reaches without a gateway.
func (u Uplink) Reaches(a netip.Addr) bool {
	for _, p := range u.OnLink {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
