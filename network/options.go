package network

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"regexp"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/network/install"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// Options is all that an Agent is told. Node, Store, Backend and SubnetFile must be there; the zero value of every other
// field is a good choice, or says what it leaves out.
type Options struct {
	// Mark tells the network of this agent from others that the node is part of; the zero Mark is that of the first one.
	Mark kernel.Mark
	// Beside is what the agents of several networks on one node have in common; nil for an agent that is alone.
	Beside *Beside

	Node      string       // identity of this node in the cluster, stable over changes of its addresses
	Store     subnet.Store // who holds which subnet; the caller closes it after Run
	StoreKind string       // what status calls the store, such as "etcd"

	// Backend makes the backend of a type from the Backend object of net-conf.json. The strings are warnings. It is called
	// again when net-conf.json changes.
	Backend func(kind, config string) (backend.Backend, []string, error)
	// Engines keep what backends ask for and the kernel does not hold by itself. They are closed by nobody: what they keep stays
	// when the agent ends.
	Engines []Engine
	// Prepare runs a command that a backend needs to have run before the node is announced, and returns what the command wrote. It is
	// called in the agent's network namespace; nil runs none, and such a backend cannot be used.
	Prepare func(context.Context, kernel.Command) (string, error)
	// Firewall is how firewall rules are kept: "nftables", "iptables", or "auto", which lets EnableNFTables of
	// net-conf.json decide, else the host; "" is "auto".
	Firewall       string
	FirewallResync time.Duration // how often rules are looked at where the kernel tells of no changes (legacy iptables); default 5 s

	Uplink UplinkRules // how to find the uplink; the zero value takes what the store says of this node, else the default route

	Masquerade  bool // pods reach the world with the node's address, where net-conf.json does not say for a family
	RandomFully bool // source ports of masqueraded connections are random
	Forward     bool // pods' packets are accepted where the FORWARD chain of iptables drops what nobody accepts
	Blackhole   bool // traffic to absent pods of this node is dropped silently, in place of "unreachable"

	SubnetFile string // subnet.env, for the CNI plugin; beside it comes a file ".waiting" until there is one
	StateFile  string // last good snapshot, for a start without the store; "" keeps none
	KeyFile    string // private key of the node for WireGuard, made where a backend needs it; "" keeps it in memory and in devices alone
	SysctlDir  string // where kernel parameters are written; default /proc/sys

	// Install puts CNI plugins and configuration on the host, the configuration when the node is ready for pods; nil
	// installs nothing.
	Install *install.Installer

	RenewMargin time.Duration // a lease that has less than this left is a warning: it is not being renewed; 0 warns never
	StoreGrace  time.Duration // how long to wait for the store before the last good snapshot serves; default 3 s
	Resync      time.Duration // how often everything is looked at without a reason; default 10 min

	WayGrace time.Duration // how long a former way to this node is kept after all nodes have said that they need it no more; default 5 s

	Version string             // for status
	Log     logrus.FieldLogger // changes, warnings and what is waited for; nil logs nothing
	Ready   func()             // called once, when the node is ready for pods and Install is done, and must return soon; may be nil
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
	errs = append(errs, o.Mark.Check())
	if o.Beside == nil {
		o.Beside = &Beside{}
	}
	if o.StoreGrace == 0 {
		o.StoreGrace = 3 * time.Second
	}
	if o.WayGrace == 0 {
		o.WayGrace = 5 * time.Second
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
	if o.SysctlDir == "" {
		o.SysctlDir = kernel.SysctlDir
	}
	if o.Log == nil {
		quiet := logrus.New()
		quiet.SetOutput(io.Discard)
		o.Log = quiet
	}
	return errors.Join(errs...)
}
