package etcd

import (
	"context"
	"errors"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/connectivity"
)

// observe keeps Health true, and notices when etcd is not the one that it was: after a restore from a backup, or
// with its data gone, it would let a watch wait for a revision that is far in the future, without a word.
func (s *Store) observe(ctx context.Context) error {
	client, err := s.connect()
	if err != nil {
		return s.failed("connect", err)
	}
	conn := client.ActiveConnection()
	for was := connectivity.Ready; ctx.Err() == nil; {
		state := conn.GetState()
		if state == connectivity.TransientFailure && was == connectivity.Ready {
			was = state
			s.answered(s.explain("keep the connection", errors.New("the connection is gone")))
			s.log.WithField("endpoints", s.o.Endpoints).Warn("etcd cannot be reached; the leases stay as they were")
		}
		if state == connectivity.Ready && (was != state || s.quiet()) && s.probe(ctx) == nil && was != state {
			was = state
			s.log.Info("etcd can be reached again")
			nudge(s.kick) // a renewal may have failed meanwhile
		}
		wctx, cancel := context.WithTimeout(ctx, s.o.ProbeInterval)
		conn.WaitForStateChange(wctx, state)
		cancel()
	}
	return ctx.Err()
}

// quiet tells whether etcd was heard of, but not for a while.
func (s *Store) quiet() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.health.Since.IsZero() && time.Since(s.health.Since) >= s.o.ProbeInterval/2
}

// probe asks etcd for no more than a sign of life that a majority agrees on.
func (s *Store) probe(ctx context.Context) error {
	return s.request(ctx, "ask for a sign of life", func(ctx context.Context, c *clientv3.Client) error {
		resp, err := c.Get(ctx, s.o.Prefix+configName, clientv3.WithCountOnly())
		if err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if m := s.mirror; m != nil && (m.cluster != resp.Header.ClusterId || resp.Header.Revision < m.revision) {
			s.log.Warn("etcd is not the one that it was: reading all leases again")
			nudge(s.relist)
		}
		return nil
	})
}
