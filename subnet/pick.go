package subnet

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"iter"
	"net/netip"
)

// maxProbes bounds the search in one network. It is more than the subnets of any network that is in use.
const maxProbes = 1 << 24

// Pick chooses the subnets of a node under c, each family on its own: the one in previous if the network holds it
// and it is not taken, else one that follows from the node's identity, else the next free one in an order that
// follows from it as well. Nodes that start together therefore hardly ever choose the same, and a node that lost its
// lease chooses what it had. The error wraps ErrExhausted and names the network.
func Pick(c Config, node string, previous Subnets, taken func(f Family, p netip.Prefix) bool) (Subnets, error) {
	var s Subnets
	for _, f := range Families {
		n := c.Networks[f]
		if !n.Enabled() {
			continue
		}
		if n.Holds(previous[f]) && !taken(f, previous[f]) {
			s[f] = previous[f]
			continue
		}
		p, ok := n.probe(node, func(p netip.Prefix) bool { return !taken(f, p) })
		if !ok {
			return Subnets{}, fmt.Errorf("%w: all %d of %s are taken", ErrExhausted, n.Size(), n)
		}
		s[f] = p
	}
	return s, nil
}

// probe asks for subnets of n in the order of a node, each at most once, until one is free. Start and step of
// the order come from the node's identity; the step has no common divisor with the size, so that all are visited.
func (n Network) probe(node string, free func(netip.Prefix) bool) (netip.Prefix, bool) {
	size := n.Size()
	sum := sha256.Sum256([]byte(n.family().String() + " " + node))
	at := binary.BigEndian.Uint64(sum[:8]) % size
	step := 1 + binary.BigEndian.Uint64(sum[8:16])%size
	for gcd(step, size) != 1 {
		step++
	}
	step %= size
	for range min(size, maxProbes) {
		if p := n.At(at); free(p) {
			return p, true
		}
		at = (at + step) % size
	}
	return netip.Prefix{}, false
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// Taken returns the question that Pick asks, for the subnets in held: does a subnet of c's networks overlap any of
// them? Those of other lengths count too: a cluster whose SubnetLen changed holds leases of both.
func (c Config) Taken(held iter.Seq[Subnets]) func(f Family, p netip.Prefix) bool {
	var covered [2]map[netip.Prefix]bool // subnets of the config's length that something lies in
	var wide [2][]netip.Prefix           // what is larger than a subnet: few, if any
	for f := range covered {
		covered[f] = map[netip.Prefix]bool{}
	}
	for s := range held {
		for f, p := range s {
			switch length := c.Networks[f].SubnetLen; {
			case !p.IsValid() || !c.Networks[f].Enabled():
			case p.Bits() < length:
				wide[f] = append(wide[f], p)
			default:
				covered[f][netip.PrefixFrom(p.Addr(), length).Masked()] = true
			}
		}
	}
	return func(f Family, p netip.Prefix) bool {
		if covered[f][p] {
			return true
		}
		for _, w := range wide[f] {
			if w.Overlaps(p) {
				return true
			}
		}
		return false
	}
}
