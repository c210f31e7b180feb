package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/weft-network/weft/subnet"
)

// Pod is a network namespace that the CNI chain attached to a node.
type Pod struct {
	*Host
	Node *Node

	echo *echo // answers on UDP and TCP; nil until somebody asks
}

// conflist is the chain of plugins on every node, as dist/ ships it.
const conflist = `{
  "cniVersion": "1.1.0",
  "name": "weft",
  "plugins": [
    {"type": "weft", "delegate": {"hairpinMode": true, "isDefaultGateway": true}},
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}`

// loopback is what every container runtime adds of its own.
const loopback = `{"cniVersion": "1.0.0", "name": "loopback", "plugins": [{"type": "loopback"}]}`

// AddPod makes a pod and attaches it. The name is the node's with a letter: node1a, node1b, ...
func (n *Node) AddPod(ctx context.Context) (*Pod, error) {
	name := n.Name + podSuffix(n.made)
	n.made++
	h, err := newHost(name, n.Host)
	if err != nil {
		return nil, err
	}
	p := &Pod{Host: h, Node: n}
	if err := p.attach(ctx); err != nil {
		h.close()
		return nil, fmt.Errorf("attach pod %s: %w", name, err)
	}
	n.Pods = append(n.Pods, p)
	return p, nil
}

// podSuffix is a to z, then aa to zz.
func podSuffix(i int) string {
	if i < 26 {
		return string(rune('a' + i))
	}
	return podSuffix(i/26-1) + podSuffix(i%26)
}

// attach calls the plugins with ADD.
func (p *Pod) attach(ctx context.Context) error {
	return p.Node.Do(func() error {
		if _, err := p.call(ctx, loopback, "lo", (*libcni.CNIConfig).AddNetworkList); err != nil {
			return err
		}
		var result types.Result
		err := Attach(func() (err error) {
			result, err = p.call(ctx, conflist, uplink, (*libcni.CNIConfig).AddNetworkList)
			return err
		}, func() error { return p.detach(ctx) })
		if err != nil {
			return err
		}
		return p.take(result)
	})
}

// detach calls the plugins with DEL.
func (p *Pod) detach(ctx context.Context) error {
	_, err := p.call(ctx, conflist, uplink, func(c *libcni.CNIConfig, ctx context.Context, l *libcni.NetworkConfigList, rt *libcni.RuntimeConf) (types.Result, error) {
		return nil, c.DelNetworkList(ctx, l, rt)
	})
	return err
}

// Attach calls add, an ADD of the CNI, as a runtime does: again, after its DEL, where the kernel took longer to bring up an IPv6
// address than the plugin bridge waits. The kernel has one lock for the networks of all namespaces, which is taken for long
// where many of them come and go.
func Attach(add, del func() error) error {
	err := add()
	for again := 0; again < 20 && err != nil && strings.Contains(err.Error(), "still has tentative addresses"); again++ {
		if errDel := del(); errDel != nil {
			return errors.Join(err, fmt.Errorf("DEL, to try again: %w", errDel))
		}
		err = add()
	}
	return err
}

// take remembers the addresses of an ADD result, in the order of the families.
func (p *Pod) take(result types.Result) error {
	r, err := current.NewResultFromResult(result)
	if err != nil {
		return fmt.Errorf("read the result of CNI ADD: %w", err)
	}
	p.Addrs = nil
	for _, ip := range r.IPs {
		a, ok := netip.AddrFromSlice(ip.Address.IP)
		if !ok {
			return fmt.Errorf("result of CNI ADD has the address %q", ip.Address.IP)
		}
		p.Addrs = append(p.Addrs, a.Unmap())
	}
	slices.SortFunc(p.Addrs, func(a, b netip.Addr) int { return int(subnet.FamilyOf(a) - subnet.FamilyOf(b)) })
	if len(p.Addrs) == 0 {
		return fmt.Errorf("result of CNI ADD has no address")
	}
	return nil
}

// Remove detaches the pod with DEL and ends its namespace.
func (n *Node) Remove(ctx context.Context, p *Pod) error {
	err := n.Do(func() error { return p.detach(ctx) })
	if err != nil {
		return fmt.Errorf("detach pod %s: %w", p.Name, err)
	}
	n.Pods = slices.DeleteFunc(n.Pods, func(o *Pod) bool { return o == p })
	p.close()
	return nil
}

// verb is a method of libcni.CNIConfig.
type verb func(*libcni.CNIConfig, context.Context, *libcni.NetworkConfigList, *libcni.RuntimeConf) (types.Result, error)

// call runs a chain of plugins for the pod. It runs on a thread inside the node, so that plugins and cache do as well.
func (p *Pod) call(ctx context.Context, list, device string, v verb) (types.Result, error) {
	l, err := libcni.ConfListFromBytes([]byte(list))
	if err != nil {
		return nil, fmt.Errorf("read the CNI config: %w", err)
	}
	c := libcni.NewCNIConfigWithCacheDir([]string{cniBinDir}, "/var/lib/cni", nil)
	return v(c, ctx, l, &libcni.RuntimeConf{ContainerID: p.Name, NetNS: p.path, IfName: device})
}

// close ends the echo server and lets go of the namespaces.
func (p *Pod) close() {
	p.echo.close()
	p.Host.close()
}
