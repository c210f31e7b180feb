package kube

import (
	"errors"

	"github.com/weft-network/weft/subnet"
)

// extract is what is made of a Node before anything is kept: one Node after the other is read, and let go of.
type extract struct {
	name    string
	lease   subnet.Lease // zero where the Node announces nothing
	err     error        // what cannot be understood of it
	created int64        // seconds since 1970
	lost    bool         // its kubelet has not been heard of for a while
	version uint64
	own     ownNode // zero for another node's
}

// ownNode is what the own Node says beside its lease.
type ownNode struct {
	self      subnet.Self
	condition NodeCondition // NetworkUnavailable
	contest   string        // what another agent asks about it, and what it was answered
}

// reader makes extracts.
type reader struct {
	notes annotations
	own   string // name of this node's Node
}

func (r reader) extract(n *Node) *extract {
	l, err := r.notes.lease(n)
	if errors.Is(err, errNoLease) {
		err = nil
	}
	e := &extract{name: n.Name, lease: l, err: err, created: n.CreationTimestamp.Unix(),
		lost: n.condition(conditionReady).Status == "Unknown", version: number(n.ResourceVersion)}
	if n.Name == r.own {
		self, wrong := r.notes.self(n)
		e.own = ownNode{self, n.condition(conditionNetwork), n.Annotations[r.notes.key(contestName)]}
		e.err = errors.Join(err, wrong)
	}
	return e
}
