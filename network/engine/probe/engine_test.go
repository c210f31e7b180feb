package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"

	"github.com/weft-network/weft/network/kernel"
)

// air is a wire on which probes to some destinations are answered.
type air struct {
	mu      sync.Mutex
	dead    map[netip.Prefix]bool
	sent    int
	answers chan echo
	closed  chan struct{}
}

func newAir() *air {
	return &air{dead: map[netip.Prefix]bool{}, answers: make(chan echo, 1000), closed: make(chan struct{})}
}

func (a *air) open(context.Context) (wire, error) { return a, nil }

func (a *air) send(p kernel.Probe, e echo) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sent++
	if a.dead[p.Dst] {
		return errors.New("nobody is there")
	}
	a.answers <- e
	return nil
}

func (a *air) receive(answered func(echo)) error {
	for {
		select {
		case <-a.closed:
			return nil
		case e := <-a.answers:
			answered(e)
		}
	}
}

func (a *air) close() { close(a.closed) }

// cut makes probes to dst go nowhere, or arrive again.
func (a *air) cut(dst netip.Prefix, is bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.dead[dst] = is
}

// count returns how many probes were sent since the last call.
func (a *air) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := a.sent
	a.sent = 0
	return n
}

func quiet() logrus.FieldLogger {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return log
}

// probeTo is a probe to the subnet of node n.
func probeTo(n int) kernel.Probe {
	return kernel.Probe{Path: kernel.Path{Dst: netip.MustParsePrefix(fmt.Sprintf("10.%d.%d.0/24", n>>8, n&255)), Via: netip.AddrFrom4([4]byte{192, 0, byte(n >> 8), byte(n)}), Link: "eth0"},
		From: netip.MustParseAddr("10.255.1.0")}
}

// probes are those to the nodes from 1 to n.
func probes(n int) (s kernel.State) {
	for i := range n {
		s.Probes.Add(probeTo(i + 1))
	}
	return s
}

// running runs e for as long as f does, and returns how often it asked to be looked at.
func running(t *testing.T, e *Engine, f func(ctx context.Context)) (looks int) {
	ctx, stop := context.WithCancel(t.Context())
	var g errgroup.Group
	g.Go(func() error { return e.Run(ctx, func() { looks++ }) })
	f(ctx)
	stop()
	if err := g.Wait(); !errors.Is(err, context.Canceled) {
		t.Errorf("Run returned %v", err)
	}
	return looks
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAir()
		e := newEngine(a.open, quiet())
		one, two := probeTo(1), probeTo(2)
		a.cut(two.Dst, true)
		check := func(what string, want ...kernel.Path) {
			t.Helper()
			works := map[kernel.Path]bool{}
			for _, p := range want {
				works[p] = true
			}
			got, _ := e.Works()
			if diff := cmp.Diff(works, got, cmp.Comparer(func(x, y kernel.Path) bool { return x == y })); diff != "" {
				t.Errorf("%s: works (-want +got):\n%s", what, diff)
			}
			for path, s := range e.Paths() {
				if s.Works != works[path] || s.Why == "" {
					t.Errorf("%s: %v: %+v", what, path, s)
				}
			}
		}
		looks := running(t, e, func(ctx context.Context) {
			must(t, e.Put(ctx, probes(2)))
			var s kernel.State
			must(t, e.List(ctx, &s))
			if diff := cmp.Diff(probes(2).String(), s.String()); diff != "" {
				t.Errorf("listed (-want +got):\n%s", diff)
			}
			check("at first")
			time.Sleep(10 * time.Second)
			check("after ten seconds", one.Path)
			must(t, e.Put(ctx, probes(2)))
			check("put once more", one.Path)

			a.cut(one.Dst, true)
			time.Sleep(3500 * time.Millisecond)
			check("cut off")
			a.cut(one.Dst, false)
			a.cut(two.Dst, false)
			time.Sleep(30 * time.Second)
			check("all answer", one.Path, two.Path)

			moved := one
			moved.Via = netip.MustParseAddr("192.0.3.99")
			s = kernel.State{}
			s.Probes.Add(moved)
			_, before := e.Works()
			must(t, e.Put(ctx, s))
			check("another address", two.Path)
			if _, now := e.Works(); now == before {
				t.Error("the edition is the same though other paths work")
			}
			time.Sleep(10 * time.Second)
			check("another address, later", moved.Path, two.Path)
			must(t, e.Drop(ctx, probes(2)))
			check("dropped, but not what has taken the place of one", moved.Path)
			must(t, e.Drop(ctx, s))
			check("all dropped")
			synctest.Wait()
			time.Sleep(time.Minute)
			a.count()
			time.Sleep(time.Minute)
			if n := a.count(); n > 0 {
				t.Errorf("%d probes are sent though there are no paths", n)
			}
		})
		if looks < 4 || looks > 8 {
			t.Errorf("it asked %d times to be looked at", looks)
		}
	})
}

