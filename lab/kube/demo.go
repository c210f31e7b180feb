package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/weft-network/weft/subnet"
)

// PrintStatus writes what the cluster consists of, as kubectl sees it.
func (c *Cluster) PrintStatus(ctx context.Context, w io.Writer) error {
	for _, part := range []struct {
		title string
		args  []string
	}{
		{"Nodes", []string{"get", "nodes", "-o", "custom-columns=NAME:.metadata.name,READY:.status.conditions[?(@.type==\"Ready\")].status," +
			"VERSION:.status.nodeInfo.kubeletVersion,RUNTIME:.status.nodeInfo.containerRuntimeVersion,ADDRESSES:.status.addresses[?(@.type==\"InternalIP\")].address"}},
		{"Their pod CIDRs, and what Weft wrote on them", []string{"get", "nodes", "-o", "custom-columns=NAME:.metadata.name,POD CIDRS:.spec.podCIDRs[*]," +
			annotation("backend-type") + c.annotations() + "NETWORKUNAVAILABLE:.status.conditions[?(@.type==\"NetworkUnavailable\")].status"}},
		{"Pods", []string{"get", "pods", "-A", "-o", "wide"}},
		{"Services", []string{"get", "services", "-A"}},
	} {
		out, err := c.Kubectl(ctx, part.args...)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "%s:\n%s\n", part.title, indent(out)); err != nil {
			return fmt.Errorf("print the status: %w", err)
		}
	}
	return nil
}

// annotations are the columns with what the families have of their own.
func (c *Cluster) annotations() string {
	var columns strings.Builder
	for _, f := range c.o.Families {
		columns.WriteString(annotation([...]string{"public-ip", "public-ipv6"}[f]) + annotation([...]string{"backend-data", "backend-v6-data"}[f]))
	}
	return columns.String()
}

// annotation is a column of kubectl with an annotation that flannel and Weft share.
func annotation(key string) string {
	return strings.ToUpper(key) + ":.metadata.annotations.flannel\\.alpha\\.coreos\\.com/" + key + ","
}

// indent puts two blanks before every line.
func indent(text string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		out.WriteString("  " + line)
	}
	return out.String()
}

// Demo shows whether the cluster is as it should be: nodes, pods, a Service and all connections. False means that something
// is not connected.
func (c *Cluster) Demo(ctx context.Context, w io.Writer) (connected bool, err error) {
	fmt.Fprintln(w)
	if err := c.PrintStatus(ctx, w); err != nil {
		return false, err
	}
	service := c.printService(ctx, w)
	if service != nil {
		fmt.Fprintln(w, "✗", service)
	}
	fmt.Fprintln(w)
	m, err := c.Matrix(ctx)
	if err != nil {
		return false, err
	}
	if err := m.Print(w); err != nil {
		return false, err
	}
	return service == nil && m.Err() == nil, nil
}

// printService asks the Service of the playground until all of its pods have answered.
func (c *Cluster) printService(ctx context.Context, w io.Writer) error {
	if c.o.Proxy == "" {
		return nil
	}
	var errs []error
	first, last := c.playing[0], c.Nodes[len(c.Nodes)-1]
	for _, f := range c.o.Families {
		to, err := c.serviceAddr(ctx, f)
		if err != nil {
			return err
		}
		errs = append(errs,
			c.printShares(ctx, w, first.Name+" asks the Service at", first.asker(), netip.AddrPortFrom(to, 80)),
			c.printShares(ctx, w, "outside asks "+last.Name()+" at", outside(f), netip.AddrPortFrom(last.Addr(f), playgroundPort)))
	}
	return errors.Join(errs...)
}

// serviceAddr is the address of the playground's Service.
func (c *Cluster) serviceAddr(ctx context.Context, f subnet.Family) (netip.Addr, error) {
	out, err := c.Kubectl(ctx, "get", "service", playgroundService, "-o", "jsonpath={.spec.clusterIPs[*]}")
	if err != nil {
		return netip.Addr{}, err
	}
	for word := range strings.FieldsSeq(out) {
		if a, err := netip.ParseAddr(word); err == nil && subnet.FamilyOf(a) == f {
			return a, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("the Service has no %s address but %q", f, out)
}

// questions are enough for every pod behind a Service to have been asked once.
const questions = 100

// printShares writes how many questions each pod of the playground answers. kube-proxy may need a moment to know them all.
func (c *Cluster) printShares(ctx context.Context, w io.Writer, who string, a asker, to netip.AddrPort) error {
	shares, asked := map[string]int{}, 0
	var last error
	for ; asked < questions && len(shares) < len(c.playing) && ctx.Err() == nil; asked++ {
		said, err := a.ask(to.Addr(), to.Port(), 0)
		if err != nil {
			last = err
			continue
		}
		shares[said.name]++
	}
	var words []string
	for _, name := range slices.Sorted(maps.Keys(shares)) {
		words = append(words, fmt.Sprintf("%s %d", name, shares[name]))
	}
	fmt.Fprintf(w, "%s %s, %d times; answers: %s\n", who, to, asked, strings.Join(words, ", "))
	if len(shares) < len(c.playing) {
		return fmt.Errorf("%s %s: %d of %d pods answered: %w", who, to, len(shares), len(c.playing), errors.Join(last, ctx.Err()))
	}
	return nil
}
