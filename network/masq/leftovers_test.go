package masq

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/network/kernel/kerneltest"
	"github.com/weft-network/weft/subnet"
)

// flannel makes rules like flannel's, of both kinds and with either variant of iptables.
func flannel(t *testing.T) {
	for _, r := range renderings[1:] {
		r.both(t, "-t nat -N FLANNEL-POSTRTG")
		r.both(t, "-t nat -A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment flanneld -j RETURN")
		r.both(t, "-t nat -A POSTROUTING -m comment --comment flanneld -j FLANNEL-POSTRTG")
		r.both(t, "-N FLANNEL-FWD")
		r.both(t, "-A FORWARD -j FLANNEL-FWD")
		r.both(t, "-A FORWARD -p tcp -j FLANNEL-FWD")
		r.both(t, "-A FORWARD -p tcp -m tcp --dport 22 -j ACCEPT")
	}
	for _, family := range []string{"ip flannel-ipv4", "ip6 flannel-ipv6"} {
		run(t, "nft add table "+family)
		run(t, "nft add chain "+family+" postrtg { type nat hook postrouting priority srcnat ; }")
		run(t, "nft add rule "+family+" postrtg meta mark 0x4000 return")
	}
}

// everything returns the rules of both variants of iptables, and those tables of nftables that neither keeps.
func everything(t *testing.T) string {
	t.Helper()
	all := renderings[1].state(t) + renderings[2].state(t)
	for line := range strings.Lines(renderings[0].state(t)) {
		if strings.Contains(line, "table inet weft") || strings.Contains(line, "flannel-ip") {
			all += line
		}
	}
	return all
}

func TestCleanFlannel(t *testing.T) {
	kerneltest.NewNS(t).Do(t, func() {
		flannel(t)
		sync(t, NewNFTables(""), dualStack())
		before := everything(t)
		would, err := CleanFlannel(t.Context(), true)
		if err != nil {
			t.Fatalf("CleanFlannel, dry run: %v", err)
		}
		if diff := cmp.Diff(before, everything(t)); diff != "" {
			t.Errorf("a dry run changes something (-before +after):\n%s", diff)
		}
		removed, err := CleanFlannel(t.Context(), false)
		if err != nil {
			t.Fatalf("CleanFlannel: %v", err)
		}
		if diff := cmp.Diff(would, removed); diff != "" {
			t.Errorf("the dry run says something else than what is done (-dry +done):\n%s", diff)
		}
		slices.Sort(removed)
		if diff := cmp.Diff([]string{
			"chain FLANNEL-FWD in iptables table ip filter",
			"chain FLANNEL-FWD in iptables table ip6 filter",
			"chain FLANNEL-FWD in iptables-legacy table filter of IPv4",
			"chain FLANNEL-FWD in iptables-legacy table filter of IPv6",
			"chain FLANNEL-POSTRTG in iptables table ip nat",
			"chain FLANNEL-POSTRTG in iptables table ip6 nat",
			"chain FLANNEL-POSTRTG in iptables-legacy table nat of IPv4",
			"chain FLANNEL-POSTRTG in iptables-legacy table nat of IPv6",
			"nftables table ip flannel-ipv4",
			"nftables table ip6 flannel-ipv6",
		}, removed); diff != "" {
			t.Errorf("removed (-want +got):\n%s", diff)
		}
		after := everything(t)
		if strings.Contains(strings.ToLower(after), "flannel") {
			t.Errorf("something of flannel's is left:\n%s", after)
		}
		for line := range strings.Lines(before) {
			if !strings.Contains(strings.ToLower(line), "flannel") && !strings.Contains(after, line) {
				t.Errorf("there is no more %q", line)
			}
		}
		again, err := CleanFlannel(t.Context(), false)
		if err != nil || len(again) > 0 {
			t.Errorf("CleanFlannel again: %v, %v; want nothing to do", again, err)
		}
	})
}

