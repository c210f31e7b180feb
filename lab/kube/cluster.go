package kube

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weft-network/weft/subnet"
)

// Where a cluster keeps its files. The folders exist only inside its mount namespace, and on its nodes.
const (
	runDir     = "/run/weft-lab-kube"
	programDir = runDir + "/bin"
)

// Setup says what a cluster is like.
type Setup struct {
	Parts    Parts
	Nodes    int             // 2 by default
	Families []subnet.Family // of nodes, pods and Services, in order of preference; IPv4 by default
	Proxy    string          // mode of kube-proxy: "nftables" or "iptables"; "" runs none
	APIFlags []string        // more flags of the API server
	Progress func(string)    // told what has been done; may be nil
}

// The networks of pods and Services.
var (
	podNetworks     = [2]string{"10.244.0.0/16", "fd00:10:244::/56"}
	serviceNetworks = [2]string{"10.96.0.0/16", "fd00:10:96::/112"}
)

// Cluster is a Kubernetes cluster whose nodes are namespaces of this machine: etcd, kube-apiserver, the controllers and the
// scheduler beside the calling process, and on each node containerd, a kubelet and kube-proxy. It has no pod network: Install
// installs one. There is one in a process, which runs inside what Inside makes.
type Cluster struct {
	o     Setup
	dir   string
	id    string
	plane *ControlPlane
	locks []*os.File // what says that the cluster lives

	layout layout // of cgroups

	playing []*Pod   // pods of the playground
	world   *process // what serves outside

	Nodes []*Node
}

// Up starts a cluster, and returns when every node has its Node object and a pod CIDR. Close ends it.
func Up(ctx context.Context, o Setup) (c *Cluster, err error) {
	if o.Nodes == 0 {
		o.Nodes = 2
	}
	if len(o.Families) == 0 {
		o.Families = []subnet.Family{subnet.Inet}
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	c = &Cluster{o: o, id: strings.ToLower(rand.Text()[:8])}
	if c.layout, err = findLayout(); err != nil {
		return nil, fmt.Errorf("start a cluster: %w", err)
	}
	if err := c.makeFolders(); err != nil {
		return nil, fmt.Errorf("start a cluster: %w", err)
	}
	for n := range o.Nodes {
		c.Nodes = append(c.Nodes, c.newNode(n))
	}
	if _, err := Sweep(); err != nil {
		o.Progress(err.Error()) // this cluster does without
	}
	if err := c.lockCgroups(); err != nil {
		return nil, errors.Join(fmt.Errorf("start a cluster: %w", err), c.Close())
	}
	if err := c.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start a cluster: %w", err), c.Close())
	}
	return c, nil
}

// lockCgroups makes the nodes' cgroups known as those of a cluster that lives.
func (c *Cluster) lockCgroups() error {
	if c.layout.unified {
		if err := delegate(cgroupRoot); err != nil {
			return err
		}
	}
	for _, n := range c.Nodes {
		lock, err := lockCgroup(c.layout.folders(n.cgroupName())[0])
		if err != nil {
			return err
		}
		c.locks = append(c.locks, lock)
	}
	return nil
}

// makeFolders makes the folders of the cluster, with its programs.
func (c *Cluster) makeFolders() error {
	c.dir = filepath.Join(runDir, c.id)
	errs := []error{os.MkdirAll(filepath.Join(c.dir, "control"), 0o755)}
	if _, err := os.Stat(programDir); err == nil {
		return errors.Join(errs...) // of an earlier cluster of this process
	}
	errs = append(errs, os.MkdirAll(programDir, 0o755), c.o.Parts.link(programDir))
	return errors.Join(errs...)
}

