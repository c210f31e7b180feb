package network

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/subnet"
)

// saying is the lease of this node that says these Backend objects; one after a minus sign it is leaving. None at all says nothing.
func saying(t *testing.T, objects ...string) subnet.Lease {
	t.Helper()
	own := ownLease()
	if len(objects) > 0 {
		peer := peerBy(t, objects...)
		said, err := peer.AllWays()
		must(t, err)
		must(t, own.SetWays(said, true))
	}
	return own
}

func TestIsIdle(t *testing.T) {
	broken := ownLease()
	broken.Backend, broken.Ways = "vxlan", "["
	for _, test := range []struct {
		name     string
		own      subnet.Lease
		silent   bool
		unneeded bool
		want     bool
	}{
		{"nobody needs it, and all know", saying(t, vxlan2, "-"+vxlan1), false, true, true},
		{"somebody needs it", saying(t, vxlan2, "-"+vxlan1), false, false, false},
		{"nobody was told that this node does not need it", saying(t, vxlan2, vxlan1), false, true, false},
		{"nobody was told of it at all", saying(t, vxlan2), false, true, true},
		{"there is no lease yet", saying(t), false, true, true},
		{"what others were told cannot be read", broken, false, true, false},
		{"peers that do not read it have gone", saying(t, vxlan2, vxlan1), true, true, true},
		{"peers that do not read it are there", saying(t, vxlan2, vxlan1), true, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := pure(t, vxlan2)
			a.loop.plan.own = test.own
			w := a.waysOf(t, vxlan1)[0]
			w.Silent = test.silent
			if got := a.isIdle(&w, test.unneeded); got != test.want {
				t.Errorf("it is idle: %t, want %t", got, test.want)
			}
		})
	}
}

// pass is a pass at some time after the first.
type pass struct {
	at   time.Duration
	peer []string      // Backend objects that the peer says; none: there is no peer
	own  []string      // those that this node's lease says
	want string        // ways that are kept behind the first, and whether they are said to be left
	wake time.Duration // until the pass is to look again; 0: it need not
}

// TestSettle holds when a former way goes: a minute after the last node has said that it needs it no more.
func TestSettle(t *testing.T) {
	const kept, left = "vxlan (VNI 1 at port 8472)", "vxlan (VNI 1 at port 8472) left"
	both, followed := []string{vxlan2, vxlan1}, []string{vxlan2, "-" + vxlan1}
	for _, test := range []struct {
		name   string
		ways   []string
		passes []pass
	}{
		{"all have followed", both, []pass{
			{0, followed, followed, left, time.Minute}, {59 * time.Second, followed, followed, left, time.Second}, {time.Minute, followed, followed, "", 0}}},
		{"there is no peer", both, []pass{{0, nil, followed, left, time.Minute}, {time.Minute, nil, followed, "", 0}}},
		{"a peer has not seen the config", both, []pass{{0, []string{vxlan1}, both, kept, 0}, {time.Hour, []string{vxlan1}, both, kept, 0}}},
		{"a peer needs it still", both, []pass{{0, both, followed, left, 0}, {time.Hour, both, followed, left, 0}}},
		{"this node has not told that it does not need it", both, []pass{{0, followed, both, left, 0}, {time.Hour, followed, both, left, 0}}},
		{"this node has not told of the new one", []string{"?" + vxlan2, vxlan1}, []pass{{0, followed, []string{vxlan1}, kept, 0}, {time.Hour, followed, []string{vxlan1}, kept, 0}}},
		{"a peer comes back that needs it", both, []pass{
			{0, followed, followed, left, time.Minute}, {30 * time.Second, []string{vxlan1}, followed, kept, 0},
			{70 * time.Second, followed, followed, left, time.Minute}, {129 * time.Second, followed, followed, left, time.Second}, {130 * time.Second, followed, followed, "", 0}}},
		{"the last pass was long ago", both, []pass{{0, followed, followed, left, time.Minute}, {time.Hour, followed, followed, "", 0}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := pure(t, vxlan2)
			a.loop.choices.ways = a.waysOf(t, test.ways...)
			for _, p := range test.passes {
				got, wake := a.settled(t, p)
				if diff := cmp.Diff(p.want, got); diff != "" {
					t.Errorf("after %s (-want +got):\n%s", p.at, diff)
				}
				if wake != p.wake {
					t.Errorf("after %s it looks again in %s, want %s", p.at, wake, p.wake)
				}
			}
		})
	}
}

// settled does what a pass does at its end, and tells the way that is kept behind the first, and when is to be looked again.
func (a *Agent) settled(t *testing.T, p pass) (kept string, wake time.Duration) {
	t.Helper()
	l := &a.loop
	s := subnet.Snapshot{Leases: map[subnet.Subnets]subnet.Lease{}}
	if len(p.peer) > 0 {
		peer := peerBy(t, p.peer...)
		s.Leases[peer.Subnets] = peer
	}
	a.picture = picture{}
	a.picture.update(s, noon)
	l.plan = a.planOf(t, vxlan2)
	l.plan.own, l.plan.ways, l.set = saying(t, p.own...), l.choices.ways, true
	was := slices.Clone(l.choices.ways)
	a.settle(true, noon.Add(p.at))
	select {
	case wake = <-a.later:
	default:
	}
	if gone := len(l.choices.ways) < len(was); gone == l.set || gone && len(a.look) == 0 {
		t.Errorf("after %s a way has gone: %t; the plan stands: %t, and the pass is rung: %d", p.at, gone, l.set, len(a.look))
	}
	for i, w := range l.choices.ways[1:] {
		kept = w.String()
		if w.Leaving {
			kept += " left"
		}
		if told := w.Leaving == was[i+1].Leaving; !told && len(a.look) == 0 {
			t.Errorf("after %s nobody is told that it is left: %t", p.at, w.Leaving)
		}
	}
	select {
	case <-a.look:
	default:
	}
	return kept, wake
}

// TestSettleWaits holds that nothing goes before the store was read, and that a way is announced once its rules are in place.
func TestSettleWaits(t *testing.T) {
	a := pure(t, vxlan2)
	a.loop.choices.ways = a.waysOf(t, vxlan2, vxlan1)
	a.loop.choices.ways[1].idle = noon.Add(-time.Hour)
	a.loop.plan = a.planOf(t, vxlan2)
	a.loop.plan.own, a.loop.plan.ways = saying(t, vxlan2, "-"+vxlan1), a.loop.choices.ways
	if a.settle(false, noon); len(a.loop.choices.ways) != 2 {
		t.Error("a way has gone before the store was read")
	}
	a.loop.choices.ways = a.waysOf(t, vxlan2)
	a.loop.choices.ways[0].ready = false
	a.loop.plan.ways = a.loop.choices.ways
	if a.settle(true, noon); a.loop.choices.ways[0].ready {
		t.Error("a way is announced whose rules are not in place")
	}
	a.fire.set = true
	if a.settle(true, noon); !a.loop.choices.ways[0].ready || len(a.look) == 0 {
		t.Error("a way is not announced whose rules are in place")
	}
}
