package etcd

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/weft-network/weft/subnet"
)

// step is one event: "key = value @created lease", or a deletion.
type step struct {
	key, value string
	created    int64
	lease      int64
	gone       bool
}

func lease(key string, created int64, n int) step {
	return step{key: "subnets/" + key, value: fmt.Sprintf(`{"PublicIP":"192.0.2.%d","BackendType":"host-gw"}`, n), created: created, lease: 7}
}

func gone(key string) step { return step{key: "subnets/" + key, gone: true} }

func play(m *mirror, steps ...step) {
	for _, s := range steps {
		if s.gone {
			m.remove(prefix + s.key)
			continue
		}
		m.put(&mvccpb.KeyValue{Key: []byte(prefix + s.key), Value: []byte(s.value), CreateRevision: s.created, ModRevision: s.created, Lease: s.lease})
	}
}

// show writes what a mirror shows to the world.
func show(m *mirror) string {
	var lines []string
	for s, l := range m.leases {
		lines = append(lines, fmt.Sprintf("lease %s at %s", s, l.Addresses()))
	}
	for s := range m.reservations {
		lines = append(lines, fmt.Sprintf("reserved %s", s))
	}
	slices.Sort(lines)
	m.drain()
	for _, f := range m.faults() {
		lines = append(lines, fmt.Sprintf("fault %s: %v", strings.TrimPrefix(f.Key, prefix), f.Err))
	}
	if m.config != "" {
		lines = append(lines, "config "+m.config)
	}
	return strings.Join(lines, "\n")
}

