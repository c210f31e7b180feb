package storetest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-network/weft/subnet"
)

// patience is how long a case waits for something that has to come. Nothing is measured by it.
const patience = 30 * time.Second

// watcher follows a store as the agent does: when Watch fails, it is called again, once retry allows it.
type watcher struct {
	t        *testing.T
	pictures chan subnet.Snapshot
	retry    chan struct{} // takes one value, or is closed: whoever waits calls Watch again
	stop     func()        // ends the Watch, as the end of an agent does; may be called twice
	last     subnet.Snapshot
}

// watch starts to follow s, until the end of the test. doubt, if it is not nil, tells which pictures are not believed.
func watch(t *testing.T, s subnet.Store, doubt func(subnet.Snapshot) bool) *watcher {
	t.Helper()
	w := &watcher{t: t, pictures: make(chan subnet.Snapshot, 10_000), retry: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	var inside atomic.Bool
	f := func(p subnet.Snapshot) bool {
		if !inside.CompareAndSwap(false, true) {
			t.Error("f is called while an earlier call goes on")
		}
		defer inside.Store(false)
		believed := doubt == nil || !doubt(p)
		p.Leases, p.Changed, p.Faults = maps.Clone(p.Leases), slices.Clone(p.Changed), slices.Clone(p.Faults)
		select {
		case w.pictures <- p:
		case <-ctx.Done():
		}
		return believed
	}
	go func() {
		defer close(done)
		for {
			err := s.Watch(ctx, f)
			if ctx.Err() != nil {
				if !errors.Is(err, ctx.Err()) {
					t.Errorf("Watch returned %v after its context ended: want %v", err, ctx.Err())
				}
				return
			}
			if err == nil {
				t.Error("Watch returned nil")
			}
			select {
			case <-ctx.Done():
				return
			case <-w.retry:
			}
		}
	}()
	w.stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(w.stop)
	return w
}

// next returns the next picture.
func (w *watcher) next(what string) subnet.Snapshot {
	w.t.Helper()
	select {
	case w.last = <-w.pictures:
		return w.last
	case <-time.After(patience):
		w.t.Fatalf("waited for %s; the last picture was\n%s", what, show(w.last))
	}
	panic("unreachable")
}

// until returns the first picture for which is holds, after those that the test has seen already.
func (w *watcher) until(what string, is func(subnet.Snapshot) bool) subnet.Snapshot {
	w.t.Helper()
	for {
		if p := w.next(what); is(p) {
			return p
		}
	}
}

// untilLease waits until the picture holds l, exactly.
func (w *watcher) untilLease(l subnet.Lease) subnet.Snapshot {
	w.t.Helper()
	return w.until("the lease "+showLease(l), func(p subnet.Snapshot) bool { return p.Leases[l.Subnets] == l })
}

// untilGone waits until the picture holds no lease of s.
func (w *watcher) untilGone(s subnet.Subnets) subnet.Snapshot {
	w.t.Helper()
	return w.until("no lease of "+s.String(), func(p subnet.Snapshot) bool {
		_, there := p.Leases[s]
		return !there
	})
}

// mayDiffer tells whether the picture says that the lease of s may differ from the picture before.
func mayDiffer(p subnet.Snapshot, s subnet.Subnets) bool {
	return p.Changed == nil || slices.Contains(p.Changed, s)
}
