package probe

import (
	"context"
	"slices"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"

	"github.com/weft-network/weft/network/kernel"
)

// Run sends the probes, and tells when a path has begun or stopped to work.
func (e *Engine) Run(ctx context.Context, look func()) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-e.wake:
		}
		for e.busy() {
			err := e.serve(ctx, look)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			e.fail(err, look)
			if err == nil {
				continue
			}
			select { // what is missing comes with another start most likely
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(pauseMost):
			}
		}
	}
}

// busy tells whether there are paths.
func (e *Engine) busy() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.paths) > 0
}

// fail notes why no probes can be sent, or with nil that they can. Paths that cannot be tried are not used.
func (e *Engine) fail(err error, look func()) {
	e.mu.Lock()
	before := e.failure
	e.failure = err
	for _, p := range e.paths {
		if err != nil && p.works {
			p.fall(time.Now())
			e.changed()
		}
	}
	e.mu.Unlock()
	if (before == nil) != (err == nil) {
		look()
	}
}

// serve sends probes until ctx ends or there is no path any more.
func (e *Engine) serve(ctx context.Context, look func()) error {
	w, err := e.open(ctx)
	if err != nil {
		return err
	}
	e.fail(nil, look)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return w.receive(e.answered) })
	e.drive(ctx, w, look)
	w.close()
	return g.Wait()
}

// answered takes in an answer.
func (e *Engine) answered(x echo) {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := e.byID[x.path]
	if p == nil {
		return
	}
	p.answer(time.Now(), x.number)
	if p.moved {
		e.ring()
	}
}

const (
	// turnTime is how long Run waits at least between two looks at the paths, and turnMost how many probes it sends at one.
	turnTime = 20 * time.Millisecond
	turnMost = 100
)

// drive sends the probes that are due, again and again.
func (e *Engine) drive(ctx context.Context, w wire, look func()) {
	for e.busy() {
		now := time.Now()
		asks, moves, next := e.turn(now)
		if e.tell(moves); len(moves) > 0 {
			look()
		}
		for _, a := range asks {
			if err := w.send(a.probe, a.echo); err != nil {
				e.log.WithError(err).WithField("probe", a.probe.String()).Debug("a probe could not be sent")
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(turnTime): // so many answers together make one change
		}
		select {
		case <-ctx.Done():
			return
		case <-e.wake:
		case <-time.After(time.Until(next)):
		}
	}
}

// ask is a probe to be sent.
type ask struct {
	probe kernel.Probe
	echo  echo
}

// move is a path that has begun or stopped to work.
type move struct {
	path  kernel.Path
	works bool
	why   string
}

// turn returns what is to be sent now, what has changed, and when to look again.
func (e *Engine) turn(now time.Time) (asks []ask, moves []move, next time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	next = now.Add(pauseMost)
	var due []*path
	for key, p := range e.paths {
		switch {
		case !p.put && now.Sub(p.since) >= adoptFor:
			moves = append(moves, move{key, false, "no peer is reached by it any more"})
			e.remove(key)
		case p.put && !now.Before(p.next):
			due = append(due, p)
		}
	}
	slices.SortFunc(due, func(x, y *path) int { return x.next.Compare(y.next) })
	pause := pauseFor(len(e.paths))
	for _, p := range due[:min(len(due), turnMost)] {
		p.ask(now, pause)
		asks = append(asks, ask{p.probe, echo{p.id, p.number}})
	}
	for key, p := range e.paths {
		if p.moved {
			p.moved = false
			e.changed()
			moves = append(moves, move{key, p.works, p.why(now)})
		}
		if p.put && p.next.Before(next) {
			next = p.next
		}
	}
	return asks, moves, next
}

// tell logs what has changed.
func (e *Engine) tell(moves []move) {
	const most = 10
	if len(moves) > most {
		used := 0
		for _, m := range moves {
			if m.works {
				used++
			}
		}
		e.log.WithFields(logrus.Fields{"used": used, "left": len(moves) - used}).Info("paths without the tunnel changed")
		return
	}
	for _, m := range moves {
		log := e.log.WithFields(logrus.Fields{"to": m.path.Dst.String(), "via": m.path.Via.String(), "dev": m.path.Link, "reason": m.why})
		if m.works {
			log.Info("a peer is reached without the tunnel")
		} else {
			log.Info("a peer is reached by the tunnel")
		}
	}
}
