package masq

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-iptables/iptables"
	"github.com/google/nftables"

	"github.com/weft-network/weft/subnet"
)

// lockSeconds is how long iptables waits for others that hold its lock.
const lockSeconds = 5

// place is a chain of ours and where it is jumped to from.
type place struct {
	table, chain string
	from         []string
	holds        []Chain // whose rules are in it
}

// IPTables is the Firewall that renders the rules with the iptables and ip6tables commands, of either variant. Its
// rules are in the chains WEFT-POSTRTG, WEFT-FWD, WEFT-NOTRK and WEFT-GUARD, whose names end in that of the network where it is not the first; the second exists only while the FORWARD chain drops what
// nobody accepted, because elsewhere to accept could only bypass what others filter after it.
type IPTables struct {
	names    names
	command  string
	legacy   bool
	interval time.Duration
	conn     *nftables.Conn
	tools    [2]*iptables.IPTables
}

// NewIPTables returns the iptables rendering for a network, "" for the first, by the given command: "iptables", "iptables-nft" or "iptables-legacy"; the
// one for IPv6 is named accordingly and needed only where there are rules for IPv6. The legacy variant announces no changes, so Watch
// looks again at every interval. The error is about a command that is missing or does not run.
func NewIPTables(network, command string, interval time.Duration) (*IPTables, error) {
	version, err := exec.Command(command, "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("ask %s for its version: %w", command, err)
	}
	conn, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	legacy := !strings.Contains(string(version), "nf_tables")
	return &IPTables{names: names(network), command: command, legacy: legacy, interval: interval, conn: conn}, nil
}

// Sync implements Firewall. It runs one command for each chain that it has to look at.
func (t *IPTables) Sync(ctx context.Context, c Config) (changed int, err error) {
	rules := byChain(Plan(c))
	for _, f := range subnet.Families {
		tables, errList := t.tables(f)
		err = errors.Join(err, errList)
		for _, p := range t.names.places() {
			var want []Rule
			for _, chain := range p.holds {
				for _, r := range rules[chain] {
					if r.Family == f {
						want = append(want, r)
					}
				}
			}
			if len(want) == 0 && !slices.Contains(tables, p.table) {
				continue
			}
			n, errPlace := t.syncPlace(f, p, want)
			if errPlace != nil {
				errPlace = fmt.Errorf("keep %s chain %s in iptables' table %s: %w", f, p.chain, p.table, errPlace)
			}
			changed, err = changed+n, errors.Join(err, errPlace, ctx.Err())
		}
	}
	return changed, err
}

// tables names the tables of f that exist in this variant. To list a table by command could make it.
func (t *IPTables) tables(f subnet.Family) ([]string, error) {
	if t.legacy {
		return legacyTables(f)
	}
	listed, err := t.conn.ListTablesOfFamily(tableFamily[f])
	if err != nil {
		return nil, fmt.Errorf("list nftables tables: %w", err)
	}
	var names []string
	for _, table := range listed {
		names = append(names, table.Name)
	}
	return names, nil
}

// tool returns the command for f.
func (t *IPTables) tool(f subnet.Family) (*iptables.IPTables, error) {
	if t.tools[f] != nil {
		return t.tools[f], nil
	}
	command, proto := t.command, iptables.ProtocolIPv4
	if f == subnet.Inet6 {
		command, proto = strings.Replace(command, "iptables", "ip6tables", 1), iptables.ProtocolIPv6
	}
	tool, err := iptables.New(iptables.IPFamily(proto), iptables.Timeout(lockSeconds), iptables.Path(command))
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", command, err)
	}
	t.tools[f] = tool
	return tool, nil
}

// syncPlace makes our chain at p hold want, and the jumps to it be there; without anything to hold it goes away.
func (t *IPTables) syncPlace(f subnet.Family, p place, want []Rule) (int, error) {
	tool, err := t.tool(f)
	if err != nil {
		if len(want) == 0 && errors.Is(err, exec.ErrNotFound) {
			return 0, nil // then nothing of ours can be there
		}
		return 0, err
	}
	if p.table == "filter" && len(want) > 0 {
		base, _, err := list(tool, p.table, p.from[0])
		if err != nil {
			return 0, err
		}
		if !slices.ContainsFunc(base, dropsRest) {
			want = nil
		}
	}
	have, exists, err := list(tool, p.table, p.chain)
	if err != nil || (len(want) == 0 && !exists) {
		return 0, err
	}
	if len(want) == 0 {
		return removePlace(tool, p)
	}
	changed := 0
	if !exists {
		if err := tool.NewChain(p.table, p.chain); err != nil {
			return 0, err
		}
		changed++
	}
	n, err := fill(tool, f, p, have, want)
	if err != nil {
		return changed + n, err
	}
	changed += n
	for _, base := range p.from {
		n, err := ensureJump(tool, p, base)
		if err != nil {
			return changed + n, err
		}
		changed += n
	}
	return changed, nil
}

