package main

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"github.com/spf13/pflag"

	"github.com/weft-network/weft/network"
	"github.com/weft-network/weft/network/install"
	"github.com/weft-network/weft/subnet"
	"github.com/weft-network/weft/subnet/kube"
)

// options is the command line as it was written.
type options struct {
	etcdEndpoints, etcdPrefix, etcdKey, etcdCert, etcdCA, etcdUser, etcdPassword string

	kube                                      bool
	kubeAPI, kubeConfig, kubePrefix, confPath string
	keepCondition                             bool

	nodeName                     string
	pod                          [2]string // namespace and name of the pod that weftd runs in; from the environment only
	ifaces, ifaceRegexps         []string
	ifaceCanReach                string
	publicIP, publicIPInet6      string
	subnetFile, stateDir, socket string
	networks                     []string
	etcdGiven                    bool // --etcd-endpoints is not the default
	renewMargin                  int

	ipMasq, noRandomFully, forwardRules, blackhole bool
	firewall                                       string
	resync                                         int

	cniInstall bool
	cni        install.Options
	sysctlDir  string

	healthzIP   string
	healthzPort int

	logFormat, logLevel string
	verbosity           int
	version             bool

	uplink  network.UplinkRules // checked
	members []member            // the networks after the first, checked
}

// errHelp says that the usage was asked for.
var errHelp = pflag.ErrHelp

