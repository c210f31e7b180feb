package subnet

import (
	"context"
	"errors"
	"time"
)

// Store is where the cluster keeps who holds which subnet, and the network config.
//
// Both methods return an error that says what was attempted on what; the caller's loop backs off and calls again.
type Store interface {
	// Claim makes this node's lease carry want.Attrs, and returns the lease as it is stored. A node that has a lease
	// keeps its subnets, also when its address changed, as long as want.Config holds them; else want.Previous is taken
	// if it is free, else a free subnet, each family on its own. Its lease is the one with its Attrs.Node, else one of
	// flanneld's or a reservation with its PublicIP. What another node is alive behind, its address or this node's
	// identity, is refused with ErrAddressInUse or ErrIdentityInUse, which name that node, its address and subnets;
	// what nobody is alive behind any more is the node's own: it has a new name, or a new address. A node is alive
	// while its agent watches.
	//
	// A lease that is left for another is removed in the same step. Leases, reservations and entries that cannot be
	// understood count as taken. Claim is idempotent: when nothing differs, nothing is written. Other errors are
	// ErrExhausted or the store's own, wrapped.
	Claim(ctx context.Context, want Want) (Lease, error)

	// Watch calls f with the whole picture now and after every change, one call at a time, and keeps the claims made
	// by Claim alive until ctx ends; the claim itself survives for as long as the store keeps it. It returns ctx.Err()
	// when ctx ends, any other error when the store cannot be read or followed (short interruptions it may ride over);
	// the caller then calls Watch again, and the first Snapshot of the new call replaces all that came before. Where f
	// returns false, the store reads everything again after a short while and calls f with what it read.
	Watch(ctx context.Context, f func(Snapshot) (believed bool)) error

	// Health tells how the connection to the store is. It is cheap and safe to call at any time.
	Health() Health
}

// Want is what a node asks a Store for.
type Want struct {
	Config   Config  // decides which subnets exist
	Attrs    Attrs   // what the lease shall say; Attrs.Node is not empty
	Previous Subnets // what the node held before, as subnet.env remembers it; may be zero
}

// Snapshot is a picture of the store. Its map belongs to the store: f may read it during the call, and copies what
// it wants to keep.
type Snapshot struct {
	Config  string            // net-conf.json as it is stored; "" where there is none (yet)
	Place   string            // where Config is to be put, in words for people; "" where that goes without saying
	Leases  map[Subnets]Lease // every lease, this node's own among them; reservations without a PublicIP are left out
	Changed []Subnets         // the keys that may differ from the previous call of f; nil says that any may, empty that none does
	Faults  []Fault           // keys that could not be read; each costs that peer only
	Self    Self              // what the store says of this node beside its lease
}

// Reporter is a Store that can tell the cluster whether the pods of this node have their network.
type Reporter interface {
	Store

	// Report says that they have it, or why they have not, in a sentence. It is idempotent: where the cluster has been
	// told already, nothing is written. The error is as those of Store.
	Report(ctx context.Context, ready bool, why string) error
}

// Warner is a Store that can tell the cluster what an operator should put right while the node goes on.
type Warner interface {
	Store

	// Warn tells it under a reason, which is a word such as ConfigRefused, and in a sentence. It returns false where that
	// could not be done, or not yet, and is to be tried again.
	Warn(ctx context.Context, reason, sentence string) bool
}

// Fault is an entry of the store that could not be understood.
type Fault struct {
	Key string // where it is, in the store's own words
	Err error  // what is wrong with it, and what would be right
}

// Health is how a store is doing. The zero value says: never reached.
type Health struct {
	Since   time.Time // when the store last answered; zero if never
	Err     error     // why it is not reachable at this moment; nil while it is
	Expires time.Time // when this node's lease would end if it were renewed no more; zero if it has none or it never expires
	Errors  uint64    // how many requests have failed since the start
}

// Note takes down how a request went that ended at now.
func (h *Health) Note(err error, now time.Time) {
	h.Err = err
	if err != nil {
		h.Errors++
		return
	}
	h.Since = now
}

// Errors of Claim. They are wrapped with the addresses, nodes and networks that they are about.
var (
	// ErrAddressInUse says that another live node already announces this node's public address.
	ErrAddressInUse = errors.New("public address is announced by another node")
	// ErrExhausted says that every subnet of a network is taken.
	ErrExhausted = errors.New("no free subnet")
	// ErrIdentityInUse says that another live process holds this node's lease under the same identity, as cloned
	// machines do.
	ErrIdentityInUse = errors.New("node identity is used by another node")
)
