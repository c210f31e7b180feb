package kube

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/subnet"
	"github.com/weft-network/weft/subnet/kube"
)

const (
	single = `{"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan"}}`
	dual   = `{"Network": "10.5.0.0/16", "EnableIPv6": true, "IPv6Network": "fd00:5::/56", "Backend": {"Type": "vxlan"}}`
	prefix = "flannel.alpha.coreos.com/"
)

// want is what the agent of a Node asks for.
func want(t *testing.T, config, name, address string) subnet.Want {
	t.Helper()
	c, _, err := subnet.Parse(config)
	if err != nil {
		t.Fatal(err)
	}
	w := subnet.Want{Config: c, Attrs: subnet.Attrs{Node: name, Backend: "vxlan"}}
	w.Attrs.PublicIP[subnet.Inet] = netip.MustParseAddr(address)
	w.Attrs.Data[subnet.Inet] = `{"VNI":1,"VtepMAC":"0e:00:00:00:00:01"}`
	return w
}

func claim(t *testing.T, s *kube.Store, w subnet.Want) subnet.Lease {
	t.Helper()
	l, err := s.Claim(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// testAnnotations takes over a Node that flanneld annotated, and one of a dual-stack time.
func testAnnotations(k *cluster) {
	k.SetConfig(single)
	k.Store("node-1")
	flanneld := object{prefix + "kube-subnet-manager": "true", prefix + "backend-type": "vxlan", prefix + "public-ip": "192.168.0.1",
		prefix + "backend-data": `{"VNI":1,"VtepMAC":"0e:00:00:00:00:01"}`}
	k.annotate("node-1", flanneld)
	before := k.node("node-1")
	s := k.store("node-1")
	w := want(k.t, single, "node-1", "192.168.0.1")
	claim(k.t, s, w)
	if after := k.node("node-1"); after.Metadata.ResourceVersion != before.Metadata.ResourceVersion {
		k.t.Errorf("taking over from flanneld with the same words wrote something:\n%s", cmp.Diff(before.Metadata.Annotations, after.Metadata.Annotations))
	}
	k.annotate("node-1", object{prefix + "public-ipv6": "2001:db8::1", prefix + "backend-v6-data": "{}", "example.org/others": "stays",
		prefix + "public-ip-overwrite": "192.168.0.1"})
	l := claim(k.t, s, w)
	wanted := map[string]string{"example.org/others": "stays", prefix + "public-ip-overwrite": "192.168.0.1"}
	for key, value := range flanneld {
		wanted[key] = value.(string)
	}
	if diff := cmp.Diff(wanted, k.node("node-1").Metadata.Annotations); diff != "" {
		k.t.Errorf("annotations of a node that has no IPv6 any more (-want +got):\n%s", diff)
	}
	if l.Attrs != w.Attrs {
		k.t.Errorf("lease %+v", l)
	}
}

// testWaits goes through what can be missing, with the sentence that says so.
func testWaits(k *cluster) {
	s := k.store("node-1")
	w := want(k.t, dual, "node-1", "192.168.0.1")
	w.Attrs.PublicIP[subnet.Inet6] = netip.MustParseAddr("2001:db8::1")
	refused := func(part string) {
		k.t.Helper()
		l, err := s.Claim(k.t.Context(), w)
		if err == nil || !strings.Contains(err.Error(), part) {
			k.t.Errorf("Claim returned %v, %v: want an error with %q", l, err, part)
		}
	}
	again := func(cidrs ...string) {
		k.t.Helper()
		k.do("DELETE", "/api/v1/nodes/node-1", nil)
		k.makeNode("node-1", cidrs...)
	}
	refused("the cluster has no Node node-1 yet")
	must(k.t, s.Report(k.t.Context(), false, "no Node"))
	k.makeNode("node-1")
	refused("Node node-1 has no pod CIDR yet: kube-controller-manager gives it one when it runs with --allocate-node-cidrs and --cluster-cidr 10.5.0.0/16,fd00:5::/56")
	again("10.5.1.0/24")
	refused("Node node-1 has no IPv6 pod CIDR, only 10.5.1.0/24")
	again("10.6.1.0/24", "fd00:5:0:1::/64")
	refused("pod CIDR 10.6.1.0/24 of Node node-1 is not inside the network 10.5.0.0/16 of net-conf.json")
	within := w
	w = want(k.t, strings.Replace(dual, "{", `{"Networks": [{"Network": "10.7.0.0/16"}, {"Network": "10.6.0.0/16"}], `, 1), "node-1", "192.168.0.1")
	w.Attrs.PublicIP = within.Attrs.PublicIP
	if l := claim(k.t, s, w); l.Subnets.String() != "10.6.1.0/24,fd00:5:0:1::/64" {
		k.t.Errorf("the lease in a further network is of %s", l.Subnets)
	}
	again("10.8.1.0/24", "fd00:5:0:1::/64")
	refused("pod CIDR 10.8.1.0/24 of Node node-1 is not inside one of the networks 10.5.0.0/16, 10.7.0.0/16, 10.6.0.0/16 of net-conf.json")
	w = within
	again("fd00:5:0:1::/80", "10.5.1.64/26")
	if l := claim(k.t, s, w); l.Subnets.String() != "10.5.1.64/26,fd00:5:0:1::/80" {
		k.t.Errorf("the lease is of %s", l.Subnets)
	}
}

// testController waits for the pod CIDRs of the real controller manager.
func testController(k *cluster) {
	k.makeNode("node-1")
	s := k.store("node-1")
	watcher := watch(k.t, s)
	w := want(k.t, dual, "node-1", "192.168.0.1")
	w.Attrs.PublicIP[subnet.Inet6] = netip.MustParseAddr("2001:db8::1")
	if _, err := s.Claim(k.t.Context(), w); err == nil {
		k.t.Fatal("a Node without pod CIDR has a lease")
	}
	must(k.t, k.c.StartControllers("nodeipam"))
	k.t.Cleanup(k.c.StopControllers)
	p, _ := watcher.until("pod CIDRs", func(p subnet.Snapshot) bool { return !p.Self.Assigned.IsZero() })
	l := claim(k.t, s, w)
	if l.Subnets != p.Self.Assigned || !w.Config.Covers(l.Subnets) {
		k.t.Errorf("the lease is of %s, assigned are %s", l.Subnets, p.Self.Assigned)
	}
	watcher.until("the own lease", func(p subnet.Snapshot) bool { return p.Leases[l.Subnets] == l })
}

// testMadeAgain deletes a Node under a running agent; it comes back with another pod CIDR.
func testMadeAgain(k *cluster) {
	k.SetConfig(single)
	k.Store("node-1")
	s := k.store("node-1")
	w := watch(k.t, s)
	old := claim(k.t, s, want(k.t, single, "node-1", "192.168.0.1"))
	w.until("the lease", func(p subnet.Snapshot) bool { return p.Leases[old.Subnets] == old })
	k.do("DELETE", "/api/v1/nodes/node-1", nil)
	w.until("no lease", func(p subnet.Snapshot) bool { return len(p.Leases) == 0 && p.Self == (subnet.Self{}) })
	k.makeNode("node-1", "10.5.99.0/24")
	w.until("another pod CIDR", func(p subnet.Snapshot) bool { return p.Self.Assigned.String() == "10.5.99.0/24" })
	l := claim(k.t, s, want(k.t, single, "node-1", "192.168.0.1"))
	if l.Subnets.String() != "10.5.99.0/24" {
		k.t.Errorf("the lease is of %s", l.Subnets)
	}
	w.until("the new lease", func(p subnet.Snapshot) bool { return len(p.Leases) == 1 && p.Leases[l.Subnets] == l })
}

// testRenamed starts a node under a new name: its old Node is in the way until its kubelet counts as gone.
func testRenamed(k *cluster) {
	k.SetConfig(single)
	k.Store("node-1")
	k.Store("node-2")
	claim(k.t, k.store("node-1"), want(k.t, single, "node-1", "192.168.0.1"))
	k.heartbeat("node-1")
	s := k.store("node-2")
	if _, err := s.Claim(k.t.Context(), want(k.t, single, "node-2", "192.168.0.1")); !errors.Is(err, subnet.ErrAddressInUse) {
		k.t.Errorf("the address of a live node: %v", err)
	}
	k.do("PATCH", "/api/v1/nodes/node-1/status", object{"status": object{"conditions": []object{{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"}}}})
	claim(k.t, s, want(k.t, single, "node-2", "192.168.0.1"))
}

// testSelf lets operators say what the node's address is.
func testSelf(k *cluster) {
	k.Store("node-1")
	w := watch(k.t, k.store("node-1"))
	k.do("PATCH", "/api/v1/nodes/node-1/status", object{"status": object{"addresses": []object{
		{"type": "InternalIP", "address": "192.168.0.1"}, {"type": "InternalIP", "address": "2001:db8::1"}, {"type": "Hostname", "address": "node-1"}}}})
	w.until("the InternalIP", func(p subnet.Snapshot) bool {
		return p.Self.Uplink[0].Addr == netip.MustParseAddr("192.168.0.1") && p.Self.Uplink[1].Addr == netip.MustParseAddr("2001:db8::1")
	})
	k.annotate("node-1", object{prefix + "public-ip-overwrite": "198.51.100.1"})
	w.until("an annotation", func(p subnet.Snapshot) bool { return p.Self.Overwrite[0].Addr == netip.MustParseAddr("198.51.100.1") })
	k.annotate("node-1", object{prefix + "public-ip-overwrite": "nonsense"})
	w.until("a fault", func(p subnet.Snapshot) bool {
		return len(p.Faults) == 1 && p.Faults[0].Key == "node-1" && !p.Self.Overwrite[0].Addr.IsValid() && p.Self.Uplink[0].Addr.IsValid()
	})
}

// testForbidden takes the rights away.
func testForbidden(k *cluster) {
	k.Store("node-1")
	path := k.dir + "/other"
	must(k.t, k.c.Kubeconfig(path, "nobody"))
	s, err := kube.New(kube.Options{Node: "node-1", Kubeconfig: path})
	must(k.t, err)
	k.t.Cleanup(func() { _ = s.Close() })
	_, err = s.Claim(k.t.Context(), want(k.t, single, "node-1", "192.168.0.1"))
	if err == nil || !strings.Contains(err.Error(), "weftd must be allowed to get, list, watch and patch nodes") {
		k.t.Errorf("Claim without rights: %v", err)
	}
	err = s.Watch(k.t.Context(), func(subnet.Snapshot) bool { return true })
	if err == nil || !strings.Contains(err.Error(), "weftd must be allowed to") || s.Health().Err == nil {
		k.t.Errorf("Watch without rights: %v", err)
	}
}

// testName asks for the Node of a pod.
func testName(k *cluster) {
	k.do("POST", "/api/v1/namespaces", object{"apiVersion": "v1", "kind": "Namespace", "metadata": object{"name": "weft"}})
	k.do("POST", "/api/v1/namespaces/weft/serviceaccounts", object{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": object{"name": "default"}})
	k.do("POST", "/api/v1/namespaces/weft/pods", object{"apiVersion": "v1", "kind": "Pod", "metadata": object{"name": "agent"},
		"spec": object{"nodeName": "node-1", "containers": []object{{"name": "c", "image": "i"}}}})
	admin := k.dir + "/admin"
	must(k.t, k.c.Kubeconfig(admin, "admin"))
	o := kube.Options{Kubeconfig: admin}
	if name, err := kube.NodeName(k.t.Context(), o, "weft", "agent"); err != nil || name != "node-1" {
		k.t.Errorf("name %q, %v", name, err)
	}
	if name, err := kube.NodeName(k.t.Context(), o, "weft", "nobody"); err == nil || !strings.Contains(err.Error(), "weft/nobody") {
		k.t.Errorf("name %q, %v", name, err)
	}
}
