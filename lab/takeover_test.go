package lab

import (
	"encoding/json"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// TestTakeover puts a node into the state in which flanneld leaves it, and starts weftd there: no packet is lost, the
// subnet stays, and what was flannel's is weft's or gone.
func TestTakeover(t *testing.T) {
	for _, c := range []struct {
		name string
		opts Options
	}{
		{"vxlan", Options{Pods: 1, Families: subnet.Families[:]}},
		{"host-gw", Options{Pods: 1, Backend: `{"Type":"host-gw"}`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			runLab(t, c.opts, func(l *Lab) {
				n := l.Nodes[0]
				before := nodeStatus(t, n)
				makeFlannels(t, l, n)
				tr := startTraffic(t, l, l.Nodes...)
				must(t, n.Start())
				settled(t, n)
				tr.flow(t, 50)
				tr.check(t)
				after := nodeStatus(t, n)
				if got, want := strings.Join(after.Lease.Subnets, ","), strings.Join(before.Lease.Subnets, ","); got != want {
					t.Errorf("the subnet is %s, was %s", got, want)
				}
				if e := leaseOf(t, l, n.Name); e.Lease == 0 {
					t.Errorf("the key of the lease never expires: %v", e)
				}
				checkTaken(t, n)
				checkMatrix(t, l)
			})
		})
	}
}

// checkTaken looks for what is still flannel's.
func checkTaken(t *testing.T, n *Node) {
	t.Helper()
	for _, line := range listing(t, n.Host) {
		if strings.Contains(line, "proto boot") || strings.Contains(line, "nft") && strings.Contains(line, "flannel") {
			t.Errorf("%s still has: %s", n.Name, line)
		}
	}
	want := map[bool]string{true: "0e:f1:a1:00:00:01", false: ""}[tunnelled(n.lab.opts)]
	if line := find(listing(t, n.Host), "link flannel.1 "); !strings.Contains(line, want) {
		t.Errorf("device %q did not keep the address %s", line, want)
	}
}

// makeFlannels ends weftd on a node and turns everything there, and its lease, into what flanneld leaves.
func makeFlannels(t *testing.T, l *Lab, n *Node) {
	t.Helper()
	entry := leaseOf(t, l, n.Name)
	must(t, n.Kill())
	must(t, n.Do(func() error { return os.RemoveAll("/var/lib/weft") }))
	flannelDevices(t, n)
	flannelRoutes(t, n)
	must(t, n.flushRuleset())
	flannelRules(t, n)

	var value map[string]any
	must(t, json.Unmarshal([]byte(entry.Value), &value))
	delete(value, "Node")
	for i, key := range []string{"BackendData", "BackendV6Data"} {
		if data, ok := value[key].(map[string]any); ok {
			data["VtepMAC"] = flannelMAC(i).String()
		}
	}
	text, err := json.Marshal(value)
	must(t, err)
	day, err := l.Etcd.Client.Grant(within(t, patience), 24*60*60)
	must(t, err)
	_, err = l.Etcd.Client.Put(within(t, patience), entry.Key, string(text), clientv3.WithLease(day.ID))
	must(t, err)
	if tunnelled(l.opts) {
		for _, other := range l.Nodes[1:] {
			eventually(t, "the peers to know flannel's MAC", func() error { return knowsMAC(t, other, flannelMAC(0)) })
		}
	}
}

// flannelMAC is what flanneld got by chance for its device of the i-th family.
func flannelMAC(i int) net.HardwareAddr { return net.HardwareAddr{0x0e, 0xf1, 0xa1, 0, 0, byte(i + 1)} }

func knowsMAC(t *testing.T, n *Node, mac net.HardwareAddr) error {
	for _, line := range listing(t, n.Host) {
		if strings.HasPrefix(line, "fdb "+mac.String()) {
			return nil
		}
	}
	return errNothing
}

// flannelDevices gives weft's devices MAC addresses that weft would not choose.
func flannelDevices(t *testing.T, n *Node) {
	t.Helper()
	if !tunnelled(n.lab.opts) {
		return
	}
	entries, err := n.neighbours()
	must(t, err)
	for i, name := range []string{"flannel.1", "flannel-v6.1"} {
		if link, err := n.nl.LinkByName(name); err == nil {
			must(t, n.nl.LinkSetHardwareAddr(link, flannelMAC(i)))
		}
	}
	must(t, all(entries, func(e netlink.Neigh) error { return n.nl.NeighSet(&e) })) // a new MAC forgets neighbours
}

// flannelRoutes gives the routes to peers flannel's protocol, and takes away those that flannel does not have.
func flannelRoutes(t *testing.T, n *Node) {
	t.Helper()
	routes, err := n.routes()
	must(t, err)
	for _, r := range routes {
		if r.Gw == nil {
			must(t, n.nl.RouteDel(&r))
			continue
		}
		r.Protocol = 3 // boot
		must(t, n.nl.RouteReplace(&r))
		r.Protocol = kernel.RouteProtocol
		_ = n.nl.RouteDel(&r) // IPv6 may keep both
	}
}

// flannelRules makes a table of flannel's with a masquerade rule in it.
func flannelRules(t *testing.T, n *Node) {
	t.Helper()
	c, err := n.nft()
	must(t, err)
	table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "flannel-ipv4"})
	chain := c.AddChain(&nftables.Chain{
		Name: "postrtg", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	})
	c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: append([]byte(uplink), make([]byte, 16-len(uplink))...)},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: outsideAddrs[subnet.Inet].AsSlice()},
		&expr.Masq{},
	}})
	must(t, c.Flush())
}
