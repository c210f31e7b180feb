package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weft-network/weft/lab"
	"github.com/weft-network/weft/lab/kube"
)

const labKubeHelp = `kube runs a real Kubernetes cluster on this machine: etcd, kube-apiserver,
controllers and scheduler, and nodes in namespaces of their own, each with
containerd, a kubelet and kube-proxy. Weft is installed by its manifest. It takes
root, runc and a clone of the sources, from which Kubernetes is built the first
time (10 minutes). It touches nothing of this host's network, and leaves nothing
behind but what it built, in the cache.

  weftctl lab kube demo     start one, show nodes, pods, a Service and all connections, end it
  weftctl lab kube up       start one that stays, to play with; end it with down`

// newLabKubeCommand returns the command "lab kube" with all that is below it.
func newLabKubeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "kube",
		Short: "run a real Kubernetes cluster on this machine",
		Long:  labKubeHelp,
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	machine := &cobra.Command{
		Use:    kube.MachineCommand + " CONFIG",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE:   func(_ *cobra.Command, args []string) error { return kube.RunMachine(args[0]) },
	}
	cmd.AddCommand(newLabKubeDemoCommand(), newLabKubeUpCommand(), machine)
	cmd.AddCommand(newLabKubeRequestCommands()...)
	return cmd
}

// kubeShape are the flags that say what a cluster is like.
type kubeShape struct {
	nodes, pods            int
	families, proxy, clone string
	install                bool
}

func (s *kubeShape) register(f *pflag.FlagSet) {
	f.IntVar(&s.nodes, "nodes", 2, "number of nodes")
	f.IntVar(&s.pods, "pods", 2, "number of pods on each node")
	f.StringVar(&s.families, "families", "ipv4", "address families of nodes, pods and Services: ipv4, ipv6 or dual")
	f.StringVar(&s.proxy, "proxy", "nftables", "mode of kube-proxy: nftables or iptables; none runs none")
	f.StringVar(&s.clone, "root", "", "clone of Weft's sources; that in which this program is by default")
}

// The most that a cluster on one machine is let have.
const (
	maxKubeNodes = 20
	maxKubePods  = 26
)

// setup checks the flags.
func (s *kubeShape) setup() (kube.Setup, error) {
	o := kube.Setup{Nodes: s.nodes, Proxy: s.proxy}
	var errs []error
	if s.nodes < 1 || s.nodes > maxKubeNodes {
		errs = append(errs, fmt.Errorf("nodes: %d is not between 1 and %d", s.nodes, maxKubeNodes))
	}
	if s.pods < 1 || s.pods > maxKubePods {
		errs = append(errs, fmt.Errorf("pods: %d is not between 1 and %d", s.pods, maxKubePods))
	}
	var err error
	o.Families, err = lab.ParseFamilies(s.families)
	errs = append(errs, err)
	switch s.proxy {
	case "nftables", "iptables":
	case "none":
		o.Proxy = ""
	default:
		errs = append(errs, fmt.Errorf("proxy %q: must be nftables, iptables or none", s.proxy))
	}
	return o, errors.Join(errs...)
}

// root is the top of the clone from which things are built.
func (s *kubeShape) root() (string, error) {
	root := s.clone
	if root == "" {
		self, err := os.Executable()
		if err != nil {
			return "", fmt.Errorf("find this executable: %w", err)
		}
		root = filepath.Dir(filepath.Dir(self))
	}
	root, err := filepath.Abs(root)
	if err != nil {
		return "", fmt.Errorf("find the sources: %w", err)
	}
	for _, name := range []string{"lab/kube/kubebin/go.mod", "dist/kubernetes/weft.yaml"} {
		if _, err := os.Stat(filepath.Join(root, name)); err != nil {
			return "", fmt.Errorf("a cluster is built from Weft's sources, which are not at %s (no %s): "+
				"run `make build` in a clone and use its bin/weftctl, or say --root", root, name)
		}
	}
	return root, nil
}

// kubePartsEnv tells the process inside the namespaces what was prepared outside, where there is a network.
const kubePartsEnv = "WEFT_LAB_KUBE_PARTS"

