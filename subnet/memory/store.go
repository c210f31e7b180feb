package memory

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/weft-network/weft/subnet"
)

// Store is one node's connection to a Cluster.
type Store struct {
	cluster *Cluster

	mu       sync.Mutex
	health   subnet.Health
	watching int // calls of Watch that go on; guarded by cluster.mu
}

var _ subnet.Store = (*Store)(nil)

// Health tells when the cluster was last reached, and why it is not. Leases in memory never expire.
func (s *Store) Health() subnet.Health {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.health
}

// answered notes the outcome of a request, and returns its error.
func (s *Store) answered(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.health.Note(err, time.Now())
	return err
}

// reach says why the cluster cannot be reached. It needs the cluster's lock.
func (s *Store) reach(attempt string) error {
	if s.cluster.down != nil {
		return s.answered(fmt.Errorf("%s: %w", attempt, s.cluster.down))
	}
	return s.answered(nil)
}

// Claim makes the node's lease carry want.Attrs, as subnet.Store promises.
func (s *Store) Claim(ctx context.Context, want subnet.Want) (subnet.Lease, error) {
	if err := ctx.Err(); err != nil {
		return subnet.Lease{}, fmt.Errorf("claiming a subnet: %w", err)
	}
	if want.Attrs.Node == "" {
		return subnet.Lease{}, errors.New("claiming a subnet: the node has no identity")
	}
	c := s.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := s.reach("claiming a subnet"); err != nil {
		return subnet.Lease{}, err
	}
	own, err := c.own(want, s)
	if err != nil {
		return subnet.Lease{}, fmt.Errorf("claiming a subnet: %w", err)
	}
	lease := subnet.Lease{Subnets: own, Attrs: want.Attrs}
	if !want.Config.Holds(own) {
		lease.Subnets, err = c.pick(want, own)
		if err != nil {
			return subnet.Lease{}, fmt.Errorf("claiming a subnet: %w", err)
		}
	}
	e, ok := c.entries[lease.Subnets]
	if ok && e.lease == lease {
		e.owner = s
		c.entries[lease.Subnets] = e
		return lease, nil
	}
	if lease.Subnets != own {
		c.remove(own)
	}
	c.put(lease.Subnets, entry{lease: lease, owner: s})
	c.writes++
	close(c.bell)
	c.bell = make(chan struct{})
	return lease, nil
}

// own finds the subnets of the lease that is the node's already, or that is reserved for it, or that a node at its
// address left behind; zero if there is none. A node is alive while a Watch of the Store that claimed goes on.
func (c *Cluster) own(want subnet.Want, s *Store) (subnet.Subnets, error) {
	var byNode, byAddress, left []subnet.Subnets
	var errs []error
	for key, e := range c.entries {
		alive := e.owner != nil && e.owner != s && e.owner.watching > 0
		switch l := e.lease; {
		case e.fault != nil:
		case l.Node == want.Attrs.Node:
			if alive && l.PublicIP != want.Attrs.PublicIP {
				errs = append(errs, fmt.Errorf("%w: %s at %s holds %s", subnet.ErrIdentityInUse, l.Node, l.Addresses(), key))
			}
			byNode = append(byNode, key)
		case !l.Shares(want.Attrs):
		case l.Node == "":
			byAddress = append(byAddress, key)
		case alive:
			errs = append(errs, fmt.Errorf("%w: node %s at %s holds %s", subnet.ErrAddressInUse, l.Node, l.Addresses(), key))
		default:
			left = append(left, key)
		}
	}
	for _, keys := range [][]subnet.Subnets{byNode, byAddress, left} {
		if len(keys) > 0 {
			return slices.MinFunc(keys, better(want)), errors.Join(errs...)
		}
	}
	return subnet.Subnets{}, errors.Join(errs...)
}

// better puts the keys first that the config holds, and that the node remembers.
func better(want subnet.Want) func(a, b subnet.Subnets) int {
	rank := func(s subnet.Subnets) int {
		switch {
		case want.Config.Holds(s) && s == want.Previous:
			return 0
		case want.Config.Holds(s):
			return 1
		}
		return 2
	}
	return func(a, b subnet.Subnets) int {
		if d := rank(a) - rank(b); d != 0 {
			return d
		}
		return a.Compare(b)
	}
}

// pick chooses subnets in the place of own, which will go: of what it has, as much as the config holds is kept.
func (c *Cluster) pick(want subnet.Want, own subnet.Subnets) (subnet.Subnets, error) {
	previous := want.Previous
	for f, p := range own {
		if want.Config.HoldsIn(subnet.Family(f), p) {
			previous[f] = p
		}
	}
	taken := want.Config.Taken(func(yield func(subnet.Subnets) bool) {
		for key := range c.entries {
			if key != own && !yield(key) {
				return
			}
		}
	})
	return subnet.Pick(want.Config, want.Attrs.Node, previous, taken)
}

// again is how long Watch waits before it reads a second time what f did not believe.
const again = 200 * time.Millisecond

// Watch calls f with the whole picture and after every change, as subnet.Store promises. It fails as soon as the
// cluster cannot be reached.
func (s *Store) Watch(ctx context.Context, f func(subnet.Snapshot) bool) error {
	s.watches(+1)
	defer s.watches(-1)
	var v view
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		snapshot, bell, err := s.look(&v)
		if err != nil {
			return err
		}
		var reread <-chan time.Time
		if snapshot != nil && !f(*snapshot) {
			v.known = false
			reread, bell = time.After(again), nil
		}
		select {
		case <-ctx.Done():
		case <-bell:
		case <-reread:
		}
	}
}

func (s *Store) watches(n int) {
	s.cluster.mu.Lock()
	defer s.cluster.mu.Unlock()
	s.watching += n
}

// view is what one Watch has told its f.
type view struct {
	known  bool // false until the first look, and where everything has to be read again
	next   uint64
	config string
	faults []subnet.Fault
	leases map[subnet.Subnets]subnet.Lease
}

// look brings v up to date. The snapshot is nil where nothing changed; the bell rings at the next change.
func (s *Store) look(v *view) (*subnet.Snapshot, <-chan struct{}, error) {
	c := s.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := s.reach("watching the leases"); err != nil {
		return nil, nil, err
	}
	changed, known := c.history.since(v.next)
	known = known && v.known
	same := known && len(changed) == 0 && v.config == c.config
	v.known, v.next, v.config, v.faults = true, c.history.next(), c.config, c.faults
	if same {
		return nil, c.bell, nil
	}
	if !known {
		changed = nil
		v.leases = map[subnet.Subnets]subnet.Lease{}
		for key := range maps.Keys(c.entries) {
			v.take(key, c.entries)
		}
	}
	for _, key := range changed {
		v.take(key, c.entries)
	}
	return &subnet.Snapshot{Config: v.config, Leases: v.leases, Changed: changed, Faults: v.faults}, c.bell, nil
}

// take copies one key.
func (v *view) take(key subnet.Subnets, entries map[subnet.Subnets]entry) {
	if e, ok := entries[key]; ok && e.held() {
		v.leases[key] = e.lease
		return
	}
	delete(v.leases, key)
}
