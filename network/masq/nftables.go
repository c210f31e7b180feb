package masq

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
)

// tableName is our nftables table, of family inet. Everything in it is ours.
const tableName = "weft"

// hook says how a chain of our table hangs in the kernel.
type hook struct {
	chain    Chain
	kind     nftables.ChainType
	number   *nftables.ChainHook
	priority *nftables.ChainPriority
}

// hooks are the chains of our table. Forward is missing: accepting there would be without effect, because a packet
// that one table accepts is still judged by the others. See syncAccept.
var hooks = []hook{
	{Postrouting, nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource},
	{Prerouting, nftables.ChainTypeFilter, nftables.ChainHookPrerouting, nftables.ChainPriorityRaw},
	{Output, nftables.ChainTypeFilter, nftables.ChainHookOutput, nftables.ChainPriorityRaw},
}

// NFTables is the Firewall that renders the rules as nftables, by netlink and without any binary. All rules are in
// the table inet weft, which is replaced as a whole in one transaction. Only what has to be accepted against
// iptables' FORWARD chain is in that chain's own table, see Config.Forward: no other place would have an effect.
type NFTables struct {
	conn *nftables.Conn
}

// NewNFTables returns the nftables rendering. It opens nothing that must be closed.
func NewNFTables() (*NFTables, error) {
	conn, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	return &NFTables{conn: conn}, nil
}

// nftRule is a rule as the kernel lists it.
type nftRule struct {
	exprs   []expr.Any
	comment string
}

func (r nftRule) equal(o nftRule) bool {
	return r.comment == o.comment && reflect.DeepEqual(r.exprs, o.exprs)
}

// Sync implements Firewall. In steady state it costs a few netlink dumps.
func (n *NFTables) Sync(ctx context.Context, c Config) (int, error) {
	chains, err := n.conn.ListChains()
	if err != nil {
		return 0, fmt.Errorf("list nftables chains: %w", err)
	}
	rules := byChain(Plan(c))
	changed, err := n.syncTable(rules, chains)
	if err != nil {
		err = fmt.Errorf("write nftables table inet %s: %w", tableName, err)
	}
	accepted, errAccept := n.syncAccept(rules[Forward], chains)
	return changed + accepted, errors.Join(err, errAccept, ctx.Err())
}

func byChain(rules []Rule) map[Chain][]Rule {
	m := map[Chain][]Rule{}
	for _, r := range rules {
		m[r.Chain] = append(m[r.Chain], r)
	}
	return m
}

// syncTable makes our own table hold rules, those of Forward excepted.
func (n *NFTables) syncTable(rules map[Chain][]Rule, chains []*nftables.Chain) (int, error) {
	table := &nftables.Table{Name: tableName, Family: nftables.TableFamilyINet}
	exists, dormant, err := n.findTable(table)
	if err != nil {
		return 0, err
	}
	want := map[string][]nftRule{}
	for _, h := range hooks {
		if len(rules[h.chain]) > 0 {
			want[h.chain.String()] = renderNFT(rules[h.chain], table.Family)
		}
	}
	if len(want) == 0 && !exists {
		return 0, nil
	}
	differ, err := n.compare(table, want, chains)
	if dormant || len(want) == 0 {
		differ++
	}
	if err != nil || differ == 0 {
		return 0, err
	}
	n.conn.AddTable(table) // so that there is one to delete
	n.conn.DelTable(table)
	if len(want) > 0 {
		n.addTable(table, want)
	}
	if err := n.conn.Flush(); err != nil {
		return 0, err
	}
	return differ, nil
}

// findTable tells whether table exists, and whether somebody has put it to sleep.
func (n *NFTables) findTable(table *nftables.Table) (exists, dormant bool, err error) {
	tables, err := n.conn.ListTablesOfFamily(table.Family)
	if err != nil {
		return false, false, fmt.Errorf("list tables: %w", err)
	}
	for _, t := range tables {
		if t.Name == table.Name {
			return true, t.Flags != 0, nil
		}
	}
	return false, false, nil
}

