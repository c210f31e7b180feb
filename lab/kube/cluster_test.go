package kube

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weft-network/weft/subnet"
	"github.com/weft-network/weft/subnet/kube"
	"github.com/weft-network/weft/subnet/storetest"
)

// cluster is the control plane as a case of the contract sees it: without any Node in the beginning.
type cluster struct {
	t    *testing.T
	c    *ControlPlane
	line *front
	dir  string // of net-conf.json and the kubeconfig
}

var (
	_ storetest.Garbling  = (*cluster)(nil)
	_ storetest.Forgetful = (*cluster)(nil)
)

// begin makes c a cluster without Nodes. The agents are users with the rights that Documentation/kubernetes.md lists.
func begin(t *testing.T, c *ControlPlane) *cluster {
	t.Helper()
	k := &cluster{t: t, c: c, line: newFront(t), dir: t.TempDir()}
	k.do("DELETE", "/api/v1/nodes", nil)
	k.do("DELETE", "/api/v1/namespaces/default/events", nil)
	if err := c.Kubeconfig(k.kubeconfig(), "weft"); err != nil {
		t.Fatal(err)
	}
	return k
}

func (k *cluster) kubeconfig() string { return filepath.Join(k.dir, "kubeconfig") }
func (k *cluster) configPath() string { return filepath.Join(k.dir, "net-conf.json") }

// do sends a request that has to succeed.
func (k *cluster) do(method, path string, body any) []byte {
	k.t.Helper()
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			k.t.Fatal(err)
		}
	}
	kind := ""
	if method == "PATCH" {
		kind = "application/strategic-merge-patch+json"
	}
	out, err := k.c.Do(k.t.Context(), method, path, kind, text)
	if err != nil {
		k.t.Fatal(err)
	}
	return out
}

type object = map[string]any

// node is a Node as tests read it.
type node struct {
	Metadata struct {
		Name, UID, ResourceVersion string
		Annotations                map[string]string
	}
	Spec   struct{ PodCIDRs []string }
	Status struct {
		Conditions []struct{ Type, Status, Reason, Message string }
	}
}

func (k *cluster) node(name string) node {
	k.t.Helper()
	var n node
	if err := json.Unmarshal(k.do("GET", "/api/v1/nodes/"+name, nil), &n); err != nil {
		k.t.Fatal(err)
	}
	return n
}

// makeNode makes a Node with pod CIDRs, or none.
func (k *cluster) makeNode(name string, cidrs ...string) {
	k.t.Helper()
	spec := object{}
	if len(cidrs) > 0 {
		spec = object{"podCIDR": cidrs[0], "podCIDRs": cidrs}
	}
	k.do("POST", "/api/v1/nodes", object{"apiVersion": "v1", "kind": "Node", "metadata": object{"name": name}, "spec": spec})
}

func (k *cluster) annotate(name string, annotations object) {
	k.t.Helper()
	k.do("PATCH", "/api/v1/nodes/"+name, object{"metadata": object{"annotations": annotations}})
}

// store is a Store for a Node, whether there is one or not.
func (k *cluster) store(name string) *kube.Store {
	k.t.Helper()
	s, err := kube.New(kube.Options{Node: name, Endpoints: []string{k.line.url()}, Kubeconfig: k.kubeconfig(),
		ConfigPath: k.configPath(), KeepCondition: true, RereadDelay: 20 * time.Millisecond, ContestTime: time.Second})
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() { _ = s.Close() })
	return s
}

// Store makes the Node too, as a kubelet does, with pod CIDRs that follow from its name.
func (k *cluster) Store(name string) subnet.Store {
	k.t.Helper()
	number, err := strconv.Atoi(name[strings.LastIndex(name, "-")+1:])
	if err != nil {
		k.t.Fatal(err)
	}
	_, err = k.c.Do(k.t.Context(), "GET", "/api/v1/nodes/"+name, "", nil)
	var status *StatusError
	if errors.As(err, &status) && status.Code == 404 {
		k.makeNode(name, fmt.Sprintf("10.5.%d.0/24", number+1), fmt.Sprintf("fd00:5:0:%x::/64", number+1))
	} else if err != nil {
		k.t.Fatal(err)
	}
	return k.store(name)
}

// SetConfig writes the file as an editor does that never leaves half of one.
func (k *cluster) SetConfig(text string) {
	k.t.Helper()
	if text == "" {
		if err := os.Remove(k.configPath()); err != nil {
			k.t.Fatal(err)
		}
		return
	}
	if _, err := subnet.WriteFile(k.configPath(), []byte(text), 0o644); err != nil {
		k.t.Fatal(err)
	}
}

// holder finds the Node with a pod CIDR.
func (k *cluster) holder(s subnet.Subnets) (node, bool) {
	k.t.Helper()
	var list struct{ Items []node }
	if err := json.Unmarshal(k.do("GET", "/api/v1/nodes", nil), &list); err != nil {
		k.t.Fatal(err)
	}
	for _, n := range list.Items {
		for _, text := range n.Spec.PodCIDRs {
			if p, err := netip.ParsePrefix(text); err == nil && (p == s[0] || p == s[1]) {
				return n, true
			}
		}
	}
	return node{}, false
}

// Remove deletes the Node, and makes it again as its kubelet does: with the same pod CIDRs, and nothing announced.
func (k *cluster) Remove(s subnet.Subnets) {
	k.t.Helper()
	n, ok := k.holder(s)
	if !ok {
		k.t.Fatalf("no Node has %s", s)
	}
	k.do("DELETE", "/api/v1/nodes/"+n.Metadata.Name, nil)
	k.makeNode(n.Metadata.Name, n.Spec.PodCIDRs...)
}

func (k *cluster) Break() { k.line.cut() }
func (k *cluster) Mend()  { k.line.join() }

// PutGarbage puts value where a Node's public address is announced.
func (k *cluster) PutGarbage(s subnet.Subnets, value string) string {
	k.t.Helper()
	n, ok := k.holder(s)
	if !ok {
		n.Metadata.Name = "garbage"
		k.makeNode("garbage", s.String())
	}
	k.annotate(n.Metadata.Name, object{
		"flannel.alpha.coreos.com/kube-subnet-manager": "true",
		"flannel.alpha.coreos.com/backend-type":        "vxlan",
		"flannel.alpha.coreos.com/public-ip":           value,
	})
	return n.Metadata.Name
}

// Forget restarts the API server, whose memory of changes goes with it, and drops those of etcd.
func (k *cluster) Forget() {
	k.t.Helper()
	k.annotate("node-1", object{"example.org/changed": "yes"})
	k.c.StopAPI()
	if err := k.c.Compact(k.t.Context()); err != nil {
		k.t.Fatal(err)
	}
	if err := k.c.StartAPI(k.t.Context()); err != nil {
		k.t.Fatal(err)
	}
}
