package lab

import (
	"encoding/base64"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/weft-network/weft/subnet"
)

// checkFollows lets a peer come and go, and sees all nodes follow: the end of every story about etcd.
func checkFollows(t *testing.T, l *Lab) {
	t.Helper()
	if err := l.Ready(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the nodes to be connected", func() error { return storeIs(t, l, true) })
	putPeer(t, l, 252)
	for _, n := range l.Nodes {
		eventually(t, "a new peer", func() error { return hasPeer(t, n, 252) })
	}
	dropPeer(t, l, 252)
	eventually(t, "the new peer to leave", func() error { return lacksPeer(t, l, 252) })
}

// storeIs tells whether all nodes say that they are connected, or that they are not.
func storeIs(t *testing.T, l *Lab, connected bool) error {
	for _, n := range l.Nodes {
		if s := nodeStatus(t, n); s.Store.Connected != connected {
			return fmt.Errorf("%s says that the store is connected: %t (%s)", n.Name, s.Store.Connected, s.Store.Error)
		}
	}
	return nil
}

// peerNets are the subnets of an invented peer that runs flanneld.
func peerNets(l *Lab, number int) subnet.Subnets {
	var s subnet.Subnets
	for _, f := range l.opts.Families {
		s[f] = netip.MustParsePrefix([2]string{fmt.Sprintf("10.244.%d.0/24", number), fmt.Sprintf("fd00:244:0:%x::/64", number)}[f])
	}
	return s
}

// putPeer stores the lease of an invented peer, as flanneld writes it, of the backend that the lab has.
func putPeer(t *testing.T, l *Lab, number int) {
	t.Helper()
	public, data := [2]string{`"0.0.0.0"`, "null"}, [2]string{}
	for _, f := range l.opts.Families {
		public[f] = [2]string{fmt.Sprintf(`"172.18.0.%d"`, number), fmt.Sprintf(`"fd18::%x"`, number)}[f]
		data[f] = peerData(t, l, f, number)
	}
	value := fmt.Sprintf(`{"PublicIP":%s,"PublicIPv6":%s,"BackendType":%q%s%s}`, public[0], public[1], backendType(l), data[0], data[1])
	if _, err := l.Etcd.Client.Put(within(t, patience), subnetKey(peerNets(l, number)), value); err != nil {
		t.Fatal(err)
	}
}

// peerData is the part of an invented peer's lease that its backend needs in a family.
func peerData(t *testing.T, l *Lab, f subnet.Family, number int) string {
	t.Helper()
	key := [2]string{"BackendData", "BackendV6Data"}[f]
	switch backendType(l) {
	case "vxlan":
		return fmt.Sprintf(`,%q:{"VNI":1,"VtepMAC":"0e:00:00:00:0%d:%02x"}`, key, 4+2*f, number)
	case "wireguard":
		public := make([]byte, 32)
		public[0], public[1] = byte(number), byte(f)
		return fmt.Sprintf(`,%q:{"PublicKey":%q}`, key, base64.StdEncoding.EncodeToString(public))
	}
	return ""
}

// backendType is what leases say of the backend in the lab's network config.
func backendType(l *Lab) string { return l.opts.overlay() }

func dropPeer(t *testing.T, l *Lab, number int) {
	t.Helper()
	if _, err := l.Etcd.Client.Delete(within(t, patience), subnetKey(peerNets(l, number))); err != nil {
		t.Fatal(err)
	}
}

// hasPeer says what a node's kernel lacks of an invented peer.
func hasPeer(t *testing.T, n *Node, number int) error {
	lines := listing(t, n.Host)
	for _, p := range peerNets(n.lab, number) {
		if p.IsValid() && find(lines, "route "+p.String()+" ") == "" {
			return fmt.Errorf("%s has no route to %s", n.Name, p)
		}
	}
	return nil
}

// lacksPeer says who still has something of an invented peer.
func lacksPeer(t *testing.T, l *Lab, number int) error {
	for _, n := range l.Nodes {
		for _, line := range listing(t, n.Host) {
			for _, p := range peerNets(l, number) {
				if p.IsValid() && strings.Contains(line, " "+p.Addr().String()) {
					return fmt.Errorf("%s still has: %s", n.Name, line)
				}
			}
		}
	}
	return nil
}

func nodeListings(t *testing.T, l *Lab) map[string]Listing {
	t.Helper()
	m := map[string]Listing{}
	for _, n := range l.Nodes {
		m[n.Name] = listing(t, n.Host)
	}
	return m
}

// block drops what comes from a node at a host.
func block(t *testing.T, h *Host, from *Node) {
	t.Helper()
	c, err := h.nft()
	must(t, err)
	source := from.Addrs[0]
	family, offset := nftables.TableFamilyIPv4, uint32(12)
	if source.Is6() {
		family, offset = nftables.TableFamilyIPv6, 8
	}
	table := c.AddTable(&nftables.Table{Family: family, Name: "block"})
	chain := c.AddChain(&nftables.Chain{
		Name: "in", Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityFilter,
	})
	c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: uint32(source.BitLen() / 8)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: source.AsSlice()},
		&expr.Verdict{Kind: expr.VerdictDrop},
	}})
	must(t, c.Flush())
}
