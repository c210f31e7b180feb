package kernel

import (
	"context"
	"net/netip"
)

// Scope says which objects are ours beside those that carry our own marks (RouteProtocol, our devices' names).
type Scope struct {
	// Networks are the cluster's pod networks with the length of a subnet in them. A route of protocol boot with a gateway to exactly one
	// such subnet is flannel's, and becomes ours.
	Networks []Subnetwork

	mark Mark
}

// Subnetwork is a network that is cut into subnets of one length.
type Subnetwork struct {
	Prefix    netip.Prefix
	SubnetLen int
}

// Sync is the port to the kernel that the agent drives; Kernel is the real one.
type Sync interface {
	// List returns what the kernel holds of our objects, and those parameters out of sysctls that can be read.
	List(ctx context.Context, scope Scope, sysctls []string) (State, error)
	// Apply makes the change: links, addresses, routes, neighbours, forwards in the order that their dependencies
	// ask for. Independent objects do not stop each other; the error joins all that failed.
	Apply(ctx context.Context, c Change) error
}
