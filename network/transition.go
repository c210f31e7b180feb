package network

import (
	"slices"

	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// TransitionStatus is a change of the backend under way.
type TransitionStatus struct {
	To      string   `json:"to"`      // what the config says, such as "vxlan (VNI 2 at port 8472)"
	From    []string `json:"from"`    // what was there before and is still in place, the newest first
	Missing []string `json:"missing"` // nodes that have not announced the new one yet, and are reached as before
	Hinders []string `json:"hinders"` // why peers that have announced it are not reached by it
}

// transition tells what change of the backend is under way; nil where there is none.
func (p plan) transition(peers []subnet.Lease) *TransitionStatus {
	t := &TransitionStatus{From: []string{}, Missing: []string{}, Hinders: []string{}}
	for i := range p.ways {
		switch w := &p.ways[i]; {
		case i == 0:
			t.To = w.String()
		case !w.Silent && w.Rotation == "":
			t.From = append(t.From, w.String())
		}
	}
	if len(t.From) == 0 {
		return nil
	}
	for _, x := range peers {
		var s kernel.State
		list, err := p.common(&x)
		if err != nil {
			continue
		}
		if !slices.ContainsFunc(list, func(m match) bool { return m.way == &p.ways[0] }) {
			t.Missing = append(t.Missing, nodeText(x))
		} else if _, hindrance, err := p.serve(x, &s); err == nil && hindrance != nil {
			t.Hinders = append(t.Hinders, hindrance.Error())
		}
	}
	return t
}

// nodeText names the node of a lease.
func nodeText(x subnet.Lease) string {
	if x.Node == "" {
		return x.Subnets.String()
	}
	return x.Node
}

// by names the way by which a peer is reached; "" where it is not.
func (p plan) by(x subnet.Lease) string {
	if len(p.ways) == 0 {
		return ""
	}
	var s kernel.State
	by, _, err := p.serve(x, &s)
	if err != nil {
		return ""
	}
	return by.String()
}
