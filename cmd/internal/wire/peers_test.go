package wire_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/cmd/internal/wire"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
	"github.com/weft-network/weft/subnet/etcd"
	"github.com/weft-network/weft/subnet/kube"
)

// TestPeersOfFlannel goes through leases as flanneld v0.28 writes them, in etcd and on Nodes, to what the kernel of a node of
// Weft must hold for such a peer, and from that node to what it writes for flanneld to read. The files in testdata/flanneld
// hold both; the flag -update of golden files writes anew what Weft makes of the rest.
func TestPeersOfFlannel(t *testing.T) {
	files, err := filepath.Glob("testdata/flanneld/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			golden, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			p := newPeering(t, golden)
			got := txtar.Archive{Comment: golden.Comment}
			for _, f := range golden.Files {
				if !strings.HasPrefix(f.Name, "want ") {
					got.Files = append(got.Files, f)
				}
			}
			for _, part := range []struct{ name, text string }{
				{"want peer", p.peer(t)}, {"want in etcd", p.inEtcd(t)}, {"want on the Node", p.onNode(t)}, {"want flanneld to read", p.read(t)},
			} {
				got.Files = append(got.Files, txtar.File{Name: part.name, Data: []byte(part.text)})
			}
			if diff := cmp.Diff(string(txtar.Format(golden)), string(txtar.Format(&got))); diff != "" && !isUpdate() {
				t.Errorf("-want +got:\n%s", diff)
			}
			if isUpdate() {
				if err := os.WriteFile(file, txtar.Format(&got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// isUpdate tells whether the flag -update, of package backendtest, is given.
func isUpdate() bool { return flag.Lookup("update").Value.String() == "true" }

// peering is a golden file as values.
type peering struct {
	backend  backend.Backend
	node     backend.Node
	own      subnet.Lease
	families []subnet.Family
	theirs   map[string]string
}

// newPeering reads a file: "config" is the Backend object, "families" are those of the cluster.
func newPeering(t *testing.T, golden *txtar.Archive) peering {
	t.Helper()
	p := peering{theirs: map[string]string{}}
	for _, f := range golden.Files {
		p.theirs[f.Name] = strings.TrimSuffix(string(f.Data), "\n")
	}
	var config struct{ Type string }
	check(t, json.Unmarshal([]byte(p.theirs["config"]), &config))
	b, warnings, err := wire.Backend(config.Type, p.theirs["config"])
	if err != nil || warnings != nil {
		t.Fatalf("config: %v, %v", warnings, err)
	}
	p.backend = b
	p.node = backend.Node{Name: "node-w", WireGuardKey: kernel.Key{1, 2, 3}}
	for f, x := range [2]struct{ network, subnet, addr, link string }{
		{"10.5.0.0/16", "10.5.1.0/24", "192.168.64.1", "192.168.64.0/24"},
		{"fd00:5::/56", "fd00:5:0:1::/64", "2001:db8::1", "2001:db8::/64"},
	} {
		f := subnet.Family(f)
		if !strings.Contains(p.theirs["families"], f.String()) {
			continue
		}
		p.families = append(p.families, f)
		p.node.Networks[f].Prefix = netip.MustParsePrefix(x.network)
		p.own.Subnets[f] = netip.MustParsePrefix(x.subnet)
		a := netip.MustParseAddr(x.addr)
		p.node.Uplinks[f] = backend.Uplink{Link: "eth0", MTU: 1500, Addr: a, Public: a, OnLink: []netip.Prefix{netip.MustParsePrefix(x.link)}}
	}
	p.own.Attrs, err = b.Attrs(p.node)
	check(t, err)
	p.own.Node = p.node.Name
	p.node.Kept = p.own.Attrs
	return p
}

// peer returns what the kernel holds for a peer as flanneld announces it, which is the same wherever it does.
func (p peering) peer(t *testing.T) string {
	t.Helper()
	var texts []string
	if value := p.theirs["flanneld in etcd"]; value != "" {
		name, value, _ := strings.Cut(value, "\n")
		l, err := etcd.ParseLease(name, []byte(value))
		check(t, err)
		texts = append(texts, p.plan(t, l))
	}
	n := &kube.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-f", Annotations: map[string]string{}}}
	for i, line := range strings.Split(p.theirs["flanneld on the Node"], "\n") {
		if i == 0 {
			n.Spec.PodCIDRs = strings.Fields(line)
			continue
		}
		name, value, _ := strings.Cut(line, ": ")
		n.Annotations[kube.DefaultPrefix+"/"+name] = value
	}
	l, err := kube.ParseLease(kube.DefaultPrefix, n)
	check(t, err)
	texts = append(texts, p.plan(t, l))
	if diff := cmp.Diff(texts[0], texts[len(texts)-1]); diff != "" {
		t.Errorf("a lease in etcd and one on the Node make different peers:\n%s", diff)
	}
	return texts[0]
}

func (p peering) plan(t *testing.T, l subnet.Lease) string {
	t.Helper()
	var s kernel.State
	check(t, p.backend.Peer(p.node, l, &s))
	return s.String()
}

func (p peering) inEtcd(t *testing.T) string {
	t.Helper()
	name, value, err := etcd.FormatLease(p.own)
	check(t, err)
	return name + "\n" + value + "\n"
}

func (p peering) onNode(*testing.T) string {
	var b strings.Builder
	m := kube.FormatLease(kube.DefaultPrefix, p.own)
	for _, name := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(&b, "%s: %s\n", strings.TrimPrefix(name, kube.DefaultPrefix+"/"), m[name])
	}
	return b.String()
}

// flanneldLease is what flanneld reads of a value in etcd, with its types.
type flanneldLease struct {
	PublicIP      netip.Addr
	PublicIPv6    *netip.Addr
	BackendType   string
	BackendData   json.RawMessage
	BackendV6Data json.RawMessage
}

// read returns what flanneld v0.28 would read of what Weft writes, and fails where flanneld would.
func (p peering) read(t *testing.T) string {
	t.Helper()
	_, value, err := etcd.FormatLease(p.own)
	check(t, err)
	var stored flanneldLease
	check(t, json.Unmarshal([]byte(value), &stored))
	m := kube.FormatLease(kube.DefaultPrefix, p.own)
	get := func(name string) string { return m[kube.DefaultPrefix+"/"+name] }
	if get("kube-subnet-manager") != "true" || get("backend-type") == "" {
		t.Errorf("flanneld would pass the Node over: %v", m)
	}
	var b strings.Builder
	for _, f := range p.families {
		public, data := stored.PublicIP, stored.BackendData
		ofNode, text := get("public-ip"), get("backend-data")
		if f == subnet.Inet6 {
			if stored.PublicIPv6 == nil {
				t.Fatal("PublicIPv6 is null, and flanneld would go through it")
			}
			public, data = *stored.PublicIPv6, stored.BackendV6Data
			ofNode, text = get("public-ipv6"), get("backend-v6-data")
		}
		if public.String() != ofNode {
			t.Errorf("%s: %s in etcd and %s on the Node", f, public, ofNode)
		}
		var onNode json.RawMessage // flanneld takes the annotation for JSON, whatever the backend
		check(t, json.Unmarshal([]byte(text), &onNode))
		first, err := flanneldData(stored.BackendType, data)
		check(t, err)
		second, err := flanneldData(get("backend-type"), onNode)
		check(t, err)
		if first != second {
			t.Errorf("%s: %q in etcd and %q on the Node", f, first, second)
		}
		fmt.Fprintf(&b, "%s %s at %s%s\n", f, stored.BackendType, public, first)
	}
	return b.String()
}

// flanneldData reads a backend's data as flanneld's backend of that type does.
func flanneldData(kind string, data json.RawMessage) (string, error) {
	switch kind {
	case "vxlan":
		var v struct {
			VNI     uint16
			VtepMAC string
		}
		err := json.Unmarshal(data, &v)
		mac, macErr := net.ParseMAC(v.VtepMAC)
		return fmt.Sprintf(" VNI %d MAC %s", v.VNI, mac), errors.Join(err, macErr)
	case "wireguard":
		var v struct{ PublicKey string }
		err := json.Unmarshal(data, &v)
		key, keyErr := base64.StdEncoding.DecodeString(v.PublicKey)
		if keyErr == nil && len(key) != 32 {
			keyErr = fmt.Errorf("the key has %d bytes", len(key))
		}
		return " key " + v.PublicKey, errors.Join(err, keyErr)
	}
	return "", nil
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
