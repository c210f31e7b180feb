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
// in which nothing of ours accepts those of pods. In nftables an accept in one table does not override a drop in another,
// so Sync cannot help: who owns the chain has to accept the pods' networks there. Whether one of its other rules already does is
// not looked into. It runs a command only where iptables-legacy is in use.
func ForeignDrops(ctx context.Context) ([]string, error) {
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
		d, ours := legacyForward(f)
		drops[f], legacy = d, legacy || ours
	}
	var found []string
	var errs []error
	for _, c := range chains {
		if c.Hooknum == nil || *c.Hooknum != *nftables.ChainHookForward || !forIP(c.Table.Family) {
			continue
		}
		if c.Name == "FORWARD" && c.Table.Name == "filter" && !legacy {
			continue // Sync accepts there itself, if it is to accept at all
		}
		rules, err := conn.GetRules(c.Table, c)
		if err != nil {
			errs = append(errs, fmt.Errorf("list rules of nftables chain %s: %w", c.Name, err))
			continue
		}
		how := ""
		if c.Policy != nil && *c.Policy == nftables.ChainPolicyDrop {
			how = "its policy"
		} else if firstDrop(rules) != nil {
			how = "a rule for all packets"
		}
		if how != "" {
			found = append(found, fmt.Sprintf("nftables chain %s in table %s %s drops forwarded packets by %s; accept the pods' networks there",
				c.Name, familyName(c.Table.Family), c.Table.Name, how))
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

func forIP(f nftables.TableFamily) bool {
	return f == nftables.TableFamilyIPv4 || f == nftables.TableFamilyIPv6 || f == nftables.TableFamilyINet
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
func legacyForward(f subnet.Family) (drops, ours bool) {
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
	return slices.ContainsFunc(lines, dropsRest), len(jumps(lines, forwardChain)) > 0
}
