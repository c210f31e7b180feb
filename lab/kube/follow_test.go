package kube

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/subnet"
	"github.com/weft-network/weft/subnet/kube"
)

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
