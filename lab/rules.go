package lab

import (
	"fmt"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
)

// nft opens nftables in the host's network namespace.
func (h *Host) nft() (*nftables.Conn, error) {
	c, err := nftables.New(nftables.WithNetNSFd(h.net))
	if err != nil {
		return nil, fmt.Errorf("open nftables on %s: %w", h.Name, err)
	}
	return c, nil
}

// ruleLines lists the rules of all tables, with their comments and their place in the chain.
func (h *Host) ruleLines(map[int]string) (Listing, error) {
	c, err := h.nft()
	if err != nil {
		return nil, err
	}
	chains, err := c.ListChains()
	if err != nil {
		return nil, fmt.Errorf("chains: %w", err)
	}
	var lines Listing
	for _, chain := range chains {
		name := fmt.Sprintf("nft %s %s %s", tableFamilies[chain.Table.Family], chain.Table.Name, chain.Name)
		lines = append(lines, name)
		rules, err := c.GetRules(chain.Table, chain)
		if err != nil {
			return nil, fmt.Errorf("rules of %s: %w", name, err)
		}
		for i, r := range rules {
			lines = append(lines, fmt.Sprintf("%s rule %02d: %s", name, i+1, ruleText(r)))
		}
	}
	return lines, nil
}

var tableFamilies = map[nftables.TableFamily]string{
	nftables.TableFamilyINet: "inet", nftables.TableFamilyIPv4: "ip", nftables.TableFamilyIPv6: "ip6",
	nftables.TableFamilyBridge: "bridge", nftables.TableFamilyARP: "arp", nftables.TableFamilyNetdev: "netdev",
}

// ruleText is the comment of a rule, or the types of its expressions where it has none.
func ruleText(r *nftables.Rule) string {
	if comment, ok := userdata.GetString(r.UserData, userdata.TypeComment); ok {
		return comment
	}
	var words []string
	for _, e := range r.Exprs {
		words = append(words, strings.TrimPrefix(fmt.Sprintf("%T", e), "*expr."))
	}
	return strings.Join(words, " ")
}

// deleteRules deletes the rules that f picks, and returns how many there were.
func (h *Host) deleteRules(f func(chain *nftables.Chain, comment string) bool) (int, error) {
	c, err := h.nft()
	if err != nil {
		return 0, err
	}
	chains, err := c.ListChains()
	if err != nil {
		return 0, fmt.Errorf("list chains on %s: %w", h.Name, err)
	}
	n := 0
	for _, chain := range chains {
		rules, err := c.GetRules(chain.Table, chain)
		if err != nil {
			return n, fmt.Errorf("list rules of chain %s on %s: %w", chain.Name, h.Name, err)
		}
		for _, r := range rules {
			if !f(chain, ruleText(r)) {
				continue
			}
			if err := c.DelRule(r); err != nil {
				return n, fmt.Errorf("delete a rule of chain %s on %s: %w", chain.Name, h.Name, err)
			}
			n++
		}
	}
	if err := c.Flush(); err != nil {
		return 0, fmt.Errorf("delete rules on %s: %w", h.Name, err)
	}
	return n, nil
}

// flushRuleset is what "nft flush ruleset" does.
func (h *Host) flushRuleset() error {
	c, err := h.nft()
	if err != nil {
		return err
	}
	c.FlushRuleset()
	if err := c.Flush(); err != nil {
		return fmt.Errorf("flush the ruleset on %s: %w", h.Name, err)
	}
	return nil
}
