package kernel

import (
	"fmt"
	"net/netip"
	"time"
)

// Path leads to a peer's subnet without a tunnel: by the peer's own address on a link that both nodes are on.
type Path struct {
	Dst  netip.Prefix // the peer's subnet, masked
	Via  netip.Addr   // the peer's address
	Link string       // the uplink
}

// Probe is a path that is tried again and again, whether it is in use or not: echo requests with pods' addresses at both ends are
// sent by it, to the first address of the peer's subnet. For that it has a route in the main table, which need not be the first.
type Probe struct {
	Path
	From netip.Addr // the first address of this node's own subnet
}

// Key returns the peer's subnet: of several paths to it, one is tried.
func (p Probe) Key() netip.Prefix { return p.Dst }

// To returns the address that answers.
func (p Probe) To() netip.Addr { return p.Dst.Addr() }

// String says what is sent where.
func (p Probe) String() string {
	return fmt.Sprintf("probe %s via %s dev %s from %s", p.Dst, p.Via, p.Link, p.From)
}

// PathState is what was seen of a path that is tried.
type PathState struct {
	Works bool      // it carries pods' packets, so far as is known
	Since time.Time // when that became so
	Why   string    // in words for people
	Falls uint64    // how often it has stopped to work since it is tried
}
