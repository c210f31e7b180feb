package kube

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weft-network/weft/subnet"
)

// rideOver is for how long Watch goes on by itself while the API server is away. One that restarts takes less, and what
// was missed can then be had without reading everything again, which thousands of agents would do at once.
const rideOver = 30 * time.Second

// Watch implements subnet.Store. The Nodes are streamed once, and followed from then on; they are read again as a whole
// when the API server no longer has the changes that were missed, and when f does not believe what it saw. A change that
// does not touch what Weft reads, as the heartbeats of the kubelets, leads to no call of f.
func (s *Store) Watch(ctx context.Context, f func(subnet.Snapshot) (believed bool)) error {
	g, gctx := errgroup.WithContext(ctx)
	file := newConfigFile(s.o.ConfigPath, s.log)
	g.Go(func() error { return file.watch(gctx) })
	g.Go(func() error { return s.answer(gctx) })
	g.Go(func() error { return s.follow(gctx, &teller{f: f, file: file}) })
	err := g.Wait()
	s.mu.Lock()
	s.mirror = nil // nobody keeps it true any more
	s.mu.Unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// teller is who calls Watch's function.
type teller struct {
	f     func(subnet.Snapshot) bool
	file  *configFile
	told  bool   // f knows the mirror as it was when drain was called last
	known string // the config that f knows
}

// errDoubted says that f did not believe what it saw.
var errDoubted = errors.New("the picture is not believed")

// tell calls f if there is something to tell.
func (t *teller) tell(s *Store, m *mirror) error {
	s.mu.Lock()
	changed, any := m.drain()
	s.mu.Unlock()
	config := t.file.text()
	if t.told && !any && config == t.known {
		return nil
	}
	if !t.told {
		changed = nil
	}
	t.told, t.known = true, config
	// Only this goroutine changes the mirror, so that it may be read during the call.
	if !t.f(subnet.Snapshot{Config: config, Place: t.file.where(), Leases: m.leases, Changed: changed, Faults: m.faults(), Self: m.self}) {
		t.told = false
		return errDoubted
	}
	return nil
}

// follow reads and streams, again and again.
func (s *Store) follow(ctx context.Context, t *teller) error {
	var m *mirror // nil: everything has to be read
	var failing time.Time
	for wait := time.Duration(0); ; {
		err := s.rest(ctx, t, m, wait)
		if errors.Is(err, errDoubted) {
			m = nil
		} else if err != nil {
			return err
		}
		before, began := s.Health().Since, time.Now()
		m, err = s.stream(ctx, t, m)
		if s.Health().Since != before {
			failing = time.Time{} // it got somewhere
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errDoubted):
			m, wait = nil, s.o.RereadDelay
			continue
		case gone(err):
			s.log.Info("the API server no longer has the changes that were missed: reading all Nodes again")
			m, wait = nil, longer(0)
			continue
		case err == nil: // API servers end streams after some minutes
			if wait = longer(wait); time.Since(began) > time.Minute {
				wait = 0
			}
			continue
		case m == nil:
			return err
		case failing.IsZero():
			failing = time.Now()
			s.log.WithError(err).Warn("the Kubernetes API cannot be followed; the leases stay as they were")
		}
		if time.Since(failing) > rideOver {
			return err
		}
		wait = longer(wait)
	}
}

// longer is the pause that follows a pause.
func longer(d time.Duration) time.Duration { return min(max(2*d, 100*time.Millisecond), 2*time.Second) }

// rest waits between two streams, and goes on telling of the config.
func (s *Store) rest(ctx context.Context, t *teller, m *mirror, d time.Duration) error {
	if d == 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d + rand.N(d/4))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			return nil
		case <-t.file.bell:
			if m == nil {
				continue
			}
			if err := t.tell(s, m); err != nil {
				return err
			}
		}
	}
}
