package network

import (
	"errors"
	"net/netip"
	"regexp"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/subnet"
)

// Options is all that an Agent is told. Node, Store, Backend and SubnetFile must be there.
type Options struct {
	Node      string       // identity of this node in the cluster, stable over changes of its addresses
	Store     subnet.Store // who holds which subnet
	StoreKind string       // "etcd": for status and log

	// Backend makes the backend of a type from the Backend object of net-conf.json. The strings are warnings.
	Backend func(kind, config string) (backend.Backend, []string, error)
	// Firewall is how firewall rules are kept: "nftables", "iptables", or "auto", which lets EnableNFTables of
	// net-conf.json decide, else the host.
	Firewall       string
	FirewallResync time.Duration // how often rules are looked at where the kernel tells of no changes (legacy iptables)

	Uplink UplinkRules // how to find the uplink

	Masquerade  bool // --ip-masq, where net-conf.json does not say for a family
	RandomFully bool // source ports of masqueraded connections are random
	Forward     bool // accept rules where a drop would win
	Blackhole   bool // traffic to absent pods of this node is dropped silently, in place of "unreachable"

	SubnetFile string // subnet.env
	StateFile  string // last good snapshot; "" keeps none

	RenewMargin time.Duration // a lease that has less than this left is a warning: it is not being renewed
	StoreGrace  time.Duration // how long to wait for the store before the last good snapshot serves; default 3 s
	Resync      time.Duration // how often everything is looked at without a reason; default 10 min

	Version string             // for status
	Log     logrus.FieldLogger // default: logrus' standard logger
	Ready   func()             // called once, when the node is ready for pods; may be nil
}

// UplinkRules say how the uplink is chosen. The first rule that is set decides; the default is the default route.
type UplinkRules struct {
	Ifaces   []string         // names or addresses; the first that exists
	Regexps  []*regexp.Regexp // matched with names, then with addresses
	CanReach netip.Addr       // the device by which this address is reached
	Public   [2]netip.Addr    // what peers are told, in place of the device's address

	self subnet.Self // what the store says of this node; the rules above win, except over Overwrite
}

// check fills in defaults and names what is missing.
func (o *Options) check() error {
	var errs []error
	missing := func(is bool, what string) {
		if is {
			errs = append(errs, errors.New("option "+what+" is missing"))
		}
	}
	missing(o.Node == "", "Node")
	missing(o.Store == nil, "Store")
	missing(o.Backend == nil, "Backend")
	missing(o.SubnetFile == "", "SubnetFile")
	if o.StoreGrace == 0 {
		o.StoreGrace = 3 * time.Second
	}
	if o.Firewall == "" {
		o.Firewall = "auto"
	}
	if o.FirewallResync == 0 {
		o.FirewallResync = 5 * time.Second
	}
	if o.Resync == 0 {
		o.Resync = 10 * time.Minute
	}
	if o.Log == nil {
		o.Log = logrus.StandardLogger()
	}
	return errors.Join(errs...)
}
