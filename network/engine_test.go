package network

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/weft-network/weft/network/kernel"
)

// fakeEngine keeps the routes of the kernel's peers once more, as an engine would keep what they need: it takes note of what
// the kernel held when it was asked. A route that it does not keep is not there.
type fakeEngine struct {
	mu      sync.Mutex
	kept    kernel.Set[kernel.RouteKey, kernel.Route]
	seen    []string // what was asked for, and how the kernel was then
	lists   int
	refuses error
	look    func()
	runs    int
	fails   chan error
}

// there tells which of the device and the route are in the kernel.
func there(r kernel.Route) string {
	var have []string
	if _, err := netlink.LinkByName(r.Link); err == nil {
		have = append(have, "device")
	}
	routes, err := netlink.RouteList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return err.Error()
	}
	if slices.ContainsFunc(routes, func(x netlink.Route) bool {
		return x.Dst != nil && x.Dst.String() == r.Dst.String() && x.Protocol == kernel.RouteProtocol
	}) {
		have = append(have, "route")
	}
	return strings.Join(have, " and ")
}

func (e *fakeEngine) List(_ context.Context, s *kernel.State) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lists++
	maps.DeleteFunc(s.Routes, func(k kernel.RouteKey, r kernel.Route) bool {
		_, kept := e.kept[k]
		return r.Type == kernel.Unicast && !kept
	})
	return nil
}

// Warnings says something once it keeps anything.
func (e *fakeEngine) Warnings() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.seen) == 0 {
		return nil
	}
	return []string{"it is slower than it should be"}
}

func (e *fakeEngine) Put(_ context.Context, s kernel.State) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range s.Routes {
		if r.Type == kernel.Unicast {
			e.seen = append(e.seen, "put "+r.Dst.String()+" with "+there(r))
			if e.refuses == nil {
				e.kept.Add(r)
			}
		}
	}
	return e.refuses
}

func (e *fakeEngine) Drop(_ context.Context, s kernel.State) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for k, r := range s.Routes {
		e.seen = append(e.seen, "drop "+r.Dst.String()+" with "+there(r))
		delete(e.kept, k)
	}
	return nil
}

func (e *fakeEngine) Run(ctx context.Context, look func()) error {
	e.mu.Lock()
	e.look = look
	e.runs++
	e.mu.Unlock()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-e.fails:
		return err
	}
}

// state is what the engine noted.
func (e *fakeEngine) state() (seen []string, lists, runs int, look func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.seen), e.lists, e.runs, e.look
}

func (e *fakeEngine) refuse(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.refuses = err
}

func TestEngines(t *testing.T) {
	b := newBed(t, `{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}`)
	e := &fakeEngine{fails: make(chan error)}
	b.o.Engines = []Engine{e}
	peer := b.peer(2)
	a, stop := b.run()
	until(t, a, "ready, with what the engine says of itself", func(s Status) bool {
		return ready(s) && slices.Contains(s.Warnings, "it is slower than it should be")
	})
	seen, _, _, _ := e.state()
	if !slices.Contains(seen, "put 10.5.2.0/24 with device") {
		t.Errorf("at the start the engine was asked to %q", seen)
	}

	b.cluster.Remove(peer.Subnets)
	until(t, a, "gone", func(s Status) bool { return len(s.Peers) == 0 && s.Kernel.InStep })
	if seen, _, _, _ = e.state(); seen[len(seen)-1] != "drop 10.5.2.0/24 with device" {
		t.Errorf("when the peer had gone the engine was asked to %q", seen)
	}

	e.refuse(errors.New("no more room"))
	b.peer(3)
	until(t, a, "refused", func(s Status) bool { return strings.Contains(s.Kernel.Error, "no more room") && !s.Ready })
	b.holdsRoute("10.5.3.0/24")
	e.refuse(nil)
	until(t, a, "mended", ready)
	stop()
}

func TestEngineRingsTheBell(t *testing.T) {
	b := newBed(t, `{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}`)
	e := &fakeEngine{fails: make(chan error)}
	b.o.Engines = []Engine{e}
	a, _ := b.run()
	until(t, a, "ready", ready)
	for i, disturb := range []func(){
		func() { _, _, _, look := e.state(); look() },
		func() { e.fails <- errors.New("the process has died") },
	} {
		_, before, runs, _ := e.state()
		disturb()
		until(t, a, "looked again", func(Status) bool { _, lists, n, _ := e.state(); return lists > before && n == runs+i })
	}
}

// holdsRoute waits until the kernel has our route to a subnet.
func (b *bed) holdsRoute(subnetText string) {
	b.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for !strings.Contains(b.held(), subnetText) {
		select {
		case <-late:
			b.t.Fatalf("the kernel holds no route to %s:\n%s", subnetText, b.held())
		case <-tick.C:
		}
	}
}
