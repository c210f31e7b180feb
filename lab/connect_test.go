package lab

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/subnet"
)

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