// dropsRest tells whether a line of a base chain says that what nobody accepted is dropped: its policy or a last rule.
func dropsRest(line string) bool {
	return strings.HasPrefix(line, "-P ") && strings.HasSuffix(line, " DROP") || dropsAllLine(line)
}

// list returns the lines of a chain, and whether it exists.
func list(tool *iptables.IPTables, table, chain string) (lines []string, exists bool, err error) {
	lines, err = tool.List(table, chain)
	var failed *iptables.Error
	if errors.As(err, &failed) && (failed.IsNotExist() || failed.ExitStatus() == 1) {
		return nil, false, nil
	}
	return lines, err == nil, err
}

// fill changes the rules of our chain to want, never leaving a packet without a verdict of either.
func fill(tool *iptables.IPTables, f subnet.Family, p place, lines []string, want []Rule) (changed int, err error) {
	var have []Rule
	for _, line := range lines {
		if strings.HasPrefix(line, "-A ") {
			r, _ := parseRule(line, f, p.holds[0]) // one that is not understood is the zero Rule, which nobody wants
			have = append(have, r)
		}
	}
	want = slices.Clone(want)
	for i := range want {
		want[i].RandomFully = want[i].RandomFully && tool.HasRandomFully()
	}
	inserted := 0
	for _, step := range edits(have, want, func(h, w Rule) bool { return h == w }) {
		if step.insert {
			err = tool.Insert(p.table, p.chain, step.old+inserted+1, arguments(want[step.new])...)
			inserted++
		} else {
			err = tool.DeleteById(p.table, p.chain, step.old+inserted+1)
		}
		if err != nil {
			return changed, err
		}
		changed++
	}
	return changed, nil
}

// ensureJump makes base jump to our chain exactly once, in front of a rule that drops everything.
func ensureJump(tool *iptables.IPTables, p place, base string) (changed int, err error) {
	lines, _, err := list(tool, p.table, base)
	if err != nil {
		return 0, err
	}
	lines = slices.DeleteFunc(lines, func(line string) bool { return !strings.HasPrefix(line, "-A ") })
	drop := slices.IndexFunc(lines, dropsAllLine)
	if drop < 0 {
		drop = len(lines)
	}
	jump := []string{"-m", "comment", "--comment", jumpWhy, "-j", p.chain}
	wrong := jumps(lines, p.chain)
	right := slices.IndexFunc(wrong, func(i int) bool {
		return i < drop && slices.Equal(split(lines[i])[2:], jump)
	})
	if right >= 0 {
		wrong = slices.Delete(wrong, right, right+1)
	} else {
		if err := tool.Insert(p.table, base, drop+1, jump...); err != nil {
			return 0, err
		}
		changed++
		for i := range wrong {
			if wrong[i] >= drop {
				wrong[i]++
			}
		}
	}
	for _, i := range slices.Backward(wrong) {
		if err := tool.DeleteById(p.table, base, i+1); err != nil {
			return changed, err
		}
		changed++
	}
	return changed, nil
}

// jumps returns the indexes of lines that lead to chain.
func jumps(lines []string, chain string) []int {
	var found []int
	for i, line := range lines {
		words := bare(line)
		for k := 1; k < len(words); k++ {
			if (words[k-1] == "-j" || words[k-1] == "-g") && words[k] == chain {
				found = append(found, i)
			}
		}
	}
	return found
}

// removePlace removes the chain of p and the jumps to it.
func removePlace(tool *iptables.IPTables, p place) (changed int, err error) {
	for _, base := range p.from {
		lines, _, err := list(tool, p.table, base)
		if err != nil {
			return changed, err
		}
		lines = slices.DeleteFunc(lines, func(line string) bool { return !strings.HasPrefix(line, "-A ") })
		for _, i := range slices.Backward(jumps(lines, p.chain)) {
			if err := tool.DeleteById(p.table, base, i+1); err != nil {
				return changed, err
			}
			changed++
		}
	}
	return changed + 1, tool.ClearAndDeleteChain(p.table, p.chain)
}

// Remove implements Firewall.
func (t *IPTables) Remove(ctx context.Context) error {
	_, err := t.Sync(ctx, Config{})
	return err
}

// Watch implements Firewall.
func (t *IPTables) Watch(ctx context.Context, f func()) error {
	if t.legacy {
		return poll(ctx, t.interval, f)
	}
	return watchTables(ctx, about(f, "nat", "filter", "raw", "mangle"))
}
