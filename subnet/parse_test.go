package subnet_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/weft-network/weft/subnet"
)

func TestParse(t *testing.T) {
	golden(t, "testdata/parse.txtar", func(input string) string {
		c, warnings, err := subnet.Parse(input)
		var b strings.Builder
		if err == nil {
			b.WriteString(describe(c))
		}
		for _, w := range warnings {
			fmt.Fprintf(&b, "warning: %s\n", w)
		}
		if err != nil {
			for line := range strings.Lines(err.Error()) {
				fmt.Fprintf(&b, "error: %s\n", strings.TrimRight(line, "\n"))
			}
		}
		return b.String()
	})
}

// describe writes every field of a config.
func describe(c subnet.Config) string {
	var b strings.Builder
	for _, f := range subnet.Families {
		n := c.Networks[f]
		fmt.Fprintf(&b, "%s: %s\n", f, n)
		if n.Enabled() {
			fmt.Fprintf(&b, "%s: subnets of length %d, %d of them\n", f, n.SubnetLen, n.Size())
		}
		for _, n := range c.Further[f] {
			fmt.Fprintf(&b, "%s: then %s, %d of length %d\n", f, n, n.Size(), n.SubnetLen)
		}
		if m := c.Masquerade[f]; m != nil {
			fmt.Fprintf(&b, "%s: masquerade %t\n", f, *m)
		}
	}
	if c.NFTables != nil {
		fmt.Fprintf(&b, "nftables: %t\n", *c.NFTables)
	}
	for _, p := range c.NoMasquerade {
		fmt.Fprintf(&b, "no masquerade: %s\n", p)
	}
	fmt.Fprintf(&b, "backend: %s %s\n", c.Backend, c.BackendConfig)
	return b.String()
}

// FuzzParse holds what is accepted to what the rest of the agent relies on.
func FuzzParse(f *testing.F) {
	archive, err := txtar.ParseFile("testdata/parse.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range archive.Files {
		if !strings.HasSuffix(file.Name, ": want") {
			f.Add(string(file.Data))
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, _, err := subnet.Parse(text)
		if err != nil {
			if err.Error() == "" {
				t.Error("an error without words")
			}
			return
		}
		enabled := 0
		for _, f := range subnet.Families {
			all := c.All(f)
			enabled += len(all)
			if len(all) == 0 && len(c.Further[f]) > 0 {
				t.Errorf("%s is off and has the networks %s", f, c.Further[f])
			}
			for i, n := range all {
				if subnet.FamilyOf(n.Prefix.Addr()) != f || n.Prefix != n.Prefix.Masked() || n.SubnetLen < n.Prefix.Bits()+2 || n.SubnetLen > f.Bits()-2 {
					t.Errorf("%s: odd network %s with subnets of length %d", f, n, n.SubnetLen)
				}
				for _, p := range []netip.Prefix{n.Min, n.Max, n.At(0), n.At(n.Size() - 1), n.At(n.Size() / 2)} {
					if !n.Holds(p) || !c.HoldsIn(f, p) || !n.Prefix.Contains(p.Addr()) || !subnet.Contain(all, p) {
						t.Errorf("%s: %s is not held", n, p)
					}
				}
				for _, o := range all[:i] {
					if o.Prefix.Overlaps(n.Prefix) {
						t.Errorf("%s: %s and %s overlap", f, o, n)
					}
				}
			}
		}
		if enabled == 0 || c.Backend == "" || !strings.HasPrefix(c.BackendConfig, "{") {
			t.Errorf("incomplete: %s", describe(c))
		}
		if _, err := subnet.Pick(c, "node", subnet.Subnets{}, func(subnet.Family, netip.Prefix) bool { return false }); err != nil {
			t.Errorf("nothing can be picked: %v", err)
		}
	})
}
