package subnet

import "net/netip"

// Self is what a store says of this node beside its lease: what others have written about it into the object that the
// cluster keeps of the node. It is zero in a store that knows nodes by their leases only.
type Self struct {
	Assigned  Subnets // the subnets that the cluster gave this node; zero where nodes choose among those of the config
	Uplink    [2]Hint // the device that has this address is the uplink, unless the agent is told otherwise
	Public    [2]Hint // what peers are to be told, unless the agent is told otherwise
	Overwrite [2]Hint // what peers are to be told, whatever else the agent is told
}

// Hint is an address, and who says so, in words for people: "the Node's InternalIP". The zero Hint is none.
type Hint struct {
	Addr   netip.Addr
	Origin string
}
