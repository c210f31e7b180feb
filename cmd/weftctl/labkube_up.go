package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weft-network/weft/lab/control"
	"github.com/weft-network/weft/lab/kube"
)

func kubeNameFlag(cmd *cobra.Command) *string {
	return cmd.Flags().String("name", defaultLab, "name of the cluster; several can run at the same time")
}

func newLabKubeUpCommand() *cobra.Command {
	var shape kubeShape
	cmd := &cobra.Command{
		Use:   "up",
		Short: "start a cluster in the background",
		Args:  cobra.NoArgs,
	}
	shape.register(cmd.Flags())
	cmd.Flags().BoolVar(&shape.install, "install", true, "install Weft and run pods; false leaves a cluster without a pod network")
	name := kubeNameFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		setup, err := shape.setup()
		if err != nil {
			return err
		}
		setup.Progress = since(os.Stderr)
		if kube.IsInside() {
			control.Keep()
			return shape.within(cmd.Context(), setup, func(c *kube.Cluster) error { return c.Serve(cmd.Context()) })
		}
		listener, err := kube.Background().Listen(*name)
		if err != nil {
			return err
		}
		defer listener.Close()
		err = shape.withInside(cmd.Context(), true, setup.Progress, func(inside *exec.Cmd) error {
			return control.Detach(cmd.Context(), kube.Background().Noun, inside, listener)
		})
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "the cluster %q is up: weftctl lab kube status, ping, kubectl, exec, down\n", *name)
		return err
	}
	return cmd
}

// newLabKubeRequestCommands returns the commands that ask a cluster that runs already.
func newLabKubeRequestCommands() []*cobra.Command {
	status := kubeRequestCommand("status", "show nodes, pods and Services", cobra.NoArgs)
	ping := kubeRequestCommand("ping", "try all connections again", cobra.NoArgs)
	exec := kubeRequestCommand("exec NODE|POD|outside -- COMMAND...", "run a command on a node, in the network of a pod, or outside of the cluster", cobra.MinimumNArgs(2))
	exec.Flags().SetInterspersed(false)
	return []*cobra.Command{status, ping, exec, newLabKubectlCommand(), newLabKubeDownCommand(), newLabKubeListCommand()}
}

// kubeRequestCommand returns a command that hands its arguments to the cluster.
func kubeRequestCommand(use, short string, args cobra.PositionalArgs) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: args}
	name := kubeNameFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return ask(cmd.Context(), kube.Background(), *name, control.Request{Verb: cmd.Name(), Args: args, Dir: workDir(), Terminal: cmd.Name() == "exec"})
	}
	return cmd
}

// workDir is the working directory, or the root where it cannot be found out.
func workDir() string {
	if dir, err := os.Getwd(); err == nil {
		return dir
	}
	return "/"
}

// newLabKubectlCommand returns kubectl. All flags are kubectl's, but a leading --name.
func newLabKubectlCommand() *cobra.Command {
	return &cobra.Command{
		Use:                "kubectl [--name NAME] ARGS...",
		Short:              "run kubectl as the administrator of the cluster",
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, args, err := leadingName(args)
			if err != nil {
				return err
			}
			return ask(cmd.Context(), kube.Background(), name, control.Request{Verb: cmd.Name(), Args: args, Dir: workDir(), Terminal: true})
		},
	}
}

// leadingName takes --name from the front of arguments that are somebody else's.
func leadingName(args []string) (name string, rest []string, err error) {
	if len(args) == 0 {
		return defaultLab, nil, nil
	}
	if value, ok := strings.CutPrefix(args[0], "--name="); ok {
		return value, args[1:], nil
	}
	if args[0] != "--name" {
		return defaultLab, args, nil
	}
	if len(args) == 1 {
		return "", nil, errors.New("--name needs the name of a cluster")
	}
	return args[1], args[2:], nil
}

func newLabKubeDownCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "down", Short: "end the cluster, and remove what others left that were killed", Args: cobra.NoArgs}
	name := kubeNameFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		err := ask(cmd.Context(), kube.Background(), *name, control.Request{Verb: control.Down})
		removed, sweepErr := kube.Sweep()
		if removed > 0 && sweepErr == nil {
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "removed what a cluster left that was killed")
		}
		return errors.Join(err, sweepErr)
	}
	return cmd
}

func newLabKubeListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "list the clusters that run", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			names, err := kube.Background().Running()
			for _, n := range names {
				fmt.Fprintln(cmd.OutOrStdout(), n)
			}
			return err
		},
	}
}
