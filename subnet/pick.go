package subnet

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"
)

// maxProbes bounds the search in one network. It is more than the subnets of any network that is in use.
const maxProbes = 1 << 24

// Pick chooses the subnets of a node under c, each family on its own: the one in previous if a network holds it
// and it is not taken, else, in the first network that is not full, one that follows from the node's identity, else the
// next free one in an order that follows from it as well. Nodes that start together therefore hardly ever choose the same, and a node that lost its
// lease chooses what it had. The error wraps ErrExhausted and names the networks.
func Pick(c Config, node string, previous Subnets, taken func(f Family, p netip.Prefix) bool) (Subnets, error) {
	var s Subnets
	for _, f := range Families {
		if c.HoldsIn(f, previous[f]) && !taken(f, previous[f]) {
			s[f] = previous[f]
			continue
		}
		var full []string
		for _, n := range c.All(f) {
			p, ok := n.probe(node, func(p netip.Prefix) bool { return !taken(f, p) })
			if ok {
				s[f] = p
				break
			}
			full = append(full, fmt.Sprintf("all %d of %s", n.Size(), n))
		}
		if c.Networks[f].Enabled() && !s[f].IsValid() {
			return Subnets{}, fmt.Errorf("%w: %s are taken", ErrExhausted, strings.Join(full, ", and "))
		}
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
	var covered [2]map[netip.Prefix]bool // subnets of the networks' lengths that something lies in
	var wide [2][]netip.Prefix           // what is larger than a subnet: few, if any
	var lengths [2][]int
	for _, f := range Families {
		covered[f] = map[netip.Prefix]bool{}
		for _, n := range c.All(f) {
			if !slices.Contains(lengths[f], n.SubnetLen) {
				lengths[f] = append(lengths[f], n.SubnetLen)
			}
		}
	}
	for s := range held {
		for f, p := range s {
			for _, length := range lengths[f] {
				switch {
				case !p.IsValid():
				case p.Bits() < length:
					wide[f] = append(wide[f], p)
				default:
					covered[f][netip.PrefixFrom(p.Addr(), length).Masked()] = true
				}
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
