// Package probe finds out which paths to peers carry pods' packets: it sends echo requests with pods' addresses by each of them, and
// the peers' kernels answer. It knows how long a path must have answered to be used, and how soon one is left that does not, and
// refuses to know what a path is used for.
package probe

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/weft-network/weft/network/kernel"
)

// Engine keeps the Probes of a State. What it has seen is lost with the process; Adopt says what was in use before.
type Engine struct {
	log  logrus.FieldLogger
	open func(context.Context) (wire, error)
	wake chan struct{} // rings Run

	mu      sync.Mutex
	paths   map[kernel.Path]*path
	byDst   map[netip.Prefix]kernel.Path // of those that are put
	byID    map[uint32]*path
	last    uint32 // id that was given last
	works   map[kernel.Path]bool
	edition int // grows with every change of works
	failure error
}

// wire carries probes. It is used by one goroutine, but for receive, which another one calls.
type wire interface {
	// send sends a probe. That it fails says no more than that no answer will come.
	send(p kernel.Probe, e echo) error
	// receive calls answered with each answer, until close.
	receive(answered func(echo)) error
	close()
}

// echo is what a probe carries and its answer brings back.
type echo struct {
	path   uint32
	number uint32
}

// New makes the engine. It needs CAP_NET_RAW as soon as there is a path to be tried, and nothing before.
func New(log logrus.FieldLogger) *Engine { return newEngine(openSockets, log) }

func newEngine(open func(context.Context) (wire, error), log logrus.FieldLogger) *Engine {
	return &Engine{log: log, open: open, wake: make(chan struct{}, 1), paths: map[kernel.Path]*path{}, byDst: map[netip.Prefix]kernel.Path{},
		byID: map[uint32]*path{}}
}

// List adds the probes that are sent.
func (e *Engine) List(_ context.Context, s *kernel.State) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, key := range e.byDst {
		s.Probes.Add(e.paths[key].probe)
	}
	return nil
}

// Put begins to send the probes of s.
func (e *Engine) Put(_ context.Context, s kernel.State) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	for _, x := range s.Probes {
		if key, ok := e.byDst[x.Dst]; ok && key != x.Path {
			e.remove(key)
		}
		p := e.paths[x.Path]
		if p == nil {
			p = e.add(x.Path, now)
		}
		if !p.put {
			p.next = now
		}
		p.probe, p.put = x, true
		e.byDst[x.Dst] = x.Path
	}
	e.ring()
	return nil
}

// Drop ends the probes of s. A path that is put again later has to prove itself again.
func (e *Engine) Drop(_ context.Context, s kernel.State) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, x := range s.Probes {
		if key, ok := e.byDst[x.Dst]; ok && key == x.Path {
			e.remove(key)
		}
	}
	return nil
}

// Adopt makes paths count as working before they are put, because they are in use already. One that is not put for a while is
// forgotten.
func (e *Engine) Adopt(paths []kernel.Path) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	for _, key := range paths {
		if e.paths[key] == nil {
			p := e.add(key, now)
			p.works = true
		}
	}
	e.changed()
	e.ring()
}

// add makes a path that is not put yet.
func (e *Engine) add(key kernel.Path, now time.Time) *path {
	e.last++
	p := &path{id: e.last, since: now, next: now, pause: pauseLeast}
	e.paths[key], e.byID[p.id] = p, p
	return p
}

// remove forgets a path.
func (e *Engine) remove(key kernel.Path) {
	p := e.paths[key]
	delete(e.paths, key)
	delete(e.byID, p.id)
	if e.byDst[key.Dst] == key {
		delete(e.byDst, key.Dst)
	}
	if p.works {
		e.changed()
	}
}

// changed notes that other paths work.
func (e *Engine) changed() {
	e.works = nil
	e.edition++
}

// Works returns the paths that work, and a number that is another one when they are others. The map is not changed any more.
func (e *Engine) Works() (works map[kernel.Path]bool, edition int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.works == nil {
		e.works = map[kernel.Path]bool{}
		for key, p := range e.paths {
			if p.works {
				e.works[key] = true
			}
		}
	}
	return e.works, e.edition
}

// Paths tells what was seen of each path.
func (e *Engine) Paths() map[kernel.Path]kernel.PathState {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	states := make(map[kernel.Path]kernel.PathState, len(e.paths))
	for key, p := range e.paths {
		states[key] = p.state(now)
	}
	return states
}

// Warnings are sentences for the status: why no path can be tried.
func (e *Engine) Warnings() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.failure == nil {
		return nil
	}
	return []string{fmt.Sprintf("paths to peers without the tunnel cannot be tried, and all packets go by the tunnel: %v; weftd needs the capability CAP_NET_RAW for that", e.failure)}
}

func (e *Engine) ring() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}
