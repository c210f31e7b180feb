package lab

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weft-network/weft/subnet"
)

// The configs of a cluster that outgrows its IPv4 range of three subnets.
const (
	tinyNetwork = `{"Network": "10.244.0.0/22", "SubnetLen": 24, "EnableIPv6": true, "IPv6Network": "fd00:244::/48", "Backend": %s}`
	moreNetwork = `{"Network": "10.244.0.0/22", "SubnetLen": 24, "EnableIPv6": true, "IPv6Network": "fd00:244::/48", "Backend": %s,
		"Networks": [{"Network": "10.245.0.0/22"}, {"IPv6Network": "fd00:245::/48"}]}`
)

// TestNetworkAdded fills the network of a cluster, and adds another one while its pods talk: a node that came too late gets its
// subnet there, all pods reach each other, and nobody loses a packet.
func TestNetworkAdded(t *testing.T) {
	for _, backend := range []string{`{"Type":"vxlan"}`, `{"Type":"host-gw"}`} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			tiny, more := fmt.Sprintf(tinyNetwork, backend), fmt.Sprintf(moreNetwork, backend)
			runLab(t, Options{Pods: 1, Families: subnet.Families[:], Backend: backend, Config: tiny, DropForward: true}, func(l *Lab) {
				tr := startTraffic(t, l, l.Nodes...)
				late, err := newNode(l, len(l.Nodes))
				if err != nil {
					t.Fatal(err)
				}
				l.Nodes = append(l.Nodes, late)
				if err := late.Start(); err != nil {
					t.Fatal(err)
				}
				eventually(t, "the network to be full", func() error {
					if s, err := late.Status(within(t, patience)); err != nil || !strings.Contains(fmt.Sprint(s.Waiting), "all 3 of 10.244.0.0/22") {
						return fmt.Errorf("%s waits for %q, %v", late.Name, s.Waiting, err)
					}
					return nil
				})
				if err := l.Etcd.PutConfig(within(t, patience), more); err != nil {
					t.Fatal(err)
				}
				if err := l.Ready(within(t, patience)); err != nil {
					t.Fatal(err)
				}
				if got := nodeStatus(t, late).Lease.Subnets[0]; !strings.HasPrefix(got, "10.245.") {
					t.Errorf("%s has the subnet %s", late.Name, got)
				}
				if _, err := late.AddPod(within(t, patience)); err != nil {
					t.Fatal(err)
				}
				tr.add(t, l, late.Pods[0], l.Nodes[0].Pods[0])
				tr.add(t, l, l.Nodes[1].Pods[0], late.Pods[0])
				checkMatrix(t, l)
				tr.flow(t, 20)
				checkNetworkStays(t, l, tiny, more)
				for _, n := range []*Node{l.Nodes[0], late} {
					checkRestart(t, n, tr)
				}
				tr.check(t)
			})
		})
	}
}

// checkNetworkStays takes the network away that the last node has its subnet in, which is refused, and brings it back.
func checkNetworkStays(t *testing.T, l *Lab, without, with string) {
	t.Helper()
	if err := l.Etcd.PutConfig(within(t, patience), without); err != nil {
		t.Fatal(err)
	}
	late := l.Nodes[len(l.Nodes)-1]
	for _, n := range l.Nodes {
		want := "a network is in use: node " + late.Name + " has the subnets "
		if n == late {
			want = "this node's subnets "
		}
		eventually(t, "the config to be refused", func() error {
			if s := nodeStatus(t, n); !strings.Contains(fmt.Sprint(s.Warnings), want) {
				return fmt.Errorf("%s warns of %q, which is not that %s", n.Name, s.Warnings, want)
			}
			return nil
		})
	}
	checkMatrix(t, l)
	if err := l.Etcd.PutConfig(within(t, patience), with); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the config to be in force", func() error {
		for _, n := range l.Nodes {
			if s := nodeStatus(t, n); s.Config != with || strings.Contains(fmt.Sprint(s.Warnings), "refused") {
				return fmt.Errorf("%s has the config %s and warns of %q", n.Name, s.Config, s.Warnings)
			}
		}
		return nil
	})
}

// checkRestart kills weftd and starts it again: it has nothing to do.
func checkRestart(t *testing.T, n *Node, tr *traffic) {
	t.Helper()
	before, m := listing(t, n.Host), watchKernel(t, n.Host)
	if err := n.Kill(); err != nil {
		t.Fatal(err)
	}
	tr.flow(t, 10)
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	settled(t, n)
	tr.flow(t, 20)
	checkUntouched(t, n, before, m)
}
