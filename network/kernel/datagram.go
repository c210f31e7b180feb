package kernel

import (
	"fmt"
	"net/netip"
)

// DatagramKey is what makes a Datagram unique on a node.
type DatagramKey struct {
	Link   string
	Local  netip.AddrPort
	Subnet netip.Prefix
}

// Datagram says how packets travel between a TUN device and UDP: one bare packet in each datagram, as flannel's udp
// backend sends them. With a Remote, what is routed to Link for Subnet leaves from Local to Remote. Without one, Subnet is the
// node's own: what arrives at Local, from whomever, goes into Link.
type Datagram struct {
	Link   string
	Local  netip.AddrPort // address of the uplink, and the port
	Subnet netip.Prefix   // masked; longer ones go before shorter ones
	Remote netip.AddrPort // of the same family as Local
}

// Key returns all but Remote.
func (d Datagram) Key() DatagramKey { return DatagramKey{d.Link, d.Local, d.Subnet} }

// String says what goes where.
func (d Datagram) String() string {
	if !d.Remote.IsValid() {
		return fmt.Sprintf("udp dev %s local %s of %s", d.Link, d.Local, d.Subnet)
	}
	return fmt.Sprintf("udp dev %s local %s to %s remote %s", d.Link, d.Local, d.Subnet, d.Remote)
}

// Dropped is how many packets were dropped on their way between a device and UDP, for one reason, since somebody began to count.
type Dropped struct {
	Link    string
	Reason  string // one word, as in labels of metrics
	Packets uint64
}
