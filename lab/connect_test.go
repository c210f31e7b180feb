package lab

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/subnet"
)

// TestConnectivity looks at all pairs in every combination of backend and families.
func TestConnectivity(t *testing.T) {
	backends := []struct {
		name, backend string
		racks         int
	}{
		{"vxlan", `{"Type":"vxlan"}`, 2},
		{"host-gw", `{"Type":"host-gw"}`, 1},
		{"direct routing", `{"Type":"vxlan","DirectRouting":true}`, 2},
	}
	for _, b := range backends {
		for _, families := range []string{"ipv4", "ipv6", "dual"} {
			t.Run(b.name+" "+families, func(t *testing.T) {
				t.Parallel()
				opts := Options{Backend: b.backend, Families: parsedFamilies(t, families), Racks: b.racks, DropForward: true}
				runLab(t, opts, func(l *Lab) {
					checkMatrix(t, l)
					checkPaths(t, l, b.name)
				})
			})
		}
	}
}

// TestConnectivityPlain is connectivity where nobody drops what is forwarded, and with an underlay of another size.
func TestConnectivityPlain(t *testing.T) {
	t.Parallel()
	runLab(t, Options{Nodes: 2, Pods: 1, MTU: 9000, Families: subnet.Families[:]}, func(l *Lab) {
		checkMatrix(t, l)
		for i, want := range []string{"mtu 8950", "mtu 8930"} {
			device := []string{"flannel.1", "flannel-v6.1"}[i]
			line := find(listing(t, l.Nodes[0].Host), "link "+device+" ")
			if !strings.Contains(line, want) {
				t.Errorf("device %s: %q, want %s", device, line, want)
			}
		}
	})
}

// checkPaths looks at whether packets take the way that the backend promises: nodes 1 and 3 share a rack, node 2
// is in the other one where there are two.
func checkPaths(t *testing.T, l *Lab, backend string) {
	t.Helper()
	lines := listing(t, l.Nodes[0].Host)
	for i, f := range l.opts.Families {
		tunnel := [...]string{"flannel.1", "flannel-v6.1"}[f]
		near := find(lines, "route "+nodeSubnet(t, l.Nodes[2], i)+" ")
		far := find(lines, "route "+nodeSubnet(t, l.Nodes[1], i)+" ")
		want := map[string][2]string{"vxlan": {tunnel, tunnel}, "host-gw": {uplink, uplink}, "direct routing": {uplink, tunnel}}[backend]
		for _, route := range [][2]string{{near, want[0]}, {far, want[1]}} {
			if !strings.Contains(route[0], " dev "+route[1]+" ") {
				t.Errorf("%s: route %q, want it by %s", f, route[0], route[1])
			}
		}
	}
}

// TestMatrixSees shows that the matrix fails where it should.
func TestMatrixSees(t *testing.T) {
	for _, c := range []struct {
		name string
		opts Options
		want map[Kind]int // how many checks fail
	}{
		{
			"no masquerade",
			Options{Config: `{"Network":"10.244.0.0/16","NoMasquerade":["203.0.113.0/24"],"Backend":{"Type":"vxlan"}}`},
			map[Kind]int{Outside: 2}, // nobody out there knows the way back to a pod
		},
		{
			"masqueraded by the bridge",
			Options{Flags: []string{"--ip-masq=false"}},
			map[Kind]int{Source: 2}, // as with flannel: the delegate masquerades where the agent does not
		},
		{
			"forwarding dropped",
			Options{Flags: []string{"--iptables-forward-rules=false"}, DropForward: true},
			map[Kind]int{Answer: 4, FullSize: 2, Source: 2, Outside: 2},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.opts.Nodes, c.opts.Pods = 2, 1
			runLab(t, c.opts, func(l *Lab) {
				m, err := l.Matrix(within(t, patience))
				if err != nil {
					t.Fatal(err)
				}
				got := map[Kind]int{}
				for _, f := range m.Failed() {
					got[f.Kind]++
				}
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("failed checks (-want +got):\n%s", diff)
				}
			})
		})
	}
}
