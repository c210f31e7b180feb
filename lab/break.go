package lab

import (
	"context"
	"errors"
	"fmt"
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
		{"address", "the addresses of the tunnel's devices are deleted", (*Node).deleteAddresses, tunnelled},
		{"device", "the tunnel's devices are deleted", (*Node).deleteDevices, tunnelled},
		{"device-down", "the tunnel's devices are set down and up", (*Node).bounceDevices, tunnelled},
		{"mtu", "the MTU of the tunnel's devices is changed", (*Node).changeMTU, tunnelled},
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

// tunnelled tells whether the nodes of a lab have devices of their own for the overlay.
func tunnelled(o Options) bool { return strings.Contains(o.complete().Config, `"vxlan"`) }

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
	Fault  Fault
	Node   string
	Gone   Listing       // lines that were missing after the fault, as far as somebody was quick enough to see it
	Wrong  Listing       // lines that differ at the end; empty when all is as it was
	Time   time.Duration // from the fault to all being as before
	Before Listing       // what the kernel held, for the curious
}

// Break breaks something on the node and waits until the kernel holds again what it held before. The error says what did
// not come back.
func (n *Node) Break(ctx context.Context, f Fault) (Repair, error) {
	r := Repair{Fault: f, Node: n.Name}
	var err error
	if r.Before, err = n.Listing(); err != nil {
		return r, err
	}
	begin := time.Now()
	if err := f.do(n); err != nil {
		return r, fmt.Errorf("break %s on %s: %w", f.Name, n.Name, err)
	}
	err = await(ctx, "the repair of "+f.Name+" on "+n.Name, func() error {
		now, err := n.Listing()
		if err != nil {
			return err
		}
		r.Time = time.Since(begin)
		missing, added := r.Before.Missing(now), now.Missing(r.Before)
		r.Wrong = append(missing, added...)
		if gone := missing; len(gone) > len(r.Gone) {
			r.Gone = gone
		}
		if len(r.Wrong) > 0 {
			return fmt.Errorf("%d objects differ:\n-%s\n+%s", len(r.Wrong), strings.Join(missing, "\n-"), strings.Join(added, "\n+"))
		}
		return nil
	})
	return r, err
}
