package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

// Lab is a running cluster of virtual nodes.
type Lab struct {
	Nodes []*Node
	Etcd  *Etcd

	opts     Options
	dir      string // logs and etcd's data, in memory
	underlay *underlay
}

// Run builds a lab in this process, which Settle has prepared, waits until every node is ready and every pod has its
// addresses, calls f with it and takes it down again.
func Run(ctx context.Context, opts Options, f func(*Lab) error) (err error) {
	if err := opts.Check(); err != nil {
		return err
	}
	l := &Lab{opts: opts.complete()}
	defer func() { err = errors.Join(err, l.close()) }()
	if err := l.build(ctx); err != nil {
		return err
	}
	return f(l)
}

// build makes all parts in the order in which they depend on each other.
func (l *Lab) build(ctx context.Context) error {
	var err error
	if l.dir, err = os.MkdirTemp(runDir, ""); err != nil {
		return fmt.Errorf("make the lab's directory: %w", err)
	}
	l.opts.Progress(fmt.Sprintf("underlay: %s, %s", count(l.opts.Racks, "rack"), familyNames(l.opts.Families)))
	if l.underlay, err = newUnderlay(l.opts); err != nil {
		return err
	}
	l.opts.Progress("etcd: " + count(l.opts.Members, "member"))
	if l.Etcd, err = newEtcd(l); err != nil {
		return err
	}
	for i := range l.opts.Nodes {
		n, err := newNode(l, i)
		if err != nil {
			return err
		}
		l.Nodes = append(l.Nodes, n)
	}
	if err := l.Etcd.Ready(ctx); err != nil {
		return err
	}
	if err := l.Etcd.PutConfig(ctx, l.opts.Config); err != nil {
		return err
	}
	l.opts.Progress("weftd: " + count(l.opts.Nodes, "node"))
	if err := l.each(func(n *Node) error { return n.Start() }); err != nil {
		return err
	}
	if err := l.Ready(ctx); err != nil {
		return err
	}
	l.opts.Progress(fmt.Sprintf("pods: %d on each node, attached by CNI", l.opts.Pods))
	return l.each(func(n *Node) error {
		for range l.opts.Pods {
			if _, err := n.AddPod(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

// Ready waits until every node with a weftd says that it is ready and knows all others that have one.
func (l *Lab) Ready(ctx context.Context) error {
	peers := l.running() - 1
	return l.each(func(n *Node) error {
		if !n.Running() {
			return nil
		}
		return n.Ready(ctx, peers)
	})
}

// running is how many nodes have a weftd.
func (l *Lab) running() int {
	n := 0
	for _, node := range l.Nodes {
		if node.Running() {
			n++
		}
	}
	return n
}

// each calls f for all nodes at the same time.
func (l *Lab) each(f func(*Node) error) error {
	var g errgroup.Group
	for _, n := range l.Nodes {
		g.Go(func() error { return f(n) })
	}
	return g.Wait()
}

// Pods are all pods of all nodes.
func (l *Lab) Pods() []*Pod {
	var pods []*Pod
	for _, n := range l.Nodes {
		pods = append(pods, n.Pods...)
	}
	return pods
}

// Node returns the node of that name.
func (l *Lab) Node(name string) (*Node, error) {
	for _, n := range l.Nodes {
		if n.Name == name {
			return n, nil
		}
	}
	return nil, fmt.Errorf("no node %q: there are %s", name, strings.Join(l.names(), ", "))
}

// Host returns the node, pod, router, switch or member of etcd of that name.
func (l *Lab) Host(name string) (*Host, error) {
	hosts := slices.Clone(l.underlay.made)
	for _, p := range l.Pods() {
		hosts = append(hosts, p.Host)
	}
	var names []string
	for _, h := range hosts {
		if h.Name == name {
			return h, nil
		}
		names = append(names, h.Name)
	}
	return nil, fmt.Errorf("nothing in the lab is called %q: there are %s", name, strings.Join(names, ", "))
}

func (l *Lab) names() []string {
	var names []string
	for _, n := range l.Nodes {
		names = append(names, n.Name)
	}
	return names
}

// close ends all processes and lets go of all namespaces. It is safe at any stage of build.
func (l *Lab) close() error {
	errs := []error{l.each((*Node).close)}
	if l.Etcd != nil {
		errs = append(errs, l.Etcd.close())
	}
	if l.underlay != nil {
		l.underlay.close()
	}
	if l.dir != "" {
		errs = append(errs, os.RemoveAll(l.dir))
	}
	return errors.Join(errs...)
}

// count is n things in words.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
