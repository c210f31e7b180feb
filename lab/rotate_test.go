package lab

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/weft-network/weft/subnet"
)

// TestRotate has every node change its private key for WireGuard by weftctl, while its pods talk: no packet is lost, and nothing is left of it.
func TestRotate(t *testing.T) {
	t.Parallel()
	opts := Options{Nodes: 3, Pods: 1, Backend: `{"Type":"wireguard"}`, Families: subnet.Families[:], DropForward: true}
	runLab(t, opts, func(l *Lab) {
		c := change{opts.Backend, "wireguard (a device for each family, at ports 51820 and 51821)", []string{"flannel-wg"}, " dev flannel-wg proto 87"}
		c.done(t, l.Nodes...)
		tr := startTraffic(t, l, l.Nodes...)
		var before []string
		for _, n := range l.Nodes {
			before = append(before, publicKey(t, l, n))
			if out, err := n.Run(binDir+"/weftctl", "wireguard", "rotate"); err != nil || !strings.HasSuffix(out, "\ndone\n") {
				t.Errorf("weftctl wireguard rotate on %s: %v\n%s", n.Name, err, out)
			}
		}
		c.done(t, l.Nodes...)
		for i, n := range l.Nodes {
			if publicKey(t, l, n) == before[i] {
				t.Errorf("%s has the same key as before", n.Name)
			}
			eventually(t, n.Name+" to have one device", func() error {
				if all := listing(t, n.Host).String(); strings.Contains(all, "flannel-wgb") {
					return fmt.Errorf("there is more:\n%s", all)
				}
				return nil
			})
		}
		tr.flow(t, 20)
		checkMatrix(t, l)
		for _, n := range l.Nodes {
			checkRestart(t, n, tr)
		}
		tr.check(t)
	})
}

// publicKey is the one that a node announces.
func publicKey(t *testing.T, l *Lab, n *Node) string {
	t.Helper()
	entries, err := l.Etcd.Subnets(within(t, patience))
	must(t, err)
	for _, e := range entries {
		var x struct {
			Node        string
			BackendData struct{ PublicKey string }
		}
		must(t, json.Unmarshal([]byte(e.Value), &x))
		if x.Node == n.Name {
			return x.BackendData.PublicKey
		}
	}
	t.Fatalf("%s has no lease", n.Name)
	return ""
}
