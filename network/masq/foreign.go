package masq

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables"

	"github.com/weft-network/weft/subnet"
)

// ForeignDrops names, one sentence each, the chains of others that drop forwarded packets which nobody accepted before, and
// in which nothing of ours, the network's ("" for the first), accepts those of pods. A family without a network in c does not matter. In nftables an accept in one table does not override a drop in another,
// so Sync cannot help: who owns the chain has to accept the pods' networks there. Whether one of its other rules already does is
// not looked into. It runs a command only where iptables-legacy is in use.
func ForeignDrops(ctx context.Context, network string, c Config) ([]string, error) {
	conn, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	chains, err := conn.ListChains()
	if err != nil {
		return nil, fmt.Errorf("list nftables chains: %w", err)
	}
	var drops [2]bool
	legacy := false // our rules are in iptables-legacy
	for _, f := range subnet.Families {
		d, ours := legacyForward(f, names(network))
		drops[f], legacy = d && c.Networks[f].IsValid(), legacy || ours
	}
	var found []string
	var errs []error
	for _, chain := range chains {
		if chain.Hooknum == nil || *chain.Hooknum != *nftables.ChainHookForward || !c.concerns(chain.Table.Family) {
			continue
		}
		if chain.Name == "FORWARD" && chain.Table.Name == "filter" && !legacy {
			continue // Sync accepts there itself, if it is to accept at all
		}
		rules, err := conn.GetRules(chain.Table, chain)
		if err != nil {
			errs = append(errs, fmt.Errorf("list rules of nftables chain %s: %w", chain.Name, err))
			continue
		}
		how := ""
		if chain.Policy != nil && *chain.Policy == nftables.ChainPolicyDrop {
			how = "its policy"
		} else if firstDrop(rules) != nil {
			how = "a rule for all packets"
		}
		if how != "" {
			found = append(found, fmt.Sprintf("nftables chain %s in table %s %s drops forwarded packets by %s; accept the pods' networks there",
				chain.Name, familyName(chain.Table.Family), chain.Table.Name, how))
		}
	}
	for _, f := range subnet.Families {
		if drops[f] && !legacy {
			found = append(found, fmt.Sprintf(
				"the FORWARD chain of iptables-legacy drops forwarded %s packets; run weftd with --firewall iptables", f))
		}
	}
	return found, errors.Join(append(errs, ctx.Err())...)
}

// concerns tells whether tables of family f see packets of pods.
func (c Config) concerns(f nftables.TableFamily) bool {
	switch f {
	case nftables.TableFamilyINet:
		return true
	case nftables.TableFamilyIPv4:
		return c.Networks[subnet.Inet].IsValid()
	case nftables.TableFamilyIPv6:
		return c.Networks[subnet.Inet6].IsValid()
	}
	return false
}

func familyName(f nftables.TableFamily) string {
	switch f {
	case nftables.TableFamilyIPv4:
		return "ip"
	case nftables.TableFamilyIPv6:
		return "ip6"
	}
	return "inet"
}

// legacyForward tells whether the FORWARD chain of iptables-legacy drops what nobody accepted, and whether ours is in
// it. Where the command is missing or fails, neither can be known and neither is said.
func legacyForward(f subnet.Family, n names) (drops, ours bool) {
	tables, err := legacyTables(f)
	if err != nil || !slices.Contains(tables, "filter") {
		return false, false
	}
	t, err := newLegacy()
	if err != nil {
		return false, false
	}
	tool, err := t.tool(f)
	if err != nil {
		return false, false
	}
	lines, _, err := list(tool, "filter", "FORWARD")
	if err != nil {
		return false, false
	}
	return slices.ContainsFunc(lines, dropsRest), len(jumps(lines, n.forward())) > 0
}
