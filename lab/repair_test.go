package lab

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// checkRepair breaks something twice: once while weftd is stopped, so that it can be told how much weftd had to mend
// and that it did no more, and once while weftd looks on.
func checkRepair(t *testing.T, l *Lab, f Fault) {
	n := l.Nodes[0]
	var others []Listing
	for _, o := range l.Nodes[1:] {
		others = append(others, listing(t, o.Host))
	}
	before := listing(t, n.Host)
	changes := nodeStatus(t, n).Kernel.Changes
	repair, err := n.Break(within(t, patience), f)
	if err != nil {
		t.Fatal(err)
	}
	settled(t, n)
	eventually(t, "weftd to tell of the very changes that were needed", func() error {
		changed := grown(changes, nodeStatus(t, n).Kernel.Changes)
		for _, kind := range []string{"wireguard", "udp", "ipsec"} {
			delete(changed, kind) // no listing shows what engines keep
		}
		if diff := cmp.Diff(kinds(repair.Gone), changed); diff != "" {
			return fmt.Errorf("(-what was gone +what weftd changed):\n%s\ngone:\n%s", diff, repair.Gone)
		}
		return nil
	})
	if err := f.Do(n); err != nil {
		t.Fatal(err)
	}
	if err := n.Holds(within(t, patience), before); err != nil {
		t.Errorf("%s under weftd's eyes: %v", f.Name, err)
	}
	settled(t, n)
	for i, o := range l.Nodes[1:] {
		if diff := cmp.Diff(others[i], listing(t, o.Host)); diff != "" {
			t.Errorf("%s changed as well (-before +after):\n%s", o.Name, diff)
		}
	}
	if _, err := n.Pods[0].Ping(within(t, patience), l.Nodes[1].Pods[0].Addrs[0], 0); err != nil {
		t.Errorf("after the repair: %v", err)
	}
}

// settled waits until weftd says itself that all is well.
func settled(t *testing.T, n *Node) {
	t.Helper()
	if err := n.Ready(within(t, patience), len(n.lab.Nodes)-1); err != nil {
		t.Fatal(err)
	}
}

// kinds counts the lines of a listing by the kinds that weftd counts. Rules are left out: weftd counts chains and
// transactions in its own way. So are the routes that the kernel makes with an address.
func kinds(l Listing) map[string]uint64 {
	n := map[string]uint64{}
	for _, line := range l {
		kind, _, _ := strings.Cut(line, " ")
		if kind != "nft" && !strings.Contains(line, "proto kernel") {
			n[kind]++
		}
	}
	return n
}

// grown is by how much each counter of after is above before's.
func grown(before, after map[string]uint64) map[string]uint64 {
	d := maps.Clone(after)
	for k := range d {
		if d[k] -= before[k]; d[k] == 0 || k == "rule" {
			delete(d, k)
		}
	}
	return d
}

// TestFaultNamed looks at the words for what cannot be broken.
func TestFaultNamed(t *testing.T) {
	for _, f := range Faults() {
		got, err := FaultNamed(f.Name)
		if err != nil || got.About != f.About {
			t.Errorf("FaultNamed(%q) = %q, %v", f.Name, got.About, err)
		}
	}
	if _, err := FaultNamed("luck"); err == nil || !strings.Contains(err.Error(), "masquerade") {
		t.Errorf("FaultNamed of something unknown: %v, want the names of what there is", err)
	}
}

// TestNothingToBreak looks at faults in things that a lab does not have.
func TestNothingToBreak(t *testing.T) {
	t.Parallel()
	runLab(t, Options{Nodes: 1, Pods: -1, Backend: `{"Type":"host-gw"}`}, func(l *Lab) {
		for _, name := range []string{"device", "neighbour", "fdb", "forward"} {
			f, err := FaultNamed(name)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := l.Nodes[0].Break(within(t, patience), f); !errors.Is(err, errNothing) {
				t.Errorf("break %s: %v, want %v", name, err, errNothing)
			}
		}
	})
}
