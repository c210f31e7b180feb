package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/weft-network/weft/network/kernel"
)

const cleanupHelp = `cleanup takes everything of Weft's and of flannel's off this host and says line
by line what it did: devices, routes, neighbours and forwarding entries, firewall
rules, subnet.env, the node's private key for WireGuard and the leases that weftd
saved for a start without its store.
What the commands of the backend extension did for peers is undone by them, and
IPsec's charon is ended.
Run twice, it finds nothing the second time.

What pods use on this host, and what tells the container runtime about the
network, stays unless --cni is given: the bridge, the CNI configuration, and the
records of which pod has which address. Kernel parameters such as
net.ipv4.ip_forward stay in any case: others may rely on them by now. Programs
stay too, CNI plugins that weftd installed among them: the runtime needs them to
delete pods, and others may use them. So does the lease in etcd, which ends by
itself after a day.

With --for-flannel it takes off only what flanneld has no use for, and may run
while flanneld does: Weft's rules and its routes of last resort, its saved leases
and, where there is another, its CNI configuration. Pods notice nothing.

With --network it takes off one of the networks that weftd was told of with
--network, and nothing of the first one's or flannel's; it may run while weftd does,
if that does not serve the network any more. Without it the first network goes alone.

Routes that flannel made in host-gw mode carry no mark. They are recognized by
the cluster's network, which is read from subnet.env and the saved leases;
where both are gone, name the network config with --config.

Exit status: 0 all clean, 2 something could not be removed.`

// cleanup is what the command line asks for.
type cleanup struct {
	dryRun, force, cni            bool
	forFlannel                    bool
	network                       string      // as NAME=NUMBER; "" for the first
	mark                          kernel.Mark // of the network
	subnetFile, stateDir, socket  string
	config                        string // net-conf.json; "" where none is given
	bridge                        string
	cniConfig, cniData, hostLocal string // folders
	cniBin                        string // folder
}

