package lab

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/subnet"
)

// restartWay is one way for weftd to end and to be there again.
type restartWay struct {
	name        string
	end         func(*Node) error
	start       func(*Node, ...string) error
	wantVersion string
}

func restartWays() []restartWay {
	return []restartWay{
		{"kill", (*Node).Kill, (*Node).Start, "test"},
		{"stop", (*Node).Stop, (*Node).Start, "test"},
		{"upgrade", (*Node).Kill, (*Node).StartUpgrade, "upgrade"},
		{"downgrade", (*Node).Stop, (*Node).Start, "test"},
	}
}

// restarts ends weftd in several ways and starts it again under traffic: nothing is lost, and the kernel is not touched.
func restarts(t *testing.T, l *Lab, ways []restartWay) {
	tr := startTraffic(t, l, l.Nodes...)
	for _, w := range ways {
		t.Run("restart/"+w.name, func(t *testing.T) {
			n := l.Nodes[0]
			before, m := listing(t, n.Host), watchKernel(t, n.Host)
			must(t, w.end(n))
			tr.flow(t, 10)
			must(t, w.start(n))
			settled(t, n)
			tr.flow(t, 20)
			if backendType(l) != "extension" { // whose commands are run again at each start
				checkUntouched(t, n, before, m)
			} else if diff := cmp.Diff(before, listing(t, n.Host)); diff != "" {
				t.Errorf("the kernel holds something else (-before +after):\n%s", diff)
			}
			if v := nodeStatus(t, n).Version; v != w.wantVersion {
				t.Errorf("weftd is of version %q, want %q", v, w.wantVersion)
			}
		})
	}
	tr.check(t)
}

// checkUntouched fails the test if weftd changed anything since its start, or the kernel says that anything changed.
func checkUntouched(t *testing.T, n *Node, before Listing, m *monitor) {
	t.Helper()
	if diff := cmp.Diff(before, listing(t, n.Host)); diff != "" {
		t.Errorf("the kernel holds something else (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]uint64{}, grown(nil, nodeStatus(t, n).Kernel.Changes)); diff != "" {
		t.Errorf("weftd says that it changed the kernel (-want +got):\n%s", diff)
	}
	if events := m.all(); len(events) > 0 {
		t.Errorf("the kernel tells of changes:\n%s", strings.Join(events, "\n"))
	}
}

// TestPeerLeft lets a peer leave while weftd is down: nothing of it is left, and the others notice nothing.
func TestPeerLeft(t *testing.T) {
	t.Parallel()
	runLab(t, Options{Nodes: 4, Pods: 1, Families: subnet.Families[:]}, func(l *Lab) {
		n, gone := l.Nodes[0], l.Nodes[3]
		subnets := nodeStatus(t, gone).Lease.Subnets
		tr := startTraffic(t, l, l.Nodes[0], l.Nodes[1])
		if err := n.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := gone.Kill(); err != nil {
			t.Fatal(err)
		}
		deleteLease(t, l, gone.Name)
		if err := n.Start(); err != nil {
			t.Fatal(err)
		}
		if err := l.Ready(within(t, patience)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "what belongs to "+gone.Name+" to be gone", func() error {
			for _, line := range listing(t, n.Host) {
				for _, s := range append(subnets, addrTexts(gone)...) {
					if address, _, _ := strings.Cut(s, "/"); strings.Contains(line+" ", " "+address+" ") || strings.Contains(line, " "+s+" ") {
						return fmt.Errorf("%s still has: %s", n.Name, line)
					}
				}
			}
			return nil
		})
		tr.flow(t, 10)
		tr.check(t)
	})
}

func addrTexts(n *Node) []string {
	var texts []string
	for _, a := range n.Addrs {
		texts = append(texts, a.String())
	}
	return texts
}

// deleteLease deletes the key of a node's lease in etcd.
func deleteLease(t *testing.T, l *Lab, node string) {
	t.Helper()
	if _, err := l.Etcd.Client.Delete(within(t, patience), leaseOf(t, l, node).Key); err != nil {
		t.Fatal(err)
	}
}

// leaseOf is the entry of a node's lease in etcd.
func leaseOf(t *testing.T, l *Lab, node string) Entry {
	t.Helper()
	entries, err := l.Etcd.Subnets(within(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.Contains(e.Value, fmt.Sprintf(`"Node":%q`, node)) {
			return e
		}
	}
	t.Fatalf("%s has no lease in etcd: %v", node, entries)
	return Entry{}
}
