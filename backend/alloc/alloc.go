// Package alloc is the backend that leases subnets and does nothing else: whoever runs it brings the packets to the
// other nodes by means of their own, and Weft keeps out of the kernel.
package alloc

import (
	"net/netip"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// Kind is the backend type in net-conf.json and in leases.
const Kind = "alloc"

// Backend is the alloc backend. It has no config.
type Backend struct{}

var _ backend.Backend = Backend{}

// New checks config, the Backend object of net-conf.json. The warnings name its keys, of which none has a meaning.
func New(config string) (Backend, []string, error) {
	warnings, err := backend.Read(config).Done()
	return Backend{}, warnings, err
}

// Attrs announces the public addresses alone.
func (Backend) Attrs(n backend.Node) (subnet.Attrs, error) { return n.Announce(Kind) }

// Base adds nothing.
func (Backend) Base(backend.Node, subnet.Lease, *kernel.State) error { return nil }

// Peer adds nothing, whatever the peer is like.
func (Backend) Peer(backend.Node, subnet.Lease, *kernel.State) error { return nil }

// Overhead is 0: packets go as they are.
func (Backend) Overhead(netip.Addr) int { return 0 }

// MTU is the uplink's.
func (Backend) MTU(u backend.Uplink) int { return u.MTU }

// Ports are none.
func (Backend) Ports() []uint16 { return nil }
