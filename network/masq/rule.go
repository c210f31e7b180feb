package masq

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/weft-network/weft/subnet"
)

// Chain is the place where a rule is applied.
type Chain int

// The chains, by what they decide and where a packet is then.
const (
	Postrouting Chain = iota // address translation, before a packet leaves the node
	Forward                  // filtering of what is neither from nor for this host itself
	Prerouting               // before connection tracking, of packets that come in
	Output                   // before connection tracking, of packets that this host sends
	Guard                    // filtering of all that leaves the node, before address translation
)

// String returns the name of the chain in lower case.
func (c Chain) String() string {
	return [...]string{"postrouting", "forward", "prerouting", "output", "guard"}[c]
}

// Verdict is what happens to a packet that a rule matches.
type Verdict int

// The verdicts. Each ends the chain for the packet.
const (
	Leave      Verdict = iota // nothing; others' rules still apply
	Masquerade                // its connection gets the address of the device by which it leaves
	Accept                    // it passes this hook; a drop in another nftables table still wins
	Untrack                   // connection tracking does not see it
	Drop                      // it ends here
)

// String returns the verdict as one lower-case word.
func (v Verdict) String() string {
	return [...]string{"leave", "masquerade", "accept", "untrack", "drop"}[v]
}

// Net matches addresses inside a prefix, or outside it. The zero Net matches all addresses.
type Net struct {
	Prefix  netip.Prefix // masked
	Outside bool
}

func in(p netip.Prefix) Net { return Net{Prefix: p.Masked()} }

func (n Net) not() Net { return Net{Prefix: n.Prefix, Outside: !n.Outside} }

// String returns the prefix, after "outside" where n matches what is not in it.
func (n Net) String() string {
	if n.Outside {
		return "outside " + n.Prefix.String()
	}
	return n.Prefix.String()
}

// Rule is one rule in values. A packet matches when all of its conditions hold; those that are zero always do.
type Rule struct {
	Chain       Chain
	Family      subnet.Family
	Mark        uint32 // bits that are all set in the packet's mark
	Source      Net
	Destination Net
	Local       bool   // the destination is an address of this host
	Device      string // by which it leaves
	UDPPort     uint16 // destination port
	Protocol    uint8  // number in IP; not with UDPPort
	Verdict     Verdict
	RandomFully bool   // of Masquerade: choose the source port at random
	Why         string // goes with the rule as its comment
}

// String returns the rule in words that belong to no firewall.
func (r Rule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", r.Chain, r.Family)
	if r.Mark != 0 {
		fmt.Fprintf(&b, " mark %#x", r.Mark)
	}
	if r.Source != (Net{}) {
		fmt.Fprintf(&b, " from %s", r.Source)
	}
	if r.Destination != (Net{}) {
		fmt.Fprintf(&b, " to %s", r.Destination)
	}
	if r.Local {
		b.WriteString(" to this host")
	}
	if r.Device != "" {
		fmt.Fprintf(&b, " by %s", r.Device)
	}
	if r.UDPPort != 0 {
		fmt.Fprintf(&b, " UDP port %d", r.UDPPort)
	}
	if r.Protocol != 0 {
		fmt.Fprintf(&b, " protocol %d", r.Protocol)
	}
	fmt.Fprintf(&b, ": %s", r.Verdict)
	if r.RandomFully {
		b.WriteString(" random-fully")
	}
	fmt.Fprintf(&b, " (%s)", r.Why)
	return b.String()
}
