package masq

import (
	"flag"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/weft-network/weft/subnet"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func prefixes(inet, inet6 string) (ps [2]netip.Prefix) {
	for f, s := range []string{inet, inet6} {
		if s != "" {
			ps[f] = netip.MustParsePrefix(s)
		}
	}
	return ps
}

// ports are tunnels of both families at one port.
func ports(port uint16) []Tunnel {
	return []Tunnel{{Family: subnet.Inet, Port: port}, {Family: subnet.Inet6, Port: port}}
}

// dualStack wants every kind of rule in both families.
func dualStack() Config {
	return Config{
		Networks:     prefixes("10.5.0.0/16", "fd00:5::/56"),
		Subnets:      prefixes("10.5.1.0/24", "fd00:5:0:1::/64"),
		Masquerade:   [2]bool{true, true},
		NoMasquerade: []netip.Prefix{netip.MustParsePrefix("192.168.9.0/24"), netip.MustParsePrefix("fd00:9::/64")},
		Forward:      true,
		Tunnels:      append(ports(8472), Tunnel{Family: subnet.Inet, Protocol: 4}, Tunnel{Family: subnet.Inet6, Protocol: 41}),
		Guard:        []string{"overlay"},
	}
}

// moreNetworks makes a cluster of one that has outgrown its range in both families.
func moreNetworks(c *Config) {
	c.Further[subnet.Inet] = []netip.Prefix{netip.MustParsePrefix("10.6.0.0/16"), netip.MustParsePrefix("10.8.0.0/20")}
	c.Further[subnet.Inet6] = []netip.Prefix{netip.MustParsePrefix("fd00:6::1/56"), netip.MustParsePrefix("fd00:6::/56")}
}

// onlyGuard wants nothing but that packets to other nodes' pods leave by two devices alone.
func onlyGuard(c *Config) {
	c.Masquerade, c.Forward, c.Tunnels = [2]bool{}, false, nil
	c.Guard = []string{"flannel-wg", "flannel-wg-v6"}
}

func TestPlan(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Config)
	}{
		{"dual-stack", func(*Config) {}},
		{"IPv4 only", func(c *Config) { c.Networks[subnet.Inet6], c.Subnets[subnet.Inet6] = netip.Prefix{}, netip.Prefix{} }},
		{"masquerade IPv6 only", func(c *Config) { c.Masquerade[subnet.Inet] = false; c.Forward, c.Tunnels = false, nil }},
		{"random-fully", func(c *Config) { c.RandomFully, c.Forward, c.Tunnels = true, false, nil }},
		{"no subnet yet", func(c *Config) { c.Subnets = [2]netip.Prefix{} }},
		{"said twice and not masked", func(c *Config) {
			c.Networks = prefixes("10.5.77.7/16", "")
			c.NoMasquerade = append(c.NoMasquerade, netip.MustParsePrefix("192.168.9.1/24"), netip.Prefix{})
			c.Tunnels = append(ports(8472)[:1], Tunnel{Family: subnet.Inet, Port: 8472}, Tunnel{}, ports(51820)[0])
		}},
		{"nobody outside sees the node", func(c *Config) { c.NoMasquerade = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")} }},
		{"more networks", moreNetworks},
		{"encrypted", func(c *Config) { onlyGuard(c); moreNetworks(c) }},
		{"encrypted, no subnet yet", func(c *Config) { onlyGuard(c); c.Subnets = [2]netip.Prefix{} }},
		{"nothing", func(c *Config) { *c = Config{} }},
	}
	var words, iptables txtar.Archive
	for _, test := range tests {
		c := dualStack()
		test.change(&c)
		var w, i strings.Builder
		for _, r := range Plan(c) {
			w.WriteString(r.String() + "\n")
			i.WriteString(strings.Join(arguments(r), " ") + "\n")
		}
		words.Files = append(words.Files, txtar.File{Name: test.name, Data: []byte(w.String())})
		iptables.Files = append(iptables.Files, txtar.File{Name: test.name, Data: []byte(i.String())})
	}
	golden(t, "testdata/plan.txtar", &words)
	golden(t, "testdata/iptables.txtar", &iptables)
}

func golden(t *testing.T, name string, got *txtar.Archive) {
	t.Helper()
	text := txtar.Format(got)
	if *update {
		if err := os.WriteFile(name, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(text)); diff != "" {
		t.Errorf("%s (-want +got); -update rewrites it:\n%s", name, diff)
	}
}

func TestConfigEqual(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Config)
		want   bool
	}{
		{"the same", func(*Config) {}, true},
		{"not masked", func(c *Config) { c.Networks[subnet.Inet] = netip.MustParsePrefix("10.5.3.3/16") }, true},
		{"other subnet", func(c *Config) { c.Subnets = prefixes("10.5.2.0/24", "fd00:5:0:1::/64") }, false},
		{"other port", func(c *Config) { c.Tunnels[0].Port = 4789 }, false},
		{"other protocol", func(c *Config) { c.Tunnels[2].Protocol = 47 }, false},
		{"more networks", moreNetworks, false},
		{"a guard", func(c *Config) { c.Guard = []string{"overlay", "other"} }, false},
		{"fewer exceptions", func(c *Config) { c.NoMasquerade = c.NoMasquerade[:1] }, false},
	}
	for _, test := range tests {
		c := dualStack()
		test.change(&c)
		if got := c.Equal(dualStack()); got != test.want {
			t.Errorf("%s: Equal() = %v, want %v", test.name, got, test.want)
		}
	}
}
