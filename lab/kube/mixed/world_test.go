package mixed

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/weft-network/weft/lab/kube"
	"github.com/weft-network/weft/network/kernel/kerneltest"
)

// prefix is that of flannel's annotations.
const prefix = "flannel.alpha.coreos.com/"

// world is an API server and nodes on one network.
type world struct {
	t    *testing.T
	api  *kube.ControlPlane
	bin  binaries
	dir  string
	dual bool

	lan   *kerneltest.NS // the switch between the nodes, and their router
	nodes []*node
}

// newWorld makes the network, the cluster's network config, and nodes without an agent.
func newWorld(t *testing.T, api *kube.ControlPlane, bin binaries, c testCase) *world {
	t.Helper()
	w := &world{t: t, api: api, bin: bin, dir: t.TempDir(), dual: c.dual, lan: kerneltest.NewNS(t)}
	w.do("DELETE", "/api/v1/nodes", nil)
	must(t, api.Kubeconfig(w.file("kubeconfig"), "admin"))
	conf := `{"Network": "10.5.0.0/16", "Backend": ` + c.backend
	if c.dual {
		conf += `, "EnableIPv6": true, "IPv6Network": "fd00:5::/56"`
	}
	must(t, os.WriteFile(w.file("net-conf.json"), []byte(conf+"}"), 0o600))
	w.lan.Do(t, func() {
		bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "lan"}}
		must(t, netlink.LinkAdd(bridge))
		must(t, netlink.LinkSetUp(bridge))
		for _, text := range []string{"192.168.0.254/24", "fd00:192::fe/64"} {
			addr, err := netlink.ParseAddr(text)
			must(t, err)
			must(t, netlink.AddrAdd(bridge, addr))
		}
	})
	for range c.nodes {
		w.addNode()
	}
	return w
}

func (w *world) file(name string) string { return filepath.Join(w.dir, name) }

type object = map[string]any

// do sends a request that has to succeed to the API server.
func (w *world) do(method, path string, body any) []byte {
	w.t.Helper()
	text, err := json.Marshal(body)
	must(w.t, err)
	kind := ""
	if method == "PATCH" {
		kind = "application/strategic-merge-patch+json"
	}
	out, err := w.api.Do(w.t.Context(), method, path, kind, text)
	must(w.t, err)
	return out
}

// node is a machine: a network namespace with an uplink, and a Node in the cluster.
type node struct {
	*kerneltest.NS
	w      *world
	name   string
	number int
	dir    string
	agent  *agent
	pods   []*pod
	made   int // pods
}

// addNode makes a machine and its Node, with pod CIDRs as a controller manager gives them.
func (w *world) addNode() *node {
	t := w.t
	t.Helper()
	number := len(w.nodes) + 1
	n := &node{NS: kerneltest.NewNS(t), w: w, number: number, name: fmt.Sprintf("node-%d", number), dir: t.TempDir()}
	addrs := []string{fmt.Sprintf("192.168.0.%d", number), fmt.Sprintf("fd00:192::%x", number)}
	port := fmt.Sprintf("port%d", number)
	w.lan.Join(t, port, n.NS, "eth0", nil, []string{addrs[0] + "/24", addrs[1] + "/64"})
	w.lan.Do(t, func() {
		bridge, err := netlink.LinkByName("lan")
		must(t, err)
		link, err := netlink.LinkByName(port)
		must(t, err)
		must(t, netlink.LinkSetMaster(link, bridge))
	})
	n.Do(t, func() {
		for _, via := range []string{"192.168.0.254", "fd00:192::fe"} {
			must(t, netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP(via)}))
		}
		for _, name := range []string{"all", "default"} { // nobody else can have these addresses
			must(t, os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/accept_dad", []byte("0"), 0o644))
		}
	})
	n.bringAPI()
	cidrs, internal := n.cidrs(), []object{{"type": "InternalIP", "address": addrs[0]}}
	if w.dual {
		internal = append(internal, object{"type": "InternalIP", "address": addrs[1]})
	}
	w.do("POST", "/api/v1/nodes", object{"apiVersion": "v1", "kind": "Node",
		"metadata": object{"name": n.name, "annotations": object{"node.alpha.kubernetes.io/ttl": "0"}}, // flanneld panics without any
		"spec":     object{"podCIDR": cidrs[0], "podCIDRs": cidrs}, "status": object{"addresses": internal}})
	w.nodes = append(w.nodes, n)
	return n
}

// cidrs are the pod CIDRs of the node.
func (n *node) cidrs() []string {
	cidrs := []string{fmt.Sprintf("10.5.%d.0/24", n.number), fmt.Sprintf("fd00:5:0:%x::/64", n.number)}
	if !n.w.dual {
		cidrs = cidrs[:1]
	}
	return cidrs
}

// bringAPI lets the API server answer on the node's loopback, as it does on the test's.
func (n *node) bringAPI() {
	t := n.w.t
	t.Helper()
	var l net.Listener
	n.Do(t, func() {
		var err error
		l, err = net.Listen("tcp", kube.APIAddress)
		must(t, err)
	})
	var tasks sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	tasks.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", kube.APIAddress)
			if err != nil {
				_ = client.Close()
				continue
			}
			mu.Lock()
			conns = append(conns, client, server)
			mu.Unlock()
			tasks.Go(func() { pump(server, client) })
			tasks.Go(func() { pump(client, server) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		tasks.Wait()
	})
}

func pump(to, from net.Conn) {
	_, _ = io.Copy(to, from) // that a connection ends is no error
	_, _ = to.Close(), from.Close()
}

// annotations are those of the Node.
func (n *node) annotations() map[string]string {
	n.w.t.Helper()
	var got struct {
		Metadata struct{ Annotations map[string]string }
	}
	must(n.w.t, json.Unmarshal(n.w.do("GET", "/api/v1/nodes/"+n.name, nil), &got))
	return got.Metadata.Annotations
}

// read is what a file in the node's folder says; nothing where there is none.
func (n *node) read(name string) string {
	text, err := os.ReadFile(filepath.Join(n.dir, name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		n.w.t.Fatal(err)
	}
	return string(text)
}

// eventually tries again and again, for a minute.
func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	late, again := time.After(time.Minute), time.NewTicker(20*time.Millisecond)
	defer again.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-late:
			t.Fatalf("waited for %s: %v", what, err)
		case <-again.C:
		}
	}
}

// tail is the end of a text.
func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