// flagSet declares every flag. Documentation/configuration.md lists the same; a test compares the two.
func flagSet(o *options) *pflag.FlagSet {
	f := pflag.NewFlagSet("weftd", pflag.ContinueOnError)
	f.SortFlags = false
	f.Usage = func() {}

	f.StringVar(&o.etcdEndpoints, "etcd-endpoints", "http://127.0.0.1:4001,http://127.0.0.1:2379", "URLs of etcd, separated by commas")
	f.StringVar(&o.etcdPrefix, "etcd-prefix", "/coreos.com/network", "where the network config and the leases are in etcd")
	f.StringVar(&o.etcdCA, "etcd-cafile", "", "CA certificates that etcd's certificate is checked with; read again when the file changes")
	f.StringVar(&o.etcdCert, "etcd-certfile", "", "client certificate for etcd; read again when the file changes")
	f.StringVar(&o.etcdKey, "etcd-keyfile", "", "key of the client certificate; read again when the file changes")
	f.StringVar(&o.etcdUser, "etcd-username", "", "user name for etcd")
	f.StringVar(&o.etcdPassword, "etcd-password", "", "password for etcd; better given as WEFTD_ETCD_PASSWORD")

	f.BoolVar(&o.kube, "kube-subnet-mgr", false, "keep leases in the annotations of Kubernetes' Nodes, with their pod CIDRs as subnets, in place of etcd")
	f.StringVar(&o.kubeAPI, "kube-api-url", "", "URLs of Kubernetes API servers, separated by commas, tried in turn; default: that of the kubeconfig, else the cluster's Service")
	f.StringVar(&o.kubeConfig, "kubeconfig-file", "", "kubeconfig with the credentials for the API; default: the service account of the pod")
	f.StringVar(&o.kubePrefix, "kube-annotation-prefix", kube.DefaultPrefix, "what the annotations of Nodes begin with")
	f.StringVar(&o.confPath, "net-config-path", kube.DefaultConfigPath, "net-conf.json where leases are in Kubernetes; changes are applied while running")
	f.BoolVar(&o.keepCondition, "set-node-network-unavailable", true, "keep the condition NetworkUnavailable of the Node true to the facts, in both directions")

	f.StringVar(&o.nodeName, "node-name", "", "identity of this node in the cluster, in Kubernetes its Node; default: NODE_NAME, else the node of the pod POD_NAMESPACE/POD_NAME, else the host name, else the machine-id")
	f.StringArrayVar(&o.ifaces, "iface", nil, "device, or address of the device, that reaches the peers; may be repeated, the first that exists is taken")
	f.StringArrayVar(&o.ifaceRegexps, "iface-regex", nil, "regular expression that the name or address of the device matches; may be repeated, tried after --iface")
	f.StringVar(&o.ifaceCanReach, "iface-can-reach", "", "take the device by which this address is reached")
	f.StringVar(&o.publicIP, "public-ip", "", "IPv4 address that peers are told, where it is not the device's own")
	f.StringVar(&o.publicIPInet6, "public-ipv6", "", "IPv6 address that peers are told, where it is not the device's own")

	f.StringVar(&o.subnetFile, "subnet-file", "/run/flannel/subnet.env", "where the CNI plugin finds subnet and MTU")
	f.StringVar(&o.stateDir, "state-dir", "/var/lib/weft", "where the last known leases are kept for a start without the store; empty keeps none")
	f.StringArrayVar(&o.networks, "network", nil, "a further network, as NAME=NUMBER or NAME=NUMBER,etcd-prefix=PREFIX,subnet-file=FILE,iface=DEVICE; may be repeated")
	f.IntVar(&o.renewMargin, "subnet-lease-renew-margin", 60, "warn when the lease, which is kept alive all the time, has less than this left, minutes")

	f.BoolVar(&o.cniInstall, "cni-install", false, "install CNI plugins and configuration on this host, the configuration when the node is ready for pods")
	f.StringVar(&o.cni.SourceDir, "cni-source-dir", "/opt/cni/bin", "folder of the plugins to install")
	f.StringVar(&o.cni.BinDir, "cni-bin-dir", "/opt/cni/bin", "where the container runtime looks for plugins; a newer or another's plugin there is left alone")
	f.StringVar(&o.cni.Conf, "cni-conf", "/etc/kube-flannel/cni-conf.json", "the CNI configuration to install; changes are applied while running")
	f.StringVar(&o.cni.ConfDir, "cni-conf-dir", "/etc/cni/net.d", "where the container runtime looks for configurations")
	f.StringVar(&o.cni.ConfName, "cni-conf-name", "10-weft.conflist", "name of the configuration there; the runtime takes the first")

	f.StringVar(&o.sysctlDir, "sysctl-dir", "/proc/sys", "where kernel parameters are written; in a container without privileges a folder that has the host's /proc/sys/net as net")
	f.BoolVar(&o.ipMasq, "ip-masq", false, "masquerade what pods send out of the cluster; net-conf.json may say otherwise for a family")
	f.BoolVar(&o.noRandomFully, "ip-masq-fully-random-disable", false, "do not choose the source ports of masqueraded connections at random")
	f.BoolVar(&o.forwardRules, "iptables-forward-rules", true, "accept forwarded packets of pods where a rule of the host would drop them")
	f.BoolVar(&o.blackhole, "ip-blackhole-route", false, "drop packets to absent pods of this node silently; by default their sender is told that they are unreachable")
	f.StringVar(&o.firewall, "firewall", "auto", "how firewall rules are kept: auto, nftables or iptables")
	f.IntVar(&o.resync, "iptables-resync", 5, "how often rules of iptables-legacy, whose changes the kernel does not announce, are looked at, seconds")

	f.StringVar(&o.socket, "socket", "/run/weft/weftd.sock", "unix socket for weftctl: status, health and metrics over HTTP; empty makes none")
	f.StringVar(&o.healthzIP, "healthz-ip", "0.0.0.0", "address to serve /healthz, /readyz, /status and /metrics at")
	f.IntVar(&o.healthzPort, "healthz-port", 0, "port to serve them at; 0 serves the socket only")

	f.StringVar(&o.logFormat, "log-format", "text", "text or json")
	f.StringVar(&o.logLevel, "log-level", "info", "error, warning, info or debug")
	f.IntVarP(&o.verbosity, "v", "v", 0, "flannel's verbosity: 1 and more is --log-level debug")
	f.BoolVar(&o.version, "version", false, "print the version and exit")
	return f
}

// prefixes of environment variables, the first that is set wins.
func envPrefixes() []string { return []string{"WEFTD_", "FLANNELD_"} }

