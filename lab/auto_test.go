package lab

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/network"
	"github.com/weft-network/weft/subnet"
)

// isFar tells whether a path is none because a router is in between.
func isFar(p network.PathStatus) bool { return strings.Contains(p.Reason, "is not on the link") }

// proven waits until all nodes reach their near peers without the tunnel, if the backend tries that.
func (w way) proven(t *testing.T, l *Lab) {
	t.Helper()
	for _, n := range l.Nodes {
		if w.tries {
			eventually(t, n.Name+" to use the paths that work", func() error { return reachedDirectly(nodeStatus(t, n), l.names()...) })
		}
	}
}

// reachedDirectly tells which of the named peers are near and reached by the tunnel all the same, and which others are not.
func reachedDirectly(s network.Status, names ...string) error {
	want := map[string]bool{}
	for _, name := range names {
		want[name] = true
	}
	for _, peer := range s.Peers {
		if len(peer.Paths) != len(peer.Subnets) {
			return fmt.Errorf("%d paths to %s", len(peer.Paths), peer.Node)
		}
		for _, p := range peer.Paths {
			if !isFar(p) && p.Direct != want[peer.Node] {
				return fmt.Errorf("%s of %s: direct %t: %s", p.Family, peer.Node, p.Direct, p.Reason)
			}
		}
	}
	return nil
}

// firstRoute returns the line of the route that packets to a subnet take, of which there may be another one with a larger metric.
func firstRoute(l Listing, subnet string) string {
	for _, line := range l {
		if strings.HasPrefix(line, "route "+subnet+" ") && !strings.Contains(line+" ", " metric 87 ") && !strings.Contains(line+" ", " metric 1111 ") {
			return line
		}
	}
	return ""
}

// checkRepair breaks something. A path that was broken with it has to prove itself again where weftd was down meanwhile, so that weftd
// changes more then than was broken, and is only looked at while it runs.
func (w way) checkRepair(t *testing.T, l *Lab, f Fault) {
	if !w.tries {
		checkRepair(t, l, f)
		return
	}
	before := nodeListings(t, l)
	must(t, f.Do(l.Nodes[0]))
	for _, n := range l.Nodes {
		if err := n.Holds(within(t, patience), before[n.Name]); err != nil {
			t.Errorf("%s: %s: %v", f.Name, n.Name, err)
		}
		settled(t, n)
	}
	w.proven(t, l)
	if diff := cmp.Diff(before, nodeListings(t, l)); diff != "" {
		t.Errorf("the kernels are not as before (-before +after):\n%s", diff)
	}
}

// TestAuto cuts a node off from packets with pods' addresses, as a network would that drops them: it is reached by the tunnel within
// seconds, and without it again when they pass, of which nobody notices anything.
func TestAuto(t *testing.T) {
	t.Parallel()
	w := way{tries: true}
	opts := Options{Nodes: 3, Pods: 1, Backend: `{"Type":"auto"}`, Families: subnet.Families[:], DropForward: true}
	runLab(t, opts, func(l *Lab) {
		w.proven(t, l)
		from, to, other := l.Nodes[0], l.Nodes[1], l.Nodes[2]
		var pings []*Pings
		for i := range opts.Families {
			p, err := from.Pods[0].StartPings(to.Pods[0].Addrs[i], 10*time.Millisecond)
			must(t, err)
			pings = append(pings, p)
		}
		undisturbed := newTraffic(usual)
		undisturbed.add(t, l, from.Pods[0], other.Pods[0])
		undisturbed.flow(t, 20)

		must(t, to.run(podFilter, "nft", "-f", "-"))
		eventually(t, from.Name+" to leave the paths to "+to.Name, func() error { return reachedDirectly(nodeStatus(t, from), other.Name) })
		eventually(t, other.Name+" to leave them", func() error { return reachedDirectly(nodeStatus(t, other), from.Name) })
		checkMatrix(t, l)
		for i, p := range pings {
			r := p.Finish()
			t.Logf("%s: %d of %d lost, longest pause %s", opts.Families[i], r.Lost, r.Sent, r.Pause)
			if r.Pause > 10*time.Second || r.Lost == 0 {
				t.Errorf("%s: %d lost, longest pause %s", opts.Families[i], r.Lost, r.Pause)
			}
		}
		undisturbed.check(t)

		tr := startTraffic(t, l, l.Nodes...)
		must(t, to.run("", "nft", "delete", "table", "inet", "cut"))
		w.proven(t, l)
		tr.flow(t, 20)
		tr.check(t)
	})
}

// podFilter drops pods' packets that come in by the uplink as they are.
const podFilter = `table inet cut {
	chain in {
		type filter hook prerouting priority -400; policy accept;
		iifname "eth0" ip saddr 10.244.0.0/16 drop
		iifname "eth0" ip6 saddr fd00:244::/48 drop
	}
}`

// run runs a command in the host with input.
func (h *Host) run(input string, name string, args ...string) error {
	path, err := lookPath(name)
	if err != nil {
		return err
	}
	var out strings.Builder
	cmd := exec.Command(path, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &out
	if err := h.Start(cmd); err != nil {
		return err
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out.String())
	}
	return nil
}
