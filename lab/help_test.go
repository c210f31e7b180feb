package lab

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/weft-network/weft/network"
	"github.com/weft-network/weft/subnet"
)

// patience is how long anything may take that is only a matter of time. It is generous: nothing here measures speed.
const patience = 60 * time.Second

// runLab runs f on a lab and prints what the nodes logged when something failed.
func runLab(t *testing.T, opts Options, f func(*Lab)) {
	t.Helper()
	err := Run(within(t, patience), opts, func(l *Lab) error {
		defer func() {
			if t.Failed() {
				logNodes(t, l)
			}
		}()
		f(l)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func logNodes(t *testing.T, l *Lab) {
	for _, n := range l.Nodes {
		t.Logf("the last that weftd said on %s:\n%s", n.Name, lastLines(n.Log(), 30))
	}
}

// within is the test's context with a limit from now on.
func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func parsedFamilies(t *testing.T, s string) []subnet.Family {
	t.Helper()
	f, err := ParseFamilies(s)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// checkMatrix tries all pairs.
func checkMatrix(t *testing.T, l *Lab) {
	t.Helper()
	m, err := l.Matrix(within(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	pods := len(l.Pods())
	if want := len(l.opts.Families) * (3*pods*(pods-1) + pods + len(l.Nodes)*pods); len(m.Checks) != want {
		t.Errorf("%d checks were made, want %d", len(m.Checks), want)
	}
	if err := m.Err(); err != nil {
		var b strings.Builder
		_ = m.Print(&b)
		t.Errorf("%v\n%s", err, b.String())
	}
}

func listing(t *testing.T, h *Host) Listing {
	t.Helper()
	l, err := h.Listing()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// find returns the first line that starts like this.
func find(l Listing, prefix string) string {
	for _, line := range l {
		if strings.HasPrefix(line, prefix) {
			return line
		}
	}
	return ""
}

func nodeStatus(t *testing.T, n *Node) network.Status {
	t.Helper()
	s, err := n.Status(within(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// nodeSubnet is the node's subnet in the lab's i-th family.
func nodeSubnet(t *testing.T, n *Node, i int) string {
	t.Helper()
	s := nodeStatus(t, n)
	if s.Lease == nil || len(s.Lease.Subnets) <= i {
		t.Fatalf("%s has no lease for family %d: %+v", n.Name, i, s.Lease)
	}
	return netip.MustParsePrefix(s.Lease.Subnets[i]).String()
}

// eventually waits until f returns nil.
func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	if err := await(within(t, patience), what, f); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