func (n *NFTables) addTable(table *nftables.Table, want map[string][]nftRule) {
	n.conn.AddTable(table)
	for _, h := range hooks {
		rules := want[h.chain.String()]
		if len(rules) == 0 {
			continue // a chain for address translation makes the kernel track every connection
		}
		accept := nftables.ChainPolicyAccept
		c := n.conn.AddChain(&nftables.Chain{
			Name: h.chain.String(), Table: table, Type: h.kind,
			Hooknum: h.number, Priority: h.priority, Policy: &accept,
		})
		n.addRules(c, rules)
	}
}

func (n *NFTables) addRules(c *nftables.Chain, rules []nftRule) {
	for _, r := range rules {
		n.conn.AddRule(&nftables.Rule{
			Table: c.Table, Chain: c, Exprs: r.exprs,
			UserData: comment(r.comment),
		})
	}
}

// compare counts what differs between table and want: rules that are missing, too many or at another place, and
// chains that are not as they should be.
func (n *NFTables) compare(table *nftables.Table, want map[string][]nftRule, chains []*nftables.Chain) (int, error) {
	differ := 0
	seen := map[string]bool{}
	for _, c := range chains {
		if c.Table.Name != table.Name || c.Table.Family != table.Family {
			continue
		}
		rules, ok := want[c.Name]
		if !ok {
			differ++
			continue
		}
		seen[c.Name] = true
		if !hangsRight(c) {
			differ++
		}
		have, err := n.list(c)
		if err != nil {
			return 0, err
		}
		differ += difference(have, rules)
	}
	for name, rules := range want {
		if !seen[name] {
			differ += 1 + len(rules)
		}
	}
	return differ, nil
}

// hangsRight tells whether a chain of our table is at the hook where it should be.
func hangsRight(c *nftables.Chain) bool {
	return slices.ContainsFunc(hooks, func(h hook) bool {
		return c.Name == h.chain.String() && c.Type == h.kind && c.Hooknum != nil && *c.Hooknum == *h.number &&
			c.Priority != nil && *c.Priority == *h.priority && c.Policy != nil && *c.Policy == nftables.ChainPolicyAccept
	})
}

// list returns the rules of c.
func (n *NFTables) list(c *nftables.Chain) ([]nftRule, error) {
	listed, err := n.conn.GetRules(c.Table, c)
	if err != nil {
		return nil, fmt.Errorf("list rules of nftables chain %s: %w", c.Name, err)
	}
	rules := make([]nftRule, 0, len(listed))
	for _, r := range listed {
		rules = append(rules, nftRule{exprs: r.Exprs, comment: commentOf(r)})
	}
	return rules, nil
}

func comment(s string) []byte { return userdata.AppendString(nil, userdata.TypeComment, s) }

func commentOf(r *nftables.Rule) string {
	if len(r.UserData) == 0 {
		return ""
	}
	s, _ := userdata.GetString(r.UserData, userdata.TypeComment)
	return s
}

func renderNFT(rules []Rule, family nftables.TableFamily) []nftRule {
	rendered := make([]nftRule, 0, len(rules))
	for _, r := range rules {
		rendered = append(rendered, nftRule{exprs: expressions(r, family), comment: r.Why})
	}
	return rendered
}

// difference counts the rules that would have to be added to or taken from have to get want; rules in another order
// count as one.
func difference(have, want []nftRule) int {
	rest := slices.Clone(have)
	n := 0
	for _, w := range want {
		if i := slices.IndexFunc(rest, w.equal); i >= 0 {
			rest = slices.Delete(rest, i, i+1)
		} else {
			n++
		}
	}
	n += len(rest)
	if n == 0 && !slices.EqualFunc(have, want, nftRule.equal) {
		return 1
	}
	return n
}

// Remove implements Firewall.
func (n *NFTables) Remove(ctx context.Context) error {
	_, err := n.Sync(ctx, Config{})
	return err
}
