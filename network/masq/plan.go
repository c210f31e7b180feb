package masq

import (
	"net/netip"
	"slices"

	"github.com/weft-network/weft/subnet"
)

// serviceMark is the mark by which kube-proxy says that it masquerades a packet itself.
const serviceMark = 0x4000

// multicast are the groups of each family; a packet to a group keeps its source.
var multicast = [2]netip.Prefix{
	subnet.Inet:  netip.PrefixFrom(netip.AddrFrom4([4]byte{224}), 4),
	subnet.Inet6: netip.PrefixFrom(netip.AddrFrom16([16]byte{0xff}), 8),
}

// Plan returns the rules that c wants. Within a chain and a family the first match wins; a packet that matches no rule
// is left as it is. It is a pure function.
func Plan(c Config) []Rule {
	var rules []Rule
	for _, f := range subnet.Families {
		rules = append(rules, planMasquerade(c, f)...)
	}
	for _, f := range subnet.Families {
		rules = append(rules, planForward(c, f)...)
	}
	for _, chain := range []Chain{Prerouting, Output} {
		for _, f := range subnet.Families {
			rules = append(rules, planUntracked(c, f, chain)...)
		}
	}
	return rules
}

// planMasquerade returns the rules that decide which connections get the node's address. Pods see each other's
// own addresses, and so do those whom pods of this node answer.
func planMasquerade(c Config, f subnet.Family) []Rule {
	if !c.Masquerade[f] || !c.Networks[f].IsValid() || !c.Subnets[f].IsValid() {
		return nil
	}
	own, cluster := in(c.Subnets[f]), in(c.Networks[f])
	rules := []Rule{
		{Mark: serviceMark, Why: "kube-proxy masquerades it"},
		{Source: own, Destination: cluster, Why: "this node's pods to the cluster"},
		{Source: cluster, Destination: own, Why: "the cluster to this node's pods"},
		{Source: cluster.not(), Destination: own, Why: "outside to this node's pods"},
	}
	for _, p := range c.NoMasquerade {
		if !p.IsValid() || subnet.FamilyOf(p.Addr()) != f {
			continue
		}
		r := Rule{Source: cluster, Destination: in(p), Why: "pods to a network that knows them"}
		if p.Bits() == 0 {
			r.Destination = Net{} // as iptables lists it
		}
		if !slices.Contains(rules, r) {
			rules = append(rules, r)
		}
	}
	rules = append(rules,
		Rule{Source: cluster, Destination: in(multicast[f]).not(), Verdict: Masquerade, Why: "pods to outside"},
		Rule{Source: cluster.not(), Destination: cluster, Verdict: Masquerade, Why: "outside to other nodes' pods"})
	for i := range rules {
		rules[i].Chain, rules[i].Family = Postrouting, f
		rules[i].RandomFully = c.RandomFully && rules[i].Verdict == Masquerade
	}
	return rules
}

// planForward returns the rules that accept what is forwarded from and to pods.
func planForward(c Config, f subnet.Family) []Rule {
	if !c.Forward || !c.Networks[f].IsValid() {
		return nil
	}
	cluster := in(c.Networks[f])
	return []Rule{
		{Chain: Forward, Family: f, Source: cluster, Verdict: Accept, Why: "from pods"},
		{Chain: Forward, Family: f, Destination: cluster, Verdict: Accept, Why: "to pods"},
	}
}

// planUntracked returns the rules that hide the tunnel's outer packets from connection tracking, which would else hold
// an entry for each inner flow (its hash is the outer source port, where there is one) and look it up for every packet. Coming in, only what is for
// this host is hidden: a tunnel between others that this node forwards may need to be masqueraded.
func planUntracked(c Config, f subnet.Family, chain Chain) []Rule {
	var rules []Rule
	for _, t := range c.Tunnels {
		r := Rule{Chain: chain, Family: f, UDPPort: t.Port, Protocol: t.Protocol, Local: chain == Prerouting, Verdict: Untrack, Why: "tunnel"}
		if t.Family == f && (t.Port != 0 || t.Protocol != 0) && !slices.Contains(rules, r) {
			rules = append(rules, r)
		}
	}
	return rules
}