func TestCleanOther(t *testing.T) {
	for _, used := range renderings {
		t.Run(used.name, func(t *testing.T) {
			kerneltest.NewNS(t).Do(t, func() {
				for _, r := range renderings[1:] {
					r.both(t, "-P FORWARD DROP")
				}
				fw, err := used.firewall()
				if err != nil {
					t.Fatal(err)
				}
				sync(t, fw, dualStack())
				alone := everything(t)
				for _, r := range renderings {
					other, err := r.firewall()
					if err != nil {
						t.Fatal(err)
					}
					sync(t, other, dualStack())
				}
				sync(t, fw, dualStack())
				removed, err := CleanOther(t.Context(), Choice{Firewall: fw})
				if err != nil || len(removed) == 0 {
					t.Fatalf("CleanOther: %v, %v", removed, err)
				}
				if n := sync(t, fw, dualStack()); n != 0 {
					t.Errorf("CleanOther took away %d things that %s needs", n, used.name)
				}
				if diff := cmp.Diff(ours(alone), ours(everything(t))); diff != "" {
					t.Errorf("other rules of ours are left (-want +got):\n%s", diff)
				}
				again, err := CleanOther(t.Context(), fw)
				if err != nil || len(again) > 0 {
					t.Errorf("CleanOther again: %v, %v; want nothing to do", again, err)
				}
				if _, err := CleanAll(t.Context(), "", false); err != nil {
					t.Errorf("CleanAll: %v", err)
				}
				if left := ours(everything(t)); left != "" {
					t.Errorf("CleanAll leaves:\n%s", left)
				}
			})
		})
	}
}

// ours keeps the lines of a state that are about us.
func ours(state string) string {
	var lines []string
	for line := range strings.Lines(state) {
		if strings.Contains(strings.ToLower(line), "weft") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

func TestForeignDrops(t *testing.T) {
	tests := []struct {
		name     string
		commands []string
		want     []string
	}{
		{"nothing", nil, nil},
		{"firewalld", []string{
			"nft add table inet firewalld",
			"nft add chain inet firewalld filter_FORWARD { type filter hook forward priority 10 ; }",
			"nft add rule inet firewalld filter_FORWARD ct state established,related accept",
			"nft add rule inet firewalld filter_FORWARD reject with icmpx admin-prohibited",
		}, []string{"nftables chain filter_FORWARD in table inet firewalld drops forwarded packets by a rule for all packets; accept the pods' networks there"}},
		{"a policy", []string{
			"nft add table ip mine",
			"nft add chain ip mine forward { type filter hook forward priority 0 ; policy drop ; }",
		}, []string{"nftables chain forward in table ip mine drops forwarded packets by its policy; accept the pods' networks there"}},
		{"what does not matter", []string{
			"nft add table ip mine",
			"nft add chain ip mine in { type filter hook input priority 0 ; policy drop ; }",
			"nft add chain ip mine forward { type filter hook forward priority 0 ; }",
			"nft add rule ip mine forward ip saddr 192.0.2.0/24 drop",
			"nft add rule ip mine forward tcp dport 22 reject",
			"nft add table arp mine",
			"nft add chain arp mine in { type filter hook input priority 0 ; policy drop ; }",
		}, nil},
		{"a family that is off", []string{
			"nft add table ip6 mine",
			"nft add chain ip6 mine forward { type filter hook forward priority 0 ; policy drop ; }",
		}, nil},
		{"where ours accepts", []string{"iptables-nft -P FORWARD DROP"}, nil},
		{"iptables-legacy", []string{"iptables-legacy -P FORWARD DROP"},
			[]string{"the FORWARD chain of iptables-legacy drops forwarded IPv4 packets; run weftd with --firewall iptables"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			kerneltest.NewNS(t).Do(t, func() {
				for _, command := range test.commands {
					run(t, command)
				}
				sync(t, NewNFTables(""), dualStack())
				c := dualStack()
				if strings.HasSuffix(test.name, "off") {
					c.Networks[subnet.Inet6] = netip.Prefix{}
				}
				got, err := ForeignDrops(t.Context(), "", c)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("ForeignDrops (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestWithoutTools does what a weftd in an image without any command does.
func TestWithoutTools(t *testing.T) {
	kerneltest.NewNS(t).Do(t, func() {
		flannel(t)
		run(t, "iptables-nft -P FORWARD DROP")
		path := os.Getenv("PATH")
		t.Setenv("PATH", t.TempDir())
		defer t.Setenv("PATH", path)
		fw := NewNFTables("")
		sync(t, fw, dualStack())
		if _, err := CleanOther(t.Context(), fw); err != nil {
			t.Errorf("CleanOther: %v", err)
		}
		removed, err := CleanFlannel(t.Context(), false)
		if err != nil || len(removed) != 6 {
			t.Errorf("CleanFlannel: %v, %v; want six things removed from nftables", removed, err)
		}
		if _, err := ForeignDrops(t.Context(), "", dualStack()); err != nil {
			t.Errorf("ForeignDrops: %v", err)
		}
		if _, err := NewIPTables("", "iptables", time.Second); err == nil {
			t.Error("NewIPTables finds a command in an empty directory")
		}
	})
}
