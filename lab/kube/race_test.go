package kube

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/subnet"
	"github.com/weft-network/weft/subnet/kube"
)

// testTogether starts two nodes at the same instant with one address: both find nobody who has it, and write.
func testTogether(k *cluster) {
	k.SetConfig(single)
	p := k.newTap()
	open := func(name string) *kube.Store {
		s, err := kube.New(kube.Options{Node: name, Endpoints: []string{p.url}, Kubeconfig: k.kubeconfig(), ConfigPath: k.configPath()})
		must(k.t, err)
		k.t.Cleanup(func() { _ = s.Close() })
		return s
	}
	for round, watched := range []bool{true, true, true, true, false} {
		address := fmt.Sprint("192.168.7.", round+1)
		names := [2]string{fmt.Sprint("node-", 2*round), fmt.Sprint("node-", 2*round+1)}
		stores := [2]*kube.Store{}
		for n, name := range names {
			k.Store(name)
			if stores[n] = open(name); watched {
				watch(k.t, stores[n]).until("all Nodes", func(subnet.Snapshot) bool { return true })
			}
		}
		p.hold("PATCH", 2)
		results := make(chan error, 2)
		for n, s := range stores {
			go func() {
				l, err := s.Claim(k.t.Context(), want(k.t, single, names[n], address))
				if err == nil && l.Node != names[n] {
					err = fmt.Errorf("the lease is of %s", l.Node)
				}
				results <- err
			}()
		}
		k.judge(results, watched)
		k.oneAnnounces(address, names[:], watched)
	}
}

// judge looks at what two claims came to. Where the stores watch one of them is right, else one at most.
func (k *cluster) judge(results chan error, watched bool) {
	k.t.Helper()
	refused := 0
	for range 2 {
		if err := <-results; errors.Is(err, subnet.ErrAddressInUse) {
			refused++
		} else if err != nil {
			k.t.Error(err)
		}
	}
	if refused == 0 || watched && refused == 2 {
		k.t.Errorf("%d of two nodes with one address were refused", refused)
	}
}

// oneAnnounces looks who announces an address: one Node, or none at most, and the other carries nothing that is read.
func (k *cluster) oneAnnounces(address string, names []string, watched bool) {
	k.t.Helper()
	number := 0
	for _, name := range names {
		notes := k.node(name).Metadata.Annotations
		if notes[prefix+"public-ip"] == address {
			number++
			continue
		}
		if len(notes) > 0 {
			k.t.Errorf("Node %s still has %v", name, notes)
		}
	}
	if number > 1 || watched && number == 0 {
		k.t.Errorf("%s is announced by %d Nodes", address, number)
	}
}

// testRivalIsGone starts beside a Node whose kubelet is not heard of any more, and which wrote last.
func testRivalIsGone(k *cluster) {
	k.SetConfig(single)
	k.Store("node-1")
	k.Store("node-2")
	claim(k.t, k.store("node-1"), want(k.t, single, "node-1", "192.168.0.1"))
	k.silence("node-1")
	s := k.store("node-2")
	watch(k.t, s).until("the silence", func(p subnet.Snapshot) bool { return len(p.Leases) == 1 })
	l := claim(k.t, s, want(k.t, single, "node-2", "192.168.0.1"))
	if diff := cmp.Diff("192.168.0.1", l.PublicIP[0].String()); diff != "" {
		k.t.Errorf("public address (-want +got):\n%s", diff)
	}
	// The machine comes back, and its agent looks first.
	k.heartbeat("node-1")
	again := k.store("node-1")
	if _, err := again.Claim(k.t.Context(), want(k.t, single, "node-1", "192.168.0.1")); !errors.Is(err, subnet.ErrAddressInUse) || !strings.Contains(err.Error(), "Node node-2") {
		k.t.Errorf("the machine that comes back: %v", err)
	}
}

// silence does what the controller manager does to a Node whose kubelet is not heard of.
func (k *cluster) silence(node string) {
	k.t.Helper()
	k.do("PATCH", "/api/v1/nodes/"+node+"/status", object{"status": object{"conditions": []object{{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"}}}})
}

// TestTapHolds lets two requests wait for each other.
func TestTapHolds(t *testing.T) {
	p := &tap{}
	p.hold("PATCH", 2)
	passed := make(chan string)
	for _, path := range []string{"/a", "/b"} {
		go func() {
			p.pass(httptest.NewRequest("PATCH", path, nil))
			passed <- path
		}()
	}
	p.pass(httptest.NewRequest("GET", "/c", nil))
	<-passed
	<-passed
	p.pass(httptest.NewRequest("PATCH", "/d", nil))
	if n := len(p.take(func(string) bool { return true })); n != 4 {
		t.Errorf("%d requests were taken down, want 4", n)
	}
}
