package masq

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/network/kernel/kerneltest"
)

// otherNetwork is what another network of the same node wants.
func otherNetwork() Config {
	c := dualStack()
	c.Networks, c.Subnets = prefixes("10.105.0.0/16", "fd00:105::/56"), prefixes("10.105.1.0/24", "fd00:105:0:1::/64")
	c.Tunnels, c.Guard = ports(8472), []string{"blue-wg"}
	return c
}

// Chains of iptables have names of 28 characters at most.
func TestNamesFit(t *testing.T) {
	for _, p := range names("storage").places() {
		if len(p.chain) > 28 {
			t.Errorf("%s is too long", p.chain)
		}
	}
}

// The rules of several networks are in the kernel beside each other. Neither rendering touches those of another network, when they
// come, stay, go, or are cleaned up after.
func TestNetworksApart(t *testing.T) {
	for _, r := range renderings {
		t.Run(r.name, func(t *testing.T) {
			kerneltest.NewNS(t).Do(t, func() { checkApart(t, r) })
		})
	}
}

func checkApart(t *testing.T, r rendering) {
	r.both(t, "-P FORWARD DROP")
	first, blue := r.of(t, ""), r.of(t, "blue")
	sync(t, first, dualStack())
	alone := r.state(t)
	sync(t, blue, otherNetwork())
	both := r.state(t)
	for _, name := range r.named("blue") {
		if !strings.Contains(both, name) || strings.Contains(alone, name) {
			t.Errorf("%s is not where the rules of blue are:\n%s", name, both)
		}
	}
	if n, err := first.Sync(t.Context(), dualStack()); n != 0 || err != nil {
		t.Errorf("the first network has %d to change beside another, %v", n, err)
	}
	for _, fw := range []Firewall{first, blue} {
		if removed, err := CleanOther(t.Context(), fw); len(removed) > 0 || err != nil {
			t.Errorf("cleaning up after other renderings removed %v, %v", removed, err)
		}
	}
	if diff := cmp.Diff(both, r.state(t)); diff != "" {
		t.Errorf("networks changed each other's rules:\n%s", diff)
	}

	if err := blue.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(alone, r.state(t)); diff != "" {
		t.Errorf("blue left or took something:\n%s", diff)
	}
	sync(t, blue, otherNetwork())
	if _, err := CleanAll(t.Context(), "", false); err != nil {
		t.Fatal(err)
	}
	if n, err := blue.Sync(t.Context(), otherNetwork()); n != 0 || err != nil {
		t.Errorf("cleaning up the first network left %d to change in blue, %v", n, err)
	}
	if removed, err := CleanAll(t.Context(), "blue", false); len(removed) == 0 || err != nil {
		t.Errorf("cleaning up blue removed %v, %v", removed, err)
	}
	if left := r.state(t); strings.Contains(strings.ToLower(left), "weft") {
		t.Errorf("something is left:\n%s", left)
	}
}

// of returns the firewall of a network in this rendering.
func (r rendering) of(t *testing.T, network string) Firewall {
	t.Helper()
	if r.name == "nftables" {
		return NewNFTables(network)
	}
	fw, err := NewIPTables(network, r.command, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fw
}

// named are the names that a network's rules are under in this rendering.
func (r rendering) named(network string) []string {
	if r.name == "nftables" {
		return []string{"table inet weft-" + network, "WEFT-FWD-" + network}
	}
	return []string{"WEFT-POSTRTG-" + network, "WEFT-FWD-" + network, "WEFT-NOTRK-" + network, "WEFT-GUARD-" + network}
}
