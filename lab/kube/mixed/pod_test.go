package mixed

import (
	"context"
	"fmt"
	"io/fs"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/weft-network/weft/lab"
	"github.com/weft-network/weft/network/kernel/kerneltest"
)

// pod is a network namespace that a CNI plugin has attached to a node.
type pod struct {
	*kerneltest.NS
	n      *node
	name   string
	plugin string // flannel or weft
	addrs  []netip.Addr
}

// echoPort is where every pod answers.
const echoPort = 7

// addPod makes a pod with a plugin.
func (n *node) addPod(plugin string) *pod {
	t := n.w.t
	t.Helper()
	p := &pod{NS: kerneltest.NewNS(t), n: n, plugin: plugin, name: fmt.Sprintf("%s-pod%d", n.name, n.made)}
	n.made++
	n.Do(t, func() {
		c, list, rt := p.cni()
		var result types.Result
		must(t, lab.Attach(func() (err error) {
			result, err = c.AddNetworkList(context.Background(), list, rt)
			return err
		}, func() error { return c.DelNetworkList(context.Background(), list, rt) }))
		r, err := current.NewResultFromResult(result)
		must(t, err)
		for _, ip := range r.IPs {
			a, _ := netip.AddrFromSlice(ip.Address.IP)
			p.addrs = append(p.addrs, a.Unmap())
		}
	})
	for _, a := range p.addrs {
		p.Echo(t, netip.AddrPortFrom(a, echoPort))
	}
	n.pods = append(n.pods, p)
	return p
}

// cni is how the runtime calls the plugin: as flannel's manifest says, with all records in the node's folder.
func (p *pod) cni() (*libcni.CNIConfig, *libcni.NetworkConfigList, *libcni.RuntimeConf) {
	list, err := libcni.ConfListFromBytes(fmt.Appendf(nil, `{"name": "cbr0", "cniVersion": "0.3.1", "plugins": [{"type": %q, "subnetFile": %q, "dataDir": %q,
		"ipam": {"dataDir": %q}, "delegate": {"hairpinMode": true, "isDefaultGateway": true}}]}`,
		p.plugin, filepath.Join(p.n.dir, "subnet.env"), filepath.Join(p.n.dir, "cni"), filepath.Join(p.n.dir, "ipam")))
	must(p.n.w.t, err)
	return libcni.NewCNIConfigWithCacheDir([]string{p.n.w.bin.weft}, filepath.Join(p.n.dir, "cache"), nil), list,
		&libcni.RuntimeConf{ContainerID: p.name, NetNS: p.Path(), IfName: "eth0"}
}

// remove detaches the pod as a runtime does: by the config that it was attached with.
func (p *pod) remove() {
	t := p.n.w.t
	t.Helper()
	p.n.Do(t, func() {
		c, list, rt := p.cni()
		must(t, c.DelNetworkList(context.Background(), list, rt))
	})
	p.n.pods = slices.DeleteFunc(p.n.pods, func(o *pod) bool { return o == p })
}

// records are the files that plugins keep on the node for the pods that there are.
func (n *node) records() []string {
	var list []string
	for _, dir := range []string{"cni", "ipam", "cache"} {
		_ = filepath.WalkDir(filepath.Join(n.dir, dir), func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && d.Name() != "lock" && !strings.HasPrefix(d.Name(), "last_reserved_ip") {
				list = append(list, path)
			}
			return nil // what is not there has no records
		})
	}
	return list
}

// reach has packets sent between the pod and the first pods of the other nodes, in both directions, until all were answered.
func (p *pod) reach() {
	t := p.n.w.t
	t.Helper()
	for _, n := range p.n.w.nodes {
		if n == p.n || len(n.pods) == 0 {
			continue
		}
		for i, a := range p.addrs {
			n.pods[0].Reach(t, netip.AddrPortFrom(a, echoPort))
			p.Reach(t, netip.AddrPortFrom(n.pods[0].addrs[i], echoPort))
		}
	}
}

// traffic is a packet every ten milliseconds from every node's first pod to that of every other one.
func (w *world) traffic() (check func(least int)) {
	w.t.Helper()
	floods := map[string]*kerneltest.Flood{}
	for _, from := range w.nodes {
		for _, to := range w.nodes {
			if from == to {
				continue
			}
			for _, a := range to.pods[0].addrs {
				from.pods[0].Reach(w.t, netip.AddrPortFrom(a, echoPort))
				floods[from.name+" to "+a.String()] = from.pods[0].Flood(w.t, netip.AddrPortFrom(a, echoPort), 10*time.Millisecond)
			}
		}
	}
	return func(least int) {
		w.t.Helper()
		total := 0
		for name, f := range floods {
			sent, lost := f.Stop(w.t)
			if lost > 0 || sent < least {
				w.t.Errorf("%s: %d of %d packets lost", name, lost, sent)
			}
			total += sent
		}
		w.t.Logf("%d packets in %d directions, none may be lost", total, len(floods))
	}
}
