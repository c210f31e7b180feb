package network

import (
	"context"
	"reflect"
	"sync"

	"github.com/weft-network/weft/subnet"
)

// claims is what this node asks the store for and what it got. The pass that keeps the kernel says what is wanted,
// the task that claims asks the store, which may take its time.
type claims struct {
	mu   sync.Mutex
	want subnet.Want
	sure bool         // held answers want
	held subnet.Lease // what the store gave last; zero: nothing yet
	err  error        // why the last claim failed
}

// ask says what is wanted. It tells whether the store has to be asked.
func (c *claims) ask(w subnet.Want) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !reflect.DeepEqual(w, c.want) {
		c.want, c.sure = w, false
	}
	return !c.sure
}

// doubt says that the store may no longer hold what it gave.
func (c *claims) doubt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sure = false
}

// lease returns what the store gave last.
func (c *claims) lease() subnet.Lease {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.held
}

// open returns what the store has to be asked for, if anything.
func (c *claims) open() (subnet.Want, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.want
	if !c.held.Subnets.IsZero() {
		w.Previous = c.held.Subnets
	}
	return w, !c.sure && w.Attrs.Node != ""
}

// got records the answer to w. It tells whether the lease is another one than before.
func (c *claims) got(w subnet.Want, l subnet.Lease, err error) (changed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
	if err != nil {
		return false
	}
	changed = c.held != l
	c.held = l
	c.sure = w.Attrs == c.want.Attrs
	return changed
}

// believe takes a lease from the last good snapshot for ours until the store says otherwise.
func (c *claims) believe(l subnet.Lease) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held == (subnet.Lease{}) {
		c.held = l
	}
}

// failure is why the last claim failed, or nil.
func (c *claims) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// claim asks the store for what is wanted, if that is in doubt.
func (a *Agent) claim(ctx context.Context) error {
	want, open := a.claims.open()
	if !open {
		return nil
	}
	before := a.claims.failure()
	l, err := a.o.Store.Claim(ctx, want)
	changed := a.claims.got(want, l, err)
	switch {
	case err != nil && (before == nil || before.Error() != err.Error()) && ctx.Err() == nil:
		a.o.Log.WithError(err).Warn("claiming a lease failed, trying again")
	case changed:
		a.o.Log.WithFields(leaseFields(l)).Info("lease held")
	}
	if changed || err != nil || before != nil {
		a.look.ring()
	}
	return err
}
