package kube

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weft-network/weft/subnet"
)

// peer is a Node that announces something; created says how old it is.
func peer(number, created int) *Node {
	n := noted(fmt.Sprintf("kube-subnet-manager true\nbackend-type vxlan\npublic-ip 192.168.%d.%d\nbackend-data {\"VNI\":1}\n",
		number>>8, number&0xff), fmt.Sprintf("10.%d.%d.0/24", 5+number>>8, number&0xff))
	n.Name = fmt.Sprint("node-", number)
	n.CreationTimestamp = metav1.NewTime(time.Unix(int64(created), 0))
	return n
}

// picture is what a mirror shows, as text.
func picture(m *mirror) []string {
	var out []string
	for _, l := range m.leases {
		out = append(out, fmt.Sprintf("%s of %s at %s", l.Subnets, l.Node, l.Addresses()))
	}
	slices.Sort(out)
	for _, f := range m.faults() {
		out = append(out, fmt.Sprintf("%s: %v", f.Key, f.Err))
	}
	return out
}

// TestMirror changes Nodes one by one and looks at what that shows.
func TestMirror(t *testing.T) {
	m := newMirror(reader{annotations{DefaultPrefix}, "node-1"})
	const none, something = "", "something"
	step := func(what string, do func(), changed string, want ...string) {
		t.Helper()
		do()
		keys, any := m.drain()
		var words []string
		for _, s := range keys {
			words = append(words, s.String())
		}
		slices.Sort(words)
		got := strings.Join(words, " ")
		if got == "" && any {
			got = something
		}
		if got != changed {
			t.Errorf("%s: changed %q, want %q", what, got, changed)
		}
		if diff := cmp.Diff(want, picture(m)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	put := func(n *Node) func() { return func() { m.put(m.extract(n)) } }
	remove := func(name string) func() { return func() { m.remove(name) } }
	one, two := "10.5.1.0/24 of node-1 at 192.168.0.1", "10.5.2.0/24 of node-2 at 192.168.0.2"

	bare := peer(2, 20)
	clear(bare.Annotations)
	step("a Node that announces nothing", put(bare), none)
	step("the first that does", put(peer(1, 10)), "10.5.1.0/24", one)
	step("the second", put(peer(2, 20)), "10.5.2.0/24", one, two)

	beat := peer(2, 20)
	beat.ResourceVersion = "77"
	beat.Status.Conditions = []NodeCondition{{Type: conditionReady, Status: "True", Message: "kubelet is posting"}}
	step("a heartbeat", put(beat), none, one, two)

	moved := peer(2, 20)
	moved.Annotations[DefaultPrefix+"/public-ip"] = "192.168.0.77"
	step("another address", put(moved), "10.5.2.0/24", one, "10.5.2.0/24 of node-2 at 192.168.0.77")
	other := peer(2, 20)
	other.Spec.PodCIDRs = []string{"10.5.99.0/24"}
	step("another pod CIDR", put(other), "10.5.2.0/24 10.5.99.0/24", one, "10.5.99.0/24 of node-2 at 192.168.0.2")
	step("back again", put(peer(2, 20)), "10.5.2.0/24 10.5.99.0/24", one, two)

	broken := peer(2, 20)
	broken.Annotations[DefaultPrefix+"/public-ip"] = "nonsense"
	fault := `node-2: annotation flannel.alpha.coreos.com/public-ip: "nonsense" is not an IPv4 address`
	step("garbage", put(broken), "10.5.2.0/24", one, fault)
	step("the same garbage", put(broken), none, one, fault)
	step("garbage mended", put(peer(2, 20)), "10.5.2.0/24", one, two)

	young, old := peer(2, 30), peer(2, 5)
	young.Name, old.Name = "young", "old"
	const mine = "its pod CIDRs 10.5.2.0/24 are those of the older Node "
	step("a younger Node with the same pod CIDR", put(young), something, one, two, "young: "+mine+"node-2: delete the one that is wrong")
	step("an older Node with the same pod CIDR", put(old), "10.5.2.0/24", one, "10.5.2.0/24 of old at 192.168.0.2",
		"node-2: "+mine+"old: delete the one that is wrong", "young: "+mine+"old: delete the one that is wrong")
	step("the oldest goes", remove("old"), "10.5.2.0/24", one, two, "young: "+mine+"node-2: delete the one that is wrong")
	step("the youngest goes", remove("young"), something, one, two)

	addressed := peer(1, 10)
	addressed.Status.Addresses = []NodeAddress{{"InternalIP", "192.168.0.1"}}
	step("what is said of the own node", put(addressed), something, one, two)
	step("and again", put(addressed), none, one, two)
	told := peer(1, 10)
	told.Status = NodeStatus{addressed.Status.Addresses, []NodeCondition{{Type: conditionNetwork, Status: "True"}}}
	step("the own condition", put(told), something, one, two)
	step("the own Node goes", remove("node-1"), "10.5.1.0/24", two)
	if m.self != (subnet.Self{}) || m.condition != (NodeCondition{}) {
		t.Errorf("of a Node that is gone there is left: %+v %+v", m.self, m.condition)
	}
	step("the last goes", remove("node-2"), "10.5.2.0/24")
	step("one that never was goes", remove("node-9"), none)
	if len(m.nodes)+len(m.hidden)+len(m.bad) > 0 {
		t.Errorf("something is left: %v %v %v", m.nodes, m.hidden, m.bad)
	}
}

// TestMirrorForgetsNothing compares mirrors after many changes with one that was filled afresh.
func TestMirrorForgetsNothing(t *testing.T) {
	m := newMirror(reader{annotations{DefaultPrefix}, "node-1"})
	nodes := map[string]*Node{}
	seed := uint32(1)
	random := func(n uint32) int {
		seed = seed*1664525 + 1013904223
		return int(seed >> 16 % n)
	}
	for range 3000 {
		n := peer(random(8), random(3))
		n.Name = fmt.Sprint("node-", random(6))
		switch random(6) {
		case 0:
			delete(nodes, n.Name)
			m.remove(n.Name)
			continue
		case 1:
			n.Annotations[DefaultPrefix+"/backend-data"] = "{"
		case 2:
			clear(n.Annotations)
		}
		if old := nodes[n.Name]; old != nil {
			n.CreationTimestamp = old.CreationTimestamp
		}
		nodes[n.Name] = n
		m.put(m.extract(n))
	}
	fresh := newMirror(reader{annotations{DefaultPrefix}, "node-1"})
	for _, name := range slices.Sorted(maps.Keys(nodes)) {
		fresh.put(fresh.extract(nodes[name]))
	}
	if diff := cmp.Diff(picture(fresh), picture(m)); diff != "" {
		t.Errorf("picture (-filled afresh +after changes):\n%s", diff)
	}
}

func TestRival(t *testing.T) {
	m := newMirror(reader{annotations{DefaultPrefix}, "node-1"})
	m.put(m.extract(peer(1, 1)))
	m.put(m.extract(peer(2, 2)))
	lost := peer(3, 3)
	lost.Status.Conditions = []NodeCondition{{Type: conditionReady, Status: "Unknown"}}
	m.put(m.extract(lost))
	hidden := peer(4, 4)
	hidden.Spec.PodCIDRs = []string{"10.5.1.0/24"}
	m.put(m.extract(hidden))
	for _, tt := range []struct{ name, address, want string }{
		{"its own", "192.168.0.1", ""},
		{"another's", "192.168.0.2", "node-2"},
		{"that of a node whose kubelet is gone", "192.168.0.3", ""},
		{"that of a node that is not shown", "192.168.0.4", "node-4"},
		{"nobody's", "192.168.0.9", ""},
	} {
		l, there := m.rival(subnet.Attrs{Node: "node-1", PublicIP: [2]netip.Addr{netip.MustParseAddr(tt.address)}}, 0)
		if l.Node != tt.want || there != (tt.want != "") {
			t.Errorf("%s: the rival is %q, want %q", tt.name, l.Node, tt.want)
		}
	}
}

// TestRivalThatCameFirst gives the Nodes 1 and 2 one address, and asks as Node 1.
func TestRivalThatCameFirst(t *testing.T) {
	at := func(version string) *Node {
		n := peer(2, 2)
		n.ResourceVersion = version
		return n
	}
	elsewhere := at("5")
	elsewhere.Annotations[DefaultPrefix+"/public-ip"] = "192.168.0.99"
	for _, tt := range []struct {
		name   string
		before []*Node // what there was when the mirror was filled
		after  []*Node // what happened since
		want   bool
	}{
		{"it wrote before", nil, []*Node{at("9")}, true},
		{"it wrote afterwards", nil, []*Node{at("11")}, false},
		{"it wrote before, and its kubelet speaks", nil, []*Node{at("9"), at("11")}, true},
		{"it changed to the address afterwards", []*Node{elsewhere}, []*Node{at("12")}, false},
		{"when it wrote nobody saw", []*Node{at("11")}, nil, true},
		{"when it wrote nobody saw, and its kubelet speaks", []*Node{at("11")}, []*Node{at("12")}, true},
	} {
		m := newMirror(reader{annotations{DefaultPrefix}, "node-1"})
		for _, n := range tt.before {
			m.put(m.extract(n))
		}
		m.live = true
		for _, n := range tt.after {
			m.put(m.extract(n))
		}
		_, got := m.rival(subnet.Attrs{Node: "node-1", PublicIP: [2]netip.Addr{netip.MustParseAddr("192.168.0.2")}}, 10)
		if got != tt.want {
			t.Errorf("%s: a rival %v, want %v", tt.name, got, tt.want)
		}
	}
}

func BenchmarkMirror(b *testing.B) {
	m := newMirror(reader{annotations{DefaultPrefix}, "node-1"})
	for n := range 5000 {
		m.put(m.extract(peer(n, n)))
	}
	m.drain()
	beat := peer(77, 77)
	b.ReportAllocs()
	for b.Loop() {
		m.put(m.extract(beat))
		if _, any := m.drain(); any {
			b.Fatal("a heartbeat changes something")
		}
	}
}
