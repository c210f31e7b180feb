package lab

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// PrintStatus writes what the lab consists of and how each node is.
func (l *Lab) PrintStatus(ctx context.Context, w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "node\track\taddress\tweftd\tsubnet\tpeers\tkernel\tpods")
	for _, n := range l.Nodes {
		fmt.Fprintln(tw, strings.Join(n.row(ctx), "\t"))
	}
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("print the status: %w", err)
	}
	state := "answers"
	if err := l.Etcd.Answers(ctx); err != nil {
		state = "does not answer: " + err.Error()
	}
	_, err := fmt.Fprintf(w, "etcd (%s) %s\n", strings.Join(l.Etcd.Endpoints(), ", "), state)
	return err
}

// row is one line of the status.
func (n *Node) row(ctx context.Context) []string {
	var pods []string
	for _, p := range n.Pods {
		pods = append(pods, p.Name+" "+joined(p.Addrs))
	}
	words := []string{"stopped", "-", "-", "-"}
	if n.Running() {
		s, err := n.Status(ctx)
		switch {
		case err != nil:
			words[0] = err.Error()
		case s.Ready:
			words[0] = "ready"
		default:
			words[0] = "not ready: " + strings.Join(s.Waiting, "; ")
		}
		if s.Lease != nil {
			words[1] = strings.Join(s.Lease.Subnets, " ")
		}
		words[2], words[3] = fmt.Sprint(len(s.Peers)), "not in step"
		if s.Kernel.InStep && s.Firewall.InStep {
			words[3] = "in step"
		}
	}
	return append([]string{n.Name, fmt.Sprint(n.Rack), joined(n.Addrs)}, append(words, strings.Join(pods, ", "))...)
}

func joined[T fmt.Stringer](all []T) string {
	var words []string
	for _, v := range all {
		words = append(words, v.String())
	}
	return strings.Join(words, " ")
}

// printKeys writes what etcd holds of the cluster.
func (l *Lab) printKeys(ctx context.Context, w io.Writer) error {
	config, err := l.Etcd.Client.Get(ctx, Prefix+"/config")
	if err != nil {
		return fmt.Errorf("read the network config in etcd: %w", err)
	}
	for _, kv := range config.Kvs {
		fmt.Fprintf(w, "%s\n  %s\n", kv.Key, kv.Value)
	}
	entries, err := l.Etcd.Subnets(ctx)
	if err != nil {
		return err
	}
	for _, e := range entries {
		fmt.Fprintf(w, "%s\n  %s\n", e.Key, e.Value)
	}
	return nil
}

// Demo shows whether everything is connected, and what weft made for that.
func (l *Lab) Demo(ctx context.Context, w io.Writer) (connected bool, err error) {
	fmt.Fprintln(w)
	if err := l.PrintStatus(ctx, w); err != nil {
		return false, err
	}
	fmt.Fprintln(w)
	m, err := l.Matrix(ctx)
	if err != nil {
		return false, err
	}
	if err := m.Print(w); err != nil {
		return false, err
	}
	return m.Err() == nil, l.printBuilt(ctx, w)
}

// printBuilt writes what weft made on the first node and in etcd.
func (l *Lab) printBuilt(ctx context.Context, w io.Writer) error {
	n := l.Nodes[0]
	listing, err := n.Listing()
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "\nWhat weftd made on %s:\n", n.Name)
	for _, line := range listing {
		if weftMade(line) {
			fmt.Fprintln(w, "  "+line)
		}
	}
	fmt.Fprintln(w, "\nWhat etcd holds:")
	if err := l.printKeys(ctx, indented{w}); err != nil {
		return err
	}
	_, err = fmt.Fprint(w, lookInside)
	return err
}

const lookInside = `
To look inside, and to break it:
  bin/weftctl lab up                         the same lab in the background
  bin/weftctl lab exec node1 -- weftctl status
  bin/weftctl lab exec node1a -- ip route    any program of this machine, in a node or a pod
  bin/weftctl lab break route                what is deleted comes back; weftctl lab break lists what else
  bin/weftctl lab ping                       all pairs again
  bin/weftctl lab down
`

// weftMade tells whether a line of a listing is an object that weftd put there.
func weftMade(line string) bool {
	if strings.Contains(line, "proto kernel") {
		return false
	}
	for _, sign := range []string{" flannel", "proto 87", "nft inet weft", "WEFT-", "sysctl"} {
		if strings.Contains(line, sign) {
			return true
		}
	}
	return false
}

// indented writes lines with two blanks before each.
type indented struct{ w io.Writer }

func (i indented) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		if _, err := io.WriteString(i.w, "  "+line); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}
