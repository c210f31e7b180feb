package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weft-network/weft/lab"
)

const labHelp = `lab builds a cluster of virtual nodes on this machine: network namespaces joined
by bridges, a real etcd, the real weftd on each node, and pods attached through
the real CNI chain. It needs no root where the kernel allows user namespaces,
touches nothing of this host, and leaves nothing behind however it ends.

  weftctl lab demo        build one, ping all pairs, show what was built, end it
  weftctl lab up          build one that stays, to play with; end it with down`

// newLabCommand returns the command "lab" with all that is below it.
func newLabCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "play a cluster of virtual nodes on this machine",
		Long:  labHelp,
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newLabDemoCommand(), newLabUpCommand(), newLabMemberCommand(), newLabKubeCommand())
	cmd.AddCommand(newLabRequestCommands()...)
	return cmd
}

// newLabMemberCommand returns what the lab runs for each member of etcd.
func newLabMemberCommand() *cobra.Command {
	return &cobra.Command{
		Use:    lab.MemberCommand + " CONFIG",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE:   func(_ *cobra.Command, args []string) error { return lab.RunMember(args[0]) },
	}
}

// labShape are the flags that say what a lab looks like.
type labShape struct {
	opts     lab.Options
	families string
	backend  string
	config   string
}

func (s *labShape) register(f *pflag.FlagSet) {
	f.IntVar(&s.opts.Nodes, "nodes", 3, "number of nodes")
	f.IntVar(&s.opts.Pods, "pods", 2, "number of pods on each node")
	f.StringVar(&s.families, "families", "ipv4", "address families of pods and underlay: ipv4, ipv6 or dual")
	f.StringVar(&s.backend, "backend", "vxlan", "a backend's name, or its whole JSON object as in net-conf.json")
	f.StringVar(&s.config, "config", "", "a file with a whole net-conf.json, in the place of --families and --backend")
	f.IntVar(&s.opts.Racks, "racks", 1, "networks that the nodes are spread over, joined by a router")
	f.IntVar(&s.opts.Members, "etcd-members", 1, "members of the etcd cluster")
	f.IntVar(&s.opts.MTU, "mtu", 1500, "MTU of the underlay")
	f.BoolVar(&s.opts.DropForward, "drop-forward", true, "let the nodes drop what they forward unless somebody accepts it, as Docker makes them")
	f.StringArrayVar(&s.opts.Flags, "weftd-flag", nil, "a further flag of weftd, like --weftd-flag=--log-format=json; repeatable")
}

// options checks the flags.
func (s *labShape) options() (lab.Options, error) {
	opts := s.opts
	if opts.Pods == 0 {
		opts.Pods = -1 // the flag says none; the zero of Options would say two
	}
	var errs [3]error
	opts.Families, errs[0] = lab.ParseFamilies(s.families)
	opts.Backend, errs[1] = lab.ParseBackend(s.backend)
	if s.config != "" {
		text, err := os.ReadFile(s.config)
		if err != nil {
			errs[2] = fmt.Errorf("read the network config: %w", err)
		}
		opts.Config = string(text)
	}
	if err := errors.Join(errs[:]...); err != nil {
		return opts, err
	}
	return opts, opts.Check()
}

func newLabDemoCommand() *cobra.Command {
	var shape labShape
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "build a lab, ping all pairs, show what was built, and end it",
		Long: `demo builds a lab, pings all pairs of pods and nodes, small and at full size,
looks at the source addresses that pods and the world see, shows what weftd put
into the kernel and into etcd, and ends the lab.

Exit status: 0 every pair is connected, 1 some are not, 2 the lab could not be built.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts, err := shape.options()
			if err != nil {
				return err
			}
			if !lab.IsInside() {
				return runInside(cmd.Context())
			}
			return demo(cmd.Context(), opts, cmd.OutOrStdout())
		},
	}
	shape.register(cmd.Flags())
	return cmd
}

// runInside runs this command line again inside the lab's namespaces.
func runInside(ctx context.Context) error {
	bins, err := lab.FindBinaries()
	if err != nil {
		return err
	}
	err = lab.RunInside(ctx, bins, os.Args[1:]...)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		if exit.ExitCode() == 1 {
			return errNo
		}
		return fmt.Errorf("the lab ended: %w", err)
	}
	return err
}

// demo is the part inside the namespaces.
func demo(ctx context.Context, opts lab.Options, w io.Writer) error {
	if err := lab.Settle(); err != nil {
		return err
	}
	begin := time.Now()
	opts.Progress = func(what string) { fmt.Fprintf(w, "%5.1f s  %s\n", time.Since(begin).Seconds(), what) }
	unconnected := false
	err := lab.Run(ctx, opts, func(l *lab.Lab) error {
		connected, err := l.Demo(ctx, w)
		unconnected = !connected
		return err
	})
	if err == nil && unconnected {
		return errNo
	}
	return err
}
