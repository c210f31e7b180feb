package kube

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

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

// watcher follows a store, and hands out what it shows.
type watcher struct {
	t        *testing.T
	pictures chan subnet.Snapshot
}

func watch(t *testing.T, s *kube.Store) *watcher {
	t.Helper()
	w := &watcher{t, make(chan subnet.Snapshot, 10_000)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		done <- s.Watch(ctx, func(p subnet.Snapshot) bool {
			p.Leases, p.Changed, p.Faults = maps.Clone(p.Leases), slices.Clone(p.Changed), slices.Clone(p.Faults)
			w.pictures <- p
			return true
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Watch returned %v", err)
		}
	})
	return w
}

// until returns the first picture for which is holds, and how many came before it.
func (w *watcher) until(what string, is func(subnet.Snapshot) bool) (p subnet.Snapshot, before int) {
	w.t.Helper()
	late := time.After(time.Minute)
	for ; ; before++ {
		select {
		case p = <-w.pictures:
			if is(p) {
				return p, before
			}
		case <-late:
			w.t.Fatalf("waited for %s; the last picture has %d leases, faults %v", what, len(p.Leases), p.Faults)
		}
	}
}

// heartbeat does what a kubelet does every few seconds, or minutes.
func (k *cluster) heartbeat(name string) {
	k.t.Helper()
	now := time.Now().UTC().Format(time.RFC3339)
	k.do("PATCH", "/api/v1/nodes/"+name+"/status", object{"status": object{
		"conditions": []object{{"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": now, "message": fmt.Sprint("beat ", time.Now().UnixNano())}},
		"images":     []object{{"names": []string{"registry.example.org/image:" + now}, "sizeBytes": 1}},
	}})
}

func testHeartbeats(k *cluster) {
	k.SetConfig(single)
	for n := range 3 {
		k.Store(fmt.Sprint("node-", n))
	}
	s := k.store("node-1")
	w := watch(k.t, s)
	l := claim(k.t, s, want(k.t, single, "node-1", "192.168.0.1"))
	w.until("the own lease", func(p subnet.Snapshot) bool { return p.Leases[l.Subnets] == l })
	for range 20 {
		for n := range 3 {
			k.heartbeat(fmt.Sprint("node-", n))
		}
	}
	k.annotate("node-2", object{"example.org/others": "something"})
	moved := claim(k.t, s, want(k.t, single, "node-1", "192.168.0.77"))
	p, before := w.until("another address", func(p subnet.Snapshot) bool { return p.Leases[moved.Subnets] == moved })
	if before > 0 {
		k.t.Errorf("60 heartbeats led to %d pictures", before)
	}
	if diff := cmp.Diff([]string{moved.Subnets.String()}, texts(p.Changed)); diff != "" {
		k.t.Errorf("changed (-want +got):\n%s", diff)
	}
}

func texts(keys []subnet.Subnets) []string {
	var out []string
	for _, s := range keys {
		out = append(out, s.String())
	}
	return out
}

// testMany fills the cluster with Nodes and starts an agent.
func testMany(k *cluster) {
	const nodes = 1000
	k.SetConfig(`{"Network": "10.0.0.0/8"}`)
	k.do("POST", "/api/v1/nodes", object{"apiVersion": "v1", "kind": "Node", "metadata": object{"name": "plain"}})
	for n := range nodes {
		k.do("POST", "/api/v1/nodes", object{"apiVersion": "v1", "kind": "Node", "metadata": object{"name": fmt.Sprint("many-", n), "annotations": object{
			prefix + "kube-subnet-manager": "true", prefix + "backend-type": "vxlan", prefix + "public-ip": fmt.Sprintf("192.168.%d.%d", n>>8, n&0xff)}},
			"spec": object{"podCIDR": fmt.Sprintf("10.%d.%d.0/24", n>>8, n&0xff), "podCIDRs": []string{fmt.Sprintf("10.%d.%d.0/24", n>>8, n&0xff)}}})
	}
	w := watch(k.t, k.store("many-0"))
	p, before := w.until("all leases", func(p subnet.Snapshot) bool { return len(p.Leases) == nodes })
	if before != 0 || p.Changed != nil || len(p.Faults) > 0 {
		k.t.Errorf("the first whole picture comes after %d others, with changed %v, faults %v", before, p.Changed, p.Faults)
	}
	k.annotate("many-500", object{prefix + "public-ip": "192.168.250.1"})
	p, _ = w.until("a change", func(subnet.Snapshot) bool { return true })
	if diff := cmp.Diff([]string{"10.1.244.0/24"}, texts(p.Changed)); diff != "" {
		k.t.Errorf("changed (-want +got):\n%s", diff)
	}
}

