package network

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/weft-network/weft/subnet"
)

// lease is the lease of node n, whose public address ends in ip.
func lease(n, ip int) subnet.Lease {
	return subnet.Lease{
		Subnets: subnet.Subnets{netip.MustParsePrefix(fmt.Sprintf("10.5.%d.0/24", n))},
		Attrs: subnet.Attrs{Node: fmt.Sprintf("n%d", n), Backend: "vxlan",
			PublicIP: [2]netip.Addr{netip.MustParseAddr(fmt.Sprintf("192.0.2.%d", ip))},
			Data:     [2]string{fmt.Sprintf(`{"VNI":1,"VtepMAC":"0e:00:00:00:00:%02x"}`, n)}},
	}
}

// snapshot is a whole picture of the given leases.
func snapshot(leases ...subnet.Lease) subnet.Snapshot {
	s := subnet.Snapshot{Config: `{}`, Leases: map[subnet.Subnets]subnet.Lease{}}
	for _, l := range leases {
		s.Leases[l.Subnets] = l
	}
	return s
}

// after is s as the store tells it when only the keys of the given leases may have changed.
func after(s subnet.Snapshot, changed ...subnet.Lease) subnet.Snapshot {
	s.Changed = []subnet.Subnets{}
	for _, l := range changed {
		s.Changed = append(s.Changed, l.Subnets)
	}
	return s
}

// noon is some time.
var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func TestPictureTellsWhatChanged(t *testing.T) {
	moved := lease(2, 99)
	for _, c := range []struct {
		name string
		then []subnet.Snapshot
		want news
	}{
		{"nothing", []subnet.Snapshot{after(snapshot(lease(1, 1), lease(2, 2), lease(3, 3)))}, news{}},
		{"the same value again", []subnet.Snapshot{after(snapshot(lease(1, 1), lease(2, 2), lease(3, 3)), lease(2, 2))}, news{}},
		{"one moved", []subnet.Snapshot{after(snapshot(lease(1, 1), moved, lease(3, 3)), moved)},
			news{changed: []leaseChange{{lease(2, 2), moved}}}},
		{"one came", []subnet.Snapshot{after(snapshot(lease(1, 1), lease(2, 2), lease(3, 3), lease(4, 4)), lease(4, 4))},
			news{changed: []leaseChange{{subnet.Lease{}, lease(4, 4)}}}},
		{"one went", []subnet.Snapshot{after(snapshot(lease(1, 1), lease(3, 3)), lease(2, 2))},
			news{changed: []leaseChange{{lease(2, 2), subnet.Lease{}}}}},
		{"two steps are one change", []subnet.Snapshot{
			after(snapshot(lease(1, 1), lease(3, 3)), lease(2, 2)),
			after(snapshot(lease(1, 1), moved, lease(3, 3)), moved)},
			news{changed: []leaseChange{{lease(2, 2), moved}}}},
		{"all", []subnet.Snapshot{snapshot(lease(1, 1), lease(2, 2))}, news{all: true}},
		{"all, then one", []subnet.Snapshot{snapshot(lease(1, 1), lease(2, 2)), after(snapshot(lease(1, 1), moved), moved)}, news{all: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p picture
			if !p.update(snapshot(lease(1, 1), lease(2, 2), lease(3, 3)), noon) {
				t.Fatal("the first snapshot was not believed")
			}
			p.take()
			for _, s := range c.then {
				if !p.update(s, noon) {
					t.Fatal("not believed")
				}
			}
			p.forget(noon)
			c.want.complete, c.want.config = true, "{}"
			if d := cmp.Diff(c.want, p.take(), equalValues()); d != "" {
				t.Errorf("news (-want +got):\n%s", d)
			}
			if d := cmp.Diff(news{complete: true, config: "{}"}, p.take(), equalValues()); d != "" {
				t.Errorf("the second take (-want +got):\n%s", d)
			}
		})
	}
}

