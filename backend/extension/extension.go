// Package extension is the backend that consists of the operator's own commands: one that finds out what the node
// announces, one that sets the node up, and one for each peer that comes and goes. It knows what each command is told and refuses to
// know what they do; running them is an engine's work. Names and meaning are flannel's.
package extension

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// Kind is the backend type in net-conf.json and in leases.
const Kind = "extension"

// Backend is the extension backend with its checked config.
type Backend struct {
	pre, post, add, remove string
}

var (
	_ backend.Backend  = Backend{}
	_ backend.Preparer = Backend{}
)

// New checks config, the Backend object of net-conf.json. The error joins all mistakes; the warnings name keys that
// are not known. Every command may be missing.
func New(config string) (Backend, []string, error) {
	r := backend.Read(config)
	b := Backend{
		pre:    r.Text("PreStartupCommand", ""),
		post:   r.Text("PostStartupCommand", ""),
		add:    r.Text("SubnetAddCommand", ""),
		remove: r.Text("SubnetRemoveCommand", ""),
	}
	for _, x := range []struct{ key, command string }{{"PreStartupCommand", b.pre}, {"PostStartupCommand", b.post},
		{"SubnetAddCommand", b.add}, {"SubnetRemoveCommand", b.remove}} {
		if strings.ContainsRune(x.command, 0) {
			r.Fault(x.key, "there is a zero byte in it, which no command can have")
		}
	}
	warnings, err := r.Done()
	if err != nil {
		return Backend{}, warnings, err
	}
	return b, warnings, nil
}

// Prepare is PreStartupCommand, which is told nothing. What it writes to standard output is announced to the peers.
func (b Backend) Prepare() kernel.Command { return kernel.Command{Name: "preparation", Run: b.pre} }

// Attrs announces the public addresses, and what PreStartupCommand has written, as flannel does: a JSON string, for the first
// family that the node serves.
func (b Backend) Attrs(n backend.Node) (subnet.Attrs, error) {
	a, err := n.Announce(Kind)
	if err != nil || b.pre == "" {
		return a, err
	}
	for _, f := range subnet.Families {
		if n.Serves(f) {
			a.Data[f], err = quoted(n.Prepared)
			return a, err
		}
	}
	return a, nil
}

// quoted returns text as compact JSON.
func quoted(text string) (string, error) {
	data, err := json.Marshal(text)
	if err != nil {
		return "", fmt.Errorf("announce the output of PreStartupCommand: %w", err)
	}
	return string(data), nil
}

// Base adds PostStartupCommand.
func (b Backend) Base(n backend.Node, own subnet.Lease, s *kernel.State) error {
	if b.post == "" {
		return nil
	}
	vars := variables(own)
	var further []netip.Prefix
	for _, f := range subnet.Families {
		if n.Networks[f].Enabled() {
			vars = append(vars, names[f].network+"="+n.Networks[f].Prefix.String())
		}
		for _, more := range n.Further[f] {
			further = append(further, more.Prefix)
		}
	}
	if len(further) > 0 {
		vars = append(vars, "WEFT_NETWORKS="+subnet.Prefixes(further))
	}
	s.Commands.Add(kernel.Command{Name: "startup", Run: b.post, Env: lines(vars), After: b.basis(n)})
	return nil
}

// Peer adds SubnetAddCommand and SubnetRemoveCommand for the peer, once for all families.
func (b Backend) Peer(n backend.Node, peer subnet.Lease, s *kernel.State) error {
	if b == (Backend{}) {
		return backend.Explain(peer, errors.New("this node's config has no command that would reach it"))
	}
	shared, err := n.Shared(&peer)
	if err != nil {
		return backend.Explain(peer, err)
	}
	if b.add == "" && b.remove == "" {
		return nil
	}
	told, err := input(peer)
	if err != nil {
		return backend.Explain(peer, err)
	}
	for _, f := range subnet.Families {
		if !shared[f] {
			peer.Subnets[f], peer.PublicIP[f] = netip.Prefix{}, netip.Addr{}
		}
	}
	var add kernel.State
	add.Commands.Add(kernel.Command{Name: peer.Subnets.String(), Run: b.add, Undo: b.remove,
		Env: lines(variables(peer)), Stdin: told, After: b.basis(n)})
	if err := backend.Merge(s, add); err != nil {
		return backend.Explain(peer, err)
	}
	return nil
}

// basis is what the other commands build on: PreStartupCommand and what it has written.
func (b Backend) basis(n backend.Node) string {
	if b.pre == "" {
		return ""
	}
	return b.pre + "\n" + n.Prepared
}

// input is what the peer's PreStartupCommand has written.
func input(peer subnet.Lease) (string, error) {
	for _, data := range peer.Data {
		if data == "" {
			continue
		}
		var text string
		if err := json.Unmarshal([]byte(data), &text); err != nil {
			return "", fmt.Errorf("its data %.60q are not a JSON string, as the extension backend announces it", data)
		}
		return text, nil
	}
	return "", nil
}

// names are the environment variables of a family: flannel's for IPv4, and their like for IPv6.
var names = [2]struct{ network, subnet, public string }{
	subnet.Inet:  {"NETWORK", "SUBNET", "PUBLIC_IP"},
	subnet.Inet6: {"IPV6_NETWORK", "IPV6_SUBNET", "PUBLIC_IPV6"},
}

// variables say what a lease is.
func variables(l subnet.Lease) []string {
	var vars []string
	for _, f := range subnet.Families {
		if l.Subnets[f].IsValid() {
			vars = append(vars, names[f].subnet+"="+l.Subnets[f].String())
		}
		if l.PublicIP[f].IsValid() {
			vars = append(vars, names[f].public+"="+l.PublicIP[f].String())
		}
	}
	return vars
}

func lines(vars []string) string {
	slices.Sort(vars)
	return strings.Join(vars, "\n")
}

// Overhead is 0: what the commands add is not known here.
func (Backend) Overhead(netip.Addr) int { return 0 }

// MTU is the uplink's, as with flannel.
func (Backend) MTU(u backend.Uplink) int { return u.MTU }

// Ports are none that are known.
func (Backend) Ports() []uint16 { return nil }
