package masq

import (
	"context"
	"net/netip"
	"slices"

	"github.com/weft-network/weft/subnet"
)

// Config is all that the rules depend on. The zero Config wants no rule at all. Prefixes need not be masked.
type Config struct {
	Networks     [2]netip.Prefix   // the pods of the whole cluster; the zero Prefix where the family is off
	Further      [2][]netip.Prefix // more networks of the same cluster
	Subnets      [2]netip.Prefix   // the pods of this node; without one its family has no masquerade rules
	Masquerade   [2]bool           // what pods send out of the cluster gets the node's address
	RandomFully  bool              // the source ports of masqueraded connections are chosen at random
	NoMasquerade []netip.Prefix    // destinations outside the cluster that see pods' own addresses
	Forward      bool              // packets from and to pods are accepted where a foreign rule would drop all forwarded ones
	Tunnels      []Tunnel          // whose outer packets connection tracking does not see
	Guard        []string          // the devices by which alone packets may leave for pods of other nodes; none leaves all free
}

// Tunnel is how the outer packets of a tunnel are known, which is the same on all nodes.
type Tunnel struct {
	Family   subnet.Family // of the outer packets
	Port     uint16        // the receiving UDP port; 0 where Protocol is set
	Protocol uint8         // the number that they have in IP in place of UDP's
}

// Equal tells whether c and o lead to the same rules in the same order.
func (c Config) Equal(o Config) bool { return slices.Equal(Plan(c), Plan(o)) }

// Firewall keeps the rules of a Config in the kernel, in one rendering. It has no memory: what it finds in the kernel
// decides what it does. Its methods may not be called at the same time, Watch excepted. They act on the network
// namespace of the calling thread.
type Firewall interface {
	// Sync lists what the kernel holds, compares it with what c wants, and changes what differs; changed is the number
	// of rules and chains that did. At no instant is a packet judged by less than the old or the new rules.
	// Connections that exist keep their addresses. A second call changes nothing.
	Sync(ctx context.Context, c Config) (changed int, err error)

	// Remove takes away all that Sync ever puts in place. It is idempotent.
	Remove(ctx context.Context) error

	// Watch calls f once when it has begun to watch, and then whenever the rules may have changed, those that Sync
	// itself changed included; f must be cheap. It returns ctx.Err() when ctx ends, any other error when the kernel cannot be listened to.
	Watch(ctx context.Context, f func()) error
}
