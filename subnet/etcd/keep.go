package etcd

import (
	"context"
	"errors"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/weft-network/weft/subnet"
)

// keep renews the etcd lease of the node's key, whichever it is, until ctx ends. A renewal writes nothing. It never
// gives up: that the lease is gone shows in the mirror, and leads to a Claim.
func (s *Store) keep(ctx context.Context) error {
	var lost clientv3.LeaseID
	for {
		s.mu.Lock()
		id, node := s.own.lease, s.own.value.Node
		asked := s.own.key != "" && s.mirror != nil && s.mirror.questions[s.contestKey(node)]
		s.mu.Unlock()
		if asked {
			s.answer(ctx, node)
		}
		wait := s.o.TTL // nothing to keep: kick tells when there is
		if id != 0 && id != lost {
			ttl, err := s.renew(ctx, id)
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case err != nil:
				wait = min(s.o.TTL/10, 3*time.Second)
			case ttl <= 0:
				lost = id
				s.log.WithField("lease", id).Warn("the etcd lease of this node's subnet is gone")
			default:
				wait = ttl / 3
			}
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-s.kick:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// renew renews an etcd lease, and returns how long it lasts from now on; nothing if it is gone. The client's own
// KeepAlive would look at the clock four times a second all day long, and its KeepAliveOnce tries again without a
// pause while etcd is away.
func (s *Store) renew(ctx context.Context, id clientv3.LeaseID) (ttl time.Duration, err error) {
	err = s.request(ctx, "renew the etcd lease of this node's subnet", func(ctx context.Context, c *clientv3.Client) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := pb.NewLeaseClient(c.ActiveConnection()).LeaseKeepAlive(ctx, grpc.WaitForReady(true))
		if err != nil {
			return err
		}
		if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: int64(id)}); err != nil {
			return errors.Join(err, stream.CloseSend())
		}
		resp, err := stream.Recv()
		if err != nil {
			return err
		}
		ttl = time.Duration(resp.TTL) * time.Second
		return stream.CloseSend()
	})
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.own.lease == id && ttl > 0 {
		s.health.Expires = time.Now().Add(ttl)
	}
	return ttl, nil
}

// review compares what this node is believed to hold with m. It needs the lock.
func (s *Store) review(m *mirror) {
	if s.own.key == "" || s.own.newer(m) {
		return
	}
	e := m.find(s.own.value.Subnets)
	if e == nil || e.key != s.own.key || m.bad[e.key] == nil && !mine(m.lease(e), s.own.value) {
		s.own = holding{}
		s.health.Expires = time.Time{}
		nudge(s.kick)
		return
	}
	if clientv3.LeaseID(e.lease) != s.own.lease {
		s.health.Expires = time.Time{}
		nudge(s.kick)
	}
	s.own.lease = clientv3.LeaseID(e.lease)
	if m.questions[s.contestKey(s.own.value.Node)] {
		nudge(s.kick)
	}
}

// mine tells whether a key says what this node wrote into it, or would have written if it were flanneld.
func mine(now, written subnet.Lease) bool {
	return (now.Node == written.Node || now.Node == "") && now.PublicIP == written.PublicIP
}