// start starts everything.
func (c *Cluster) start(ctx context.Context) error {
	if err := newLAN(); err != nil {
		return err
	}
	users := map[string]string{proxyUser: rand.Text()}
	for _, n := range c.Nodes {
		users["system:node:"+n.object], users["system:node:"+n.renamed()] = rand.Text(), rand.Text()
	}
	var addrs []netip.Addr
	for _, f := range c.o.Families {
		addrs = append(addrs, lanAddr(f, controlNumber))
	}
	plane, err := Start(ctx, c.o.Parts.Kubernetes, Options{Dir: filepath.Join(c.dir, "control"), Users: users,
		ClusterCIDR: c.podCIDRs(), ServiceCIDR: c.choose(serviceNetworks), Addrs: addrs, Flags: c.o.APIFlags})
	if err != nil {
		return err
	}
	c.plane = plane
	if err := errors.Join(plane.StartControllers(), plane.startScheduler()); err != nil {
		return err
	}
	c.o.Progress("etcd, kube-apiserver, kube-controller-manager and kube-scheduler run")
	g, gctx := errgroup.WithContext(ctx)
	for _, n := range c.Nodes {
		g.Go(func() error { return n.Boot(gctx) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	c.o.Progress("containerd and kubelet run on " + strings.Join(c.nodeNames(), ", "))
	return c.awaitNodes(ctx)
}

// joinTime is how long nodes may take to join. A machine that does much at once is slow.
const joinTime = 5 * time.Minute

// awaitNodes waits until every node has joined and has pod CIDRs.
func (c *Cluster) awaitNodes(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, joinTime)
	defer cancel()
	for _, n := range c.Nodes {
		if err := c.awaitNode(ctx, n); err != nil {
			return err
		}
	}
	c.o.Progress("the nodes have joined and have pod CIDRs")
	return nil
}

// starts is how often a kubelet is started that ends before its node has joined. Elsewhere systemd does that.
const starts = 10

// awaitNode waits for one node.
func (c *Cluster) awaitNode(ctx context.Context, n *Node) error {
	for try := 1; ; try++ {
		err := await(ctx, "the pod CIDR of "+n.name, n.Kubelet.p, func() error {
			out, err := c.Kubectl(ctx, "get", "node", n.name, "-o", "jsonpath={.spec.podCIDRs}")
			if err == nil && out == "" {
				err = errors.New("it has none")
			}
			return err
		})
		if err == nil || n.Kubelet.p.running() || try == starts {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Second):
		}
		if err := n.Kubelet.Start(ctx); err != nil {
			return err
		}
	}
}

// Close ends the cluster and all that it made.
func (c *Cluster) Close() error {
	for _, n := range c.Nodes {
		n.PowerOff()
	}
	if c.world != nil {
		c.world.kill()
	}
	if c.plane != nil {
		c.plane.Stop()
	}
	var errs []error
	for _, n := range c.Nodes {
		errs = append(errs, c.layout.remove(n.cgroupName()))
	}
	for _, lock := range c.locks {
		errs = append(errs, lock.Close())
	}
	errs = append(errs, removeLAN(), os.RemoveAll(c.dir))
	return errors.Join(errs...)
}

// choose joins what belongs to the cluster's families.
func (c *Cluster) choose(all [2]string) string {
	var words []string
	for _, f := range c.o.Families {
		words = append(words, all[f])
	}
	return strings.Join(words, ",")
}

func (c *Cluster) podCIDRs() string { return c.choose(podNetworks) }

// server is the URL of the API server for the nodes.
func (c *Cluster) server() string {
	return "https://" + netip.AddrPortFrom(lanAddr(c.o.Families[0], controlNumber), 6443).String()
}

func (c *Cluster) nodeNames() []string {
	var names []string
	for _, n := range c.Nodes {
		names = append(names, n.name)
	}
	return names
}

// Plane is the cluster's control plane.
func (c *Cluster) Plane() *ControlPlane { return c.plane }

// Dir is the folder with the logs of the cluster: control/*.log and NODE-SERVICE.log.
func (c *Cluster) Dir() string { return c.dir }

// Kubectl runs kubectl as the user admin, and returns what it printed on standard output. What it printed on standard error
// is part of the error.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (string, error) {
	return c.kubectl(ctx, "", args...)
}

// Apply applies a manifest.
func (c *Cluster) Apply(ctx context.Context, manifest string) error {
	_, err := c.kubectl(ctx, manifest, "apply", "-f", "-")
	return err
}

func (c *Cluster) kubectl(ctx context.Context, input string, args ...string) (string, error) {
	cmd, err := c.KubectlCommand(ctx, args...)
	if err != nil {
		return "", err
	}
	var out, complaint strings.Builder
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &complaint
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("kubectl %s: %w\n%s", strings.Join(args, " "), err, complaint.String())
	}
	return out.String(), nil
}

// KubectlCommand returns kubectl as the user admin, not started.
func (c *Cluster) KubectlCommand(ctx context.Context, args ...string) (*exec.Cmd, error) {
	config := filepath.Join(c.dir, "control", "admin.kubeconfig")
	if _, err := os.Stat(config); err != nil {
		if err := c.plane.Kubeconfig(config, "admin"); err != nil {
			return nil, err
		}
	}
	cmd := exec.CommandContext(ctx, filepath.Join(c.o.Parts.Kubernetes, "kubectl"), args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+config, "HOME="+c.dir, roomy)
	return cmd, nil
}

// await tries again and again until try succeeds, ctx ends or the process p does.
func await(ctx context.Context, what string, p *process, try func() error) error {
	pause := 50 * time.Millisecond
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w (%w)", what, ctx.Err(), err)
		case <-p.ended:
			return fmt.Errorf("waiting for %s: %w", what, errors.Join(err, p.why()))
		case <-time.After(pause): // kubectl is no small thing to run
			pause = min(2*pause, time.Second)
		}
	}
}
