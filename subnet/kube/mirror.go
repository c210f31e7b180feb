package kube

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/weft-network/weft/subnet"
)

// mirror is what is kept of the Nodes, at one version. One event costs the same whatever the number of Nodes.
type mirror struct {
	notes   annotations
	own     string // name of this node's Node
	version string // resource version, of the last change that is in it
	live    bool   // each change is seen as it happens; false while what there was before is taken in

	nodes  map[string]record               // every Node
	leases map[subnet.Subnets]subnet.Lease // what Snapshot shows
	hidden map[string]subnet.Lease         // by name: Nodes whose pod CIDRs are an older Node's too
	bad    map[string]error                // by name: Nodes that cannot be understood

	self      subnet.Self
	condition NodeCondition // NetworkUnavailable of the own Node
	contest   string        // what another agent asks about the own Node, and what it was answered

	changed map[subnet.Subnets]bool // since the last call of drain
	touched bool                    // something that is not in changed is different: faults, what is said of the own node
}

// record is what is kept of a Node beside its lease.
type record struct {
	subnets subnet.Subnets // of its lease; zero where it has none
	created int64          // seconds since 1970
	lost    bool           // its kubelet has not been heard of for a while
	since   uint64         // version from when on it announces its addresses; later than that where sure is false
	sure    bool
}

func newMirror(notes annotations, own string) *mirror {
	return &mirror{
		notes:   notes,
		own:     own,
		nodes:   map[string]record{},
		leases:  map[subnet.Subnets]subnet.Lease{},
		hidden:  map[string]subnet.Lease{},
		bad:     map[string]error{},
		changed: map[subnet.Subnets]bool{},
	}
}

// put takes in a Node, new or changed.
func (m *mirror) put(n *Node) {
	l, err := m.notes.lease(n)
	if errors.Is(err, errNoLease) {
		err = nil
	}
	if n.Name == m.own {
		err = errors.Join(err, m.look(n))
	}
	m.blame(n.Name, err)
	old := m.nodes[n.Name]
	r := record{subnets: l.Subnets, created: n.CreationTimestamp.Unix(), lost: n.condition(conditionReady).Status == "Unknown",
		since: number(n.ResourceVersion), sure: m.live}
	if before := m.lease(n.Name); before.PublicIP == l.PublicIP && !before.Subnets.IsZero() {
		r.since, r.sure = old.since, old.sure
	}
	m.nodes[n.Name] = r
	if old.subnets != l.Subnets {
		m.withdraw(n.Name, old.subnets)
	}
	if !l.Subnets.IsZero() {
		m.show(l)
	}
}

// remove forgets a Node.
func (m *mirror) remove(name string) {
	old := m.nodes[name]
	delete(m.nodes, name)
	m.blame(name, nil)
	m.withdraw(name, old.subnets)
	if name == m.own {
		_ = m.look(&Node{}) // nothing can be wrong with nothing
	}
}

// look takes in what the own Node says of its node.
func (m *mirror) look(n *Node) error {
	self, err := m.notes.self(n)
	condition := n.condition(conditionNetwork)
	m.touched = m.touched || self != m.self || condition != m.condition
	m.self, m.condition, m.contest = self, condition, n.Annotations[m.notes.key(contestName)]
	return err
}

// blame notes what is wrong with a Node; nil says that nothing is.
func (m *mirror) blame(name string, err error) {
	before, was := m.bad[name]
	switch {
	case err == nil:
		delete(m.bad, name)
		m.touched = m.touched || was
	case !was || before.Error() != err.Error():
		m.bad[name] = err
		m.touched = true
	}
}

// show puts a lease where Snapshot sees it, unless an older Node has the same pod CIDRs.
func (m *mirror) show(l subnet.Lease) {
	have, taken := m.leases[l.Subnets]
	if taken && have.Node != l.Node {
		if m.before(have.Node, l.Node) {
			m.touched = m.touched || m.hidden[l.Node] != l
			m.hidden[l.Node] = l
			return
		}
		m.hidden[have.Node], m.touched = have, true
	}
	if _, was := m.hidden[l.Node]; was {
		delete(m.hidden, l.Node)
		m.touched = true
	}
	if have != l {
		m.leases[l.Subnets] = l
		m.changed[l.Subnets] = true
	}
}

// withdraw takes away what a Node showed for s; who stood behind it comes out.
func (m *mirror) withdraw(name string, s subnet.Subnets) {
	if _, was := m.hidden[name]; was {
		delete(m.hidden, name)
		m.touched = true
		return
	}
	if m.leases[s].Node != name || s.IsZero() {
		return
	}
	delete(m.leases, s)
	m.changed[s] = true
	for _, l := range m.hidden {
		if l.Subnets == s {
			m.show(l)
		}
	}
}

// before tells whether one Node is older than another, and keeps what both have.
func (m *mirror) before(a, b string) bool {
	return cmp.Or(cmp.Compare(m.nodes[a].created, m.nodes[b].created), cmp.Compare(a, b)) < 0
}

// lease returns what a Node announces; zero where that is nothing.
func (m *mirror) lease(name string) subnet.Lease {
	if l, ok := m.hidden[name]; ok {
		return l
	}
	if l := m.leases[m.nodes[name].subnets]; l.Node == name {
		return l
	}
	return subnet.Lease{}
}

// rival returns the lease of another Node that announces an address of attrs, and whose kubelet is heard of. Where the
// own Node announces them since a version, one that does so later is none; whether it does must be sure.
func (m *mirror) rival(attrs subnet.Attrs, since uint64) (subnet.Lease, bool) {
	is := func(l subnet.Lease) bool {
		r := m.nodes[l.Node]
		return l.Node != attrs.Node && l.Shares(attrs) && !r.lost && (since == 0 || !r.sure || r.since < since)
	}
	for _, l := range m.leases {
		if is(l) {
			return l, true
		}
	}
	for _, l := range m.hidden {
		if is(l) {
			return l, true
		}
	}
	return subnet.Lease{}, false
}

// number is a resource version as one that can be compared, which those of Kubernetes are by its contract since 1.35,
// and always were. It is 0 for what is none.
func number(version string) uint64 {
	n, _ := strconv.ParseUint(version, 10, 64)
	return n
}

// faults lists the Nodes that are not what they should be, in the order of their names.
func (m *mirror) faults() []subnet.Fault {
	out := make([]subnet.Fault, 0, len(m.bad)+len(m.hidden))
	for name, err := range m.bad {
		out = append(out, subnet.Fault{Key: name, Err: err})
	}
	for name, l := range m.hidden {
		err := fmt.Errorf("its pod CIDRs %s are those of the older Node %s: delete the one that is wrong", l.Subnets, m.leases[l.Subnets].Node)
		out = append(out, subnet.Fault{Key: name, Err: err})
	}
	slices.SortFunc(out, func(a, b subnet.Fault) int { return cmp.Compare(a.Key, b.Key) })
	return out
}

// drain returns which leases put and remove changed since the last call; ok is false if nothing that a Snapshot shows
// is different. The slice is never nil.
func (m *mirror) drain() (changed []subnet.Subnets, ok bool) {
	ok = m.touched || len(m.changed) > 0
	changed = slices.AppendSeq(make([]subnet.Subnets, 0, len(m.changed)), maps.Keys(m.changed))
	m.changed, m.touched = map[subnet.Subnets]bool{}, false
	return changed, ok
}
