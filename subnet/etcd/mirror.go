package etcd

import (
	"bytes"
	"cmp"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/weft-network/weft/subnet"
)

// mirror is the picture of what is below the prefix, at one revision. One event costs the same whatever the number
// of leases. It holds what is needed of each key and no more, because it is most of what an agent has in memory.
type mirror struct {
	prefix   string // with a slash at its end
	cluster  uint64 // the etcd cluster that it was read from
	revision int64  // of the last change that is in it
	claims   uint64 // the claims that had succeeded when it was read

	config       string
	leases       map[subnet.Subnets]subnet.Lease // what Snapshot shows
	reservations map[subnet.Subnets]subnet.Lease // keys without an etcd lease and without a public address
	index        [2]map[netip.Prefix]*entry      // who holds a subnet, whatever the value says
	lengths      [2]map[int]int                  // how many entries of index are of which length
	hidden       map[string]candidate            // by key: those that overlap an older key
	bad          map[string]error                // by key: those that could not be read
	questions    map[string]bool                 // keys below "contests"

	decoder *decoder
	changed []subnet.Subnets // since the last call of drain
	touched bool             // something that is not in changed is different: config, faults
	listed  []subnet.Fault   // what faults returned; nil if that may be different now
}

// entry is a key that holds subnets.
type entry struct {
	key      string
	subnets  subnet.Subnets
	created  int64 // etcd's create revision: who is first keeps a subnet
	modified int64 // etcd's mod revision: what a compare-and-swap compares
	lease    int64 // etcd lease that the key is attached to; 0 for a reservation
}

// before tells whether e keeps a subnet that o wants too.
func (e *entry) before(o *entry) bool {
	if e.created != o.created {
		return e.created < o.created
	}
	return e.key < o.key
}

// candidate is an entry with what its value says.
type candidate struct {
	*entry
	attrs subnet.Attrs
	err   error // why the value cannot be read
	meant bool  // the value, readable or not, is meant to be the JSON of a lease
}

// newMirror returns an empty mirror with room for so many keys.
func newMirror(prefix string, room int) *mirror {
	return &mirror{
		prefix:       prefix,
		leases:       make(map[subnet.Subnets]subnet.Lease, room),
		reservations: map[subnet.Subnets]subnet.Lease{},
		index:        [2]map[netip.Prefix]*entry{make(map[netip.Prefix]*entry, room), {}},
		lengths:      [2]map[int]int{{}, {}},
		hidden:       map[string]candidate{},
		bad:          map[string]error{},
		questions:    map[string]bool{},
		decoder:      newDecoder(),
	}
}

// put takes in a key and its value, new or changed.
func (m *mirror) put(kv *mvccpb.KeyValue) {
	key := string(kv.Key)
	name := strings.TrimPrefix(key, m.prefix)
	if name == configName {
		m.touched = m.touched || m.config != string(kv.Value)
		m.config = string(kv.Value)
		return
	}
	if strings.HasPrefix(name, contestsName) {
		m.questions[key] = true
		return
	}
	name, ok := strings.CutPrefix(name, subnetsName)
	if !ok {
		return // somebody else's
	}
	s, err := parseKey(name)
	if err != nil {
		m.bad[key], m.touched = err, true
		return
	}
	c := candidate{entry: &entry{key: key, subnets: s, created: kv.CreateRevision, modified: kv.ModRevision, lease: kv.Lease}}
	c.attrs, c.err = m.decoder.value(kv.Value)
	c.meant = bytes.HasPrefix(bytes.TrimSpace(kv.Value), []byte("{"))
	if e := m.find(s); e != nil && e.key == key && e.created == c.created {
		m.take(e)
		m.place(c)
		return
	}
	m.remove(key)
	m.insert(c)
}

// remove forgets a key.
func (m *mirror) remove(key string) {
	name := strings.TrimPrefix(key, m.prefix)
	if name == configName {
		m.touched = m.touched || m.config != ""
		m.config = ""
		return
	}
	delete(m.questions, key)
	if _, ok := m.hidden[key]; ok {
		delete(m.hidden, key)
		m.touched = true
		return
	}
	if _, ok := m.bad[key]; ok {
		delete(m.bad, key)
		m.touched = true
	}
	name, ok := strings.CutPrefix(name, subnetsName)
	if !ok {
		return
	}
	s, err := parseKey(name)
	if err != nil {
		return
	}
	e := m.find(s)
	if e == nil || e.key != key {
		return
	}
	m.take(e)
	m.reveal(s)
}

// held lists the subnets of every key.
func (m *mirror) held() iter.Seq[subnet.Subnets] {
	return func(yield func(subnet.Subnets) bool) {
		for f := range m.index {
			for _, e := range m.index[f] {
				if !yield(e.subnets) {
					return
				}
			}
		}
		for _, c := range m.hidden {
			if !yield(c.subnets) {
				return
			}
		}
	}
}

// faults lists the keys that are not what they should be, in the order of the keys.
func (m *mirror) faults() []subnet.Fault {
	if m.listed != nil {
		return m.listed
	}
	out := make([]subnet.Fault, 0, len(m.bad)+len(m.hidden))
	for key, err := range m.bad {
		out = append(out, subnet.Fault{Key: key, Err: err})
	}
	for key, c := range m.hidden {
		out = append(out, subnet.Fault{Key: key, Err: m.overlapped(c.entry)})
	}
	slices.SortFunc(out, func(a, b subnet.Fault) int { return cmp.Compare(a.Key, b.Key) })
	m.listed = out
	return out
}

// load fills an empty mirror.
func (m *mirror) load(kvs []*mvccpb.KeyValue) {
	for i, kv := range kvs {
		m.put(kv)
		kvs[i] = nil              // so that what is read is not in memory twice
		m.changed = m.changed[:0] // nobody asks
	}
	m.drain()
}

// drain returns what put and remove changed since the last call; ok is false if that is nothing at all. The slice is
// never nil.
func (m *mirror) drain() (changed []subnet.Subnets, ok bool) {
	changed, ok = m.changed, m.touched || len(m.changed) > 0
	if m.touched {
		m.listed = nil
	}
	m.changed, m.touched = nil, false
	return slices.AppendSeq(make([]subnet.Subnets, 0, len(changed)), unique(changed)), ok
}

func unique(in []subnet.Subnets) iter.Seq[subnet.Subnets] {
	set := make(map[subnet.Subnets]bool, len(in))
	for _, s := range in {
		set[s] = true
	}
	return maps.Keys(set)
}
