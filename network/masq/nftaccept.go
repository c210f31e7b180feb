package masq

import (
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/subnet"
)

// jumpWhy is the comment at the jumps to our chains.
const jumpWhy = "weft"

var tableFamily = [2]nftables.TableFamily{
	subnet.Inet:  nftables.TableFamilyIPv4,
	subnet.Inet6: nftables.TableFamilyIPv6,
}

// syncAccept puts rules, those of Forward, where they have an effect: into the FORWARD chain that iptables (its nftables
// variant) keeps, and only while that chain drops what nobody accepted. Docker makes it so. The jump is
// behind all rules that look at packets, so that policies which others put there are kept. A foreign chain of another
// name or table can drop the packets as well, and nothing can be done about that from outside it; ForeignDrops names those.
func syncAccept(n names, rules []Rule, chains []*nftables.Chain) (changed int, err error) {
	for _, f := range subnet.Families {
		var own []Rule
		for _, r := range rules {
			if r.Family == f {
				own = append(own, r)
			}
		}
		k, errFamily := transact(n, func(p pass) (int, error) { return p.syncAccept(f, own, chains) })
		if errFamily != nil {
			err = errors.Join(err, fmt.Errorf("accept forwarded %s packets of pods in iptables' FORWARD chain: %w", f, errFamily))
		}
		changed += k
	}
	return changed, err
}

func (p pass) syncAccept(f subnet.Family, rules []Rule, chains []*nftables.Chain) (int, error) {
	base, ours := findChain(chains, f, "FORWARD"), findChain(chains, f, p.names.forward())
	if base == nil || base.Hooknum == nil || (len(rules) == 0 && ours == nil) {
		return 0, nil
	}
	listed, err := p.conn.GetRules(base.Table, base)
	if err != nil {
		return 0, fmt.Errorf("list rules: %w", err)
	}
	drop := firstDrop(listed)
	if len(rules) == 0 || (drop == nil && (base.Policy == nil || *base.Policy != nftables.ChainPolicyDrop)) {
		if ours == nil {
			return 0, nil
		}
		return p.dropAccept(listed, base, ours), nil
	}
	changed, err := p.syncChain(&nftables.Chain{Name: p.names.forward(), Table: base.Table}, ours, renderNFT(rules, base.Table.Family))
	if err != nil {
		return 0, err
	}
	return changed + p.jump(listed, base, drop), nil
}

// jump queues what base needs to have exactly one jump to our chain, in front of drop.
func (p pass) jump(listed []*nftables.Rule, base *nftables.Chain, drop *nftables.Rule) (changed int) {
	want := nftRule{exprs: []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: p.names.forward()}}, comment: jumpWhy}
	wanted := &nftables.Rule{Table: base.Table, Chain: base, Exprs: want.exprs, UserData: comment(want.comment)}
	right := false
	for _, r := range listed {
		switch {
		case r == drop && !right:
			wanted.Position = drop.Handle
			p.conn.InsertRule(wanted)
			right = true
			changed++
		case !jumpsTo(r, p.names.forward()):
		case !right && want.equal(r):
			right = true
		default:
			_ = p.conn.DelRule(ruleAt(base, r.Handle))
			changed++
		}
	}
	if !right {
		p.conn.AddRule(wanted)
		changed++
	}
	return changed
}

// dropAccept queues the removal of our chain and of the jumps to it.
func (p pass) dropAccept(listed []*nftables.Rule, base, ours *nftables.Chain) (changed int) {
	for _, r := range listed {
		if jumpsTo(r, p.names.forward()) {
			_ = p.conn.DelRule(ruleAt(base, r.Handle))
			changed++
		}
	}
	p.conn.FlushChain(ours)
	p.conn.DelChain(ours)
	return changed + 1
}

// findChain returns the chain of that name in iptables' filter table of f, or nil.
func findChain(chains []*nftables.Chain, f subnet.Family, name string) *nftables.Chain {
	i := slices.IndexFunc(chains, func(c *nftables.Chain) bool {
		return c.Name == name && c.Table.Name == "filter" && c.Table.Family == tableFamily[f]
	})
	if i < 0 {
		return nil
	}
	return chains[i]
}

func jumpsTo(r *nftables.Rule, chain string) bool {
	return slices.ContainsFunc(r.Exprs, func(e expr.Any) bool {
		v, ok := e.(*expr.Verdict)
		return ok && (v.Kind == expr.VerdictJump || v.Kind == expr.VerdictGoto) && v.Chain == chain
	})
}

// firstDrop returns the first rule that drops or rejects whatever comes to it, or nil.
func firstDrop(rules []*nftables.Rule) *nftables.Rule {
	for _, r := range rules {
		if dropsAll(r) {
			return r
		}
	}
	return nil
}

// dropsAll tells whether r drops or rejects without looking at the packet, as the last rule of many firewalls does.
func dropsAll(r *nftables.Rule) bool {
	drops := false
	for _, e := range r.Exprs {
		switch e := e.(type) {
		case *expr.Counter, *expr.Log:
		case *expr.Verdict:
			drops = e.Kind == expr.VerdictDrop
		case *expr.Reject:
			drops = true
		case *expr.Target:
			drops = e.Name == "REJECT"
		case *expr.Match:
			if e.Name != "comment" {
				return false
			}
		case *expr.Meta:
			if e.Key != expr.MetaKeyNFPROTO { // the kernel's own question before a reject in a table of both families
				return false
			}
		case *expr.Cmp:
			if len(e.Data) != 1 || (e.Data[0] != unix.NFPROTO_IPV4 && e.Data[0] != unix.NFPROTO_IPV6) {
				return false
			}
		default:
			return false
		}
	}
	return drops
}
