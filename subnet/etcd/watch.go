package etcd

import (
	"context"
	"errors"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"github.com/weft-network/weft/subnet"
)

// maxLists bounds how often one Watch reads everything again without having seen a single event in between: past
// that, the caller's back-off is needed.
const maxLists = 3

// Watch implements subnet.Store. A Snapshot comes from one range read and from then on from one watch; keys are read
// again as a whole when the history that the watch needs has been compacted, when etcd turns out to be another one
// than before, and when f does not believe what it saw.
func (s *Store) Watch(ctx context.Context, f func(subnet.Snapshot) (believed bool)) error {
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.follow(gctx, f) })
	g.Go(func() error { return s.keep(gctx) })
	g.Go(func() error { return s.observe(gctx) })
	err := g.Wait()
	s.mu.Lock()
	s.mirror = nil
	s.mu.Unlock()
	nudge(s.moved)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// follow lists and watches, again and again.
func (s *Store) follow(ctx context.Context, f func(subnet.Snapshot) bool) error {
	for lists := 1; ; lists++ {
		m, err := s.list(ctx)
		if err != nil {
			return err
		}
		s.adopt(m)
		if !f(s.snapshot(m, nil)) {
			lists = 0 // f decides when it has seen enough
			if err := pause(ctx, s.o.RereadDelay); err != nil {
				return err
			}
			continue
		}
		events, err := s.stream(ctx, m, f)
		if err != nil {
			return err
		}
		if events {
			lists = 0
		}
		if lists >= maxLists {
			return s.failed("follow the leases", errors.New("it loses its history faster than it can be read"))
		}
	}
}

// list reads everything below the prefix.
func (s *Store) list(ctx context.Context) (*mirror, error) {
	s.mu.Lock()
	claims := s.claimed
	s.mu.Unlock()
	var resp *clientv3.GetResponse
	err := s.request(ctx, "read the leases", func(ctx context.Context, c *clientv3.Client) (err error) {
		resp, err = c.Get(ctx, s.o.Prefix, clientv3.WithPrefix())
		return err
	})
	if err != nil {
		return nil, err
	}
	m := newMirror(s.o.Prefix, len(resp.Kvs))
	m.cluster, m.revision, m.claims = resp.Header.ClusterId, resp.Header.Revision, claims
	m.load(resp.Kvs)
	return m, nil
}

// adopt makes m the mirror that Claim uses.
func (s *Store) adopt(m *mirror) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mirror = m
	select {
	case <-s.relist: // this was it
	default:
	}
	s.review(m)
}

// snapshot is what f is shown of m. Only the caller of f changes m, so that it may be read during the call.
func (s *Store) snapshot(m *mirror, changed []subnet.Subnets) subnet.Snapshot {
	return subnet.Snapshot{Config: m.config, Place: "the etcd key " + m.prefix + configName, Leases: m.leases, Changed: changed, Faults: m.faults()}
}

// stream follows one watch from the revision of m on. It returns without an error when everything must be read again;
// events tells whether it has got anywhere.
func (s *Store) stream(ctx context.Context, m *mirror, f func(subnet.Snapshot) bool) (events bool, err error) {
	client, err := s.connect()
	if err != nil {
		return false, s.failed("follow the leases", err)
	}
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	ch := client.Watch(ctx, s.o.Prefix, clientv3.WithPrefix(), clientv3.WithRev(m.revision+1))
	for {
		select {
		case <-ctx.Done():
			return events, ctx.Err()
		case <-s.relist:
			return events, nil
		case r, ok := <-ch:
			if again, err := s.receive(ctx, m, ch, r, ok); again || err != nil {
				return events, err
			}
			events = true
			s.mu.Lock()
			changed, any := m.drain()
			s.mu.Unlock()
			if !any || f(s.snapshot(m, changed)) {
				continue
			}
			return events, pause(ctx, s.o.RereadDelay)
		}
	}
}

// receive takes r into m, and all that has arrived behind it: a burst of changes is one Snapshot.
func (s *Store) receive(ctx context.Context, m *mirror, ch clientv3.WatchChan, r clientv3.WatchResponse, ok bool) (again bool, err error) {
	for {
		switch {
		case ctx.Err() != nil:
			return false, ctx.Err()
		case !ok:
			return false, s.failed("follow the leases", errors.New("the watch ended"))
		case r.CompactRevision != 0:
			s.log.WithField("revision", m.revision).Info("etcd no longer has the changes since this revision: reading all leases again")
			return true, nil
		case r.Err() != nil:
			return false, s.failed("follow the leases", r.Err())
		}
		s.apply(m, r)
		select {
		case r, ok = <-ch:
		default:
			return false, nil
		}
	}
}

// apply takes the events of r into m.
func (s *Store) apply(m *mirror, r clientv3.WatchResponse) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ev := range r.Events {
		if ev.Type == clientv3.EventTypeDelete {
			m.remove(string(ev.Kv.Key))
		} else {
			m.put(ev.Kv)
		}
	}
	m.revision = max(m.revision, r.Header.Revision)
	nudge(s.moved)
	s.health.Since, s.health.Err = time.Now(), nil
	s.review(m)
}

// reach waits until Watch's mirror has got to a revision, and returns it locked; nil if it does not get there soon, or
// if there is none.
func (s *Store) reach(ctx context.Context, to position) *mirror {
	late := time.NewTimer(time.Second)
	defer late.Stop()
	for {
		s.mu.Lock()
		m := s.mirror
		if m != nil && m.cluster == to.cluster && m.revision >= to.revision {
			return m
		}
		s.mu.Unlock()
		if m == nil || m.cluster != to.cluster {
			return nil
		}
		select {
		case <-s.moved:
		case <-late.C:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// failed notes and explains an error that is not the outcome of a single request.
func (s *Store) failed(what string, err error) error {
	err = s.explain(what, err)
	s.answered(err)
	return err
}

// pause waits for d, or returns why there is no point in waiting.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
