package kube

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/weft-network/weft/subnet"
)

// mirror is what is kept of the Nodes, at one version. One event costs the same whatever the number of Nodes.
type mirror struct {
	reader
	version string // resource version, of the last change that is in it
	live    bool   // each change is seen as it happens; false while what there was before is taken in

	nodes  map[string]record               // every Node
	leases map[subnet.Subnets]subnet.Lease // what Snapshot shows
	hidden map[string]subnet.Lease         // by name: Nodes whose pod CIDRs are an older Node's too
	bad    map[string]error                // by name: Nodes that cannot be understood

	ownNode // as the own Node is; zero while there is none

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

func newMirror(r reader) *mirror {
	return &mirror{
		reader:  r,
		nodes:   map[string]record{},
		leases:  map[subnet.Subnets]subnet.Lease{},
		hidden:  map[string]subnet.Lease{},
		bad:     map[string]error{},
		changed: map[subnet.Subnets]bool{},
	}
}

// put takes in a Node, new or changed.
func (m *mirror) put(e *extract) {
	m.blame(e.name, e.err)
	if e.name == m.own {
		m.look(e.own)
	}
	old, l := m.nodes[e.name], e.lease
	r := record{subnets: l.Subnets, created: e.created, lost: e.lost, since: e.version, sure: m.live}
	if before := m.lease(e.name); before.PublicIP == l.PublicIP && !before.Subnets.IsZero() {
		r.since, r.sure = old.since, old.sure
	}
	m.nodes[e.name] = r
	if old.subnets != l.Subnets {
		m.withdraw(e.name, old.subnets)
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
		m.look(ownNode{})
	}
}

// look takes in what the own Node says of its node. A question of another agent is nothing that Snapshot shows.
func (m *mirror) look(n ownNode) {
	m.touched = m.touched || n.self != m.self || n.condition != m.condition
	m.ownNode = n
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

// dirty tells whether something that a Snapshot shows is different since the last call of drain.
func (m *mirror) dirty() bool { return m.touched || len(m.changed) > 0 }

// drain returns which leases put and remove changed since the last call; ok is false if nothing that a Snapshot shows
// is different. The slice is never nil.
func (m *mirror) drain() (changed []subnet.Subnets, ok bool) {
	ok = m.dirty()
	changed = slices.AppendSeq(make([]subnet.Subnets, 0, len(m.changed)), maps.Keys(m.changed))
	m.changed, m.touched = map[subnet.Subnets]bool{}, false
	return changed, ok
}
