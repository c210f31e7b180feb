package masq

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-network/weft/network/kernel/kerneltest"
)

// rendering is one way to put the rules into the kernel, and how to look at it and disturb it from outside.
type rendering struct {
	name     string
	firewall func() (Firewall, error)
	command  string // the variant of iptables that its world belongs to
	show     []string
	flush    []string
}

var renderings = []rendering{
	{
		name:     "nftables",
		firewall: func() (Firewall, error) { return NewNFTables(""), nil },
		command:  "iptables-nft",
		show:     []string{"nft -s list ruleset"},
		flush:    []string{"nft flush ruleset"},
	}, {
		name:     "iptables-nft",
		firewall: func() (Firewall, error) { return NewIPTables("", "iptables-nft", time.Second) },
		command:  "iptables-nft",
		show:     []string{"iptables-nft-save", "ip6tables-nft-save"},
		flush:    []string{"nft flush ruleset"},
	}, {
		name:     "iptables-legacy",
		firewall: func() (Firewall, error) { return NewIPTables("", "iptables-legacy", time.Second) },
		command:  "iptables-legacy",
		show:     []string{"iptables-legacy-save", "ip6tables-legacy-save"},
		flush: []string{
			"iptables-legacy -t nat -F", "iptables-legacy -F", "iptables-legacy -t raw -F", "iptables-legacy -t mangle -F",
			"ip6tables-legacy -t nat -F", "ip6tables-legacy -F", "ip6tables-legacy -t raw -F", "ip6tables-legacy -t mangle -F",
		},
	},
}

// eachRendering runs f for every rendering, in a namespace of its own.
func eachRendering(t *testing.T, f func(t *testing.T, r rendering, fw Firewall)) {
	t.Helper()
	for _, r := range renderings {
		t.Run(r.name, func(t *testing.T) {
			kerneltest.NewNS(t).Do(t, func() {
				fw, err := r.firewall()
				if err != nil {
					t.Fatal(err)
				}
				f(t, r, fw)
			})
		})
	}
}

// run runs a command and returns what it prints.
func run(t *testing.T, command string) string {
	t.Helper()
	words := strings.Fields(command)
	out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
	return string(out)
}

// both runs a command of iptables for both families.
func (r rendering) both(t *testing.T, args string) {
	t.Helper()
	run(t, r.command+" "+args)
	run(t, strings.Replace(r.command, "iptables", "ip6tables", 1)+" "+args)
}

// state returns all rules of the namespace, without counters and dates, and with the chains of a table in the order of
// their names; the kernel lists them in the order in which they were made.
func (r rendering) state(t *testing.T) string {
	t.Helper()
	var lines []string
	table, chain := "", ""
	for _, command := range r.show {
		for line := range strings.Lines(run(t, command)) {
			words := strings.Fields(line)
			switch {
			case len(words) == 0 || line[0] == '#' || words[0] == "}" || words[0] == "COMMIT":
				continue
			case words[0] == "table" || line[0] == '*':
				table, chain = command+" "+strings.Join(words, " "), ""
			case words[0] == "chain" || words[0] == "-A":
				chain = words[1]
			}
			if line[0] == ':' {
				line, _, _ = strings.Cut(line, " [") // a counter
			}
			lines = append(lines, table+" "+chain+"| "+strings.TrimSpace(line))
		}
	}
	slices.SortStableFunc(lines, func(a, b string) int {
		a, _, _ = strings.Cut(a, "|")
		b, _, _ = strings.Cut(b, "|")
		return strings.Compare(a, b)
	})
	return strings.Join(append(lines, ""), "\n")
}

// sync syncs twice and wants no change from the second time.
func sync(t *testing.T, fw Firewall, c Config) int {
	t.Helper()
	changed, err := fw.Sync(t.Context(), c)
	if err != nil {
		t.Fatalf("Sync: %v", err)
	}
	again, err := fw.Sync(t.Context(), c)
	if err != nil || again != 0 {
		t.Fatalf("second Sync changed %d, %v; want no change", again, err)
	}
	return changed
}

// deletions returns the commands that delete each rule and jump of ours.
func (r rendering) deletions(t *testing.T) []string {
	t.Helper()
	var commands []string
	if r.name == "nftables" {
		commands = nftDeletions(t, "inet weft")
		commands = append(commands, nftDeletions(t, "ip filter")...)
		return append(commands, nftDeletions(t, "ip6 filter")...)
	}
	for _, command := range []string{r.command, strings.Replace(r.command, "iptables", "ip6tables", 1)} {
		for _, p := range names("").places() {
			for i := range strings.Count(run(t, fmt.Sprintf("%s -t %s -S %s", command, p.table, p.chain)), "-A ") {
				commands = append(commands, fmt.Sprintf("%s -t %s -D %s %d", command, p.table, p.chain, i+1))
			}
			for _, from := range p.from {
				commands = append(commands, fmt.Sprintf("%s -t %s -D %s 1", command, p.table, from))
			}
		}
	}
	return commands
}

func nftDeletions(t *testing.T, table string) []string {
	t.Helper()
	var commands []string
	chain := ""
	for line := range strings.Lines(run(t, "nft -a list table "+table)) {
		words := strings.Fields(line)
		if len(words) > 1 && words[0] == "chain" {
			chain = words[1]
		}
		if i := slices.Index(words, "handle"); i > 0 && i+1 < len(words) && words[0] != "chain" && words[0] != "table" {
			commands = append(commands, fmt.Sprintf("nft delete rule %s %s handle %s", table, chain, words[i+1]))
		}
	}
	return commands
}
