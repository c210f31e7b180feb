// Package ipsec keeps associations with strongSwan's IKE daemon, charon: it runs one of its own, tells it over VICI which peers there
// are, and has it agree on keys with those with which it has none. charon outlives the agent, and the next one finds it by its
// socket. The package knows charon and how associations are told to it, and refuses to know leases and routes.
package ipsec

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"

	"github.com/weft-network/weft/network/kernel"
)

// Options is all that an Engine is told.
type Options struct {
	Dir string             // folder of its own, for charon's socket, config and log
	Log logrus.FieldLogger // which peers there are keys with; nil logs nothing
}

// Engine keeps the associations of a State. Make it with New.
type Engine struct {
	log    logrus.FieldLogger
	charon *charon

	mu     sync.Mutex                    // also held while charon is told of changes
	wanted map[string]kernel.Association // what was put, by the name of its connection
	kernel *kernel.IPsec                 // of the namespace of charon; nil until there is one to look after

	patients map[string]patient // as nurse saw them last, by the name of the connection
}

// New makes an engine whose charon works in the network namespace in which Put is called. It starts nothing yet.
func New(o Options) *Engine {
	if o.Log == nil {
		quiet := logrus.New()
		quiet.SetOutput(io.Discard)
		o.Log = quiet
	}
	return &Engine{log: o.Log, charon: newCharon(o.Dir), wanted: map[string]kernel.Association{}, patients: map[string]patient{}}
}

// List adds the associations that charon was told of. It does not tell all of each: the rest is what was put, by this agent or by the one before,
// which has left it in a file. Where that is lost too, an association differs from what is wanted, and Put leaves it alone all the same if
// charon knows it by the name that it is wanted under.
func (e *Engine) List(_ context.Context, s *kernel.State) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	v, told, err := e.charon.told()
	if errors.Is(err, errAbsent) {
		clear(e.wanted)
		return nil
	} else if err != nil {
		return err
	}
	v.Close()
	if err := e.open(); err != nil {
		return err
	}
	e.remember()
	put := e.wanted
	e.wanted = map[string]kernel.Association{} // what charon has lost has to be put again
	for _, c := range told {
		if a, ok := put[c.name]; ok {
			e.wanted[c.name] = a
			s.Associations.Add(a)
		} else if c.ok {
			s.Associations.Add(c.Association)
		}
	}
	return nil
}

// tries is how often Put begins again with a charon that goes away in the middle of it.
const tries = 3

// Put starts charon where it does not run, and tells it of the associations of s that it does not know. One that takes the place
// of another with the same peer leaves the keys of that one in force until there are new ones. A charon that goes away meanwhile is started
// again.
func (e *Engine) Put(ctx context.Context, s kernel.State) error {
	if len(s.Associations) == 0 {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for n := 1; ; n++ {
		err := e.tell(ctx, s)
		if !errors.Is(err, errAbsent) {
			return err
		}
		if n == tries {
			return fmt.Errorf("charon has ended %d times while it was told of the peers: %w%s", n, err, e.charon.lastWords())
		}
	}
}

// tell starts charon where it does not run, and tells it of the associations of s.
func (e *Engine) tell(ctx context.Context, s kernel.State) error {
	if err := errors.Join(e.charon.start(ctx), e.open()); err != nil {
		return err
	}
	v, told, err := e.charon.told()
	if err != nil {
		return err
	}
	defer v.Close()
	known := map[kernel.AssociationKey][]string{}
	for _, c := range told {
		if c.ok {
			known[c.Key()] = append(known[c.Key()], c.name)
		}
	}
	var errs []error
	for _, a := range inOrder(s.Associations) {
		if err := e.put(v, a, known[a.Key()]); err != nil {
			errs = append(errs, fmt.Errorf("make %s: %w", a, err))
		}
	}
	return errors.Join(append(errs, e.note())...)
}

// put tells charon of one association. told are the names of those with the same peer that it knows.
func (e *Engine) put(v vici, a kernel.Association, told []string) error {
	name := nameOf(a)
	known := slices.Contains(told, name)
	if !known {
		if err := v.load(name, a); err != nil {
			return err
		}
	}
	e.wanted[name] = a
	var errs []error
	for _, other := range told {
		if other != name {
			delete(e.wanted, other)
			errs = append(errs, v.unload(other))
		}
	}
	if !known && begins(a) {
		errs = append(errs, v.initiate(name))
	}
	return errors.Join(errs...)
}

// begins tells whether it is this node that asks the peer for keys first, so that not both do at the same time.
func begins(a kernel.Association) bool { return a.Self.Less(a.Remote) }

// Drop has charon forget the associations of s and the keys that it has for them. A charon that has nothing left to do is ended.
// One that has gone, or goes meanwhile, has forgotten all.
func (e *Engine) Drop(ctx context.Context, s kernel.State) error {
	if len(s.Associations) == 0 {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	err := e.drop(ctx, s)
	if errors.Is(err, errAbsent) {
		clear(e.wanted)
		return nil
	}
	return err
}

func (e *Engine) drop(ctx context.Context, s kernel.State) error {
	v, told, err := e.charon.told()
	if err != nil {
		return err
	}
	defer v.Close()
	var errs []error
	left := 0
	for _, c := range told {
		if _, gone := s.Associations[c.Key()]; !gone || !c.ok {
			left++
			continue
		}
		delete(e.wanted, c.name)
		if err := errors.Join(v.unload(c.name), v.terminate(c.name)); err != nil {
			errs = append(errs, fmt.Errorf("remove %s: %w", c.Association, err))
		}
	}
	if left == 0 && len(errs) == 0 {
		errs = append(errs, e.charon.stop(ctx))
	}
	return errors.Join(append(errs, e.note())...)
}

// inOrder sorts associations by device and peer.
func inOrder(set kernel.Set[kernel.AssociationKey, kernel.Association]) []kernel.Association {
	return slices.SortedFunc(maps.Values(set), func(a, b kernel.Association) int {
		return cmp.Or(cmp.Compare(a.Link, b.Link), a.Peer.Compare(b.Peer))
	})
}

// Run has keys agreed on with peers with which there are none, and those made again that the kernel has lost, and calls look when charon has ended.
func (e *Engine) Run(ctx context.Context, look func()) error {
	defer e.close()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return e.charon.watch(ctx, look) })
	g.Go(func() error { return e.nurse(ctx) })
	return g.Wait()
}

// close closes what List and Put have opened. They open it again.
func (e *Engine) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.kernel != nil {
		e.kernel.Close()
		e.kernel = nil
	}
}