func TestMirror(t *testing.T) {
	older := lease("10.5.1.0-24", 10, 1)
	for _, tt := range []struct {
		name  string
		steps []step
		want  string
	}{
		{"nothing", nil, ""},
		{"one", []step{older}, "lease 10.5.1.0/24 at 192.0.2.1"},
		{"one that went", []step{older, gone("10.5.1.0-24")}, ""},
		{"one that changed", []step{older, lease("10.5.1.0-24", 10, 2)}, "lease 10.5.1.0/24 at 192.0.2.2"},
		{"one that came again", []step{older, gone("10.5.1.0-24"), lease("10.5.1.0-24", 12, 2)}, "lease 10.5.1.0/24 at 192.0.2.2"},
		{"config", []step{{key: "config", value: "{}"}}, "config {}"},
		{"config that went", []step{{key: "config", value: "{}"}, {key: "config", gone: true}}, ""},
		{"keys of others", []step{{key: "other", value: "x"}, {key: "net/config", value: "x"}, {key: "subnets", value: "x"}}, ""},
		{
			"younger larger one", []step{older, lease("10.5.0.0-16", 11, 2)},
			"lease 10.5.1.0/24 at 192.0.2.1\nfault subnets/10.5.0.0-16: overlaps 10.5.1.0/24 of the older key " + prefix + "subnets/10.5.1.0-24: delete the one that is wrong",
		},
		{
			"older larger one, read first", []step{lease("10.5.0.0-16", 9, 2), older},
			"lease 10.5.0.0/16 at 192.0.2.2\nfault subnets/10.5.1.0-24: overlaps 10.5.0.0/16 of the older key " + prefix + "subnets/10.5.0.0-16: delete the one that is wrong",
		},
		{
			"older larger one, read last", []step{older, lease("10.5.0.0-16", 9, 2)},
			"lease 10.5.0.0/16 at 192.0.2.2\nfault subnets/10.5.1.0-24: overlaps 10.5.0.0/16 of the older key " + prefix + "subnets/10.5.0.0-16: delete the one that is wrong",
		},
		{"older one went", []step{lease("10.5.0.0-16", 9, 2), older, gone("10.5.0.0-16")}, "lease 10.5.1.0/24 at 192.0.2.1"},
		{"younger one went", []step{older, lease("10.5.0.0-16", 11, 2), gone("10.5.0.0-16")}, "lease 10.5.1.0/24 at 192.0.2.1"},
		{"younger one changed, then the older went", []step{older, lease("10.5.0.0-16", 11, 2), lease("10.5.0.0-16", 11, 3), gone("10.5.1.0-24")}, "lease 10.5.0.0/16 at 192.0.2.3"},
		{
			"loser was in the way of another", []step{lease("10.5.2.0-24", 30, 3), lease("10.5.0.0-16", 20, 2), older},
			"lease 10.5.1.0/24 at 192.0.2.1\nlease 10.5.2.0/24 at 192.0.2.3\nfault subnets/10.5.0.0-16: overlaps 10.5.1.0/24 of the older key " + prefix + "subnets/10.5.1.0-24: delete the one that is wrong",
		},
		{
			"same IPv4, other IPv6", []step{lease("10.5.1.0-24&fd00:5::-64", 10, 1), lease("10.5.1.0-24&fd00:5:0:1::-64", 11, 2)},
			"lease 10.5.1.0/24,fd00:5::/64 at 192.0.2.1\nfault subnets/10.5.1.0-24&fd00:5:0:1::-64: overlaps 10.5.1.0/24,fd00:5::/64 of the older key " + prefix + "subnets/10.5.1.0-24&fd00:5::-64: delete the one that is wrong",
		},
		{
			"two spellings", []step{lease("10.5.1.0-24&fd00:5::-64", 10, 1), lease("10.5.1.0-24&fd00:5:0:0::-64", 11, 2), gone("10.5.1.0-24&fd00:5::-64")},
			"lease 10.5.1.0/24,fd00:5::/64 at 192.0.2.2",
		},
		{"reservation without a value", []step{{key: "subnets/10.5.1.0-24", created: 1}}, "reserved 10.5.1.0/24"},
		{"reservation with a note", []step{{key: "subnets/10.5.1.0-24", value: "printers", created: 1}}, "reserved 10.5.1.0/24"},
		{"reservation with an address", []step{{key: "subnets/10.5.1.0-24", value: `{"PublicIP":"192.0.2.1"}`, created: 1}}, "reserved 10.5.1.0/24"},
		{"reservation that is held", []step{{key: "subnets/10.5.1.0-24", value: older.value, created: 1}}, "lease 10.5.1.0/24 at 192.0.2.1"},
		{
			"damage without a lease", []step{{key: "subnets/10.5.1.0-24", value: `{"PublicIP":17}`, created: 1}},
			"fault subnets/10.5.1.0-24: the value is not the JSON of a lease: json: cannot unmarshal number into Go struct field wire.PublicIP of type string",
		},
		{
			"damage", []step{{key: "subnets/10.5.1.0-24", value: "x", created: 1, lease: 7}},
			"fault subnets/10.5.1.0-24: the value is not the JSON of a lease: invalid character 'x' looking for beginning of value",
		},
		{"damage that was mended", []step{{key: "subnets/10.5.1.0-24", value: "x", created: 10, lease: 7}, older}, "lease 10.5.1.0/24 at 192.0.2.1"},
		{"damage that went", []step{{key: "subnets/10.5.1.0-24", value: "x", created: 10, lease: 7}, gone("10.5.1.0-24")}, ""},
		{
			"no address", []step{{key: "subnets/10.5.1.0-24", value: `{"BackendType":"vxlan"}`, created: 1, lease: 7}},
			"fault subnets/10.5.1.0-24: the value has neither a PublicIP nor a PublicIPv6: its node cannot be reached",
		},
		{
			"no backend", []step{{key: "subnets/10.5.1.0-24", value: `{"PublicIP":"192.0.2.1"}`, created: 1, lease: 7}},
			"fault subnets/10.5.1.0-24: the value has no BackendType: nobody knows how to reach its node",
		},
		{
			"bad key", []step{{key: "subnets/x", value: "x", created: 1, lease: 7}, older},
			"lease 10.5.1.0/24 at 192.0.2.1\n" + `fault subnets/x: "x" is not a subnet: want an address, a dash and a length, as in 10.5.52.0-24`,
		},
		{"bad key that went", []step{{key: "subnets/x", value: "x", created: 1, lease: 7}, gone("x")}, ""},
		{"nothing that went", []step{gone("10.5.1.0-24"), gone("x"), {key: "other", gone: true}}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMirror(prefix, 0)
			play(m, tt.steps...)
			if diff := cmp.Diff(tt.want, show(m)); diff != "" {
				t.Errorf("mirror (-want +got):\n%s", diff)
			}
			checkIndex(t, m)
		})
	}
}

// checkIndex holds the parts of m against each other.
func checkIndex(t *testing.T, m *mirror) {
	t.Helper()
	lengths := [2]map[int]int{{}, {}}
	for f, index := range m.index {
		for p, e := range index {
			lengths[f][p.Bits()]++
			if e.subnets[f] != p || m.find(e.subnets) != e {
				t.Errorf("%s leads to %+v, which is not found", p, *e)
			}
			_, isLease := m.leases[e.subnets]
			_, isReservation := m.reservations[e.subnets]
			if isBad := m.bad[e.key] != nil; isLease == isReservation && isLease == isBad {
				t.Errorf("%s is lease, reservation, bad: %v %v %v", e.key, isLease, isReservation, isBad)
			}
		}
	}
	if diff := cmp.Diff(lengths, m.lengths); diff != "" {
		t.Errorf("the count of lengths (-want +got):\n%s", diff)
	}
}

