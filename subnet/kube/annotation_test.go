package kube

import (
	"flag"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weft-network/weft/subnet"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// noted is a Node with annotations, written "name value" in lines, and pod CIDRs.
func noted(text string, cidrs ...string) *Node {
	n := &Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1", Annotations: map[string]string{}}, Spec: NodeSpec{PodCIDRs: cidrs}}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " "); ok {
			n.Annotations[DefaultPrefix+"/"+name] = value
		}
	}
	return n
}

func show(l subnet.Lease) string {
	return fmt.Sprintf("subnets %s\nnode %s\npublic %s\nbackend %s\ndata %s\ndata6 %s\n", l.Subnets, l.Node, l.Addresses(), l.Backend, l.Data[0], l.Data[1])
}

// TestWritten holds that an announcement has no annotation but those that are said to be written; the contest's goes with it.
func TestWritten(t *testing.T) {
	var want []string
	for _, name := range Written() {
		want = append(want, DefaultPrefix+"/"+name)
	}
	slices.Sort(want)
	got := slices.Sorted(maps.Keys(annotations{DefaultPrefix}.encode(subnet.Attrs{Backend: "vxlan"})))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-said +announced:\n%s", diff)
	}
}

// TestAnnotationOfWays holds that the ways of a lease come back, and that their annotation goes with them.
func TestAnnotationOfWays(t *testing.T) {
	notes := annotations{DefaultPrefix}
	const ways = `[{"Type":"host-gw"},{"Type":"vxlan","Agreed":"VNI 1 at port 8472"}]`
	n := noted("kube-subnet-manager true\nbackend-type host-gw\npublic-ip 192.0.2.1\nweft-ways "+ways+"\n", "10.5.1.0/24")
	l, err := notes.lease(n)
	if err != nil || l.Ways != ways {
		t.Fatalf("read %q, %v", l.Ways, err)
	}
	if got := notes.encode(l.Attrs)[DefaultPrefix+"/weft-ways"]; got == nil || *got != ways {
		t.Errorf("written as %v", got)
	}
	l.Ways = ""
	if got, ok := notes.encode(l.Attrs)[DefaultPrefix+"/weft-ways"]; got != nil || !ok {
		t.Errorf("the annotation of no ways is %v, %t: it has to go", got, ok)
	}
	n.Annotations[DefaultPrefix+"/weft-ways"] = "[{"
	if _, err := notes.lease(n); err == nil || !strings.Contains(err.Error(), "weft-ways") {
		t.Errorf("half a list gives %v", err)
	}
}

// TestAnnotationsOfFlannel reads annotations as flanneld writes them, and writes the lease again: nothing may differ,
// or taking over from flanneld would be seen by every peer.
func TestAnnotationsOfFlannel(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	notes := annotations{DefaultPrefix}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			golden, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			in := map[string]string{}
			for _, f := range golden.Files {
				in[f.Name] = string(f.Data)
			}
			n := noted(in["annotations"], strings.Fields(in["podCIDRs"])...)
			l, err := notes.lease(n)
			if err != nil {
				t.Fatal(err)
			}
			if *update {
				for i, f := range golden.Files {
					if f.Name == "lease" {
						golden.Files[i].Data = []byte(show(l))
					}
				}
				if err := os.WriteFile(path, txtar.Format(golden), 0o644); err != nil {
					t.Fatal(err)
				}
				in["lease"] = show(l)
			}
			if diff := cmp.Diff(in["lease"], show(l)); diff != "" {
				t.Errorf("lease (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(lines(in["annotations"]), lines(written(notes.encode(l.Attrs)))); diff != "" {
				t.Errorf("annotations (-flanneld's +ours):\n%s", diff)
			}
		})
	}
}

// written writes annotations as noted reads them; those that must not be there are left out.
func written(m map[string]*string) string {
	var out string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if m[key] != nil {
			out += strings.TrimPrefix(key, DefaultPrefix+"/") + " " + *m[key] + "\n"
		}
	}
	return out
}

func lines(text string) []string { return slices.Sorted(strings.Lines(text)) }

