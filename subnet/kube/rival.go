package kube

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weft-network/weft/subnet"
)

// unrivalled tells whether another node announces an address of attrs.
func (s *Store) unrivalled(ctx context.Context, attrs subnet.Attrs) error {
	s.mu.Lock()
	known := s.mirror != nil
	s.mu.Unlock()
	if !known {
		m, err := s.list(ctx)
		if err != nil {
			return err
		}
		return refuse(m.rival(attrs, 0))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return refuse(s.mirror.rival(attrs, 0))
}

// refuse is the error about a rival, if there is one.
func refuse(rival subnet.Lease, there bool) error {
	if !there {
		return nil
	}
	return fmt.Errorf("%w: Node %s at %s with %s; if that node is gone, delete its Node", subnet.ErrAddressInUse, rival.Node, rival.Addresses(), rival.Subnets)
}

// prove tells whether another node announced an address of attrs before this one did: both looked, found nobody, and
// wrote. All changes have one order, so that whoever sees its own write has seen what was written before. Who came later
// takes back what it wrote.
func (s *Store) prove(ctx context.Context, attrs subnet.Attrs) error {
	if s.unproven == 0 {
		return nil
	}
	m, err := s.reached(ctx, s.unproven)
	if err != nil {
		return err
	}
	s.mu.Lock()
	err = refuse(m.rival(attrs, s.unproven))
	s.mu.Unlock()
	if err != nil {
		err = errors.Join(err, s.withdraw(ctx, attrs))
	}
	s.unproven = 0
	return err
}

// reached returns a mirror that is at a version, or later. One that Watch keeps gets there by itself, usually within
// moments, and is waited for: where the API server is slow because all agents start at once, it must not be asked for all
// Nodes too. Where none is kept, they are read.
func (s *Store) reached(ctx context.Context, version uint64) (*mirror, error) {
	seen := make(chan *mirror, 1)
	s.mu.Lock()
	s.awaited, s.seen = version, seen
	kept := s.mirror != nil
	s.arrived()
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.seen = nil
	}()
	if !kept {
		return s.list(ctx)
	}
	late := time.NewTimer(s.o.RequestTimeout)
	defer late.Stop()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case m := <-seen:
		return m, nil
	case <-late.C:
		return nil, fmt.Errorf("what Node %s announces has not been seen within %s: the Kubernetes API is slow", s.o.Node, s.o.RequestTimeout)
	}
}

// arrived hands the mirror to who waits for it, if it is there. mu is held.
func (s *Store) arrived() {
	if s.seen != nil && s.mirror != nil && number(s.mirror.version) >= s.awaited {
		s.seen <- s.mirror
		s.seen = nil
	}
}

// withdraw takes back what announce wrote.
func (s *Store) withdraw(ctx context.Context, attrs subnet.Attrs) error {
	changes := map[string]*string{}
	for key := range s.notes.encode(attrs) {
		changes[key] = nil
	}
	_, err := s.annotate(ctx, changes)
	if err != nil {
		return fmt.Errorf("taking back what this node announces: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = subnet.Lease{}
	return nil
}
