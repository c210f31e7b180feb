package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-network/weft/lab"
	"github.com/weft-network/weft/lab/control"
)

// defaultLab is the name of a lab that was not given one.
const defaultLab = "weft"

func nameFlag(cmd *cobra.Command) *string {
	return cmd.Flags().String("name", defaultLab, "name of the lab; several can run at the same time")
}

func newLabUpCommand() *cobra.Command {
	var shape labShape
	cmd := &cobra.Command{
		Use:   "up",
		Short: "build a lab in the background",
		Args:  cobra.NoArgs,
	}
	shape.register(cmd.Flags())
	name := nameFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		opts, err := shape.options()
		if err != nil {
			return err
		}
		if lab.IsInside() {
			return up(cmd.Context(), opts)
		}
		if err := detach(cmd.Context(), *name); err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "the lab %q is up: weftctl lab status, ping, exec, break, etcd, restart, down\n", *name)
		return err
	}
	return cmd
}

// detach takes the name and runs this command line again inside the lab's namespaces, in the background.
func detach(ctx context.Context, name string) error {
	bins, err := lab.FindBinaries()
	if err != nil {
		return err
	}
	listener, err := lab.Background().Listen(name)
	if err != nil {
		return err
	}
	return lab.Detach(ctx, bins, listener, os.Args[1:]...)
}

// up is the part inside the namespaces.
func up(ctx context.Context, opts lab.Options) error {
	if err := lab.Settle(); err != nil {
		return err
	}
	begin := time.Now()
	opts.Progress = func(what string) { fmt.Fprintf(os.Stderr, "%5.1f s  %s\n", time.Since(begin).Seconds(), what) }
	return lab.Run(ctx, opts, func(l *lab.Lab) error { return l.Serve(ctx) })
}

// newLabRequestCommands returns the commands that ask a lab that runs already.
func newLabRequestCommands() []*cobra.Command {
	status := requestCommand("status", "show the nodes and pods of the lab, and etcd", cobra.NoArgs)
	ping := requestCommand("ping", "ping all pairs again", cobra.NoArgs)
	etcd := requestCommand("etcd stop|start|pause|resume|compact|wipe|keys", "let something happen to etcd, or show its keys", cobra.ExactArgs(1))
	restart := requestCommand("restart NODE", "kill weftd on a node and start it again", cobra.ExactArgs(1))
	down := requestCommand("down", "end the lab", cobra.NoArgs)
	exec := requestCommand("exec NODE|POD -- COMMAND...", "run a command inside a node or pod, or on router, switch, etcd1", cobra.MinimumNArgs(2))
	exec.Flags().SetInterspersed(false)
	return []*cobra.Command{status, ping, etcd, restart, down, exec, newLabBreakCommand(), newLabListCommand()}
}

// requestCommand returns a command that hands its arguments to the lab.
func requestCommand(use, short string, args cobra.PositionalArgs) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: args}
	name := nameFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return ask(cmd.Context(), lab.Background(), *name, control.Request{Verb: cmd.Name(), Args: args, Terminal: cmd.Name() == "exec"})
	}
	return cmd
}

func newLabBreakCommand() *cobra.Command {
	var long strings.Builder
	long.WriteString("break damages something on a node, as another process or a person might, and\nshows what was gone and how soon it came back. What can be broken:\n\n")
	for _, f := range lab.Faults() {
		fmt.Fprintf(&long, "  %-12s %s\n", f.Name, f.About)
	}
	cmd := &cobra.Command{Use: "break WHAT", Short: "damage something on a node and see it repaired", Long: strings.TrimRight(long.String(), "\n"), Args: cobra.MaximumNArgs(1)}
	name := nameFlag(cmd)
	node := cmd.Flags().String("node", "node1", "where")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		if _, err := lab.FaultNamed(args[0]); err != nil {
			return err
		}
		return ask(cmd.Context(), lab.Background(), *name, control.Request{Verb: "break", Args: args, Node: *node})
	}
	return cmd
}

func newLabListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "list the labs that run", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			names, err := lab.Background().Running()
			for _, n := range names {
				fmt.Fprintln(cmd.OutOrStdout(), n)
			}
			return err
		},
	}
}

// ask sends the request and makes its end this command's end.
func ask(ctx context.Context, kind control.Kind, name string, r control.Request) error {
	resp, err := kind.Ask(ctx, name, r, [3]*os.File{os.Stdin, os.Stdout, os.Stderr})
	switch {
	case err != nil:
		return err
	case resp.Error != "":
		return errors.New(resp.Error)
	case resp.Code != 0:
		return exitStatus(resp.Code)
	}
	return nil
}
