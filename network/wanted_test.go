package network

import (
	"net/netip"
	"testing"

	"github.com/weft-network/weft/network/kernel"
)

// route is a route to the subnet n by the gateway via.
func route(n, via string) kernel.Route {
	return kernel.Route{Dst: netip.MustParsePrefix(n), Via: netip.MustParseAddr(via), Link: "flannel.1", OnLink: true}
}

// routes is a state of routes.
func routes(list ...kernel.Route) kernel.State {
	var s kernel.State
	for _, r := range list {
		s.Routes.Add(r)
	}
	return s
}

func TestWantedComparesWhatItHears(t *testing.T) {
	one, two := route("10.5.1.0/24", "10.5.1.0"), route("10.5.2.0/24", "10.5.2.0")
	broken := one
	broken.Via = netip.MustParseAddr("10.5.9.9")
	device := kernel.Link{Name: "flannel.1", MTU: 1450, Up: true}
	for _, c := range []struct {
		name   string
		events []kernel.Events
		rings  bool // the last event rings
		want   kernel.Change
		all    bool
	}{
		{"an echo of what is wanted", []kernel.Events{{Seen: routes(one)}}, false, kernel.Change{}, false},
		{"an echo of what is not wanted any more", []kernel.Events{{Gone: routes(two)}}, false, kernel.Change{}, false},
		{"a deletion", []kernel.Events{{Gone: routes(one)}}, true, kernel.Change{Put: routes(one)}, false},
		{"a change", []kernel.Events{{Seen: routes(broken)}}, true, kernel.Change{Put: routes(one)}, false},
		{"a stranger with our mark", []kernel.Events{{Seen: routes(two)}}, true, kernel.Change{Drop: routes(two)}, false},
		{"deleted and made again", []kernel.Events{{Gone: routes(one)}, {Seen: routes(one)}}, false, kernel.Change{}, false},
		{"a stranger that came and went", []kernel.Events{{Seen: routes(two)}, {Gone: routes(two)}}, false, kernel.Change{}, false},
		{"lost messages", []kernel.Events{{All: true}}, true, kernel.Change{}, true},
		{"our device as it should be", []kernel.Events{{Seen: links(device)}}, false, kernel.Change{}, false},
		{"our device gone", []kernel.Events{{Gone: links(device)}}, true, kernel.Change{}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var w wanted
			state := routes(one)
			state.Links.Add(device)
			w.replace(state)
			rings := false
			for _, e := range c.events {
				rings = w.hear(e)
			}
			if rings != c.rings {
				t.Errorf("rings %v, want %v", rings, c.rings)
			}
			h := w.take()
			if h.all != c.all {
				t.Errorf("all %v, want %v", h.all, c.all)
			}
			got := w.repair(h.dirty)
			if got.Put.String() != c.want.Put.String() || got.Drop.String() != c.want.Drop.String() {
				t.Errorf("repair:\nput %sdrop %swant:\nput %sdrop %s", got.Put, got.Drop, c.want.Put, c.want.Drop)
			}
			if again := w.take(); again.all || !again.dirty.IsEmpty() {
				t.Errorf("the second take still has %v", again)
			}
		})
	}
}

// links is a state of devices.
func links(list ...kernel.Link) kernel.State {
	var s kernel.State
	for _, l := range list {
		s.Links.Add(l)
	}
	return s
}

func TestWantedChangesOnlyWhatDiffers(t *testing.T) {
	one, two, three := route("10.5.1.0/24", "10.5.1.0"), route("10.5.2.0/24", "10.5.2.0"), route("10.5.3.0/24", "10.5.3.0")
	moved := one
	moved.Via = netip.MustParseAddr("10.5.9.9")
	var w wanted
	w.replace(routes(one, two))
	c := w.change(routes(one, two), routes(moved, three))
	if d := c.Put.String() + "-" + c.Drop.String(); d != routes(moved, three).String()+"-"+routes(two).String() {
		t.Errorf("change %s", d)
	}
	if got, want := w.replace(kernel.State{}).String(), routes(moved, three).String(); got != want {
		t.Errorf("wanted\n%s, want\n%s", got, want)
	}
}

func TestWantedKnowsWhatTwoPeersShare(t *testing.T) {
	one, two := route("10.5.1.0/24", "10.5.1.0"), route("10.5.2.0/24", "10.5.2.0")
	var w wanted
	w.replace(routes(one, two))
	for _, c := range []struct {
		name     string
		new, old kernel.State
		want     bool
	}{
		{"a new key", routes(route("10.5.3.0/24", "10.5.3.0")), kernel.State{}, false},
		{"its own key", routes(one), routes(one), false},
		{"the key of another", routes(two), routes(one), true},
	} {
		if got := w.overlaps(c.new, c.old); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
