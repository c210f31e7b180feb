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
	for _, f := range subnet.Families {
		rules = append(rules, planGuard(c, f)...)
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
	own, cluster := in(c.Subnets[f]), c.cluster(f)
	rules := []Rule{{Mark: serviceMark, Why: "kube-proxy masquerades it"}}
	for _, n := range cluster {
		rules = append(rules, Rule{Source: own, Destination: n, Why: "this node's pods to the cluster"})
	}
	rules = append(rules,
		Rule{Source: cluster[0], Destination: own, Why: "the cluster to this node's pods"},
		Rule{Source: cluster[0].not(), Destination: own, Why: "outside to this node's pods"}) // and its other networks
	for _, p := range c.NoMasquerade {
		if !p.IsValid() || subnet.FamilyOf(p.Addr()) != f {
			continue
		}
		for _, n := range cluster {
			r := Rule{Source: n, Destination: in(p), Why: "pods to a network that knows them"}
			if p.Bits() == 0 {
				r.Destination = Net{} // as iptables lists it
			}
			if !slices.Contains(rules, r) {
				rules = append(rules, r)
			}
		}
	}
	for _, n := range cluster {
		rules = append(rules, Rule{Source: n, Destination: in(multicast[f]).not(), Verdict: Masquerade, Why: "pods to outside"})
	}
	for _, n := range cluster { // what comes from a pod never gets here
		rules = append(rules, Rule{Source: n.not(), Destination: n, Verdict: Masquerade, Why: "outside to other nodes' pods"})
	}
	for i := range rules {
		rules[i].Chain, rules[i].Family = Postrouting, f
		rules[i].RandomFully = c.RandomFully && rules[i].Verdict == Masquerade
	}
	return rules
}

// cluster are all networks of the pods of one family.
func (c Config) cluster(f subnet.Family) []Net {
	all := []Net{in(c.Networks[f])}
	for _, p := range c.Further[f] {
		if n := in(p); !slices.Contains(all, n) {
			all = append(all, n)
		}
	}
	return all
}

// planForward returns the rules that accept what is forwarded from and to pods.
func planForward(c Config, f subnet.Family) []Rule {
	if !c.Forward || !c.Networks[f].IsValid() {
		return nil
	}
	var rules []Rule
	for _, n := range c.cluster(f) {
		rules = append(rules,
			Rule{Chain: Forward, Family: f, Source: n, Verdict: Accept, Why: "from pods"},
			Rule{Chain: Forward, Family: f, Destination: n, Verdict: Accept, Why: "to pods"})
	}
	return rules
}

// planGuard returns the rules that drop what would leave for pods of other nodes by any other device than those that encrypt.
func planGuard(c Config, f subnet.Family) []Rule {
	if len(c.Guard) == 0 || !c.Networks[f].IsValid() {
		return nil
	}
	var rules []Rule
	if c.Subnets[f].IsValid() {
		rules = append(rules, Rule{Destination: in(c.Subnets[f]), Why: "this node's pods"})
	}
	for _, device := range c.Guard {
		rules = append(rules, Rule{Device: device, Why: "encrypts"})
	}
	for _, n := range c.cluster(f) {
		rules = append(rules, Rule{Destination: n, Verdict: Drop, Why: "to other nodes' pods in plain text"})
	}
	for i := range rules {
		rules[i].Chain, rules[i].Family = Guard, f
	}
	return rules
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
