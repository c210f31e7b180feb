package storetest

import "github.com/weft-network/weft/subnet"

// Cluster is a store that many nodes share, together with what an operator, an accident or the passage of time does
// to it. Its methods fail the test themselves when they cannot do what they say, and return when it is done. What a
// store cannot do at all is in the optional interfaces below; their cases run where they are implemented.
type Cluster interface {
	// SetConfig writes net-conf.json as an operator does; "" takes it away.
	SetConfig(text string)

	// Store returns a new Store of the node, connected, as an agent that has just started makes it. Calling it again
	// for the same node is a restart of its agent. Whatever needs closing is closed by the end of the test.
	Store(node string) subnet.Store

	// Remove takes the lease of these subnets out of the store, as it goes when it expires or its node is deleted.
	Remove(s subnet.Subnets)

	// Break makes the store unreachable for every Store, also those with a Watch going on. Mend makes it reachable
	// again, with everything that it held.
	Break()
	Mend()
}

// Leasing is a Cluster in which nodes choose their subnets themselves, out of the config's networks. A store that is
// told each node's subnet by something else is none.
type Leasing interface {
	Cluster

	// PutForeign writes l as flanneld does: without the identity of a node, and expiring.
	PutForeign(l subnet.Lease)

	// Reserve writes an entry that never expires: for nobody where l has subnets only, and for the node with that
	// address where it has a PublicIP too. flanneld knows both; neither has a backend.
	Reserve(l subnet.Lease)

	// Wipe empties the store: leases, reservations and config.
	Wipe()
}

// Garbling is a Cluster into which anybody can write nonsense.
type Garbling interface {
	Cluster

	// PutGarbage puts value, as it is, where the lease of the subnets is kept, and returns the Fault.Key that names
	// the place.
	PutGarbage(s subnet.Subnets, value string) (key string)
}

// NamedEntries is a Cluster whose entries have free names, which can be nonsense by themselves.
type NamedEntries interface {
	Garbling

	// PutNamed puts value under name among the leases, and returns the Fault.Key that names the place.
	PutNamed(name, value string) (key string)
}

// Forgetful is a Cluster whose history can be cut, so that a Store that was away cannot be told what it missed.
type Forgetful interface {
	Cluster

	// Forget drops the history of all changes so far. It is called between Break and Mend too.
	Forget()
}
