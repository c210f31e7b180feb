package lab

import (
	"fmt"

	"github.com/google/nftables"
)

func (n *Node) deleteMasquerade() error {
	return n.deleteWeftRules(func(c *nftables.Chain, _ string) bool {
		return c.Table.Name == "weft" && c.Type == nftables.ChainTypeNAT
	})
}

// deleteForwardRules deletes the accept rules, which lie in the chain of whoever drops, and the jump to them.
func (n *Node) deleteForwardRules() error {
	return n.deleteWeftRules(func(c *nftables.Chain, comment string) bool {
		return c.Name == "WEFT-FWD" || c.Name == "FORWARD" && comment == "weft"
	})
}

func (n *Node) deleteWeftRules(f func(c *nftables.Chain, comment string) bool) error {
	found, err := n.deleteRules(f)
	if err == nil && found == 0 {
		return errNothing
	}
	return err
}

// flushRuleset also takes away the foreign rules; whoever made them makes them again.
func (n *Node) flushRuleset() error {
	if err := n.Host.flushRuleset(); err != nil {
		return err
	}
	return n.dropForwarded()
}

// dropForwarded makes the node drop what it forwards unless somebody accepts it, as Docker does, if the lab is to be so.
func (n *Node) dropForwarded() error {
	if !n.lab.opts.DropForward {
		return nil
	}
	c, err := n.nft()
	if err != nil {
		return err
	}
	drop := nftables.ChainPolicyDrop
	for _, family := range []nftables.TableFamily{nftables.TableFamilyIPv4, nftables.TableFamilyIPv6} {
		table := c.AddTable(&nftables.Table{Family: family, Name: "filter"})
		c.AddChain(&nftables.Chain{
			Name: "FORWARD", Table: table, Type: nftables.ChainTypeFilter,
			Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter, Policy: &drop,
		})
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("drop what %s forwards: %w", n.Name, err)
	}
	return nil
}
