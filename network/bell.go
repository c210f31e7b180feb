package network

import (
	"context"
	"time"
)

// bell wakes a task up. It carries no news: whoever hears it looks for himself.
type bell chan struct{}

func newBell() bell { return make(bell, 1) }

// ring wakes the task up, now or when it is done with what it does. It never blocks.
func (b bell) ring() {
	select {
	case b <- struct{}{}:
	default:
	}
}

// ticks is for loops whose body runs each time the interval is over, until ctx ends.
func ticks(ctx context.Context, interval time.Duration) func(yield func() bool) {
	return func(yield func() bool) {
		t := time.NewTicker(interval)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
			if !yield() {
				return
			}
		}
	}
}

// pause is how long a task waits after a failure.
type pause struct{ first, most time.Duration }

// next doubles the pause that came before.
func (p pause) next(last time.Duration) time.Duration {
	if last == 0 {
		return p.first
	}
	return min(2*last, p.most)
}

// keep calls do when the bell rings, and again after growing pauses for as long as it fails. A ring ends a pause:
// what made do fail may be gone. It returns when ctx ends. This is the only place where Weft backs off.
func keep(ctx context.Context, b bell, p pause, do func(context.Context) error) error {
	var wait time.Duration
	for {
		var again <-chan time.Time
		if wait > 0 {
			again = time.After(wait)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-b:
		case <-again:
		}
		if err := do(ctx); err != nil && ctx.Err() == nil {
			wait = p.next(wait)
		} else {
			wait = 0
		}
	}
}
