package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weft-network/weft/subnet"
)

// maxRaces bounds how often one Claim tries again because another node was faster.
const maxRaces = 256

// racesPerPicture is how often a Claim without a Watch beside it goes on with what it has read.
const racesPerPicture = 8

// maxRereads bounds how often one Claim reads everything.
const maxRereads = 4

// errRaced says that the store changed under a Claim.
var errRaced = errors.New("other nodes kept changing the leases")

// Claim implements subnet.Store. What it writes depends on conditions that etcd checks in the same instant, so that
// no picture of the store, however old, makes two nodes hold the same subnet.
func (s *Store) Claim(ctx context.Context, want subnet.Want) (subnet.Lease, error) {
	s.claims.Lock()
	defer s.claims.Unlock()
	value, err := encodeValue(want.Attrs)
	if err == nil {
		want.Attrs, err = newDecoder().value([]byte(value)) // as it will be read
	}
	if err != nil {
		return subnet.Lease{}, err
	}
	c := claim{s: s, want: want, value: value, settled: map[string]int64{}}
	for race := range maxRaces {
		if race%racesPerPicture == racesPerPicture-1 {
			c.base = nil // too much has happened since; a mirror has kept up
		}
		lease, err := c.try(ctx)
		switch {
		case err == nil:
			return lease, nil
		case ctx.Err() != nil:
			return subnet.Lease{}, ctx.Err()
		case errors.Is(err, subnet.ErrExhausted) && c.rereads == 0:
			c.stale() // the picture may be old
		case !errors.Is(err, errRaced) || c.rereads > maxRereads:
			return subnet.Lease{}, fmt.Errorf("claim a subnet for node %s: %w", want.Attrs.Node, err)
		}
	}
	return subnet.Lease{}, fmt.Errorf("claim a subnet for node %s: %w", want.Attrs.Node, errRaced)
}

// claim is one call of Claim.
type claim struct {
	s       *Store
	want    subnet.Want
	value   string
	also    []subnet.Subnets // taken, as was learned since the picture was made
	rereads int              // how often a picture turned out to be wrong; the mirror is not used any more then
	base    *mirror          // read by this claim
	settled map[string]int64 // by key, at which revision: holders that do not answer
}

// try makes one attempt.
func (c *claim) try(ctx context.Context) (subnet.Lease, error) {
	p, at, err := c.look(ctx)
	if err != nil {
		return subnet.Lease{}, err
	}
	for _, r := range p.rivals {
		if c.settled[r.key] == r.modified {
			continue
		}
		if err := c.s.contest(ctx, r.entry, r.lease, c.want.Attrs); err != nil {
			return subnet.Lease{}, err
		}
		c.settled[r.key] = r.modified
	}
	var lease subnet.Lease
	switch {
	case p.done:
		lease, err = c.confirm(ctx, p.from)
	case p.from != nil && p.from.subnets == p.to:
		lease, err = c.update(ctx, p.from)
	default:
		lease, err = c.create(ctx, p, at)
	}
	if err != nil {
		return subnet.Lease{}, err
	}
	for _, e := range p.extra {
		if err := c.s.drop(ctx, e.key, e.modified); err != nil {
			c.s.log.WithError(err).WithField("key", e.key).Warn("a second lease of this node stays until it expires")
		}
	}
	return lease, nil
}

// position is where in the history of which cluster a picture was taken.
type position struct {
	cluster  uint64
	revision int64
}

// look decides on the mirror that Watch keeps, or else on a picture that is read now.
func (c *claim) look(ctx context.Context) (plan, position, error) {
	c.s.mu.Lock()
	if m := c.s.mirror; m != nil && c.rereads == 0 {
		defer c.s.mu.Unlock()
		p, err := decide(m, c.s.own, c.want, c.also)
		return p, position{m.cluster, m.revision}, err
	}
	recent := c.s.own
	c.s.mu.Unlock()
	if c.base == nil {
		m, err := c.s.list(ctx)
		if err != nil {
			return plan{}, position{}, err
		}
		c.base, c.also = m, nil
	}
	p, err := decide(c.base, recent, c.want, c.also)
	return p, position{c.base.cluster, c.base.revision}, err
}

// confirm makes sure that the key is what the picture says, which may be a moment old.
func (c *claim) confirm(ctx context.Context, e *entry) (subnet.Lease, error) {
	var resp *clientv3.GetResponse
	err := c.s.request(ctx, "read the lease of "+e.subnets.String(), func(ctx context.Context, cl *clientv3.Client) (err error) {
		resp, err = cl.Get(ctx, e.key)
		return err
	})
	if err != nil {
		return subnet.Lease{}, err
	}
	if len(resp.Kvs) == 0 || resp.Kvs[0].ModRevision != e.modified {
		c.stale()
		return subnet.Lease{}, errRaced
	}
	return c.hold(e.key, e.created, e.modified, clientv3.LeaseID(e.lease), e.subnets), nil
}

// update writes the value of the key that the node has, unless somebody else has written to it meanwhile. The key
// stays attached to the etcd lease that it has, or to none if it is a reservation.
func (c *claim) update(ctx context.Context, e *entry) (subnet.Lease, error) {
	var resp *clientv3.TxnResponse
	err := c.s.request(ctx, "write the lease of "+e.subnets.String(), func(ctx context.Context, cl *clientv3.Client) (err error) {
		resp, err = cl.Txn(ctx).
			If(clientv3.Compare(clientv3.ModRevision(e.key), "=", e.modified)).
			Then(clientv3.OpPut(e.key, c.value, clientv3.WithIgnoreLease())).
			Commit()
		return err
	})
	if err != nil {
		return subnet.Lease{}, err
	}
	if !resp.Succeeded {
		c.stale()
		return subnet.Lease{}, errRaced
	}
	return c.hold(e.key, e.created, resp.Header.Revision, clientv3.LeaseID(e.lease), e.subnets), nil
}

// stale makes the next attempt read everything.
func (c *claim) stale() {
	c.base = nil
	c.rereads++
}

// grant returns an etcd lease for a new key: the one of the key that it replaces, or one that was granted before and
// not used, or a new one.
func (c *claim) grant(ctx context.Context, from *entry) (clientv3.LeaseID, error) {
	if from != nil && from.lease != 0 {
		return clientv3.LeaseID(from.lease), nil
	}
	c.s.mu.Lock()
	id, age := c.s.spare, time.Since(c.s.spared)
	c.s.mu.Unlock()
	if id != 0 && age < c.s.o.TTL/2 {
		return id, nil
	}
	err := c.s.request(ctx, "get an etcd lease", func(ctx context.Context, cl *clientv3.Client) error {
		resp, err := cl.Grant(ctx, int64(c.s.o.TTL/time.Second))
		if err == nil {
			id = resp.ID
		}
		return err
	})
	if err == nil {
		c.s.keepSpare(id)
	}
	return id, err
}

func (s *Store) keepSpare(id clientv3.LeaseID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spare, s.spared = id, time.Now()
}

// hold notes what the node has, for the keeper and for the next Claim.
func (c *claim) hold(key string, created, modified int64, id clientv3.LeaseID, subnets subnet.Subnets) subnet.Lease {
	lease := subnet.Lease{Subnets: subnets, Attrs: c.want.Attrs}
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	fresh := c.s.own.lease != id
	c.s.claimed++
	c.s.own = holding{key: key, lease: id, created: created, modified: modified, value: lease, claim: c.s.claimed}
	if fresh {
		c.s.health.Expires = time.Time{}
		nudge(c.s.kick)
	}
	return lease
}
