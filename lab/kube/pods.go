package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/subnet"
)

// Pod is a pod of the lab's own image, which serves at port 80 unless Command says otherwise. The fields up to Addrs are
// what is asked for.
type Pod struct {
	Name        string
	Node        *Node             // where it runs; nil leaves that to the scheduler
	Command     []string          // arguments of the image's program, /pod
	Labels      map[string]string // beside app=NAME
	Annotations map[string]string
	HostNetwork bool
	HostPort    int  // of the node, for port 80; 0 for none
	Probed      bool // the kubelet asks for /ready and /alive at port 80, every second

	Addrs [2]netip.Addr // what the pod was given

	space string // network namespace, as the node sees it
}

// object is the pod as the API wants it.
func (p *Pod) object() map[string]any {
	labels := map[string]string{"app": p.Name}
	for k, v := range p.Labels {
		labels[k] = v
	}
	port := map[string]any{"containerPort": 80}
	if p.HostPort != 0 {
		port["hostPort"] = p.HostPort
	}
	container := map[string]any{"name": "pod", "image": PodImage, "imagePullPolicy": "Never", "ports": []any{port},
		// Without it, a pod gets next to no processor beside others, and loses packets that have reached it long before.
		"resources": map[string]any{"requests": map[string]any{"cpu": "100m"}}}
	if p.Command != nil {
		container["args"] = p.Command
	}
	if p.Probed {
		for kind, path := range map[string]string{"readinessProbe": "/ready", "livenessProbe": "/alive"} {
			container[kind] = map[string]any{"httpGet": map[string]any{"path": path, "port": 80}, "periodSeconds": 1, "timeoutSeconds": 5}
		}
	}
	spec := map[string]any{"hostNetwork": p.HostNetwork, "terminationGracePeriodSeconds": 1, "containers": []any{container},
		"tolerations": []any{map[string]any{"operator": "Exists"}}}
	if p.Node != nil {
		spec["nodeName"] = p.Node.object
	}
	return map[string]any{"apiVersion": "v1", "kind": "Pod",
		"metadata": map[string]any{"name": p.Name, "labels": labels, "annotations": p.Annotations}, "spec": spec}
}

