package network

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weft-network/weft/network/kernel"
)

// Engine makes those objects of a State true that the kernel does not hold by itself: who has to run for them, such as
// a process that moves packets or one that negotiates keys. Each engine has its own sets of a State and looks at no
// others; no two have the same. Its memory is what it can list, not what it was told: an agent that was started again
// finds what its predecessor left.
//
// A change goes in this order: the kernel's devices, Put, the kernel's addresses, entries and routes, Drop. So a device
// is there when Put needs it, what Put made is there before packets are sent to it, and Drop takes away what no route
// leads to any more.
//
// List, Put and Drop come one at a time, Run at the same time as these; all of them are called on a thread in the
// network namespace of the agent, and what they start on another thread may be in that of the process.
type Engine interface {
	// List adds to s what the engine keeps now.
	List(ctx context.Context, s *kernel.State) error
	// Put makes the engine's objects of s, or changes them in place; those that are there already are left alone. One that fails
	// does not stop the others; the error joins all failures, each with what was attempted.
	Put(ctx context.Context, s kernel.State) error
	// Drop takes the engine's objects of s away; one that has gone already is a success. Of objects whose device the
	// same change took away, nothing may be left to do.
	Drop(ctx context.Context, s kernel.State) error
	// Run does what goes on between the changes until ctx ends; it returns ctx.Err() then. look is to be called when what
	// List would tell may have changed without Put or Drop, and never blocks. It is called again, after a pause, when it
	// returns an error.
	Run(ctx context.Context, look func()) error
}

// engines drives all engines of an agent.
type engines struct {
	list []Engine
	kern *kernel.Kernel
}

// each calls f for every engine, inside of the agent's namespace; the error joins what they say.
func (e engines) each(f func(Engine) error) error {
	if len(e.list) == 0 {
		return nil
	}
	return e.kern.Inside(func() error {
		var errs []error
		for _, x := range e.list {
			errs = append(errs, f(x))
		}
		return errors.Join(errs...)
	})
}

// List returns what the kernel and the engines hold.
func (e engines) List(ctx context.Context, scope kernel.Scope, sysctls []string) (kernel.State, error) {
	s, err := e.kern.List(ctx, scope, sysctls)
	if err != nil {
		return s, err
	}
	err = e.each(func(x Engine) error { return x.List(ctx, &s) })
	return s, err
}

// Apply makes the change in the kernel and with the engines. The error is as that of kernel.Apply, joined with those of the engines.
func (e engines) Apply(ctx context.Context, c kernel.Change) error {
	if len(e.list) == 0 {
		return e.kern.Apply(ctx, c)
	}
	var errPut, errDrop error
	err := e.kern.ApplyAround(ctx, c, func(ctx context.Context) {
		errPut = e.each(func(x Engine) error { return x.Put(ctx, c.Put) })
	})
	if ctx.Err() == nil && mostly(err) {
		errDrop = e.each(func(x Engine) error { return x.Drop(ctx, c.Drop) })
	}
	return errors.Join(err, errPut, errDrop)
}

// mostly tells whether a change was carried out but for some objects.
func mostly(err error) bool {
	var some kernel.Failures
	return err == nil || errors.As(err, &some)
}

// runEngines runs the engines until ctx ends.
func (a *Agent) runEngines(ctx context.Context) error {
	var g errgroup.Group
	for _, x := range a.keeper.list {
		again := newBell()
		again.ring()
		g.Go(func() error {
			return keep(ctx, again, pause{100 * time.Millisecond, 5 * time.Second}, func(ctx context.Context) error {
				err := a.kern.Inside(func() error { return x.Run(ctx, a.lookAtEngines) })
				if ctx.Err() != nil {
					return ctx.Err()
				}
				if err == nil {
					err = errors.New("it returned without a reason")
				}
				a.o.Log.WithError(err).WithField("engine", fmt.Sprintf("%T", x)).Warn("an engine ended, starting it again")
				a.lookAtEngines()
				return err
			})
		})
	}
	return g.Wait()
}

// lookAtEngines has everything looked at again, because an engine may not keep what it was told.
func (a *Agent) lookAtEngines() {
	a.wanted.doubtObjects()
	a.look.ring()
}

// warnings are what engines say of themselves for the status: what works but should not stay so.
func (e engines) warnings() []string {
	type warner interface{ Warnings() []string }
	var all []string
	for _, x := range e.list {
		if w, ok := x.(warner); ok {
			all = append(all, w.Warnings()...)
		}
	}
	return all
}