func newCleanupCommand(env func(string) string) *cobra.Command {
	var c cleanup
	cmd := &cobra.Command{
		Use:   "cleanup",
		Short: "take everything of Weft's and flannel's off this host",
		Long:  cleanupHelp,
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.choose(cmd.Flags().Changed); err != nil {
				return err
			}
			return c.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.BoolVar(&c.dryRun, "dry-run", false, "say what would be removed, and remove nothing")
	f.BoolVar(&c.force, "force", false, "go on although weftd or flanneld runs here, or pods are attached to the bridge")
	f.BoolVar(&c.cni, "cni", false, "remove the bridge, the CNI configuration and the records of pods' addresses too")
	f.BoolVar(&c.forFlannel, "for-flannel", false, "remove only what flanneld, which has taken over, has no use for")
	f.StringVar(&c.network, "network", "", "remove this network of weftd's only, as NAME=NUMBER, as weftd was told")
	f.StringVar(&c.config, "config", "", "network config (net-conf.json) by which flannel's routes are recognized")
	f.StringVar(&c.bridge, "bridge", "cni0", "bridge to remove with --cni, beside those that the CNI configuration names")
	f.StringVar(&c.subnetFile, "subnet-file", fromEnv(env, "WEFTD_SUBNET_FILE", "/run/flannel/subnet.env"), "subnet.env, as weftd is told")
	f.StringVar(&c.stateDir, "state-dir", fromEnv(env, "WEFTD_STATE_DIR", "/var/lib/weft"), "where the leases are saved, as weftd is told")
	f.StringVar(&c.socket, "socket", fromEnv(env, "WEFTD_SOCKET", defaultSocket), "unix socket of weftd")
	cmd.MarkFlagsMutuallyExclusive("for-flannel", "cni")
	cmd.MarkFlagsMutuallyExclusive("for-flannel", "network")
	cmd.MarkFlagsMutuallyExclusive("config", "network")
	f.StringVar(&c.cniConfig, "cni-config-dir", "/etc/cni/net.d", "folder of the CNI configuration")
	f.StringVar(&c.cniBin, "cni-bin-dir", fromEnv(env, "WEFTD_CNI_BIN_DIR", "/opt/cni/bin"), "folder of the CNI plugins")
	f.StringVar(&c.cniData, "cni-data-dir", "/var/lib/cni/flannel", "folder of the CNI plugin's records")
	f.StringVar(&c.hostLocal, "cni-ipam-dir", "/var/lib/cni/networks", "folder of the records of host-local")
	return cmd
}

// leftover is something that belongs to Weft or flannel and is found on this host.
type leftover struct {
	what   []string // a line for each thing
	remove func(context.Context) error
}

// findings are what one place was searched for with which result.
type findings struct {
	found []leftover
	notes []string // what a person should know beside
	err   error    // what could not be found out
}

func (c cleanup) run(ctx context.Context, stdout io.Writer) error {
	if err := c.mayRun(ctx); err != nil {
		return err
	}
	places, err := c.places()
	if err != nil {
		return err
	}
	var errs []error
	done := 0
	for _, find := range places {
		f := find(ctx)
		for _, note := range f.notes {
			fmt.Fprintln(stdout, "note:", note)
		}
		errs = append(errs, f.err)
		for _, l := range f.found {
			done += len(l.what)
			errs = append(errs, c.take(ctx, l, stdout))
		}
	}
	err = errors.Join(errs...)
	if done == 0 && err == nil {
		fmt.Fprintln(stdout, c.nothing())
	}
	return err
}

// places are where something may be that is to go.
func (c cleanup) places() ([]func(context.Context) findings, error) {
	switch {
	case c.forFlannel:
		return c.besideFlannel(), nil
	case !c.isFirst():
		return c.ofNetwork(), nil
	}
	scope, notes, err := c.scope()
	return []func(context.Context) findings{
		func(ctx context.Context) findings {
			f := c.allInKernel(ctx, scope)
			f.notes = notes
			return f
		},
		c.kept, c.inFirewall, c.files, c.ofCNI,
	}, err
}

// nothing says that nothing was found.
func (c cleanup) nothing() string {
	switch {
	case !c.isFirst():
		return fmt.Sprintf("nothing of network %s is on this host", c.mark.Name)
	case c.forFlannel:
		return "nothing that only Weft has a use for is on this host"
	}
	return "nothing of Weft's or flannel's is on this host"
}

// take removes one leftover and says so.
func (c cleanup) take(ctx context.Context, l leftover, stdout io.Writer) error {
	word := "removed"
	var err error
	if c.dryRun {
		word = "would remove"
	} else if err = l.remove(ctx); err != nil {
		word = "could not remove all of"
	}
	for _, line := range l.what {
		fmt.Fprintln(stdout, word, line)
	}
	return err
}

// mayRun refuses where cleaning up would be undone at once, or cannot work.
func (c cleanup) mayRun(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return errors.New("only root may see the firewall's rules and change the host: run cleanup as root, with --dry-run too")
	}
	if c.dryRun || c.force {
		return nil
	}
	if !c.isFirst() {
		if err := c.mayRunBeside(ctx); err != nil || !c.cni {
			return err
		}
		return c.unused()
	}
	agents, err := runningAgents("/proc")
	if err != nil {
		return fmt.Errorf("find out whether an agent runs here: %w; --force goes on without knowing", err)
	}
	for _, a := range agents {
		if c.forFlannel && a.name == "flanneld" {
			continue
		}
		stop := cmp.Or(map[string]string{"weftd": "systemctl stop weftd, or remove its DaemonSet"}[a.name], "systemctl stop flanneld, or remove its DaemonSet")
		return fmt.Errorf("%s runs here (process %d) and would put things back: stop it first (%s), or go on with --force", a.name, a.pid, stop)
	}
	if c.cni {
		return c.unused()
	}
	return nil
}
