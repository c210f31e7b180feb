package masq

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"time"

	"github.com/google/nftables"
	"github.com/sirupsen/logrus"

	"github.com/weft-network/weft/subnet"
)

// The renderings, as Choose takes and names them.
const (
	Auto             = "auto"
	NFTablesByName   = "nftables"
	IPTablesByName   = "iptables"
	legacyCommand    = "iptables-legacy"
	anyCommand       = "iptables"
	howToGetNFTables = "load the kernel modules nf_tables and nft_masq (modprobe), or install iptables"
)

// Choice is a Firewall and why it was chosen.
type Choice struct {
	Firewall
	Name   string // NFTablesByName or IPTablesByName
	Reason string // in words, for people
}

// Choose picks the rendering for this host. prefer is Auto, or the name of the one to take. Auto takes nftables, which
// needs no binary, announces changes and lives beside rules of any kind; even Docker's FORWARD policy is no reason against it
// where Docker's iptables is the variant on nftables, see NFTables. It takes iptables where nftables cannot do what is needed:
// the kernel refuses our rules (before 5.2), or iptables-legacy's FORWARD chain drops what nobody accepted, and
// only a rule in that chain changes this. interval is how often iptables-legacy is looked at. The error says what would help.
func Choose(ctx context.Context, prefer string, interval time.Duration, log logrus.FieldLogger) (Choice, error) {
	switch prefer {
	case NFTablesByName:
		return chooseNFTables("asked for")
	case IPTablesByName:
		return chooseIPTables("asked for", interval)
	case Auto, "":
	default:
		return Choice{}, fmt.Errorf("firewall %q is not known; it is %s, %s or %s", prefer, Auto, NFTablesByName, IPTablesByName)
	}
	if reason := legacyDrops(); reason != "" {
		c, err := chooseIPTables(reason, interval)
		if err == nil {
			return c, ctx.Err()
		}
		log.WithError(err).WithField("reason", reason).Warn("Firewall would better be iptables, but that does not work")
	}
	c, err := chooseNFTables("default")
	if err == nil {
		return c, ctx.Err()
	}
	c, errIPTables := chooseIPTables(err.Error(), interval)
	if errIPTables == nil {
		return c, ctx.Err()
	}
	return Choice{}, fmt.Errorf("no firewall works here, %s: %w", howToGetNFTables, errors.Join(err, errIPTables))
}

func chooseNFTables(reason string) (Choice, error) {
	n, err := NewNFTables()
	if err == nil {
		err = n.probe()
	}
	if err != nil {
		return Choice{}, fmt.Errorf("nftables does not work here: %w", err)
	}
	return Choice{Firewall: n, Name: NFTablesByName, Reason: reason}, nil
}

// chooseIPTables takes the host's own variant, but the legacy one where that drops, because only its own rules help then.
func chooseIPTables(reason string, interval time.Duration) (Choice, error) {
	command := anyCommand
	if _, err := exec.LookPath(legacyCommand); err == nil && legacyDrops() != "" {
		command = legacyCommand
	}
	t, err := NewIPTables(command, interval)
	if err != nil {
		return Choice{}, fmt.Errorf("iptables does not work here: %w", err)
	}
	return Choice{Firewall: t, Name: IPTablesByName, Reason: reason}, nil
}

// probe tries whether the kernel takes rules of every kind that Plan makes. They come and go in one transaction, so no packet meets them.
func (n *NFTables) probe() error {
	table := &nftables.Table{Name: tableName + "-probe", Family: nftables.TableFamilyINet}
	rules := byChain(Plan(Config{
		Networks:   multicast,
		Subnets:    [2]netip.Prefix{multicast[subnet.Inet]},
		Masquerade: [2]bool{true, true},
		Tunnels:    []Tunnel{{Port: 1}},
	}))
	want := map[string][]nftRule{}
	for _, h := range hooks {
		want[h.chain.String()] = renderNFT(rules[h.chain], table.Family)
	}
	n.addTable(table, want)
	n.conn.DelTable(table)
	if err := n.conn.Flush(); err != nil {
		return fmt.Errorf("try rules in a table that is not kept: %w", err)
	}
	return nil
}

// legacyDrops says in words that iptables-legacy's FORWARD chain drops what nobody accepted; "" where it does not, or
// where its command is missing and it cannot be known.
func legacyDrops() string {
	for _, f := range subnet.Families {
		if drops, _ := legacyForward(f); drops {
			return fmt.Sprintf("the FORWARD chain of iptables-legacy drops %s packets that nobody accepted", f)
		}
	}
	return ""
}
