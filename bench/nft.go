package main

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
)

// nft runs the program nft, which looks at the rules from outside.
func nft(command string) error {
	out, err := exec.Command("nft", strings.Fields(command)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("nft %s: %w: %s", command, err, out)
	}
	return nil
}

// ruleset returns all rules in text, without what counts packets.
func ruleset() (string, error) {
	out, err := exec.Command("nft", "--stateless", "list", "ruleset").Output()
	if err != nil {
		return "", fmt.Errorf("nft list ruleset: %w", err)
	}
	return string(out), nil
}

// ruleDamages are the ways to damage the rules that there are: the first rule of each chain, and all at once.
func ruleDamages() ([]damage, error) {
	chains, err := chainsWithRules()
	if err != nil {
		return nil, err
	}
	var damages []damage
	for _, chain := range chains {
		damages = append(damages, damage{"a rule deleted from chain " + chain, func() error { return deleteRule(chain) }, false})
	}
	return append(damages, damage{"nft flush ruleset", func() error { return nft("flush ruleset") }, false}), nil
}

type rule struct {
	Table, Chain string
	Handle       int
}

// rules lists the rules of Weft's own table, in order.
func rules() ([]rule, error) {
	out, err := exec.Command("nft", "--json", "--handle", "list", "table", "inet", "weft").Output()
	if err != nil {
		return nil, fmt.Errorf("nft list table inet weft: %w", err)
	}
	var list struct{ Nftables []struct{ Rule *rule } }
	if err := json.Unmarshal(out, &list); err != nil {
		return nil, fmt.Errorf("read the rules: %w", err)
	}
	var found []rule
	for _, o := range list.Nftables {
		if o.Rule != nil {
			found = append(found, *o.Rule)
		}
	}
	return found, nil
}

func chainsWithRules() ([]string, error) {
	all, err := rules()
	var chains []string
	for _, r := range all {
		if len(chains) == 0 || chains[len(chains)-1] != r.Chain {
			chains = append(chains, r.Chain)
		}
	}
	return chains, err
}

func deleteRule(chain string) error {
	all, err := rules()
	if err != nil {
		return err
	}
	for _, r := range all {
		if r.Chain == chain {
			return nft(fmt.Sprintf("delete rule inet weft %s handle %d", chain, r.Handle))
		}
	}
	return fmt.Errorf("chain %s has no rule", chain)
}
