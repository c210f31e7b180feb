package network

import (
	"context"
	"fmt"
	"reflect"
	"sync"

	"github.com/weft-network/weft/subnet"
)

// claims is what this node asks the store for and what it got. The pass that keeps the kernel says what is wanted,
// the task that claims asks the store, which may take its time.
type claims struct {
	mu       sync.Mutex
	want     subnet.Want
	asked    int          // grows whenever the store has to be asked
	answered int          // the value of asked that held answers
	held     subnet.Lease // what the store gave last; zero: nothing yet
	err      error        // why the last claim failed
}

// ask says what is wanted. It tells whether the store has to be asked.
func (c *claims) ask(w subnet.Want) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !reflect.DeepEqual(w, c.want) {
		c.want = w
		c.asked++
	}
	return c.asked != c.answered
}

// doubt says that the store may no longer hold what it gave.
func (c *claims) doubt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
}

// lease returns what the store gave last.
func (c *claims) lease() subnet.Lease {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.held
}

// open returns what the store has to be asked for; nothing where question is 0.
func (c *claims) open() (w subnet.Want, question int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w = c.want
	if !c.held.Subnets.IsZero() {
		w.Previous = c.held.Subnets
	}
	if w.Attrs.Node == "" || c.asked == c.answered {
		return w, 0
	}
	return w, c.asked
}

// got records the answer to a question. It tells whether the lease is another one than before.
func (c *claims) got(question int, l subnet.Lease, err error) (changed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
	if err != nil {
		return false
	}
	changed = c.held != l
	c.held, c.answered = l, question
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
	want, question := a.claims.open()
	if question == 0 {
		return nil
	}
	before, former := a.claims.failure(), a.claims.lease().Subnets
	if former.IsZero() {
		former = a.envSubnets()
	}
	l, err := a.o.Store.Claim(ctx, want)
	changed := a.claims.got(question, l, err)
	if ctx.Err() == nil {
		a.report.warn(a.o.Log, claimSubject, stays(a.claims.lease(), err))
	}
	switch {
	case a.claims.lease() != (subnet.Lease{}) && err != nil: // it is said above
	case err != nil && (before == nil || before.Error() != err.Error()) && ctx.Err() == nil:
		a.o.Log.WithError(err).Warn("claiming a lease failed, trying again")
	case changed:
		a.o.Log.WithFields(leaseFields(l)).Info("lease held")
		if lost := withdrawn(former, l.Subnets); lost != (subnet.Subnets{}) {
			a.report.warn(a.o.Log, movedSubject, []string{fmt.Sprintf("this node has the subnets %s now, and no longer %s: no other node reaches the pods that have addresses of these; "+
				"delete these pods, so that they are made again", l.Subnets, lost)})
		}
	}
	if changed || err != nil || before != nil {
		a.look.ring()
	}
	return err
}

// claimSubject is what the warning is about that the store refuses what is to be told to the peers.
const claimSubject = "lease"

// stays is the warning that the lease cannot become what it should; nothing where there is none, which is waited for.
func stays(held subnet.Lease, err error) []string {
	if held == (subnet.Lease{}) || err == nil {
		return nil
	}
	return []string{"what this node announces cannot be brought up to date, what was announced stays in force: " + err.Error()}
}

// movedSubject is what the warning is about that a node has other subnets than before.
const movedSubject = "pods"

// withdrawn are the subnets that a node had and has no longer.
func withdrawn(before, now subnet.Subnets) (lost subnet.Subnets) {
	for f, p := range before {
		if p.IsValid() && p != now[f] {
			lost[f] = p
		}
	}
	return lost
}
