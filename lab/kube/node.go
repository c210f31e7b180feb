package kube

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/weft-network/weft/subnet"
)

// Node is a machine with containerd, a kubelet and, where the cluster has one, a kube-proxy.
type Node struct {
	machine
	c      *Cluster
	object string // name of its Node object
	filled bool   // with images

	Containerd, Kubelet, Proxy *Service
}

// newNode is the node with that number, from 0, switched off.
func (c *Cluster) newNode(number int) *Node {
	name := fmt.Sprintf("node%d", number+1)
	n := &Node{c: c, object: name, machine: machine{name: name, dir: filepath.Join(c.dir, name)}}
	if c.layout.unified {
		n.cgroup = c.layout.folders(n.cgroupName())[0]
	}
	for _, f := range c.o.Families {
		n.addrs[f] = lanAddr(f, nodeNumber+number)
	}
	n.Containerd = &Service{n: n, name: "containerd", command: n.containerdCommand, ready: n.containerdReady}
	n.Kubelet = &Service{n: n, name: "kubelet", command: n.kubeletCommand}
	n.Proxy = &Service{n: n, name: "kube-proxy", command: n.proxyCommand}
	return n
}

// Name is the name of the node's Node object, and unless it was renamed its host name.
func (n *Node) Name() string { return n.object }

// Rename has kubelet and kube-proxy know the node as NAME-renamed, from their next start on.
func (n *Node) Rename() { n.object = n.renamed() }

func (n *Node) renamed() string { return n.name + "-renamed" }

// Addr is the node's address on the underlay; it is not valid where the cluster has no such family.
func (n *Node) Addr(f subnet.Family) netip.Addr { return n.addrs[f] }

// cgroupName is the name of the node's cgroup. Clusters that run at the same time have others.
func (n *Node) cgroupName() string { return cgroupPrefix + n.c.id + "-" + n.name }

// Boot switches the node on: an empty /run, everything else as it was, and its services started.
func (n *Node) Boot(ctx context.Context) error {
	var id [16]byte
	_, _ = rand.Read(id[:]) // it never fails
	uuid := hex.EncodeToString(id[:])
	boot := strings.Join([]string{uuid[:8], uuid[8:12], uuid[12:16], uuid[16:20], uuid[20:]}, "-")
	if err := os.MkdirAll(n.dir, 0o755); err != nil {
		return fmt.Errorf("boot %s: %w", n.name, err)
	}
	err := n.boot(n.logFile("machine"), machineConfig{Name: n.name, Dir: n.dir, Cgroup: n.cgroupName(), Unified: n.c.layout.unified, Boot: boot})
	if err == nil {
		err = n.plug()
	}
	if err == nil {
		err = n.Do(n.prepare)
	}
	if err == nil {
		err = n.Containerd.Start(ctx)
	}
	// The kubelet ends when a mount of an image that is being unpacked goes away while it looks around.
	if err == nil && !n.filled {
		err = n.importAll()
	}
	for _, s := range n.services() {
		if err == nil {
			err = s.Start(ctx)
		}
	}
	if err != nil {
		n.PowerOff()
		return fmt.Errorf("boot %s: %w", n.name, err)
	}
	return nil
}

// importAll gives the node the images that every node gets.
func (n *Node) importAll() error {
	for _, file := range n.c.o.Parts.Images {
		if err := n.Import(file); err != nil {
			return err
		}
	}
	n.filled = true
	return nil
}

// prepare makes what the services find on a node.
func (n *Node) prepare() error {
	errs := []error{setSysctl("net/ipv4/ip_forward", "1"), os.WriteFile("/etc/hostname", []byte(n.name+"\n"), 0o644),
		os.WriteFile("/etc/machine-id", []byte(machineID(n.name)+"\n"), 0o444)}
	if n.addrs[subnet.Inet6].IsValid() {
		errs = append(errs, setSysctl("net/ipv6/conf/all/forwarding", "1"))
	}
	for _, dir := range []string{"/etc/cni/net.d", "/etc/kubernetes/manifests", "/opt/cni/bin", "/run/netns", "/var/lib/containerd", "/var/lib/kubelet"} {
		errs = append(errs, os.MkdirAll(dir, 0o755))
	}
	return errors.Join(errs...)
}

// machineID is what tells installations apart.
func machineID(name string) string { return hex.EncodeToString([]byte(fmt.Sprintf("%16.16s", name))) }

// PowerOff ends everything on the node at once. Its disk stays.
func (n *Node) PowerOff() {
	n.off()
	for _, s := range n.services() {
		if s.p != nil {
			<-s.p.ended
			s.p = nil
		}
	}
	// The kernel takes the device of a namespace away some time after the namespace; the next one has the same name.
	_ = n.unplug() // it may have gone already
}

// Reboot switches the node off and on again.
func (n *Node) Reboot(ctx context.Context) error {
	n.PowerOff()
	return n.Boot(ctx)
}

// services are those of the node, in the order of their start.
func (n *Node) services() []*Service {
	list := []*Service{n.Containerd, n.Kubelet}
	if n.c.o.Proxy != "" {
		list = append(list, n.Proxy)
	}
	return list
}

// logFile is where the output of a service goes.
func (n *Node) logFile(name string) string { return filepath.Join(n.c.dir, n.name+"-"+name+".log") }

// environment is what programs on a node get.
func (m *machine) environment() []string {
	return []string{"PATH=" + programDir + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8"}
}

// Service is a program that runs on a node for as long as the node does.
type Service struct {
	n       *Node
	name    string
	command func() (*exec.Cmd, error)
	ready   func(context.Context) error // waits until it can be used; nil where nobody needs to wait
	p       *process
}

// Start starts the service, and returns when others can use it.
func (s *Service) Start(ctx context.Context) error {
	if s.p.running() {
		return nil
	}
	cmd, err := s.command()
	if err != nil {
		return fmt.Errorf("start %s on %s: %w", s.name, s.n.name, err)
	}
	cmd.Env = append(s.n.environment(), cmd.Env...)
	s.p, err = spawn(s.name+" on "+s.n.name, s.n.logFile(s.name), cmd, func() error { return s.n.launch(cmd) })
	if err != nil || s.ready == nil {
		return err
	}
	return await(ctx, s.name+" on "+s.n.name, s.p, func() error { return s.ready(ctx) })
}

// Stop ends the service: with SIGTERM as an upgrade does, or with SIGKILL as a crash does. What it started goes on.
func (s *Service) Stop(signal syscall.Signal) {
	if s.p != nil {
		s.p.end(signal)
		s.p = nil
	}
}

// Log is the end of what the service has said.
func (s *Service) Log() string { return lastLines(s.n.logFile(s.name), 40) }
