package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/network"
	"github.com/weft-network/weft/subnet"
)

// The second network of the nodes: what weftd is told, what is in etcd before the backend and after it, and what a
// NetworkAttachmentDefinition says.
const (
	blueFlag   = "--network=blue=1"
	bluePrefix = Prefix + "-blue"
	blueConfig = `{"Network": "10.246.0.0/16", "EnableIPv6": true, "IPv6Network": "fd00:246::/48", "Backend": %s}`
	blueList   = `{"cniVersion": "1.1.0", "name": "blue-pods", "plugins": [{"type": "weft", "network": "blue"}]}`
	blueFile   = "/run/cni/net.d/20-blue.conflist"
)

// blue is the second network of a lab.
type blue struct {
	l      *Lab
	config string
	device string    // that it has
	alone  []Listing // what each node holds without it
	first  *traffic  // on the first network, of which nothing is ever lost
}

// TestSeveralNetworks gives pods a second interface on a second network, as Multus does, restarts weftd while they talk on both, breaks the
// second network in several ways and takes it away: nothing of the first one is lost or changed.
func TestSeveralNetworks(t *testing.T) {
	for _, c := range []struct{ name, backend, device, firewall string }{
		{"vxlan", `{"Type": "vxlan", "VNI": 2}`, "blue.2", "nftables"},
		{"wireguard", `{"Type": "wireguard"}`, "blue-wg", "iptables"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			flags := []string{"--firewall=" + c.firewall, blueFlag}
			runLab(t, Options{Nodes: 2, Pods: 1, Families: subnet.Families[:], Flags: flags, DropForward: true}, func(l *Lab) {
				b := &blue{l: l, config: fmt.Sprintf(blueConfig, c.backend), device: c.device, first: startTraffic(t, l, l.Nodes...)}
				b.waits(t)
				b.put(t, b.config)
				b.ready(t)
				pods := b.plugAll(t)
				second := newTraffic(usual)
				second.add(t, l, pods[0], pods[1])
				second.add(t, l, pods[1], pods[0])
				second.flow(t, 20)
				b.told(t)
				b.restart(t, second, l.Nodes[0], (*Node).Kill, (*Node).Stop)
				b.refuses(t, second)
				second.check(t)
				b.loses(t, pods)
				for _, p := range pods {
					unplug(t, p)
				}
				b.removed(t)
				b.first.check(t)
				checkMatrix(t, l)
			})
		})
	}
}

// waits holds that the first network works while the second one has no config yet, and that weftd says so.
func (b *blue) waits(t *testing.T) {
	t.Helper()
	checkMatrix(t, b.l)
	want := "network blue: there is no network config yet; put net-conf.json into the etcd key " + bluePrefix + "/config\n"
	for _, n := range b.l.Nodes {
		b.alone = append(b.alone, listing(t, n.Host))
		eventually(t, "blue to wait", func() error {
			if code, text := answerOf(t, n, "/readyz"); code != 503 || text != want {
				return fmt.Errorf("/readyz of %s: %d %s", n.Name, code, text)
			}
			return nil
		})
		if out, err := n.Run(binDir+"/weftctl", "status"); err == nil || !strings.Contains(out, "\nwaiting   there is no network config yet") {
			t.Errorf("weftctl status on %s: %v\n%s", n.Name, err, out)
		}
	}
}

// put makes text the config of the second network.
func (b *blue) put(t *testing.T, text string) {
	t.Helper()
	if _, err := b.l.Etcd.Client.Put(within(t, patience), bluePrefix+"/config", text); err != nil {
		t.Fatal(err)
	}
}

// each waits until f is content with the second network of every node.
func (b *blue) each(t *testing.T, what string, f func(network.Status) error) {
	t.Helper()
	eventually(t, what, func() error {
		for _, n := range b.l.Nodes {
			s, err := n.Status(within(t, patience))
			if err == nil && len(s.Networks) != 1 {
				err = fmt.Errorf("%w: networks %+v", errGivenUp, s.Networks)
			}
			if err == nil {
				err = f(s.Networks[0])
			}
			if err != nil {
				return fmt.Errorf("%s: %w", n.Name, err)
			}
		}
		return nil
	})
}