// What was in use before goes on to be used, and is left like any other path.
func TestEngineAdopts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAir()
		e := newEngine(a.open, quiet())
		a.cut(probeTo(2).Dst, true)
		running(t, e, func(ctx context.Context) {
			e.Adopt([]kernel.Path{probeTo(1).Path, probeTo(2).Path, probeTo(3).Path})
			must(t, e.Put(ctx, probes(2)))
			if works, _ := e.Works(); len(works) != 3 {
				t.Errorf("%v work, want all", works)
			}
			time.Sleep(3500 * time.Millisecond)
			if works, _ := e.Works(); len(works) != 2 || works[probeTo(2).Path] {
				t.Errorf("%v work, want not the second", works)
			}
			time.Sleep(adoptFor)
			if works, _ := e.Works(); len(works) != 1 || !works[probeTo(1).Path] {
				t.Errorf("%v work, want only the first", works)
			}
			var s kernel.State
			must(t, e.List(ctx, &s))
			if diff := cmp.Diff(probes(2).String(), s.String()); diff != "" {
				t.Errorf("listed (-want +got):\n%s", diff)
			}
		})
	})
}

// Nodes with thousands of peers send no more than a thousand probes a second while all is well, and a few thousand when nothing answers.
func TestEngineIsNotTooLoud(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAir()
		e := newEngine(a.open, quiet())
		const peers = 3000
		running(t, e, func(ctx context.Context) {
			must(t, e.Put(ctx, probes(peers)))
			time.Sleep(40 * time.Second)
			if works, _ := e.Works(); len(works) != peers {
				t.Errorf("%d paths of %d are in use", len(works), peers)
			}
			a.count()
			time.Sleep(10 * time.Second)
			if n := a.count(); n < 5000 || n > 11000 {
				t.Errorf("%d probes in 10 s", n)
			}
			for p := range probes(peers).Probes {
				a.cut(p, true)
			}
			time.Sleep(10 * time.Second)
			if works, _ := e.Works(); len(works) > 0 {
				t.Errorf("%d paths are in use after 10 s", len(works))
			}
			if n := a.count(); n > 10*int(turnMost*time.Second/turnTime) {
				t.Errorf("%d probes in 10 s to nobody", n)
			}
		})
	})
}

// Without the right to send probes, paths are not used, and the status says why.
func TestEngineWithoutSockets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAir()
		var works atomic.Bool
		e := newEngine(func(ctx context.Context) (wire, error) {
			if !works.Load() {
				return nil, errors.New("operation not permitted")
			}
			return a, nil
		}, quiet())
		looks := running(t, e, func(ctx context.Context) {
			time.Sleep(time.Minute)
			if w := e.Warnings(); len(w) > 0 {
				t.Errorf("%q while there is nothing to be tried", w)
			}
			e.Adopt([]kernel.Path{probeTo(1).Path})
			must(t, e.Put(ctx, probes(1)))
			time.Sleep(time.Second)
			if w := e.Warnings(); len(w) != 1 || !strings.Contains(w[0], "operation not permitted") || !strings.Contains(w[0], "CAP_NET_RAW") {
				t.Errorf("warnings %q", w)
			}
			if works, _ := e.Works(); len(works) > 0 {
				t.Errorf("%v work", works)
			}
			works.Store(true)
			time.Sleep(30 * time.Second)
			if w := e.Warnings(); len(w) > 0 {
				t.Errorf("%q though it can be tried now", w)
			}
			if works, _ := e.Works(); len(works) != 1 {
				t.Errorf("%v work", works)
			}
		})
		if looks != 4 { // it cannot, it can, the path was left, it works
			t.Errorf("it asked %d times to be looked at", looks)
		}
	})
}