// RunPods makes pods in the namespace default, waits until they are ready, and fills in where they are and which addresses
// they have.
func (c *Cluster) RunPods(ctx context.Context, pods ...*Pod) error {
	var items []any
	args := []string{"wait", "--for=condition=Ready", inTime}
	for _, p := range pods {
		items = append(items, p.object())
		args = append(args, "pod/"+p.Name)
	}
	text, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "List", "items": items})
	if err != nil {
		return fmt.Errorf("run pods: %w", err)
	}
	if err := c.Apply(ctx, string(text)); err != nil {
		return fmt.Errorf("run pods: %w", err)
	}
	if _, err := c.Kubectl(ctx, args...); err != nil {
		why, _ := c.Kubectl(ctx, "get", "events", "--field-selector=type=Warning", "--sort-by=.lastTimestamp")
		return fmt.Errorf("run pods: %w\n%s", err, why)
	}
	for _, p := range pods {
		if err := c.Look(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// Look reads where a pod is and which addresses it has.
func (c *Cluster) Look(ctx context.Context, p *Pod) error {
	out, err := c.Kubectl(ctx, "get", "pod", p.Name, "-o", "json")
	if err != nil {
		return fmt.Errorf("look at pod %s: %w", p.Name, err)
	}
	var o struct {
		Spec   struct{ NodeName string }
		Status struct{ PodIPs []struct{ IP netip.Addr } }
	}
	if err := json.Unmarshal([]byte(out), &o); err != nil {
		return fmt.Errorf("look at pod %s: %w", p.Name, err)
	}
	if p.Node, err = c.Node(o.Spec.NodeName); err != nil {
		return fmt.Errorf("look at pod %s: %w", p.Name, err)
	}
	p.Addrs, p.space = [2]netip.Addr{}, ""
	for _, ip := range o.Status.PodIPs {
		p.Addrs[subnet.FamilyOf(ip.IP)] = ip.IP
	}
	return nil
}

// Node is the node of that name.
func (c *Cluster) Node(name string) (*Node, error) {
	for _, n := range c.Nodes {
		if n.object == name {
			return n, nil
		}
	}
	return nil, fmt.Errorf("there is no node %q", name)
}

// inTime is how long pods and nodes may take to become ready or to go, for kubectl: a machine that does much at once is slow.
const inTime = "--timeout=240s"

// DeletePods deletes pods and waits until they are gone.
func (c *Cluster) DeletePods(ctx context.Context, pods ...*Pod) error {
	args := []string{"delete", "pod", "--wait=true", inTime}
	for _, p := range pods {
		args = append(args, p.Name)
	}
	_, err := c.Kubectl(ctx, args...)
	return err
}

// namespace finds the pod's network namespace by its address. It needs neither containerd nor the API.
func (p *Pod) namespace() (string, error) {
	if p.space != "" || p.HostNetwork {
		return p.space, nil
	}
	var found string
	err := p.Node.Do(func() error {
		spaces, err := filepath.Glob("/run/netns/*")
		if err != nil {
			return err
		}
		for _, space := range spaces {
			if has(space, p.Addrs) {
				found = space
			}
		}
		return nil
	})
	if err == nil && found == "" {
		err = errors.New("no network namespace has its address")
	}
	if err != nil {
		return "", fmt.Errorf("find pod %s on %s: %w", p.Name, p.Node.name, err)
	}
	p.space = found
	return found, nil
}

// has tells whether a network namespace has one of the addresses. It changes the namespace of a thread of its own.
func has(space string, addrs [2]netip.Addr) bool {
	file, err := os.Open(space)
	if err != nil {
		return false
	}
	defer file.Close()
	return unix.Setns(int(file.Fd()), unix.CLONE_NEWNET) == nil && hasAddr(addrs)
}

// Exec is a program of the node that runs in the network namespace of the pod, not started. Without a slash in its name it is
// looked for in the node's path; the image's program is called pod there. Node.Start starts it.
func (p *Pod) Exec(args ...string) (*exec.Cmd, error) {
	space, err := p.namespace()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("/usr/bin/env", args...)
	if space != "" {
		cmd = exec.Command("/usr/bin/env", append([]string{"nsenter", "--net=" + space}, args...)...)
	}
	cmd.Env = p.Node.environment()
	return cmd, nil
}

// Run runs a program of the node in the network namespace of the pod, and returns what it printed, which is part of the
// error too.
func (p *Pod) Run(args ...string) (string, error) {
	cmd, err := p.Exec(args...)
	if err != nil {
		return "", err
	}
	return p.Node.output(cmd, strings.Join(args, " "))
}

// Ping is a stream of packets from a pod, one every 10 ms.
type Ping struct {
	cmd   *exec.Cmd
	out   strings.Builder
	ended chan error // how it ended
}

// Ping begins to ask what serves at an address over UDP. Stop ends it.
func (p *Pod) Ping(to netip.AddrPort) (*Ping, error) {
	cmd, err := p.Exec("pod", "ping", to.String())
	if err != nil {
		return nil, err
	}
	g := &Ping{cmd: cmd, ended: make(chan error, 1)}
	cmd.Stdout, cmd.Stderr = &g.out, &g.out
	if err := p.Node.Start(cmd); err != nil {
		return nil, fmt.Errorf("ping from pod %s: %w", p.Name, err)
	}
	go func() { g.ended <- cmd.Wait() }() // a process that nobody waits for would keep its node from being switched off
	return g, nil
}

// Stop waits for the last answers and tells how many packets were sent and how many of these, or their answers, were lost. The
// error is about the ping itself.
func (g *Ping) Stop() (sent, lost int, err error) {
	if err := g.cmd.Process.Signal(unix.SIGINT); err != nil {
		return 0, 0, fmt.Errorf("end a ping: %w\n%s", err, g.out.String())
	}
	ended := <-g.ended
	for line := range strings.Lines(g.out.String()) {
		if n, _ := fmt.Sscanf(line, "%d sent, %d lost", &sent, &lost); n == 2 {
			return sent, lost, nil
		}
	}
	return 0, 0, fmt.Errorf("end a ping: %w\n%s", ended, g.out.String())
}

// Said is all that the ping printed, which tells when the first packet was sent that was lost. It is complete after Stop.
func (g *Ping) Said() string { return g.out.String() }
