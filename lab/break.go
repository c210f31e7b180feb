package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Fault is something that can be broken on a node, as another process or a person might.
type Fault struct {
	Name  string
	About string              // what is done, in words
	do    func(n *Node) error // breaks it
	usual func(Options) bool  // whether a lab with these options has such a thing
}

// errNothing says that a node holds nothing of what was to be broken.
var errNothing = errors.New("there is nothing of the kind")

// Faults are all that Break knows, in the order in which they are listed.
func Faults() []Fault {
	return []Fault{
		{"route", "one route to a peer is deleted", (*Node).deleteRoute, always},
		{"routes", "all routes of weft's are deleted", (*Node).deleteRoutes, always},
		{"all-routes", "the main table is flushed in both families", (*Node).flushRoutes, always},
		{"neighbour", "one permanent neighbour is deleted", (*Node).deleteNeighbour, tunnelled},
		{"neighbours", "all permanent neighbours are deleted", (*Node).deleteNeighbours, tunnelled},
		{"fdb", "one FDB entry is deleted", (*Node).deleteForward, tunnelled},
		{"fdbs", "all FDB entries are deleted", (*Node).deleteForwards, tunnelled},
		{"address", "the addresses of the tunnel's devices are deleted", (*Node).deleteAddresses, hasDevices},
		{"device", "the tunnel's devices are deleted", (*Node).deleteDevices, hasDevices},
		{"device-down", "the tunnel's devices are set down and up", (*Node).bounceDevices, hasDevices},
		{"mtu", "the MTU of the tunnel's devices is changed", (*Node).changeMTU, hasDevices},
		{"uplink", "the uplink is set down and up", (*Node).bounceUplink, always},
		{"masquerade", "the masquerade rules are deleted", (*Node).deleteMasquerade, always},
		{"forward", "the accept rules are deleted", (*Node).deleteForwardRules, dropping},
		{"ruleset", "nft flush ruleset", (*Node).flushRuleset, always},
		{"everything", "devices, routes and rules are deleted at once", (*Node).deleteEverything, always},
	}
}

func always(Options) bool { return true }

// dropping tells whether the nodes of a lab need accept rules.
func dropping(o Options) bool { return o.DropForward }

// tunnelled tells whether the nodes of a lab have neighbours and FDB entries of their own for the overlay.
func tunnelled(o Options) bool { return o.overlay() == "vxlan" }

// hasDevices tells whether the nodes of a lab have devices of their own for the overlay.
func hasDevices(o Options) bool {
	return slices.Contains([]string{"vxlan", "ipip", "wireguard", "udp", "ipsec"}, o.overlay())
}

// overlay is the type of the backend whose devices the nodes of a lab have.
func (o Options) overlay() string {
	var config struct {
		Backend struct {
			Type    string
			Encrypt bool
		}
	}
	_ = json.Unmarshal([]byte(o.complete().Config), &config) // Check has looked at it
	switch b := config.Backend; {
	case b.Type == "auto" && b.Encrypt:
		return "wireguard"
	case b.Type == "auto":
		return "vxlan"
	default:
		return b.Type
	}
}

// FaultNamed returns the fault of that name.
func FaultNamed(name string) (Fault, error) {
	var names []string
	for _, f := range Faults() {
		if f.Name == name {
			return f, nil
		}
		names = append(names, f.Name)
	}
	return Fault{}, fmt.Errorf("nothing called %q can be broken: choose one of %s", name, strings.Join(names, ", "))
}

// Repair is what became of a Fault.
type Repair struct {
	Fault Fault
	Node  string
	Gone  Listing       // what was missing after the fault
	Wrong Listing       // what the fault had put in its place
	Time  time.Duration // until all was as before
}

// Do breaks it on the node, under weftd's eyes. Where the node has nothing of the kind, the error says so.
func (f Fault) Do(n *Node) error {
	if err := f.do(n); err != nil {
		return fmt.Errorf("break %s on %s: %w", f.Name, n.Name, err)
	}
	return nil
}

// Break breaks something on the node and waits until the kernel holds again what it held before. weftd is stopped while
// the damage is done and looked at, so that all of it can be seen; the time counts from when it goes on. The
// error says what did not come back.
func (n *Node) Break(ctx context.Context, f Fault) (Repair, error) {
	r := Repair{Fault: f, Node: n.Name}
	before, err := n.Listing()
	if err != nil {
		return r, err
	}
	if err := n.Pause(ctx); err != nil {
		return r, err
	}
	after, err := n.damage(f)
	if err := errors.Join(err, n.Resume()); err != nil {
		return r, err
	}
	r.Gone, r.Wrong = before.Missing(after), after.Missing(before)
	begin := time.Now()
	err = n.Holds(ctx, before)
	r.Time = time.Since(begin)
	return r, err
}

func (n *Node) damage(f Fault) (Listing, error) {
	if err := f.Do(n); err != nil {
		return nil, err
	}
	return n.Listing()
}

// Holds waits until the kernel of the host holds exactly what want says. The error is the difference.
func (h *Host) Holds(ctx context.Context, want Listing) error {
	return await(ctx, "the kernel of "+h.Name+" to be as it was", func() error {
		now, err := h.Listing()
		if err != nil {
			return err
		}
		missing, added := want.Missing(now), now.Missing(want)
		if len(missing)+len(added) > 0 {
			return fmt.Errorf("%d objects are missing and %d are too many\n%s%s", len(missing), len(added),
				missing.marked("- "), added.marked("+ "))
		}
		return nil
	})
}
