package memory

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/weft-network/weft/subnet"
)

// Cluster is what many nodes share. All its methods are safe for concurrent use, and what they do is seen by every
// Watch that is going on.
type Cluster struct {
	mu      sync.Mutex
	config  string
	entries map[subnet.Subnets]entry
	faults  []subnet.Fault // sorted by key; replaced, never changed in place
	history history
	down    error         // why no Store reaches the cluster; nil while they do
	bell    chan struct{} // closed and replaced at every change
	writes  uint64
}

// entry is what the cluster holds under one key.
type entry struct {
	lease subnet.Lease
	owner *Store // whose Claim wrote it; nil where something else did
	fault error  // the entry is taken but cannot be understood
}

// held tells whether the entry is somebody's, not a reservation for nobody.
func (e entry) held() bool {
	return e.fault == nil && (e.lease.Backend != "" || e.lease.PublicIP != [2]netip.Addr{})
}

// New returns an empty cluster: no config, no leases, reachable.
func New() *Cluster {
	return &Cluster{entries: map[subnet.Subnets]entry{}, bell: make(chan struct{})}
}

// Store returns a new connection to the cluster, which needs no closing. Each start of an agent has one of its own.
func (c *Cluster) Store() *Store { return &Store{cluster: c} }

// SetConfig writes net-conf.json; "" takes it away.
func (c *Cluster) SetConfig(text string) {
	c.change(func() { c.config = text })
}

// Put writes l over whatever is there, as a node does that is not a Store of this process. A lease without Node is
// flanneld's, one without a Backend is a reservation: for nobody, or for the node with that PublicIP.
func (c *Cluster) Put(l subnet.Lease) {
	c.change(func() { c.put(l.Subnets, entry{lease: l}) })
}

// Remove takes away what is there for these subnets: a lease expires, a reservation is dropped, damage is mended.
func (c *Cluster) Remove(s subnet.Subnets) {
	c.change(func() { c.remove(s) })
}

// Revoke takes away the leases of a node.
func (c *Cluster) Revoke(node string) {
	c.change(func() {
		for s, e := range c.entries {
			if e.held() && e.lease.Node == node {
				c.remove(s)
			}
		}
	})
}

// Damage makes the entry for these subnets one that cannot be understood, and returns the key that its Fault has.
func (c *Cluster) Damage(s subnet.Subnets, why error) (key string) {
	c.change(func() { c.put(s, entry{lease: subnet.Lease{Subnets: s}, fault: why}) })
	return s.String()
}

// Wipe takes everything away: leases, reservations, damage and config.
func (c *Cluster) Wipe() {
	c.change(func() {
		c.config = ""
		for s := range c.entries {
			c.remove(s)
		}
	})
}

// Break makes the cluster unreachable: every Claim and Watch fails with an error that wraps err, those that go on
// included. Mend makes it reachable again; nothing is lost in between, and changes by others go on.
func (c *Cluster) Break(err error) {
	if err == nil {
		err = errors.New("no reason given")
	}
	c.change(func() { c.down = err })
}

// Mend ends what Break began.
func (c *Cluster) Mend() {
	c.change(func() { c.down = nil })
}

// Forget drops the history of changes, as compaction does: every Watch reads everything again at the next change.
func (c *Cluster) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.history.forget()
}

// Leases returns every lease that is held, in order of the subnets.
func (c *Cluster) Leases() []subnet.Lease {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []subnet.Lease
	for _, e := range c.entries {
		if e.held() {
			all = append(all, e.lease)
		}
	}
	slices.SortFunc(all, func(a, b subnet.Lease) int { return a.Subnets.Compare(b.Subnets) })
	return all
}

// Writes is the number of entries that Claim has written since the cluster was made.
func (c *Cluster) Writes() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.writes
}

// change does what it is given under the lock, and wakes everyone who waits for a change.
func (c *Cluster) change(do func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	do()
	close(c.bell)
	c.bell = make(chan struct{})
}

// put and remove need the lock.
func (c *Cluster) put(s subnet.Subnets, e entry) {
	before := c.entries[s]
	c.entries[s] = e
	c.history.add(s)
	if before.fault != nil || e.fault != nil {
		c.listFaults()
	}
}

func (c *Cluster) remove(s subnet.Subnets) {
	before, ok := c.entries[s]
	if !ok {
		return
	}
	delete(c.entries, s)
	c.history.add(s)
	if before.fault != nil {
		c.listFaults()
	}
}

func (c *Cluster) listFaults() {
	c.faults = nil
	for s, e := range c.entries {
		if e.fault != nil {
			c.faults = append(c.faults, subnet.Fault{Key: s.String(), Err: fmt.Errorf("reading the lease of %s: %w", s, e.fault)})
		}
	}
	slices.SortFunc(c.faults, func(a, b subnet.Fault) int { return strings.Compare(a.Key, b.Key) })
}
