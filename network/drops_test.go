package network

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/weft-network/weft/network/kernel"
)

// leakyEngine drops three packets more each time that somebody asks.
type leakyEngine struct {
	fakeEngine
	lost kernel.Dropped
	err  error
}

func (e *leakyEngine) Dropped(context.Context) ([]kernel.Dropped, error) {
	if e.err != nil {
		return nil, e.err
	}
	e.lost.Packets += 3
	return []kernel.Dropped{e.lost, {Link: e.lost.Link, Reason: "no_hops"}}, nil
}

func TestDropsAreTold(t *testing.T) {
	b := newBed(t, "")
	broken := &leakyEngine{err: errors.New("it does not answer")}
	b.o.Engines = []Engine{broken, &fakeEngine{}, &leakyEngine{lost: kernel.Dropped{Link: "flannel0", Reason: "too_big"}}}
	a, err := New(b.o)
	must(t, err)
	t.Cleanup(a.kern.Close)
	if s := a.Status(); s.Dropped != nil {
		t.Errorf("nobody has counted, and dropped were %v", s.Dropped)
	}
	a.countDrops(t.Context())
	a.countDrops(t.Context())
	want := []DroppedStatus{{"flannel0", "too_big", 6}, {"flannel0", "no_hops", 0}}
	if diff := cmp.Diff(want, a.Status().Dropped); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	_, body := ask(t, a, "/metrics")
	for _, want := range []string{`weft_udp_dropped_packets_total{device="flannel0",reason="too_big"} 6`, `weft_udp_dropped_packets_total{device="flannel0",reason="no_hops"} 0`} {
		if !strings.Contains(body, want+"\n") {
			t.Errorf("metrics lack %q:\n%s", want, body)
		}
	}
}

// TestDropsAreFollowed holds that the engines are asked without anybody's looking at the status.
func TestDropsAreFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &leakyEngine{lost: kernel.Dropped{Link: "flannel0", Reason: "too_big"}}
		a := pure(t, vxlan1)
		a.keeper.list = []Engine{e}
		ctx, cancel := context.WithTimeout(t.Context(), 3*dropsEvery+dropsEvery/2)
		defer cancel()
		var g errgroup.Group
		g.Go(func() error { return a.followDrops(ctx) })
		if err := g.Wait(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("it ended with %v", err)
		}
		if got := a.drops.status(); len(got) != 2 || got[0].Packets != 9 {
			t.Errorf("counted are %v, want 9 in three rounds", got)
		}
	})
}
