// Package masq keeps the firewall rules of a node: which packets of pods are masqueraded, which are accepted where
// another's rules would drop them, and which packets of the tunnel connection tracking shall not see. It knows
// nftables and iptables, and is the only package that does; it renders one rule list in both. It refuses to know
// leases, routes and devices, and it never touches a rule that is not its own, flannel's excepted where it takes over.
package masq
