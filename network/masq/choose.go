package masq

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"github.com/google/nftables"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/subnet"
)

// The renderings, as Choose takes and names them.
const (
	Auto             = "auto"
	NFTablesByName   = "nftables"
	IPTablesByName   = "iptables"
	PreferIPTables   = "iptables where it works" // else as Auto
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

// Choose picks the rendering for this host, and makes it for a network, "" for the first. prefer is Auto, PreferIPTables, or the name of the one to take. Auto takes nftables, which
// needs no binary, announces changes and lives beside rules of any kind; even Docker's FORWARD policy is no reason against it
// where Docker's iptables is the variant on nftables, see NFTables. It takes iptables where nftables cannot do what is needed:
// the kernel is older than 5.2, or iptables-legacy's FORWARD chain drops what nobody accepted, and
// only a rule in that chain changes this. interval is how often iptables-legacy is looked at. The error says what would help.
func Choose(ctx context.Context, network, prefer string, interval time.Duration, log logrus.FieldLogger) (Choice, error) {
	switch prefer {
	case NFTablesByName:
		return chooseNFTables(network, "asked for")
	case IPTablesByName:
		return chooseIPTables(network, "asked for", interval)
	case PreferIPTables:
		c, err := chooseIPTables(network, "asked for", interval)
		if err == nil {
			return c, ctx.Err()
		}
		c, errNFTables := chooseNFTables(network, err.Error())
		if errNFTables == nil {
			return c, ctx.Err()
		}
		return Choice{}, noFirewall(err, errNFTables)
	case Auto, "":
	default:
		return Choice{}, fmt.Errorf("firewall %q is not known; it is %s, %s or %s", prefer, Auto, NFTablesByName, IPTablesByName)
	}
	if reason := legacyDrops(); reason != "" {
		c, err := chooseIPTables(network, reason, interval)
		if err == nil {
			return c, ctx.Err()
		}
		log.WithError(err).WithField("reason", reason).Warn("Firewall would better be iptables, but that does not work")
	}
	c, err := chooseNFTables(network, "default")
	if err == nil {
		return c, ctx.Err()
	}
	c, errIPTables := chooseIPTables(network, err.Error(), interval)
	if errIPTables == nil {
		return c, ctx.Err()
	}
	return Choice{}, noFirewall(err, errIPTables)
}

// noFirewall is the error of a host on which neither works.
func noFirewall(errs ...error) error {
	return fmt.Errorf("no firewall works here, %s: %w", howToGetNFTables, errors.Join(errs...))
}

func chooseNFTables(network, reason string) (Choice, error) {
	if err := works(); err != nil {
		return Choice{}, fmt.Errorf("nftables does not work here: %w", err)
	}
	return Choice{Firewall: NewNFTables(network), Name: NFTablesByName, Reason: reason}, nil
}

// chooseIPTables takes the host's own variant, but the legacy one where that drops, because only its own rules help then.
func chooseIPTables(network, reason string, interval time.Duration) (Choice, error) {
	command := anyCommand
	if _, err := exec.LookPath(legacyCommand); err == nil && legacyDrops() != "" {
		command = legacyCommand
	}
	t, err := NewIPTables(network, command, interval)
	if err != nil {
		return Choice{}, fmt.Errorf("iptables does not work here: %w", err)
	}
	return Choice{Firewall: t, Name: IPTablesByName, Reason: reason}, nil
}

// works tells why nftables cannot be used here, as far as that can be seen without writing: a transaction that is undone takes
// the kernel longer than all else that weftd does at its start. What is left to find out is a kernel that was built without
// masquerading for nftables; then Sync says so.
func works() error {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return fmt.Errorf("ask for the kernel's release: %w", err)
	}
	if release := unix.ByteSliceToString(name.Release[:]); before(release, 5, 2) {
		return fmt.Errorf("kernel %s cannot masquerade in a table of both families, 5.2 and later can", release)
	}
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	if _, err := conn.ListTablesOfFamily(nftables.TableFamilyINet); err != nil {
		return fmt.Errorf("list nftables tables: %w", err)
	}
	return nil
}

// before tells whether release is of an older kernel than major.minor. One that is not understood is not.
func before(release string, major, minor int) bool {
	var x, y int
	if n, _ := fmt.Sscanf(release, "%d.%d", &x, &y); n < 2 {
		return false
	}
	return x < major || (x == major && y < minor)
}

// legacyDrops says in words that iptables-legacy's FORWARD chain drops what nobody accepted; "" where it does not, or
// where its command is missing and it cannot be known.
func legacyDrops() string {
	for _, f := range subnet.Families {
		if drops, _ := legacyForward(f, ""); drops {
			return fmt.Sprintf("the FORWARD chain of iptables-legacy drops %s packets that nobody accepted", f)
		}
	}
	return ""
}