func TestPictureServesWhatLeavesForAWhile(t *testing.T) {
	all := []subnet.Lease{lease(1, 1), lease(2, 2), lease(3, 3), lease(4, 4)}
	for _, c := range []struct {
		name       string
		gone, back subnet.Snapshot
	}{
		{"by events", after(snapshot(all[:3]...), all[3]), after(snapshot(all...), all[3])},
		{"by listing", snapshot(all[:3]...), snapshot(all...)},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p picture
			p.update(snapshot(all...), noon)
			p.update(c.gone, noon.Add(time.Minute))
			p.update(c.gone, noon.Add(time.Hour)) // says nothing new
			p.take()
			if left := p.forget(noon); left != 1 || !p.parting() || p.lease(all[3].Subnets) != all[3] {
				t.Errorf("%d leases leave, want 1, which serves on", left)
			}
			p.update(c.back, noon.Add(time.Minute))
			if left := p.forget(noon.Add(time.Hour)); left != 0 || p.parting() || p.lease(all[3].Subnets) != all[3] {
				t.Error("a lease that came back is forgotten")
			}
			p.update(c.gone, noon)
			p.take()
			p.forget(noon)
			want := news{complete: true, config: "{}", changed: []leaseChange{{all[3], subnet.Lease{}}}}
			if d := cmp.Diff(want, p.take(), equalValues()); d != "" || p.parting() {
				t.Errorf("news after the lease is forgotten (-want +got):\n%s", d)
			}
		})
	}
}

func TestPictureKnowsWhatIsNotInTheKernelYet(t *testing.T) {
	var p picture
	one, two := lease(1, 1), lease(2, 2)
	is := func(when string, first, second bool) {
		t.Helper()
		if p.settled(one.Subnets) != first || p.settled(two.Subnets) != second || p.still() != (first && second) {
			t.Errorf("%s: settled %v and %v, want %v and %v; and all is %v", when, p.settled(one.Subnets), p.settled(two.Subnets), first, second, p.still())
		}
	}
	p.update(snapshot(one), noon)
	is("before the first pass", false, false)
	p.take()
	is("during the first pass", false, false)
	p.landed()
	is("after it", true, true)
	p.update(after(snapshot(one, two), two), noon)
	is("a peer has come", true, false)
	p.take()
	is("a pass is at it", true, false)
	p.landed()
	is("it is served", true, true)
	p.update(after(snapshot(one), two), noon)
	is("it has gone, and may come back", true, true)
	p.forget(noon)
	is("it is forgotten", true, false)
	p.take()
	is("a pass takes it away", true, false)
	p.landed()
	is("it is away", true, true)
}

func TestPictureDoubtsAMassDrop(t *testing.T) {
	four := []subnet.Lease{lease(1, 1), lease(2, 2), lease(3, 3), lease(4, 4)}
	for _, c := range []struct {
		name string
		s    subnet.Snapshot
		want bool
	}{
		{"two of four are believed", snapshot(four[:2]...), true},
		{"three of four are not", snapshot(four[0]), false},
		{"nor all", snapshot(), false},
		{"nor by events", after(snapshot(four[0]), four[1], four[2], four[3]), false},
		{"one event is", after(snapshot(four[:3]...), four[3]), true},
		{"others in their place are not", snapshot(lease(5, 5), lease(6, 6), lease(7, 7), lease(8, 8)), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p picture
			p.update(snapshot(four...), noon)
			p.take()
			if got := p.update(c.s, noon); got != c.want {
				t.Fatalf("believed %v, want %v", got, c.want)
			}
			if c.want {
				return
			}
			if n := p.take(); n.all || len(n.changed) > 0 {
				t.Errorf("what was not believed is news: %v", n)
			}
			c.s.Changed = nil // the store reads again
			if !p.update(c.s, noon) {
				t.Error("not believed when the store said it twice")
			}
			if n := p.take(); !n.all {
				t.Error("what was said twice is no news")
			}
		})
	}
}

