package network

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// replan makes a new plan where config, uplink, ways or lease are others than before.
func (a *Agent) replan(ctx context.Context, own subnet.Lease) error {
	l := &a.loop
	if l.set && own != l.plan.own {
		l.set, l.full = false, true
	}
	if err := errors.Join(a.meet(ctx), a.lookAtPaths(ctx)); err != nil {
		return err
	}
	if l.set {
		return nil
	}
	host, err := a.readHost(ctx)
	if err != nil {
		return err
	}
	l.choices.ways = a.told(own)
	contact, err := a.inContact(ctx)
	if err != nil {
		return err
	}
	l.plan = plan{node: a.node(own.Attrs), own: own, config: l.config, ways: l.choices.ways, implied: a.implied, contact: contact, parted: l.parted, blackhole: a.o.Blackhole,
		strict: host.strict, acceptRA: host.acceptRA}
	l.set = true
	a.warnOfStrictUplinks(host)
	a.wantFirewall()
	return nil
}

// inContact finds the WireGuard peers that have answered ever, where that matters: while there are several ways.
func (a *Agent) inContact(ctx context.Context) (map[kernel.WireGuardPeerKey]bool, error) {
	if len(a.loop.choices.ways) < 2 {
		return nil, nil
	}
	contact := map[kernel.WireGuardPeerKey]bool{}
	for _, w := range a.wireGuards() {
		list, err := w.WireGuardTraffic(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading which WireGuard peers have answered: %w", err)
		}
		for _, x := range list {
			if x.Handshake != 0 {
				contact[kernel.WireGuardPeerKey{Link: x.Link, PublicKey: x.PublicKey}] = true
			}
		}
	}
	return contact, nil
}

// meet has another plan made where peers have answered since the last one.
func (a *Agent) meet(ctx context.Context) error {
	l := &a.loop
	if !l.set || len(l.plan.ways) < 2 {
		return nil
	}
	contact, err := a.inContact(ctx)
	if err == nil && !maps.Equal(contact, l.plan.contact) {
		l.set, l.full = false, true
	}
	return err
}

// told returns the ways with what this node's lease says of them.
func (a *Agent) told(own subnet.Lease) []way {
	ways := slices.Clone(a.loop.choices.ways)
	said, err := own.AllWays()
	if err != nil {
		said = nil
	}
	for i := range ways {
		ways[i].node = a.nodeOf(&ways[i], own)
		ways[i].announced = ways[i].Silent
	}
	for _, m := range shared(ways, said, a.implied) {
		m.announced, m.ready = true, true
	}
	return ways
}

// hostParams are what a plan has to know of the host's kernel parameters.
type hostParams struct {
	acceptRA [2]string // uplinks whose router advertisements must survive forwarding: those that heed them
	strict   bool      // of new devices: packets that come in by another way than answers would go are dropped
	uplink   string    // an IPv4 uplink of which the same is true; "" for none
}

// readHost reads the parameters that plans depend on.
func (a *Agent) readHost(ctx context.Context) (h hostParams, err error) {
	names := []string{rpFilter("all"), rpFilter("default")}
	inet, inet6 := a.loop.uplinks[subnet.Inet], a.loop.uplinks[subnet.Inet6]
	if inet.Valid() {
		names = append(names, rpFilter(inet.Link))
	}
	if inet6.Valid() {
		names = append(names, acceptRA(inet6.Link))
	}
	have, err := a.kern.List(ctx, kernel.Scope{}, names)
	if err != nil {
		return h, fmt.Errorf("reading kernel parameters: %w", err)
	}
	value := func(name string) string { return have.Sysctls[name].Value }
	strict := func(link string) bool { return max(value(rpFilter("all")), value(rpFilter(link))) == "1" } // the larger one counts
	h.strict = strict("default")
	if inet.Valid() && strict(inet.Link) {
		h.uplink = inet.Link
	}
	if v := value(acceptRA(inet6.Link)); inet6.Valid() && v != "0" && v != "" {
		h.acceptRA[subnet.Inet6] = inet6.Link
	}
	return h, nil
}

// warnOfStrictUplinks says where the uplink may drop packets while peers change from one way to another.
func (a *Agent) warnOfStrictUplinks(h hostParams) {
	var texts []string
	if h.uplink != "" && a.loop.plan.tries() {
		texts = append(texts, fmt.Sprintf("%s drops packets of peers that come in there while answers leave by another device: a peer of which this is true too is never reached without a tunnel; "+
			"%s lets them in", h.uplink, kernel.Sysctl{Name: rpFilter(h.uplink), Value: "2"}.Command()))
	} else if h.uplink != "" && len(a.loop.choices.ways) > 1 {
		texts = append(texts, fmt.Sprintf("%s drops packets of peers that come in there while answers leave by another device, as they may while the backend changes; "+
			"%s lets them in", h.uplink, kernel.Sysctl{Name: rpFilter(h.uplink), Value: "2"}.Command()))
	}
	a.report.warn(a.o.Log, "reverse path", texts)
}
