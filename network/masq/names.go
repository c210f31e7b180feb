package masq

import "github.com/google/nftables"

// names is the name of a network, "" for the first, and knows what the tables and chains are called that hold its rules.
type names string

// mark is n at the end of a name.
func (n names) mark() string {
	if n == "" {
		return ""
	}
	return "-" + string(n)
}

// table is our nftables table, of family inet. Everything in it is ours.
func (n names) table() string { return "weft" + n.mark() }

// tables is that table, as it is listed.
func (n names) tables() []nftables.Table {
	return []nftables.Table{{Name: n.table(), Family: nftables.TableFamilyINet}}
}

// forward is our chain for iptables' FORWARD.
func (n names) forward() string { return "WEFT-FWD" + n.mark() }

// places are our chains among iptables' own.
func (n names) places() []place {
	return []place{
		{"nat", "WEFT-POSTRTG" + n.mark(), []string{"POSTROUTING"}, []Chain{Postrouting}},
		{"filter", n.forward(), []string{"FORWARD"}, []Chain{Forward}},
		{"raw", "WEFT-NOTRK" + n.mark(), []string{"PREROUTING", "OUTPUT"}, []Chain{Prerouting, Output}},
		{"mangle", "WEFT-GUARD" + n.mark(), []string{"POSTROUTING"}, []Chain{Guard}},
	}
}
