package masq

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/subnet"
)

// listed renders r as iptables -S would.
func listed(chain string, r Rule) string {
	words := []string{"-A", chain}
	for _, w := range arguments(r) {
		if w == "" || strings.ContainsAny(w, " '") {
			w = `"` + strings.ReplaceAll(w, "'", `\'`) + `"`
		}
		words = append(words, w)
	}
	return strings.Join(words, " ")
}

func TestParseRuleReadsWhatArgumentsWrites(t *testing.T) {
	c := dualStack()
	c.RandomFully = true
	for _, want := range Plan(c) {
		// The rules of Prerouting and Output are told apart by what they say, not by their chain.
		chain := want.Chain
		if chain == Output {
			chain = Prerouting
		}
		got, ok := parseRule(listed("X", want), want.Family, chain)
		if diff := cmp.Diff(want, got, comparer); !ok || diff != "" {
			t.Errorf("parseRule(%s) (-want +got):\n%s", listed("X", want), diff)
		}
	}
}

var comparer = cmp.Comparer(func(a, b Rule) bool { return a == b })

// iptables calls a protocol by the name that /etc/protocols of the host has for it.
func TestParseRuleKnowsProtocols(t *testing.T) {
	for word, want := range map[string]uint8{"4": 4, "ipencap": 4, "IP-ENCAP": 4, "ipv4": 4, "41": 41, "ipv6": 41, "esp": 50, "47": 47} {
		r, ok := parseRule("-A X -p "+word+" -j CT --notrack", subnet.Inet, Prerouting)
		if !ok || r.Protocol != want || r.UDPPort != 0 {
			t.Errorf("-p %s is %v, %v; want protocol %d", word, r, ok, want)
		}
	}
}

func TestParseRuleRefuses(t *testing.T) {
	tests := []struct{ name, line string }{
		{"nothing", ""},
		{"a policy", "-P FORWARD DROP"},
		{"a chain", "-N WEFT-FWD"},
		{"no verdict", "-A X -s 10.0.0.0/8"},
		{"a verdict of others", "-A X -s 10.0.0.0/8 -j MARK --set-xmark 0x1/0xffffffff"},
		{"an option of others", "-A X -i eth0 -j ACCEPT"},
		{"an option without a value", "-A X -j ACCEPT -s"},
		{"not a prefix", "-A X -s here -j ACCEPT"},
		{"another mask", "-A X -m mark --mark 0x4000/0xffffffff -j RETURN"},
		{"not marked", "-A X -m mark ! --mark 0x4000/0x4000 -j RETURN"},
		{"not the port", "-A X -p udp -m udp ! --dport 8472 -j CT --notrack"},
		{"ports", "-A X -p udp -m udp --dport 8472:8473 -j CT --notrack"},
		{"a protocol that nobody knows", "-A X -p frobnicate -j CT --notrack"},
		{"not the protocol", "-A X ! -p 4 -j CT --notrack"},
		{"not local", "-A X -m addrtype ! --dst-type LOCAL -j CT --notrack"},
		{"a lone negation", "-A X !"},
		{"an open quote", `-A X -m comment --comment "a -j ACCEPT`},
		{"an open escape", `-A X -m comment --comment "a\`},
	}
	for _, test := range tests {
		if r, ok := parseRule(test.line, subnet.Inet, Postrouting); ok {
			t.Errorf("%s: parseRule(%s) = %v, want it refused", test.name, test.line, r)
		}
	}
}

func TestDropsRest(t *testing.T) {
	tests := []struct {
		line string
		want bool
	}{
		{"-P FORWARD DROP", true},
		{"-P FORWARD ACCEPT", false},
		{"-A FORWARD -j DROP", true},
		{"-A FORWARD -j REJECT --reject-with icmp-host-prohibited", true},
		{`-A FORWARD -m comment --comment "the rest" -j REJECT --reject-with icmp6-port-unreachable`, true},
		{"-A FORWARD -i eth0 -j DROP", false},
		{"-A FORWARD -j DROPLIST", false},
		{"-A FORWARD -j ACCEPT", false},
		{"-A FORWARD", false},
		{"", false},
	}
	for _, test := range tests {
		if got := dropsRest(test.line); got != test.want {
			t.Errorf("dropsRest(%s) = %v, want %v", test.line, got, test.want)
		}
	}
}

// FuzzParseRule holds that whatever others have put into our chains cannot do more than not be understood, and that what
// is understood is rendered to what was read.
func FuzzParseRule(f *testing.F) {
	for _, r := range Plan(dualStack()) {
		f.Add(listed("WEFT", r), int(r.Chain))
	}
	f.Add(`-A X ! "" \ " -j`, 0)
	f.Fuzz(func(t *testing.T, line string, chain int) {
		bare(line)
		dropsRest(line)
		jumps([]string{line}, names("").forward())
		r, ok := parseRule(line, subnet.Inet, Chain(chain&3))
		if !ok || strings.ContainsAny(r.Why, `"\`) {
			return
		}
		if _, ok := parseRule(listed("X", r), subnet.Inet, r.Chain); !ok {
			t.Errorf("parseRule(%s) = %v, which it does not understand as %s", line, r, listed("X", r))
		}
	})
}