// ready waits until every node serves the others on the second network, with the config that it should have.
func (b *blue) ready(t *testing.T) {
	t.Helper()
	b.each(t, "the second network", func(s network.Status) error {
		if s.Config != b.config {
			return fmt.Errorf("the config is %s", s.Config)
		}
		return unready(s, len(b.l.Nodes)-1)
	})
}

// plugAll attaches net1 of each node's pod to the second network. A pod that is not attached yet reaches one that is, and has the address of
// its node there.
func (b *blue) plugAll(t *testing.T) []*Pod {
	t.Helper()
	from, to := b.l.Nodes[0].Pods[0], plug(t, b.l.Nodes[1].Pods[0])
	must(t, to.answer())
	s := nodeStatus(t, b.l.Nodes[0]).Networks[0]
	for i := range to.Addrs {
		want := netip.MustParsePrefix(s.Lease.Subnets[i]).Addr()
		if got, err := source(within(t, patience), from.Host, to.Addrs[i]); got != want || err != nil {
			t.Errorf("%s sees %s from the other network, want %s, %v", to.Name, got, want, err)
		}
	}
	pods := []*Pod{plug(t, from), to}
	b.reach(t, pods)
	checkMatrix(t, b.l)
	return pods
}

// reach holds that the pods reach each other on the second network with their own addresses, with packets of any size.
func (b *blue) reach(t *testing.T, pods []*Pod) {
	t.Helper()
	for i, p := range pods {
		q := pods[1-i]
		must(t, errors.Join(p.answer(), q.answer()))
		size, err := p.mtu("net1")
		must(t, err)
		for f, dst := range q.Addrs {
			if got, err := source(within(t, patience), p.Host, dst); got != p.Addrs[f] || err != nil {
				t.Errorf("%s sees %s on blue, want %s, %v", q.Name, got, p.Addrs[f], err)
			}
			if _, err := p.Ping(within(t, patience), dst, size); err != nil {
				t.Errorf("%s on blue: %v", p.Name, err)
			}
		}
	}
}

// told holds that status, readiness and metrics are about both networks.
func (b *blue) told(t *testing.T) {
	t.Helper()
	for _, n := range b.l.Nodes {
		if code, text := answerOf(t, n, "/readyz"); code != 200 || text != "ok\n" {
			t.Errorf("/readyz of %s: %d %s", n.Name, code, text)
		}
		_, text := answerOf(t, n, "/metrics")
		for _, want := range []string{"\nweft_ready 1\n", "\nweft_ready{network=\"blue\"} 1\n", "\nweft_peers_programmed{network=\"blue\"} 1\n"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s has no metric %q", n.Name, want)
			}
		}
		out, err := n.Run(binDir+"/weftctl", "status")
		_, second, ok := strings.Cut(out, "\n\nnetwork   blue\n")
		if err != nil || !ok || !strings.Contains(second, "lease     10.246.") {
			t.Errorf("weftctl status on %s: %v\n%s", n.Name, err, out)
		}
	}
}

// restart ends weftd and starts it again while pods talk on both networks: it has nothing to do.
func (b *blue) restart(t *testing.T, second *traffic, n *Node, ends ...func(*Node) error) {
	t.Helper()
	before, m := listing(t, n.Host), watchKernel(t, n.Host)
	for _, end := range ends {
		must(t, end(n))
		b.first.flow(t, 10)
		second.flow(t, 10)
		must(t, n.Start())
		settled(t, n)
		b.ready(t)
		b.first.flow(t, 20)
		second.flow(t, 20)
		checkUntouched(t, n, before, m)
		if diff := cmp.Diff(map[string]uint64{}, grown(nil, nodeStatus(t, n).Networks[0].Kernel.Changes)); diff != "" {
			t.Errorf("weftd says that it changed the kernel for blue (-want +got):\n%s", diff)
		}
	}
}