// withInside prepares everything, and calls run with the command that runs this command line again inside.
func (s *kubeShape) withInside(ctx context.Context, detach bool, progress func(string), run func(*exec.Cmd) error) (err error) {
	if os.Getuid() != 0 {
		return errors.New("a cluster with kubelets takes root: run it with sudo")
	}
	root, err := s.root()
	if err != nil {
		return err
	}
	bins, err := lab.FindBinaries()
	if err != nil {
		return err
	}
	dir, remove, err := kube.Workspace()
	if err != nil {
		return fmt.Errorf("make a folder for the images: %w", err)
	}
	defer func() { err = errors.Join(err, remove()) }()
	parts, err := kube.Prepare(ctx, root, bins.Dir, dir, progress)
	if err != nil {
		return err
	}
	text, err := json.Marshal(parts)
	if err != nil {
		return fmt.Errorf("write down the parts: %w", err)
	}
	cmd := kube.Inside(detach, os.Args[1:]...)
	cmd.Env = append(cmd.Env, kubePartsEnv+"="+string(text))
	return run(cmd)
}

// since returns what prints progress with the time since now.
func since(w io.Writer) func(string) {
	begin := time.Now()
	return func(what string) { fmt.Fprintf(w, "%5.1f s  %s\n", time.Since(begin).Seconds(), what) }
}

// within starts the cluster in this process, which is inside the namespaces, and calls f with it.
func (s *kubeShape) within(ctx context.Context, o kube.Setup, f func(*kube.Cluster) error) (err error) {
	if err := kube.Settle(); err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(os.Getenv(kubePartsEnv)), &o.Parts); err != nil {
		return fmt.Errorf("read what was prepared: %w", err)
	}
	root, err := s.root()
	if err != nil {
		return err
	}
	c, err := kube.Up(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if s.install {
		manifest, err := c.Manifest(root)
		if err != nil {
			return err
		}
		if err := c.Install(ctx, manifest); err != nil {
			return err
		}
		if err := c.Play(ctx, s.pods); err != nil {
			return err
		}
	}
	return f(c)
}

func newLabKubeDemoCommand() *cobra.Command {
	shape := kubeShape{install: true}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "start a cluster, show that everything is connected, and end it",
		Long: `demo starts a cluster, installs Weft with its manifest, runs pods on all nodes
behind a Service, shows who reaches whom and as whom, and ends the cluster.

Exit status: 0 everything is connected, 1 something is not, 2 the cluster could not be started.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			setup, err := shape.setup()
			if err != nil {
				return err
			}
			setup.Progress = since(cmd.OutOrStdout())
			if kube.IsInside() {
				return shape.demo(cmd.Context(), setup, cmd.OutOrStdout())
			}
			return shape.withInside(cmd.Context(), false, setup.Progress, foreground(cmd.Context()))
		},
	}
	shape.register(cmd.Flags())
	return cmd
}

// foreground runs a command with the terminal of this one.
func foreground(ctx context.Context) func(*exec.Cmd) error {
	return func(cmd *exec.Cmd) error {
		runtime.LockOSThread() // the command is killed when the thread that starts it ends
		defer runtime.UnlockOSThread()
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		if err := cmd.Start(); err != nil {
			return fmt.Errorf("start the cluster: %w", err)
		}
		stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(os.Interrupt) }) // it may have ended
		defer stop()
		err := cmd.Wait()
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() > 0 {
			return exitStatus(exit.ExitCode())
		}
		return err
	}
}

// demo is the part inside the namespaces.
func (s *kubeShape) demo(ctx context.Context, o kube.Setup, w io.Writer) error {
	return s.within(ctx, o, func(c *kube.Cluster) error {
		connected, err := c.Demo(ctx, w)
		if err == nil && !connected {
			err = errNo
		}
		if err == nil {
			_, err = io.WriteString(w, lookInsideKube)
		}
		return err
	})
}

const lookInsideKube = `
To look inside:
  bin/weftctl lab kube up                            the same cluster in the background
  bin/weftctl lab kube kubectl get pods -A -o wide   kubectl as its administrator
  bin/weftctl lab kube exec node1 -- ip route        any program of this machine, on a node, or
  bin/weftctl lab kube exec node1a -- ip addr        in the network of a pod
  bin/weftctl lab kube exec node1 -- weftctl status  what the agent there says
  bin/weftctl lab kube ping                          all pairs again
  bin/weftctl lab kube down
`