func TestLeaseOfNode(t *testing.T) {
	const vxlan = "kube-subnet-manager true\nbackend-type vxlan\n"
	for _, tt := range []struct {
		name, annotations string
		cidrs             []string
		want              string // the lease's subnets and addresses, or a part of the error
	}{
		{"not ours", "backend-type vxlan\npublic-ip 192.0.2.1\n", []string{"10.5.1.0/24"}, "announces nothing"},
		{"ours no more", "kube-subnet-manager false\npublic-ip 192.0.2.1\n", []string{"10.5.1.0/24"}, "announces nothing"},
		{"no pod CIDR yet", vxlan + "public-ip 192.0.2.1\n", nil, "announces nothing"},
		{"one family", vxlan + "public-ip 192.0.2.1\n", []string{"10.5.1.0/24"}, "10.5.1.0/24 192.0.2.1"},
		{"any length", vxlan + "public-ip 192.0.2.1\n", []string{"10.5.1.64/26"}, "10.5.1.64/26 192.0.2.1"},
		{"a pod CIDR of a family that is not used", vxlan + "public-ip 192.0.2.1\n", []string{"10.5.1.0/24", "fd00:5::/64"}, "10.5.1.0/24 192.0.2.1"},
		{"an address of a family that is not used", vxlan + "public-ip 192.0.2.1\npublic-ipv6 2001:db8::1\n", []string{"10.5.1.0/24"}, "10.5.1.0/24 192.0.2.1"},
		{"IPv6 first", vxlan + "public-ip 192.0.2.1\npublic-ipv6 2001:db8::1\n", []string{"fd00:5::/64", "10.5.1.0/24"}, "10.5.1.0/24,fd00:5::/64 192.0.2.1,2001:db8::1"},
		{"an IPv4 address written as IPv6", vxlan + "public-ip ::ffff:192.0.2.1\n", []string{"10.5.1.0/24"}, "10.5.1.0/24 192.0.2.1"},
		{"no backend", "kube-subnet-manager true\npublic-ip 192.0.2.1\n", []string{"10.5.1.0/24"}, "annotation flannel.alpha.coreos.com/backend-type is missing"},
		{"no address", vxlan, []string{"10.5.1.0/24"}, "no flannel.alpha.coreos.com/public-ip or"},
		{"no address by flanneld", vxlan + "public-ip <nil>\n", []string{"10.5.1.0/24"}, "no flannel.alpha.coreos.com/public-ip or"},
		{"nonsense for an address", vxlan + "public-ip nonsense\n", []string{"10.5.1.0/24"}, `annotation flannel.alpha.coreos.com/public-ip: "nonsense" is not an IPv4 address`},
		{"an address of the wrong family", vxlan + "public-ip 2001:db8::1\n", []string{"10.5.1.0/24"}, `"2001:db8::1" is not an IPv4 address`},
		{"an address with a zone", vxlan + "public-ip 192.0.2.1\npublic-ipv6 fe80::1%eth0\n", []string{"10.5.1.0/24"}, `"fe80::1%eth0" is not an IPv6 address`},
		{"nonsense for data", vxlan + "public-ip 192.0.2.1\nbackend-data {\"VNI\":\n", []string{"10.5.1.0/24"}, "annotation flannel.alpha.coreos.com/backend-data"},
		{"nonsense for a pod CIDR", vxlan + "public-ip 192.0.2.1\n", []string{"nonsense"}, `pod CIDR "nonsense" is not a network`},
		{"two pod CIDRs of a family", vxlan + "public-ip 192.0.2.1\n", []string{"10.5.1.0/24", "10.5.2.0/24"}, "two pod CIDRs of IPv4"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := annotations{DefaultPrefix}.lease(noted(tt.annotations, tt.cidrs...))
			got := strings.TrimSpace(l.Subnets.String() + " " + l.Addresses())
			if err != nil {
				got = err.Error()
			}
			if got != tt.want && (err == nil || !strings.Contains(got, tt.want)) {
				t.Errorf("lease %q, want %q", got, tt.want)
			}
		})
	}
}

func TestSelf(t *testing.T) {
	n := noted("public-ip-overwrite 198.51.100.1\nnode-public-ip 203.0.113.1\npublic-ipv6-overwrite nonsense\n", "10.5.1.0/26")
	n.Status.Addresses = []NodeAddress{{"Hostname", "node-1"}, {"ExternalIP", "203.0.113.9"}, {"InternalIP", "2001:db8::1"},
		{"InternalIP", "192.168.0.1"}, {"InternalIP", "192.168.0.2"}}
	got, err := annotations{DefaultPrefix}.self(n)
	addr := netip.MustParseAddr
	want := subnet.Self{
		Assigned:  subnet.Subnets{netip.MustParsePrefix("10.5.1.0/26")},
		Uplink:    [2]subnet.Hint{{Addr: addr("192.168.0.1"), Origin: "the Node's InternalIP"}, {Addr: addr("2001:db8::1"), Origin: "the Node's InternalIP"}},
		Public:    [2]subnet.Hint{{Addr: addr("203.0.113.1"), Origin: "annotation flannel.alpha.coreos.com/node-public-ip"}},
		Overwrite: [2]subnet.Hint{{Addr: addr("198.51.100.1"), Origin: "annotation flannel.alpha.coreos.com/public-ip-overwrite"}},
	}
	if got != want {
		t.Errorf("self %+v\nwant %+v", got, want)
	}
	if err == nil || !strings.Contains(err.Error(), `public-ipv6-overwrite: "nonsense" is not an IPv6 address`) {
		t.Errorf("error %v", err)
	}
}

// FuzzLease reads anything as annotations. What can be read, and is written again, is read as the same.
func FuzzLease(f *testing.F) {
	f.Add("true", "vxlan", "192.0.2.1", "2001:db8::1", `{"VNI":1,"VtepMAC":"0e:00:00:00:00:01"}`, "null", "10.5.1.0/24", "fd00:5::/64")
	f.Add("true", "host-gw", "192.0.2.1", "", "null", "", "10.5.1.0/24", "")
	f.Add("false", "", "<nil>", "::ffff:1.2.3.4", "{", " {} ", "10.5.1.0/33", "10.5.1.0/24")
	f.Fuzz(func(t *testing.T, managed, kind, ip, ip6, data, data6, cidr, cidr6 string) {
		notes := annotations{DefaultPrefix}
		n := &Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1", Annotations: map[string]string{
			notes.key(managedName): managed, notes.key(backendTypeName): kind,
			notes.key("public-ip"): ip, notes.key("public-ipv6"): ip6, notes.key("backend-data"): data, notes.key("backend-v6-data"): data6,
		}}, Spec: NodeSpec{PodCIDRs: []string{cidr, cidr6}}}
		l, err := notes.lease(n)
		if err != nil {
			if l != (subnet.Lease{}) {
				t.Errorf("an error comes with a lease: %+v, %v", l, err)
			}
			return
		}
		again := &Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1", Annotations: map[string]string{}}, Spec: n.Spec}
		for key, value := range notes.encode(l.Attrs) {
			if value != nil {
				again.Annotations[key] = *value
			}
		}
		if second, err := notes.lease(again); err != nil || second != l {
			t.Errorf("read again: %+v, %v\nwant %+v", second, err, l)
		}
	})
}
