package masq

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"

	"github.com/google/nftables"

	"github.com/weft-network/weft/subnet"
)

// flannelTables are the tables that flannel makes with nftables.
var flannelTables = []nftables.Table{
	{Name: "flannel-ipv4", Family: nftables.TableFamilyIPv4},
	{Name: "flannel-ipv6", Family: nftables.TableFamilyIPv6},
}

// flannelPlaces are the chains that flannel makes with iptables.
var flannelPlaces = []place{
	{table: "nat", chain: "FLANNEL-POSTRTG", from: []string{"POSTROUTING"}},
	{table: "filter", chain: "FLANNEL-FWD", from: []string{"FORWARD"}},
}

// CleanFlannel removes flannel's rules from nftables and from both variants of iptables, and returns what it removed,
// or with dryRun what it would remove. It is to be called when ours are in place. It is idempotent, and needs no command unless
// iptables-legacy is in use.
func CleanFlannel(ctx context.Context, dryRun bool) (removed []string, err error) {
	return clean(ctx, flannelTables, flannelPlaces, flannelPlaces, dryRun)
}

// CleanOther removes what renderings other than used have left behind for the same network, and returns what it removed. It is to be called when
// used has synced. It is idempotent, and needs no command unless iptables-legacy is in use.
func CleanOther(ctx context.Context, used Firewall) (removed []string, err error) {
	if c, ok := used.(Choice); ok {
		used = c.Firewall
	}
	switch used := used.(type) {
	case *IPTables:
		own, places := used.names.tables(), used.names.places()
		if used.legacy {
			return clean(ctx, own, places, nil, false)
		}
		return clean(ctx, own, nil, places, false)
	case *NFTables: // it keeps WEFT-FWD of iptables-nft itself
		places := used.names.places()
		other := slices.DeleteFunc(slices.Clone(places), func(p place) bool { return p.chain == used.names.forward() })
		return clean(ctx, nil, other, places, false)
	}
	return nil, fmt.Errorf("clean up after firewalls other than %T: it is not one of this package", used)
}

// CleanAll removes everything that any rendering has ever put in place for a network, "" for the first, and returns what it removed, or with dryRun what it
// would remove. It is idempotent, and needs no command unless iptables-legacy is in use.
func CleanAll(ctx context.Context, network string, dryRun bool) (removed []string, err error) {
	n := names(network)
	return clean(ctx, n.tables(), n.places(), n.places(), dryRun)
}

// clean removes tables of nftables, and the chains of iptables at nft from what its variant on nftables keeps and at
// legacy from what the other keeps.
func clean(ctx context.Context, tables []nftables.Table, nft, legacy []place, dryRun bool) ([]string, error) {
	inNFT, err := cleanNFT(tables, nft, dryRun)
	if err != nil {
		err = fmt.Errorf("remove leftovers from nftables: %w", err)
	}
	inLegacy, errLegacy := cleanLegacy(legacy, dryRun)
	if errLegacy != nil {
		errLegacy = fmt.Errorf("remove leftovers from iptables-legacy: %w", errLegacy)
	}
	return append(inNFT, inLegacy...), errors.Join(err, errLegacy, ctx.Err())
}

// cleanNFT removes in one transaction.
func cleanNFT(tables []nftables.Table, places []place, dryRun bool) (removed []string, err error) {
	conn, err := nftables.New()
	if err != nil {
		return nil, err
	}
	listed, err := conn.ListTables()
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	for _, t := range listed {
		if slices.ContainsFunc(tables, func(w nftables.Table) bool { return t.Name == w.Name && t.Family == w.Family }) {
			conn.DelTable(t)
			removed = append(removed, fmt.Sprintf("nftables table %s %s", familyName(t.Family), t.Name))
		}
	}
	chains, err := conn.ListChains()
	if err != nil {
		return nil, fmt.Errorf("list chains: %w", err)
	}
	for _, c := range chains {
		for _, p := range places {
			if c.Name != p.chain || c.Table.Name != p.table || !slices.Contains(tableFamily[:], c.Table.Family) {
				continue
			}
			if err := deleteChain(conn, c, chains); err != nil {
				return nil, err
			}
			removed = append(removed, fmt.Sprintf("chain %s in iptables table %s %s", c.Name, familyName(c.Table.Family), c.Table.Name))
		}
	}
	if dryRun || len(removed) == 0 {
		return removed, nil
	}
	if err := conn.Flush(); err != nil {
		return nil, err
	}
	return removed, nil
}

// deleteChain queues the removal of c and of every rule that leads to it.
func deleteChain(conn *nftables.Conn, c *nftables.Chain, chains []*nftables.Chain) error {
	for _, from := range chains {
		if from.Table.Name != c.Table.Name || from.Table.Family != c.Table.Family {
			continue
		}
		rules, err := conn.GetRules(from.Table, from)
		if err != nil {
			return fmt.Errorf("list rules of chain %s: %w", from.Name, err)
		}
		for _, r := range rules {
			if !jumpsTo(r, c.Name) {
				continue
			}
			if err := conn.DelRule(ruleAt(from, r.Handle)); err != nil {
				return err
			}
		}
	}
	conn.FlushChain(c)
	conn.DelChain(c)
	return nil
}

// cleanLegacy removes by command, and does not even look for one where iptables-legacy is not in use.
func cleanLegacy(places []place, dryRun bool) (removed []string, err error) {
	for _, f := range subnet.Families {
		tables, errList := legacyTables(f)
		err = errors.Join(err, errList)
		for _, p := range places {
			if !slices.Contains(tables, p.table) {
				continue
			}
			exists, errPlace := cleanLegacyPlace(f, p, dryRun)
			if exists {
				removed = append(removed, fmt.Sprintf("chain %s in iptables-legacy table %s of %s", p.chain, p.table, f))
			}
			err = errors.Join(err, errPlace)
		}
	}
	return removed, err
}

func cleanLegacyPlace(f subnet.Family, p place, dryRun bool) (exists bool, err error) {
	t, err := newLegacy()
	if errors.Is(err, exec.ErrNotFound) {
		return false, nil // somebody else's tables; without the command there is no saying what is in them
	}
	if err != nil {
		return false, err
	}
	tool, err := t.tool(f)
	if err != nil {
		return false, err
	}
	_, exists, err = list(tool, p.table, p.chain)
	if err != nil || !exists || dryRun {
		return exists, err
	}
	_, err = removePlace(tool, p)
	return err == nil, err
}

// newLegacy finds the command of iptables-legacy, which on old hosts has no name of its own.
func newLegacy() (*IPTables, error) {
	if _, err := exec.LookPath(legacyCommand); err == nil {
		return NewIPTables("", legacyCommand, 0)
	}
	t, err := NewIPTables("", anyCommand, 0)
	if err == nil && !t.legacy {
		return nil, fmt.Errorf("find %s: %w", legacyCommand, exec.ErrNotFound)
	}
	return t, err
}
