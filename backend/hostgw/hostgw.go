// Package hostgw is the backend without a tunnel: a route to each peer's subnet through the peer's own address. It
// serves peers on the uplink's own link, and refuses to guess about others, because a router in between would not
// know where to send pods' packets.
package hostgw

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// Kind is the backend type in net-conf.json and in leases.
const Kind = "host-gw"

// Backend is the host-gw backend. It has no config.
type Backend struct{}

var _ backend.Backend = Backend{}

// New checks config, the Backend object of net-conf.json. The warnings name its keys, of which none has a meaning.
func New(config string) (Backend, []string, error) {
	warnings, err := backend.Read(config).Done()
	return Backend{}, warnings, err
}

// Attrs announces the public addresses alone.
func (Backend) Attrs(n backend.Node) (subnet.Attrs, error) { return n.Announce(Kind) }

// Base adds nothing: there is no device.
func (Backend) Base(backend.Node, subnet.Lease, *kernel.State) error { return nil }

// Peer adds a route to each subnet of the peer, through its public address on the uplink.
func (Backend) Peer(n backend.Node, peer subnet.Lease, s *kernel.State) error {
	return n.AddPeer(&peer, s, func(f subnet.Family, more *kernel.State) error {
		u, public := n.Uplinks[f], peer.PublicIP[f]
		if !u.Reaches(public) {
			return fmt.Errorf("%s PublicIP %s is behind a router, and host-gw needs all nodes on one link: %s reaches %s",
				f, public, u.Link, networks(u.OnLink))
		}
		more.Routes.Add(n.Direct(f, &peer))
		return nil
	})
}

// networks lists what an uplink reaches without a gateway.
func networks(onLink []netip.Prefix) string {
	if len(onLink) == 0 {
		return "no network without a gateway"
	}
	var words []string
	for _, p := range onLink {
		words = append(words, p.String())
	}
	return "only " + strings.Join(words, ", ") + " without a gateway"
}

// Overhead is 0: packets go as they are.
func (Backend) Overhead(netip.Addr) int { return 0 }

// MTU is the uplink's.
func (Backend) MTU(u backend.Uplink) int { return u.MTU }

// Ports are none.
func (Backend) Ports() []uint16 { return nil }