// parse reads the command line, then the environment for flags that it lacks, and checks the values. All mistakes
// are reported at once.
func parse(args []string, env func(string) (string, bool)) (options, error) {
	var o options
	f := flagSet(&o)
	if err := f.Parse(twoDashes(args)); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return o, errHelp
		}
		return o, fmt.Errorf("%w; see weftd --help", err)
	}
	if rest := f.Args(); len(rest) > 0 {
		return o, fmt.Errorf("unexpected argument %q: weftd takes flags only; see weftd --help", rest[0])
	}
	var errs []error
	f.VisitAll(func(fl *pflag.Flag) {
		if fl.Changed {
			return
		}
		for _, p := range envPrefixes() {
			name := p + strings.ToUpper(strings.ReplaceAll(fl.Name, "-", "_"))
			v, ok := env(name)
			if !ok || v == "" {
				continue
			}
			if err := f.Set(fl.Name, v); err != nil {
				errs = append(errs, fmt.Errorf("environment variable %s: %w", name, err))
			}
			return
		}
	})
	if o.nodeName == "" {
		o.nodeName, _ = env("NODE_NAME")
	}
	o.etcdGiven = f.Changed("etcd-endpoints")
	o.pod[0], _ = env("POD_NAMESPACE")
	o.pod[1], _ = env("POD_NAME")
	return o, errors.Join(append(errs, o.check())...)
}

// twoDashes lets flags be written with one dash, as flannel's users may.
func twoDashes(args []string) []string {
	out := make([]string, len(args))
	for i, a := range args {
		if len(a) > 2 && a[0] == '-' && a[1] != '-' && a[2] != '=' {
			a = "-" + a
		} else if strings.HasPrefix(a, "-v=") {
			a = "-" + a
		}
		out[i] = a
	}
	return out
}

// check turns words into values.
func (o *options) check() error {
	var errs []error
	address := func(flag, text string, family subnet.Family, any bool) netip.Addr {
		if text == "" {
			return netip.Addr{}
		}
		a, err := netip.ParseAddr(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("--%s %q is not an IP address", flag, text))
		} else if a = a.Unmap(); !any && subnet.FamilyOf(a) != family {
			errs = append(errs, fmt.Errorf("--%s %q is not an %s address", flag, text, family))
		}
		return a
	}
	o.uplink.Ifaces = o.ifaces
	o.uplink.Public[subnet.Inet] = address("public-ip", o.publicIP, subnet.Inet, false)
	o.uplink.Public[subnet.Inet6] = address("public-ipv6", o.publicIPInet6, subnet.Inet6, false)
	o.uplink.CanReach = address("iface-can-reach", o.ifaceCanReach, subnet.Inet, true)
	address("healthz-ip", o.healthzIP, subnet.Inet, true)
	for _, text := range o.ifaceRegexps {
		re, err := regexp.Compile(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("--iface-regex %q: %w", text, err))
			continue
		}
		o.uplink.Regexps = append(o.uplink.Regexps, re)
	}
	between := func(flag string, v, low, high int) {
		if v < low || v > high {
			errs = append(errs, fmt.Errorf("--%s %d is not between %d and %d", flag, v, low, high))
		}
	}
	between("healthz-port", o.healthzPort, 0, 65535)
	between("iptables-resync", o.resync, 1, 3600)
	between("subnet-lease-renew-margin", o.renewMargin, 0, 1440)
	oneOf := func(flag, v string, words ...string) {
		for _, w := range words {
			if v == w {
				return
			}
		}
		errs = append(errs, fmt.Errorf("--%s %q is not one of %s", flag, v, strings.Join(words, ", ")))
	}
	oneOf("firewall", o.firewall, "auto", "nftables", "iptables")
	oneOf("log-format", o.logFormat, "text", "json")
	oneOf("log-level", o.logLevel, "error", "warning", "info", "debug")
	if err := o.cni.Check(); o.cniInstall && err != nil {
		errs = append(errs, fmt.Errorf("--cni-install: %w", err))
	}
	if o.subnetFile == "" {
		errs = append(errs, errors.New("--subnet-file is empty: the CNI plugin needs the file"))
	}
	var err error
	o.members, err = o.parseNetworks()
	errs = append(errs, err)
	return errors.Join(errs...)
}

// usage is the text of --help.
func usage() string {
	var o options
	return "Usage: weftd [flags]\n\nThe agent of Weft, a network for pods. Every flag can be set as an environment variable too:\n" +
		"WEFTD_ or FLANNELD_, then its name in upper case with _ for -. One dash or two.\n\n" + flagSet(&o).FlagUsagesWrapped(120)
}