// testWritesNothing claims again and again, and restarts.
func testWritesNothing(k *cluster) {
	k.SetConfig(single)
	k.Store("node-1")
	w := want(k.t, single, "node-1", "192.168.0.1")
	s := k.store("node-1")
	claim(k.t, s, w)
	must(k.t, s.Report(k.t.Context(), true, ""))
	before := k.node("node-1")
	for range 3 {
		claim(k.t, s, w)
		must(k.t, s.Report(k.t.Context(), true, ""))
		s = k.store("node-1")
	}
	if after := k.node("node-1").Metadata.ResourceVersion; after != before.Metadata.ResourceVersion {
		k.t.Errorf("version %s before, %s after claims that changed nothing", before.Metadata.ResourceVersion, after)
	}
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

// testCondition says that all is well, and the contrary.
func testCondition(k *cluster) {
	k.SetConfig(single)
	k.Store("node-1")
	s := k.store("node-1")
	w := watch(k.t, s)
	condition := func() string {
		for _, c := range k.node("node-1").Status.Conditions {
			if c.Type == "NetworkUnavailable" {
				return strings.Join([]string{c.Status, c.Reason, c.Message}, " ")
			}
		}
		return ""
	}
	// told reports at each picture, as the agent does every second, until the Node says what it should.
	told := func(ready bool, why, want string) {
		k.t.Helper()
		w.until("the condition "+want, func(subnet.Snapshot) bool {
			must(k.t, s.Report(k.t.Context(), ready, why))
			return condition() == want
		})
	}
	k.heartbeat("node-1")
	for _, step := range []struct {
		ready     bool
		why, want string
	}{
		{false, "waiting for a pod CIDR", "True WeftIsNotReady waiting for a pod CIDR"},
		{true, "", "False FlannelIsUp weftd has connected this node to its peers"},
		{false, strings.Repeat("x", 5000), "True WeftIsNotReady " + strings.Repeat("x", 1000) + "..."},
		{true, "", "False FlannelIsUp weftd has connected this node to its peers"},
	} {
		told(step.ready, step.why, step.want)
	}
	// What somebody else says is put right, and what he says in other words stays.
	for _, c := range []struct{ status, reason, want string }{
		{"True", "NoRouteCreated", "False FlannelIsUp weftd has connected this node to its peers"},
		{"False", "FlannelIsUp", "False FlannelIsUp Flannel is running on this node"},
	} {
		k.do("PATCH", "/api/v1/nodes/node-1/status", object{"status": object{"conditions": []object{{"type": "NetworkUnavailable", "status": c.status,
			"reason": c.reason, "message": "Flannel is running on this node"}}}})
		told(true, "", c.want)
	}
	ready := false
	for _, c := range k.node("node-1").Status.Conditions {
		ready = ready || c.Type == "Ready" && c.Status == "True"
	}
	if !ready {
		k.t.Error("the kubelet's condition is gone")
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

// testRestart restarts the API server under a watch: what happened meanwhile is seen, and nothing is read again.
func testRestart(k *cluster) {
	k.SetConfig(single)
	k.Store("node-1")
	k.Store("node-2")
	s := k.store("node-1")
	w := watch(k.t, s)
	l := claim(k.t, s, want(k.t, single, "node-1", "192.168.0.1"))
	w.until("the lease", func(p subnet.Snapshot) bool { return p.Leases[l.Subnets] == l })
	k.c.StopAPI()
	must(k.t, k.c.StartAPI(k.t.Context()))
	other := claim(k.t, k.store("node-2"), want(k.t, single, "node-2", "192.168.0.2"))
	p, before := w.until("the other lease", func(p subnet.Snapshot) bool { return p.Leases[other.Subnets] == other })
	if before > 0 || p.Changed == nil || len(p.Leases) != 2 {
		k.t.Errorf("after %d other pictures there is one with %d leases and changed %v: everything was read again", before, len(p.Leases), p.Changed)
	}
}

// testPages runs an API server that streams no lists, as older ones do.
func testPages(k *cluster) {
	const nodes = 1100 // three pages
	k.SetConfig(`{"Network": "10.0.0.0/8"}`)
	for n := range nodes {
		cidr := fmt.Sprintf("10.%d.%d.0/24", n>>8, n&0xff)
		k.do("POST", "/api/v1/nodes", object{"apiVersion": "v1", "kind": "Node", "metadata": object{"name": fmt.Sprint("many-", n), "annotations": object{
			prefix + "kube-subnet-manager": "true", prefix + "backend-type": "vxlan", prefix + "public-ip": fmt.Sprintf("192.168.%d.%d", n>>8, n&0xff)}},
			"spec": object{"podCIDR": cidr, "podCIDRs": []string{cidr}}})
	}
	k.c.StopAPI()
	must(k.t, k.c.StartAPI(k.t.Context(), "--feature-gates=WatchList=false"))
	k.t.Cleanup(func() {
		k.c.StopAPI()
		if err := k.c.StartAPI(context.Background()); err != nil {
			k.t.Error(err)
		}
	})
	const stream = "/api/v1/nodes?watch=1&allowWatchBookmarks=1&sendInitialEvents=1&resourceVersionMatch=NotOlderThan&timeoutSeconds=1"
	if _, err := k.c.Do(k.t.Context(), "GET", stream, "", nil); err == nil {
		k.t.Fatal("the API server streams lists all the same")
	}
	w := watch(k.t, k.store("many-0"))
	p, before := w.until("all leases", func(p subnet.Snapshot) bool { return len(p.Leases) == nodes })
	if before != 0 || p.Changed != nil || len(p.Faults) > 0 {
		k.t.Errorf("the first whole picture comes after %d others, with changed %v, faults %v", before, p.Changed, p.Faults)
	}
	k.annotate("many-700", object{prefix + "public-ip": "192.168.250.1"})
	p, _ = w.until("a change", func(subnet.Snapshot) bool { return true })
	if diff := cmp.Diff([]string{"10.2.188.0/24"}, texts(p.Changed)); diff != "" {
		k.t.Errorf("changed (-want +got):\n%s", diff)
	}
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
