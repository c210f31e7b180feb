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
	"golang.org/x/sys/unix"
)

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
	{Guard, nftables.ChainTypeFilter, nftables.ChainHookPostrouting, nftables.ChainPriorityMangle},
}

// NFTables is the Firewall that renders the rules as nftables, by netlink and without any binary. All rules are in
// the table inet weft, or of another network than the first inet weft- and its name, which is replaced as a whole in one transaction. Only what has to be accepted against
// iptables' FORWARD chain is in that chain's own table, see Config.Forward: no other place would have an effect.
type NFTables struct{ names names }

// NewNFTables returns the nftables rendering for a network, "" for the first. It opens nothing that must be closed.
func NewNFTables(network string) *NFTables { return &NFTables{names(network)} }

// pass is a socket, and on it the changes that wait to be sent in one transaction.
type pass struct {
	conn  *nftables.Conn
	names names
}

// nftRule is a rule in nftables' own terms.
type nftRule struct {
	exprs   []expr.Any
	comment string
}

// equal tells whether the kernel holds r as listed.
func (r nftRule) equal(listed *nftables.Rule) bool {
	return r.comment == commentOf(listed) && reflect.DeepEqual(r.exprs, listed.Exprs)
}

// Sync implements Firewall. In steady state it costs a few netlink dumps.
func (n *NFTables) Sync(ctx context.Context, c Config) (int, error) {
	conn, err := nftables.New()
	if err != nil {
		return 0, fmt.Errorf("open nftables: %w", err)
	}
	chains, err := conn.ListChains()
	if err != nil {
		return 0, fmt.Errorf("list nftables chains: %w", err)
	}
	rules := byChain(Plan(c))
	changed, err := transact(n.names, func(p pass) (int, error) { return p.syncTable(rules, chains) })
	if err != nil {
		err = fmt.Errorf("keep nftables table inet %s: %w", n.names.table(), err)
	}
	accepted, errAccept := syncAccept(n.names, rules[Forward], chains)
	return changed + accepted, errors.Join(err, errAccept, ctx.Err())
}

// transact sends what f has queued as one transaction, unless f fails. What f listed may be torn or old by then, because others
// write at the same time; but then the kernel announces it, and the next Sync puts it right.
func transact(n names, f func(pass) (changed int, err error)) (changed int, err error) {
	conn, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return 0, fmt.Errorf("open nftables: %w", err)
	}
	defer conn.CloseLasting() // what it could complain about does not matter any more
	changed, err = f(pass{conn, n})
	if err != nil || changed == 0 {
		return 0, err
	}
	if err := conn.Flush(); err != nil {
		return 0, fmt.Errorf("write rules: %w%s", err, hint(err))
	}
	return changed, nil
}

// hint says what would help against an error from writing rules, where that is known.
func hint(err error) string {
	switch {
	case errors.Is(err, unix.EPERM):
		return " (needs CAP_NET_ADMIN)"
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.ENOENT):
		return " (if it stays so: the kernel needs the modules nf_tables, nft_masq and nft_fib_inet, or use --firewall iptables)"
	}
	return ""
}

func byChain(rules []Rule) map[Chain][]Rule {
	m := map[Chain][]Rule{}
	for _, r := range rules {
		m[r.Chain] = append(m[r.Chain], r)
	}
	return m
}

// syncTable queues what makes our own table hold rules, those of Forward excepted. Rules that are missing or too
// many come and go one by one, because the kernel is slow to let go of whole chains; where more than that is wrong,
// the table is replaced.
func (p pass) syncTable(rules map[Chain][]Rule, chains []*nftables.Chain) (int, error) {
	table := &nftables.Table{Name: p.names.table(), Family: nftables.TableFamilyINet}
	exists, dormant, err := p.findTable(table)
	if err != nil {
		return 0, err
	}
	var changed int
	replace := dormant
	have := map[Chain]*nftables.Chain{}
	for _, c := range chains {
		if c.Table.Name != table.Name || c.Table.Family != table.Family {
			continue
		}
		i := slices.IndexFunc(hooks, func(h hook) bool { return h.is(c) })
		if i < 0 || len(rules[hooks[i].chain]) == 0 {
			replace = true
			continue
		}
		have[hooks[i].chain] = c
	}
	if replace || (exists && len(have) == 0) {
		p.conn.DelTable(table)
		exists, have = false, nil
		changed++
	}
	for _, h := range hooks {
		if len(rules[h.chain]) == 0 {
			continue // a chain for address translation makes the kernel track every connection
		}
		if !exists {
			p.conn.AddTable(table)
			exists = true
		}
		k, err := p.syncChain(h.in(table), have[h.chain], renderNFT(rules[h.chain], table.Family))
		if err != nil {
			return 0, err
		}
		changed += k
	}
	return changed, nil
}

// is tells whether c is the chain of h, and hangs where it should.
func (h hook) is(c *nftables.Chain) bool {
	return c.Name == h.chain.String() && c.Type == h.kind && c.Hooknum != nil && *c.Hooknum == *h.number &&
		c.Priority != nil && *c.Priority == *h.priority && c.Policy != nil && *c.Policy == nftables.ChainPolicyAccept
}

// in returns the chain of h in table.
func (h hook) in(table *nftables.Table) *nftables.Chain {
	accept := nftables.ChainPolicyAccept
	return &nftables.Chain{
		Name: h.chain.String(), Table: table, Type: h.kind, Hooknum: h.number, Priority: h.priority, Policy: &accept,
	}
}

// syncChain queues what makes chain hold want, where have is nil or the chain as it is, and returns how much that is.
func (p pass) syncChain(chain, have *nftables.Chain, want []nftRule) (changed int, err error) {
	var listed []*nftables.Rule
	if have == nil {
		p.conn.AddChain(chain)
		changed++
	} else if listed, err = p.conn.GetRules(chain.Table, chain); err != nil {
		return 0, fmt.Errorf("list rules of nftables chain %s: %w", chain.Name, err)
	}
	steps := edits(listed, want, func(r *nftables.Rule, w nftRule) bool { return w.equal(r) })
	for _, step := range steps {
		if !step.insert {
			_ = p.conn.DelRule(ruleAt(chain, listed[step.old].Handle)) // fails only without a handle
			continue
		}
		r := &nftables.Rule{Table: chain.Table, Chain: chain, Exprs: want[step.new].exprs, UserData: comment(want[step.new].comment)}
		if step.old < len(listed) {
			r.Position = listed[step.old].Handle
			p.conn.InsertRule(r)
		} else {
			p.conn.AddRule(r)
		}
	}
	return changed + len(steps), nil
}

func ruleAt(c *nftables.Chain, handle uint64) *nftables.Rule {
	return &nftables.Rule{Table: c.Table, Chain: c, Handle: handle}
}

// findTable tells whether table exists, and whether somebody has put it to sleep.
func (p pass) findTable(table *nftables.Table) (exists, dormant bool, err error) {
	tables, err := p.conn.ListTablesOfFamily(table.Family)
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

// Remove implements Firewall.
func (n *NFTables) Remove(ctx context.Context) error {
	_, err := n.Sync(ctx, Config{})
	return err
}
