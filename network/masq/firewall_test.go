package masq

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/network/kernel/kerneltest"
)

func TestSyncTwiceRemoveTwice(t *testing.T) {
	eachRendering(t, func(t *testing.T, r rendering, fw Firewall) {
		// Somebody else's rules, in the very tables and hooks.
		r.both(t, "-P FORWARD DROP")
		r.both(t, "-N OTHERS")
		r.both(t, "-A OTHERS -p tcp -m tcp --dport 22 -j RETURN")
		r.both(t, "-A FORWARD -j OTHERS")
		r.both(t, "-t nat -A POSTROUTING -o eth7 -j MASQUERADE")
		r.both(t, "-t raw -A PREROUTING -p udp -m udp --dport 53 -j CT --notrack")
		r.both(t, "-t raw -A OUTPUT -p udp -m udp --dport 53 -j CT --notrack")
		r.both(t, "-t mangle -A POSTROUTING -o eth7 -j MARK --set-mark 7")
		before := r.state(t)
		if changed := sync(t, fw, dualStack()); changed < len(Plan(dualStack())) {
			t.Errorf("Sync changed %d, which is less than there are rules", changed)
		}
		for line := range strings.Lines(before) {
			if !strings.Contains(r.state(t), line) {
				t.Errorf("after Sync there is no more %q", line)
			}
		}
		for range 2 {
			if err := fw.Remove(t.Context()); err != nil {
				t.Fatalf("Remove: %v", err)
			}
			if diff := cmp.Diff(before, r.state(t)); diff != "" {
				t.Errorf("Remove leaves another state than Sync met (-before +after):\n%s", diff)
			}
		}
	})
}

func TestSyncFollowsConfig(t *testing.T) {
	eachRendering(t, func(t *testing.T, r rendering, fw Firewall) {
		r.both(t, "-P FORWARD DROP")
		sync(t, fw, dualStack())
		full := r.state(t)
		changes := map[string]func(*Config){
			"no masquerade":  func(c *Config) { c.Masquerade = [2]bool{} },
			"random":         func(c *Config) { c.RandomFully = true },
			"no exceptions":  func(c *Config) { c.NoMasquerade = nil },
			"no forwarding":  func(c *Config) { c.Forward = false },
			"other guard":    func(c *Config) { c.Guard = append(c.Guard, "flannel-wg") },
			"other tunnel":   func(c *Config) { c.Tunnels = ports(4789)[:1] },
			"other subnet":   func(c *Config) { c.Subnets = prefixes("10.5.2.0/24", "fd00:5:0:2::/64") },
			"one family":     func(c *Config) { c.Networks = prefixes("10.5.0.0/16", "") },
			"more networks":  moreNetworks,
			"nothing at all": func(c *Config) { *c = Config{} },
		}
		for name, change := range changes {
			c := dualStack()
			change(&c)
			if sync(t, fw, c) == 0 {
				t.Errorf("%s: nothing was changed", name)
			}
			if r.state(t) == full {
				t.Errorf("%s: the kernel holds the same rules", name)
			}
			sync(t, fw, dualStack())
			if diff := cmp.Diff(full, r.state(t)); diff != "" {
				t.Errorf("%s and back (-before +after):\n%s", name, diff)
			}
		}
	})
}

func TestSyncRestoresEachRule(t *testing.T) {
	eachRendering(t, func(t *testing.T, r rendering, fw Firewall) {
		r.both(t, "-P FORWARD DROP")
		sync(t, fw, dualStack())
		whole := r.state(t)
		total := len(r.deletions(t))
		if least := len(Plan(dualStack())) + 2; total < least {
			t.Fatalf("there are %d rules and jumps, want %d or more", total, least)
		}
		for i := range total {
			command := r.deletions(t)[i] // their handles may be new each time
			run(t, command)
			if changed := sync(t, fw, dualStack()); changed != 1 {
				t.Errorf("after %s Sync changed %d, want 1", command, changed)
			}
			if diff := cmp.Diff(whole, r.state(t)); diff != "" {
				t.Fatalf("after %s and Sync (-before +after):\n%s", command, diff)
			}
		}
	})
}

func TestSyncRestoresAfterFlush(t *testing.T) {
	eachRendering(t, func(t *testing.T, r rendering, fw Firewall) {
		sync(t, fw, dualStack())
		whole := r.state(t)
		for _, command := range r.flush {
			run(t, command)
		}
		if sync(t, fw, dualStack()) == 0 {
			t.Error("Sync changed nothing after all rules were flushed")
		}
		if diff := cmp.Diff(whole, r.state(t)); diff != "" {
			t.Errorf("after a flush and Sync (-before +after):\n%s", diff)
		}
	})
}