func TestPictureForgetsItsDoubt(t *testing.T) {
	var p picture
	p.update(snapshot(lease(1, 1), lease(2, 2), lease(3, 3)), noon)
	p.update(snapshot(), noon)                                      // doubted
	p.update(snapshot(lease(1, 1), lease(2, 2), lease(3, 3)), noon) // read again: all there
	if p.update(snapshot(), noon) {
		t.Error("the next mass drop was believed at once")
	}
}

func TestPictureKeepsTheConfig(t *testing.T) {
	var p picture
	p.update(snapshot(lease(1, 1)), noon)
	gone := snapshot(lease(1, 1))
	gone.Config = ""
	p.update(gone, noon)
	if n := p.take(); n.config != "{}" {
		t.Errorf("config %q, want the last one", n.config)
	}
}

func TestPictureFromDiskServesUntilTheStoreAnswers(t *testing.T) {
	var p picture
	if !p.load(subnet.Saved{Config: "{}", Own: lease(1, 1), Peers: []subnet.Lease{lease(2, 2)}}) {
		t.Fatal("not loaded")
	}
	if n := p.take(); n.complete || !n.all || p.lease(lease(2, 2).Subnets) != lease(2, 2) {
		t.Errorf("news %v", n)
	}
	if !p.update(after(snapshot(lease(1, 1)), lease(9, 9)), noon) {
		t.Fatal("the store was not believed")
	}
	if n := p.take(); !n.complete || !n.all {
		t.Errorf("news %v, want all of it: the store knows better", n)
	}
	if p.load(subnet.Saved{}) {
		t.Error("the disk replaced what the store said")
	}
}

// equalValues compares unexported structs and addresses as values.
func equalValues() cmp.Options {
	return cmp.Options{cmp.AllowUnexported(news{}, leaseChange{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmpopts.EquateEmpty()}
}

// TestPictureMovedNode gives a node another subnet: the old one does not linger beside it.
func TestPictureMovedNode(t *testing.T) {
	now := time.Unix(1000, 0)
	at := func(text, node string) subnet.Lease {
		l := subnet.Lease{Subnets: subnet.Subnets{netip.MustParsePrefix(text)}}
		l.Node = node
		return l
	}
	old, moved, other, unnamed := at("10.5.1.0/24", "a"), at("10.5.9.0/24", "a"), at("10.5.2.0/24", "b"), at("10.5.3.0/24", "")
	all := func(leases ...subnet.Lease) map[subnet.Subnets]subnet.Lease {
		m := map[subnet.Subnets]subnet.Lease{}
		for _, l := range leases {
			m[l.Subnets] = l
		}
		return m
	}
	for _, tt := range []struct {
		name    string
		after   map[subnet.Subnets]subnet.Lease
		changed []subnet.Subnets
		want    map[subnet.Subnets]subnet.Lease
	}{
		{"deleted and made again at once", all(moved, other, unnamed), []subnet.Subnets{old.Subnets, moved.Subnets}, all(moved, other, unnamed)},
		{"in a picture that is new as a whole", all(moved, other, unnamed), nil, all(moved, other, unnamed)},
		{"another node's subnet is new", all(at("10.5.9.0/24", "c"), other, unnamed), []subnet.Subnets{old.Subnets, moved.Subnets}, all(old, at("10.5.9.0/24", "c"), other, unnamed)},
		{"a node without a name", all(old, other, at("10.5.9.0/24", "")), []subnet.Subnets{unnamed.Subnets, moved.Subnets}, all(old, other, unnamed, at("10.5.9.0/24", ""))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &picture{}
			p.update(subnet.Snapshot{Leases: all(old, other, unnamed)}, now)
			p.take()
			p.update(subnet.Snapshot{Leases: tt.after, Changed: tt.changed}, now)
			if diff := cmp.Diff(tt.want, p.leases, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
				t.Errorf("leases (-want +got):\n%s", diff)
			}
		})
	}
}
