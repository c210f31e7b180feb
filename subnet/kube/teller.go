package kube

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/weft-network/weft/subnet"
)

// errDoubted says that f did not believe what it saw.
var errDoubted = errors.New("the picture is not believed")

// teller is who calls Watch's function: whatever happens to the Nodes only rings its bell.
type teller struct {
	f    func(subnet.Snapshot) bool
	file *configFile
	bell chan struct{}

	turn   sync.Mutex // held while the mirror is changed, and while f looks at it
	mirror *mirror    // nil until all Nodes have been read
	told   bool       // f knows the mirror as it was when drain was called last
	known  string     // the config that f knows
}

// adopt makes a mirror that was filled the one that everybody uses. f is to see all of it.
func (t *teller) adopt(s *Store, m *mirror) {
	t.turn.Lock()
	defer t.turn.Unlock()
	t.mirror, t.told = m, false
	s.mu.Lock()
	s.mirror = m
	s.arrived()
	s.health.Note(nil, time.Now())
	s.mu.Unlock()
	s.hear(m.contest)
	t.ring()
}

// change changes the mirror.
func (t *teller) change(s *Store, do func(*mirror)) {
	t.turn.Lock()
	defer t.turn.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	do(t.mirror)
	s.arrived()
	if t.mirror.dirty() {
		t.ring()
	}
}

func (t *teller) ring() {
	select {
	case t.bell <- struct{}{}:
	default:
	}
}

// run tells until ctx ends, or f does not believe.
func (t *teller) run(ctx context.Context, s *Store) error {
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-t.bell:
		case <-t.file.bell:
		}
		if ctx.Err() == nil && !t.tell(s) {
			return errDoubted
		}
	}
}

// tell calls f if there is something to tell. It returns what f says.
func (t *teller) tell(s *Store) (believed bool) {
	t.turn.Lock()
	defer t.turn.Unlock()
	m, config := t.mirror, t.file.text()
	if m == nil {
		return true // nobody has been told anything yet
	}
	s.mu.Lock()
	changed, any := m.drain()
	s.mu.Unlock()
	if t.told && !any && config == t.known {
		return true
	}
	if !t.told {
		changed = nil
	}
	t.told, t.known = true, config
	return t.f(subnet.Snapshot{Config: config, Place: t.file.where(), Leases: m.leases, Changed: changed, Faults: m.faults(), Self: m.self})
}
