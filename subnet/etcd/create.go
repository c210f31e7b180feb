package etcd

import (
	"context"
	"errors"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weft-network/weft/subnet"
)

// create takes the key of p.to, and gives up p.from in the same transaction. Two keys can overlap and yet differ: in
// dual-stack clusters, and while the length of subnets changes. So the node then looks at all that was there before
// its key: if something overlaps, it was first, and the node gives up its key and tries again. A node that comes later
// sees this one's in the same way; everybody agrees on who was first, because etcd counts.
func (c *claim) create(ctx context.Context, p plan, at position) (subnet.Lease, error) {
	id, err := c.grant(ctx, p.from)
	if err != nil {
		return subnet.Lease{}, err
	}
	key := c.s.o.Prefix + subnetsName + formatKey(p.to)
	span, options := inTheWay(key, p)
	conditions := []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(span), "=", 0)}
	if len(options) > 0 {
		conditions[0] = conditions[0].WithPrefix()
	}
	then := []clientv3.Op{clientv3.OpPut(key, c.value, clientv3.WithLease(id))}
	if p.from != nil {
		conditions = append(conditions, clientv3.Compare(clientv3.ModRevision(p.from.key), "=", p.from.modified))
		then = append(then, clientv3.OpDelete(p.from.key))
	}
	var resp *clientv3.TxnResponse
	var gone bool
	err = c.s.request(ctx, "take the subnet "+p.to.String(), func(ctx context.Context, cl *clientv3.Client) (err error) {
		resp, err = cl.Txn(ctx).If(conditions...).Then(then...).Else(clientv3.OpGet(span, options...)).Commit()
		if gone = errors.Is(err, rpctypes.ErrLeaseNotFound); gone {
			return nil
		}
		return err
	})
	switch {
	case err != nil:
		return subnet.Lease{}, err
	case gone:
		c.s.keepSpare(0)
		c.stale()
		return subnet.Lease{}, errRaced
	case !resp.Succeeded:
		there := resp.Responses[0].GetResponseRange().Kvs
		if !c.learn(there, p.to) || c.ours(there) {
			c.stale() // it is the node's own key that is not what the picture says
		}
		return subnet.Lease{}, errRaced
	}
	now := position{resp.Header.ClusterId, resp.Header.Revision}
	if now.cluster != at.cluster || now.revision <= at.revision {
		c.stale()
		return subnet.Lease{}, errors.Join(errRaced, c.s.drop(ctx, key, now.revision))
	}
	first, err := c.wasFirst(ctx, key, p.to, at, now)
	if err != nil || !first {
		return subnet.Lease{}, errors.Join(or(err, errRaced), c.s.drop(ctx, key, now.revision))
	}
	c.s.keepSpare(0)
	return c.hold(key, now.revision, now.revision, id, p.to), nil
}

// inTheWay returns the key, and the options that make it a span, where there must be nothing: the key itself, and
// those with the same IPv4 subnet and any IPv6 one, unless the former is the node's own already.
func inTheWay(key string, p plan) (string, []clientv3.OpOption) {
	mine := p.from != nil && p.from.subnets[subnet.Inet] == p.to[subnet.Inet]
	if mine || !p.to[subnet.Inet].IsValid() {
		return key, nil
	}
	half := formatKey(subnet.Subnets{subnet.Inet: p.to[subnet.Inet]})
	return strings.TrimSuffix(key, formatKey(p.to)) + half, []clientv3.OpOption{clientv3.WithPrefix()}
}

// wasFirst tells whether nothing overlaps s that is older than its key, which was made at now. Watch's mirror knows as
// soon as it has got that far, and it costs etcd nothing; otherwise what came since the picture was taken is read.
func (c *claim) wasFirst(ctx context.Context, key string, s subnet.Subnets, at, now position) (bool, error) {
	if m := c.s.reach(ctx, now); m != nil {
		defer c.s.mu.Unlock()
		e := m.find(s)
		for _, rival := range m.overlapping(s) {
			c.also = append(c.also, rival.subnets)
		}
		return e != nil && e.key == key, nil
	}
	var resp *clientv3.GetResponse
	err := c.s.request(ctx, "read the newest leases", func(ctx context.Context, cl *clientv3.Client) (err error) {
		resp, err = cl.Get(ctx, c.s.o.Prefix+subnetsName, clientv3.WithPrefix(), clientv3.WithKeysOnly(),
			clientv3.WithMinCreateRev(at.revision+1), clientv3.WithMaxCreateRev(now.revision-1))
		return err
	})
	if err != nil {
		return false, err
	}
	return !c.learn(resp.Kvs, s), nil
}

// ours tells whether a key is the node's own, made by a transaction whose answer was lost.
func (c *claim) ours(kvs []*mvccpb.KeyValue) bool {
	d := newDecoder()
	return slices.ContainsFunc(kvs, func(kv *mvccpb.KeyValue) bool {
		a, err := d.value(kv.Value)
		return err == nil && a.Node == c.want.Attrs.Node
	})
}

// learn notes keys that are taken, and tells whether one of them overlaps s.
func (c *claim) learn(kvs []*mvccpb.KeyValue, s subnet.Subnets) (overlaps bool) {
	for _, kv := range kvs {
		other, err := parseKey(strings.TrimPrefix(string(kv.Key), c.s.o.Prefix+subnetsName))
		if err != nil {
			continue
		}
		c.also = append(c.also, other)
		overlaps = overlaps || other.Overlaps(s)
	}
	return overlaps
}

// drop deletes a key, unless somebody has written to it since.
func (s *Store) drop(ctx context.Context, key string, modified int64) error {
	return s.request(ctx, "give up "+key, func(ctx context.Context, cl *clientv3.Client) error {
		_, err := cl.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", modified)).Then(clientv3.OpDelete(key)).Commit()
		return err
	})
}

// or returns the first error that is one.
func or(a, b error) error {
	if a != nil {
		return a
	}
	return b
}