// refuses gives the second network configs that do not do: both networks go on, also over a restart.
func (b *blue) refuses(t *testing.T, second *traffic) {
	t.Helper()
	for _, c := range []struct{ config, want string }{
		{`{"Network":`, "is refused"},
		{strings.Replace(b.config, "{", `{"Networks": [{"Network": "10.244.128.0/17"}], `, 1), "network 10.244.128.0/17 overlaps with 10.244.0.0/16 of the first network"},
		{fmt.Sprintf(blueConfig, `{"Type": "vxlan"}`), "number 1 at UDP port 8472"},
	} {
		b.put(t, c.config)
		refused := func(s network.Status) error {
			if s.Config != b.config || !strings.Contains(fmt.Sprint(s.Warnings), c.want) {
				return fmt.Errorf("config %s, warnings %q, want %q", s.Config, s.Warnings, c.want)
			}
			return unready(s, len(b.l.Nodes)-1)
		}
		b.each(t, "the config to be refused", refused)
		b.first.flow(t, 10)
		second.flow(t, 10)
		b.restart(t, second, b.l.Nodes[1], (*Node).Kill)
		b.each(t, "the config to be refused again", refused)
	}
	b.put(t, b.config)
	b.each(t, "the config to be in force", func(s network.Status) error {
		if text := fmt.Sprint(s.Warnings); strings.Contains(text, "refused") {
			return errors.New(text)
		}
		return nil
	})
	b.ready(t)
	second.flow(t, 10)
}

// loses deletes the second network's device, which comes back with all that was on it.
func (b *blue) loses(t *testing.T, pods []*Pod) {
	t.Helper()
	n := b.l.Nodes[0]
	before := listing(t, n.Host)
	link, err := n.nl.LinkByName(b.device)
	must(t, err)
	must(t, n.nl.LinkDel(link))
	if err := n.Holds(within(t, patience), before); err != nil {
		t.Errorf("after %s was deleted: %v", b.device, err)
	}
	b.ready(t)
	b.reach(t, pods)
	if diff := cmp.Diff(map[string]uint64{}, grown(nil, nodeStatus(t, n).Kernel.Repairs)); diff != "" {
		t.Errorf("weftd says that it mended the first network (-want +got):\n%s", diff)
	}
}

// removed starts weftd without the second network and cleans up after that, on all nodes.
func (b *blue) removed(t *testing.T) {
	t.Helper()
	b.l.opts.Flags = b.l.opts.Flags[:1]
	cleanup := []string{"cleanup", blueFlag, "--cni", "--cni-config-dir=" + filepath.Dir(blueFile)}
	for i, n := range b.l.Nodes {
		must(t, n.Do(func() error {
			return errors.Join(os.MkdirAll(filepath.Dir(blueFile), 0o755), os.WriteFile(blueFile, []byte(blueList), 0o644))
		}))
		if out, err := n.Run(binDir+"/weftctl", cleanup...); err == nil || !strings.Contains(out, "weftd serves network blue") {
			t.Errorf("cleaning up after a network that is served: %v\n%s", err, out)
		}
		all := listing(t, n.Host).String()
		for _, part := range []string{"link " + b.device + " ", "link cni-blue bridge", " proto 88 ", "WEFT-FWD-blue"} {
			if !strings.Contains(all, part) {
				t.Errorf("%s has no %q:\n%s", n.Name, part, all)
			}
		}
		if files := ofBlue(t, n); len(files) < 4 {
			t.Errorf("files of blue on %s: %q", n.Name, files)
		}
		must(t, n.Stop())
		must(t, n.Start())
		settled(t, n)
		if out, err := n.Run(binDir+"/weftctl", cleanup...); err != nil {
			t.Errorf("cleaning up: %v\n%s", err, out)
		}
		if diff := cmp.Diff(b.alone[i], withoutMangle(listing(t, n.Host))); diff != "" {
			t.Errorf("%s holds, when the network is gone (-want +got):\n%s", n.Name, diff)
		}
		if files := ofBlue(t, n); len(files) > 0 {
			t.Errorf("files of blue on %s: %q", n.Name, files)
		}
		if out, err := n.Run(binDir+"/weftctl", cleanup...); err != nil || out != "nothing of network blue is on this host\n" {
			t.Errorf("again: %v\n%s", err, out)
		}
		b.first.flow(t, 20)
	}
}