func TestSyncUndoesForeignEdits(t *testing.T) {
	edits := map[string][]string{
		"nftables": {
			"nft insert rule inet weft postrouting accept",
			"nft add rule inet weft output udp dport 53 notrack",
			"nft flush chain inet weft postrouting",
			"nft add chain inet weft more",
			"nft add chain inet weft postrouting { policy drop ; }",
			"nft add table inet weft { flags dormant ; }",
			"nft delete table inet weft",
			"nft delete chain inet weft output", // after a flush, as in every table below
			"iptables-nft -I FORWARD -j WEFT-FWD",
			"iptables-nft -I FORWARD -p tcp -j WEFT-FWD",
			"iptables-nft -I WEFT-FWD -j RETURN",
			"iptables-nft -F FORWARD",
		},
		"iptables": {
			"-t nat -I WEFT-POSTRTG -j ACCEPT",
			"-t nat -I WEFT-POSTRTG 3 -m statistic --mode random --probability 0.5 -j RETURN",
			"-t nat -F WEFT-POSTRTG",
			"-t nat -I POSTROUTING -j WEFT-POSTRTG",
			"-t nat -I POSTROUTING -p tcp -j WEFT-POSTRTG",
			"-t raw -F OUTPUT",
			"-F WEFT-FWD",
			"-F FORWARD",
			"-I FORWARD -s 10.5.0.0/16 -j WEFT-FWD",
		},
	}
	eachRendering(t, func(t *testing.T, r rendering, fw Firewall) {
		r.both(t, "-P FORWARD DROP")
		sync(t, fw, dualStack())
		whole := r.state(t)
		commands := edits[r.name]
		if commands == nil {
			for _, args := range edits["iptables"] {
				commands = append(commands, r.command+" "+args)
			}
		}
		for _, command := range commands {
			if strings.HasPrefix(command, "nft delete chain") {
				run(t, "nft flush chain inet weft output")
			}
			run(t, command)
			if sync(t, fw, dualStack()) == 0 {
				t.Errorf("after %s Sync changed nothing", command)
			}
			if diff := cmp.Diff(whole, r.state(t)); diff != "" {
				t.Errorf("after %s and Sync (-before +after):\n%s", command, diff)
			}
		}
	})
}

func TestAcceptOnlyWhereADropWouldWin(t *testing.T) {
	tests := []struct {
		name     string
		commands []string // arguments of iptables
		want     []string // of the FORWARD chain, policy and rules
	}{
		{"nothing drops", []string{"-A FORWARD -p tcp -j OTHERS"}, []string{"-P FORWARD ACCEPT", "-A FORWARD -p tcp -j OTHERS"}},
		{"policy", []string{"-P FORWARD DROP", "-A FORWARD -p tcp -j OTHERS"},
			[]string{"-P FORWARD DROP", "-A FORWARD -p tcp -j OTHERS", "-A FORWARD -m comment --comment weft -j WEFT-FWD"}},
		{"last rule", []string{"-A FORWARD -p tcp -j OTHERS", "-A FORWARD -j DROP"},
			[]string{"-P FORWARD ACCEPT", "-A FORWARD -p tcp -j OTHERS", "-A FORWARD -m comment --comment weft -j WEFT-FWD", "-A FORWARD -j DROP"}},
		{"drop of some", []string{"-A FORWARD -p tcp -j DROP"}, []string{"-P FORWARD ACCEPT", "-A FORWARD -p tcp -j DROP"}},
	}
	eachRendering(t, func(t *testing.T, r rendering, fw Firewall) {
		run(t, r.command+" -N OTHERS")
		for _, test := range tests {
			run(t, r.command+" -F FORWARD")
			run(t, r.command+" -P FORWARD ACCEPT")
			for _, args := range test.commands {
				run(t, r.command+" "+args)
			}
			sync(t, fw, dualStack())
			got := strings.Split(strings.TrimSpace(run(t, r.command+" -S FORWARD")), "\n")
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.name, diff)
			}
		}
	})
}

func TestSyncCancelled(t *testing.T) {
	eachRendering(t, func(t *testing.T, r rendering, fw Firewall) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := fw.Sync(ctx, dualStack()); err == nil {
			t.Error("Sync with a cancelled context returns no error")
		}
	})
}

// TestSyncBesideStrangeRules puts rules that no rendering of ours makes into every chain that Sync looks at.
func TestSyncBesideStrangeRules(t *testing.T) {
	strange := []string{
		"numgen random mod 2 0 drop",
		"limit rate 10/second log prefix hello accept",
		"ct state vmap { established : accept, invalid : drop }",
		"meta mark set jhash ip saddr mod 4",
		"ip saddr { 192.0.2.1, 192.0.2.2 } tcp dport 1-9 reject with tcp reset",
		"meta ipsec exists return",
		"rt classid 7 counter quota 1 mbytes",
		"dup to 192.0.2.7",
		"socket transparent 1 drop",
		"osf name unknown drop",
	}
	kerneltest.NewNS(t).Do(t, func() {
		run(t, "iptables-nft -P FORWARD DROP")
		fw := NewNFTables("")
		sync(t, fw, dualStack())
		put := 0
		for _, rule := range strange {
			for _, chain := range []string{"ip filter FORWARD", "ip filter WEFT-FWD", "inet weft postrouting", "inet weft prerouting"} {
				// Not every rule is for every chain.
				if exec.Command("nft", append(strings.Fields("insert rule "+chain), rule)...).Run() == nil {
					put++
				}
			}
			sync(t, fw, dualStack())
			if _, err := ForeignDrops(t.Context(), "", dualStack()); err != nil {
				t.Errorf("ForeignDrops beside %s: %v", rule, err)
			}
		}
		if put < 3*len(strange) {
			t.Errorf("only %d rules could be put in", put)
		}
		if got := run(t, "nft list table inet weft"); strings.Count(got, "comment") != 28 {
			t.Errorf("our table holds something else than our 28 rules:\n%s", got)
		}
		if got := run(t, "nft list chain ip filter FORWARD"); !strings.Contains(got, "hello") || !strings.Contains(got, "jump WEFT-FWD") {
			t.Errorf("strange rules are gone, or ours:\n%s", got)
		}
	})
}

func TestHint(t *testing.T) {
	tests := []struct {
		err  error
		want string
	}{
		{unix.EPERM, "CAP_NET_ADMIN"},
		{fmt.Errorf("receive: %w", unix.EOPNOTSUPP), "--firewall iptables"},
		{unix.ENOENT, "nft_masq"},
		{unix.EBUSY, ""},
	}
	for _, test := range tests {
		if got := hint(test.err); !strings.Contains(got, test.want) || (test.want == "") != (got == "") {
			t.Errorf("hint(%v) = %q, want something with %q", test.err, got, test.want)
		}
	}
}
