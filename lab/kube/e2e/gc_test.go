package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"

	"github.com/weft-network/weft/lab/kube"
	"github.com/weft-network/weft/subnet"
)

// engine attaches network namespaces of a node by the installed configuration, with the library and the cache of containerd
// and CRI-O. containerd 2.4 does not use GC, CRI-O does: so this is how CRI-O calls it.
type engine struct {
	n *kube.Node
}

// do runs f inside the node with the installed configuration.
func (r engine) do(f func(c *libcni.CNIConfig, list *libcni.NetworkConfigList) error) error {
	return r.n.Do(func() error {
		list, err := libcni.NetworkConfFromFile(confFile)
		if err != nil {
			return err
		}
		return f(libcni.NewCNIConfig([]string{"/opt/cni/bin"}, nil), list)
	})
}

// space is a network namespace that stands for a pod.
func space(name string, limits bool) *libcni.RuntimeConf {
	c := &libcni.RuntimeConf{ContainerID: name, NetNS: "/run/netns/" + name, IfName: "eth0", CapabilityArgs: map[string]any{}}
	if limits {
		c.CapabilityArgs["bandwidth"] = map[string]int{"ingressRate": limit, "ingressBurst": burst}
	}
	return c
}

// The limit of an attachment, in bits a second and bits.
const (
	limit = 8_000_000
	burst = 800_000
)

// attach makes and attaches a namespace, and returns its IPv4 address.
func (r engine) attach(t *testing.T, c *libcni.RuntimeConf) netip.Addr {
	t.Helper()
	if _, err := r.n.Run("ip", "netns", "add", c.ContainerID); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := r.n.Run("ip", "netns", "delete", c.ContainerID); err != nil {
			t.Error(err)
		}
	})
	var addr netip.Addr
	must(t, r.do(func(cni *libcni.CNIConfig, list *libcni.NetworkConfigList) error {
		result, err := cni.AddNetworkList(context.Background(), list, c)
		if err != nil {
			return err
		}
		var out strings.Builder
		if err := result.PrintTo(&out); err != nil {
			return err
		}
		for word := range strings.FieldsFuncSeq(out.String(), func(r rune) bool { return r == '"' }) {
			if p, err := netip.ParsePrefix(word); err == nil && p.Addr().Is4() && p.Bits() > 0 && !addr.IsValid() {
				addr = p.Addr()
			}
		}
		return nil
	}))
	return addr
}

// detach is DEL.
func (r engine) detach(t *testing.T, c *libcni.RuntimeConf) {
	t.Helper()
	must(t, r.do(func(cni *libcni.CNIConfig, list *libcni.NetworkConfigList) error {
		return cni.DelNetworkList(context.Background(), list, c)
	}))
}

// sandboxes are the pods that containerd knows.
func (r engine) sandboxes(t *testing.T) []types.GCAttachment {
	t.Helper()
	out, err := r.n.Run("ctr", "-n", "k8s.io", "containers", "ls", "-q", `labels."io.cri-containerd.kind"==sandbox`)
	must(t, err)
	var list []types.GCAttachment
	for id := range strings.FieldsSeq(out) {
		list = append(list, types.GCAttachment{ContainerID: id, IfName: "eth0"})
	}
	return list
}

// testGC attaches three namespaces beside a pod. Two are forgotten by the runtime, of one not even the library remembers the
// attachment.
func testGC(t *testing.T, a *attachment) {
	r := engine{a.Nodes[0]}
	here, there := &kube.Pod{Name: "here", Node: a.Nodes[0]}, &kube.Pod{Name: "there", Node: a.Nodes[1]}
	a.run(t, here, there)
	known, forgotten, lost := space("known", true), space("forgotten", false), space("lost", false)
	addr := r.attach(t, known)
	held := leftovers(t, r.n)
	r.attach(t, forgotten)
	r.attach(t, lost)
	_, err := r.n.Run("sh", "-c", "rm /var/lib/cni/results/*-lost-eth0")
	must(t, err)

	valid := append(r.sandboxes(t), types.GCAttachment{ContainerID: "known", IfName: "eth0"})
	for range 2 {
		must(t, r.do(func(cni *libcni.CNIConfig, list *libcni.NetworkConfigList) error {
			return cni.GCNetworkList(context.Background(), list, &libcni.GCArgs{ValidAttachments: valid})
		}))
		now := leftovers(t, r.n)
		for _, kind := range []string{"address", "record", "result"} {
			if count(now, kind) != count(held, kind) {
				t.Errorf("after GC, %d of %s, want %d: %q", count(now, kind), kind, count(held, kind), now)
			}
		}
	}
	must(t, errors.Join(reaches(here, there), reaches(there, here)))
	isHeld(t, there, addr, r.n, "known")
	r.detach(t, known)
}

// isHeld sends to an attachment with a limit, which the transfer must not pass by much.
func isHeld(t *testing.T, from *kube.Pod, addr netip.Addr, n *kube.Node, name string) {
	t.Helper()
	const size = 3_000_000 // bytes: more than two seconds without the burst
	to := &kube.Pod{Name: name, Node: n, Addrs: [2]netip.Addr{subnet.Inet: addr}}
	out, in := connect(t, from, to, subnet.Inet)
	began := time.Now()
	done := make(chan error, 1)
	go func() {
		n, err := io.Copy(io.Discard, in)
		if err == nil && n != size {
			err = fmt.Errorf("%d bytes of %d came", n, size)
		}
		done <- err
	}()
	_, err := out.Write(make([]byte, size))
	must(t, errors.Join(err, out.Close(), <-done))
	rate := (size*8 - burst) / time.Since(began).Seconds()
	t.Logf("%.1f Mbit/s, with a limit of %.1f", rate/1e6, limit/1e6)
	if rate > 1.3*limit {
		t.Errorf("%.1f Mbit/s passed a limit of %.1f", rate/1e6, limit/1e6)
	}
}

// connect opens a connection between pods, which ends with the test.
func connect(t *testing.T, from, to *kube.Pod, f subnet.Family) (out, in net.Conn) {
	t.Helper()
	var l net.Listener
	must(t, to.Do(func() (err error) {
		l, err = net.Listen("tcp", netip.AddrPortFrom(to.Addrs[f], 0).String())
		return err
	}))
	defer l.Close()
	must(t, from.Do(func() (err error) {
		out, err = net.DialTimeout("tcp", l.Addr().String(), patience)
		return err
	}))
	in, err := l.Accept()
	must(t, err)
	t.Cleanup(func() { out.Close(); in.Close() })
	return out, in
}

// holders lists whom host-local holds addresses for, by the address.
func holders(n *kube.Node) (map[string]string, error) {
	list := map[string]string{}
	err := n.Do(func() error {
		files, err := filepath.Glob("/var/lib/cni/networks/cbr0/[0-9]*")
		for _, f := range files {
			if text, err := os.ReadFile(f); err == nil {
				list[filepath.Base(f)], _, _ = strings.Cut(string(text), "\n")
			}
		}
		return err
	})
	return list, err
}