func TestMirrorChanged(t *testing.T) {
	m := newMirror(prefix, 0)
	for _, tt := range []struct {
		name  string
		steps []step
		want  []subnet.Subnets
		ok    bool
	}{
		{"nothing", nil, []subnet.Subnets{}, false},
		{"a key of somebody else", []step{{key: "other", value: "x"}}, []subnet.Subnets{}, false},
		{"a lease", []step{lease("10.5.1.0-24", 1, 1)}, []subnet.Subnets{parseSubnets("10.5.1.0/24")}, true},
		{"a lease, twice", []step{lease("10.5.1.0-24", 1, 2), lease("10.5.1.0-24", 1, 3)}, []subnet.Subnets{parseSubnets("10.5.1.0/24")}, true},
		{"config", []step{{key: "config", value: "{}"}}, []subnet.Subnets{}, true},
		{"the same config", []step{{key: "config", value: "{}"}}, []subnet.Subnets{}, false},
		{"a fault", []step{{key: "subnets/x", value: "x"}}, []subnet.Subnets{}, true},
		{"a lease that goes", []step{gone("10.5.1.0-24")}, []subnet.Subnets{parseSubnets("10.5.1.0/24")}, true},
	} {
		play(m, tt.steps...)
		got, ok := m.drain()
		if diff := cmp.Diff(tt.want, got, compare); diff != "" || ok != tt.ok {
			t.Errorf("%s: any %v, changed (-want +got):\n%s", tt.name, ok, diff)
		}
	}
}

// FuzzMirror plays events in any order, and compares the result with a mirror that is read at once.
func FuzzMirror(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9})
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		events := make([]byte, random.IntN(40))
		for i := range events {
			events[i] = byte(random.IntN(256))
		}
		f.Add(events)
	}
	keys := []string{"10.5.1.0-24", "10.5.0.0-16", "10.5.1.0-25", "10.5.1.0-24&fd00:5::-64", "10.5.2.0-24&fd00:5::-64", "10.5.2.0-24&fd00:5:0:0::-64", "fd00:5::-48", "x"}
	f.Fuzz(func(t *testing.T, events []byte) {
		m, now := newMirror(prefix, 0), map[string]step{}
		for i, e := range events {
			key := keys[int(e)%len(keys)]
			if e >= 128 {
				play(m, gone(key))
				delete(now, key)
				continue
			}
			s := lease(key, int64(i+1), i%250+1)
			if old, ok := now[key]; ok {
				s.created = old.created
			}
			now[key] = s
			play(m, s)
		}
		checkIndex(t, m)
		fresh := newMirror(prefix, 0)
		for _, key := range keys {
			if s, ok := now[key]; ok {
				play(fresh, s)
			}
		}
		if diff := cmp.Diff(show(fresh), show(m)); diff != "" {
			t.Errorf("read at once (-), event by event (+):\n%s", diff)
		}
	})
}

// benchmarkKeys are what etcd returns for a cluster of n nodes.
func benchmarkKeys(n int) []*mvccpb.KeyValue {
	var out []*mvccpb.KeyValue
	for i := range n {
		out = append(out, &mvccpb.KeyValue{
			Key:            fmt.Appendf(nil, "%ssubnets/10.%d.%d.0-24", prefix, i>>8, i&255),
			CreateRevision: int64(i + 1), ModRevision: int64(i + 1), Lease: int64(i + 1),
			Value: fmt.Appendf(nil, `{"PublicIP":"192.168.%d.%d","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"0e:00:00:00:%02x:%02x"},"Node":"worker-%d.example"}`,
				i>>8, i&255, i>>8, i&255, i),
		})
	}
	return out
}

// BenchmarkDecode takes in what a node of a cluster with 5,000 nodes reads when it starts.
func BenchmarkDecode(b *testing.B) {
	keys := benchmarkKeys(5000)
	b.ReportAllocs()
	for b.Loop() {
		m := newMirror(prefix, len(keys))
		m.load(slices.Clone(keys))
	}
}

// BenchmarkEvent takes in the change of one lease in a cluster with 5,000 nodes.
func BenchmarkEvent(b *testing.B) {
	keys := benchmarkKeys(5000)
	m := newMirror(prefix, 0)
	m.load(slices.Clone(keys))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		m.put(keys[i%len(keys)])
		m.drain()
	}
}
