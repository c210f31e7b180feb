package etcd

import (
	"context"
	"fmt"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weft-network/weft/subnet"
)

// A node that wants what another node seems to hold (the lease of its own identity at another address, as machines
// do that were cloned, or its own address, announced under another identity) asks whether that one is alive. It puts
// a key "contests/NODE" beside the leases, attached to a short etcd lease. An agent that holds the lease of NODE
// deletes it, which is the answer. Where no answer comes in time, the holder is gone: the node is the same machine
// with a new address or a new name, or its successor, and the lease is taken over. Nothing of this happens at a
// normal restart, in which identity and address are what they were, nor when a running agent's address changes.
//
// Whoever finds itself without its lease, because it could not answer in time, asks in the same way, and is answered
// by the new holder. So two clones never take turns.

// refusal is an answer that is still good: as long as the key is as it was, and for a while.
type refusal struct {
	key      string
	modified int64
	until    time.Time
}

// refusalTime is how long a node does not ask the same question again.
const refusalTime = time.Minute

// contest returns an error if the node of rival, which holds e, is alive.
func (s *Store) contest(ctx context.Context, e *entry, rival subnet.Lease, want subnet.Attrs) error {
	question := refusal{key: e.key, modified: e.modified}
	s.mu.Lock()
	last := s.refused
	s.mu.Unlock()
	if last.key != e.key || last.modified != e.modified || time.Now().After(last.until) {
		alive, err := s.ask(ctx, rival.Node, want)
		if err != nil {
			return err
		}
		if !alive {
			s.log.WithField("lease", rival.Subnets).WithField("node", rival.Node).WithField("address", rival.Addresses()).
				Info("the holder of this lease does not answer: taking it over")
			return nil
		}
		question.until = time.Now().Add(refusalTime)
		s.mu.Lock()
		s.refused = question
		s.mu.Unlock()
	}
	if rival.Node == want.Node {
		return fmt.Errorf("%w: node %s is alive at %s and holds %s; this one is at %s. If one machine is a copy of the other, "+
			"give one of them another machine-id and host name, or another --node-name",
			subnet.ErrIdentityInUse, rival.Node, rival.Addresses(), rival.Subnets, want.Addresses())
	}
	return fmt.Errorf("%w: node %s is alive, holds %s and announces %s as node %s does; give one of them another address",
		subnet.ErrAddressInUse, rival.Node, rival.Subnets, rival.Addresses(), want.Node)
}

// ask tells whether an agent answers for the node.
func (s *Store) ask(ctx context.Context, node string, want subnet.Attrs) (alive bool, err error) {
	key := s.contestKey(node)
	var id clientv3.LeaseID
	var revision int64
	err = s.request(ctx, "ask whether node "+node+" is alive", func(ctx context.Context, c *clientv3.Client) error {
		lease, err := c.Grant(ctx, int64((s.o.ContestTime+s.o.RequestTimeout)/time.Second)+1)
		if err != nil {
			return err
		}
		id = lease.ID
		put, err := c.Put(ctx, key, want.Node+" at "+want.Addresses(), clientv3.WithLease(id))
		if err == nil {
			revision = put.Header.Revision
		}
		return err
	})
	if err != nil {
		return false, err
	}
	alive, err = s.gone(ctx, key, revision+1)
	if alive || err != nil {
		return alive, err // a question that nobody took back expires
	}
	return false, s.request(ctx, "take the question back", func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.Revoke(ctx, id)
		return err
	})
}

// gone waits for as long as an answer may take until somebody deletes key.
func (s *Store) gone(ctx context.Context, key string, revision int64) (bool, error) {
	client, err := s.connect()
	if err != nil {
		return false, s.failed("wait for an answer", err)
	}
	wctx, cancel := context.WithTimeout(clientv3.WithRequireLeader(ctx), s.o.ContestTime)
	defer cancel()
	for r := range client.Watch(wctx, key, clientv3.WithRev(revision)) {
		for _, ev := range r.Events {
			if ev.Type == clientv3.EventTypeDelete {
				return true, nil
			}
		}
		if r.Err() != nil && wctx.Err() == nil {
			return false, s.failed("wait for an answer", r.Err())
		}
	}
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if wctx.Err() == nil {
		return false, s.failed("wait for an answer", fmt.Errorf("the watch of %s ended", key))
	}
	return false, nil
}

// answer says that this node is alive.
func (s *Store) answer(ctx context.Context, node string) {
	// A question that could not be answered is answered with the next change, or by whoever asks again.
	_ = s.request(ctx, "answer for node "+node, func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.Delete(ctx, s.contestKey(node))
		return err
	})
}

// contestKey is where questions about a node are put. It lies outside of "subnets", where flanneld would trip over
// it.
func (s *Store) contestKey(node string) string {
	return s.o.Prefix + contestsName + strings.ReplaceAll(node, "/", "_")
}
