package network

import (
	"encoding/json"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/network/kernel/kerneltest"
	"github.com/weft-network/weft/subnet"
)

// withTime gives packets of nodes some time on their way, from their next start on: where another process encrypts them, a busy machine may leave it
// waiting.
func withTime(c *nodes) *nodes {
	for i := range c.options {
		c.options[i].WayGrace = time.Second
	}
	return c
}

// publicKeyOf is the key that a node announces first.
func publicKeyOf(t *testing.T, c *nodes, i int) string {
	t.Helper()
	for _, l := range c.cluster.Leases() {
		if l.Node != c.options[i].Node {
			continue
		}
		var d struct{ PublicKey string }
		must(t, json.Unmarshal([]byte(l.Data[subnet.Inet]), &d))
		return d.PublicKey
	}
	t.Fatalf("node %d has no lease", i)
	return ""
}

// rotated waits until a change of node i's key is over and nothing of it is left, and returns the public key that it has then.
func rotated(t *testing.T, c *nodes, i int) string {
	t.Helper()
	until(t, c.agents[i], "the end of the rotation", func(s Status) bool { return s.Rotation == nil })
	for j, a := range c.agents {
		until(t, a, "nothing left of the rotation", func(s Status) bool {
			return s.Ready && !strings.Contains(a.claims.lease().Ways, "otation") && slices.Equal(c.devices(j), []string{"flannel-wg"})
		})
	}
	if _, err := os.Stat(c.options[i].KeyFile + ".rotation"); err == nil {
		t.Error("the rotation is still on disk")
	}
	key, err := readKey(c.options[i].KeyFile)
	must(t, err)
	if got, want := publicKeyOf(t, c, i), publicOf(key).String(); got != want {
		t.Errorf("node %d announces %s, its file holds the key of %s", i, got, want)
	}
	for _, l := range c.cluster.Leases() {
		if l.Ways != "" {
			t.Errorf("the lease of %s says the ways %s", l.Node, l.Ways)
		}
	}
	return publicKeyOf(t, c, i)
}

// clear are the texts by which packets between the pods of two nodes are known that are not encrypted: both addresses, as in an IPv4 header.
func (c *nodes) clear(i, j int) [][]byte {
	own := netip.MustParsePrefix(c.agents[i].Status().Lease.Subnets[0]).Addr().AsSlice() // from which the node sends
	a, b := c.pod(i).Addr().AsSlice(), c.pod(j).Addr().AsSlice()
	return [][]byte{slices.Concat(a, b), slices.Concat(b, a), slices.Concat(own, b), slices.Concat(b, own)}
}

// TestRotate changes keys with the WireGuard that stands in for the kernel's.
func TestRotate(t *testing.T) {
	c := newNodes(t, 3, backendConfig(`{"Type":"vxlan"}`))
	withEngines(t, c)
	testRotate(t, c)
}

// TestGuestRotate changes keys with the kernel's WireGuard.
func TestGuestRotate(t *testing.T) { testRotate(t, newNodes(t, 3, backendConfig(`{"Type":"vxlan"}`))) }

// testRotate changes from VXLAN to WireGuard and then the key of a node, with restarts, while pods talk, and looks at the uplink for
// packets in plain text.
func testRotate(t *testing.T, c *nodes) {
	withPods(t, withTime(c))
	to := c.pod(1)
	wires := make([]*kerneltest.Capture, 2)
	for i := range wires {
		wires[i] = c.spaces[i].Capture(t, "eth0", c.clear(0, 1)...)
	}
	c.spaces[0].Reach(t, to)
	flood := c.spaces[0].Flood(t, to, 10*time.Millisecond)
	stream := c.spaces[0].Stream(t, c.spaces[1], to, 10*time.Millisecond)
	wires[0].Await(t, 20)
	if _, found := wires[0].Counts(); found == 0 {
		t.Error("the capture does not know packets in plain text")
	}
	c.cluster.SetConfig(backendConfig(`{"Type":"wireguard"}`))
	c.moved(byWireGuard)
	wires[0].Await(t, 20)
	var before [2]int64
	for i, w := range wires {
		_, before[i] = w.Counts()
	}
	old := publicKeyOf(t, c, 0)
	step := func(what string) {
		t.Helper()
		wires[0].Await(t, 20)
		for i, w := range wires {
			if _, found := w.Counts(); found != before[i] {
				t.Errorf("%s: %d packets in plain text at node %d", what, found-before[i], i)
				before[i] = found
			}
		}
	}
	step("after the change")
	c.stop(0)
	step("without an agent")
	c.start(0)
	c.converge()
	step("after a start")

	must(t, c.agents[0].Rotate(RotateOptions{}))
	key := rotated(t, c, 0)
	if key == old {
		t.Error("the key is the same as before")
	}
	step("after a change of the key")

	// Again, with all agents ended and started at every stage.
	must(t, c.agents[0].Rotate(RotateOptions{}))
	for _, right := range []func(Status) bool{
		func(s Status) bool { return s.Rotation == nil || s.Rotation.Peers == 2 }, // moving, unless the machine is busy
		func(s Status) bool { return s.Rotation == nil || s.Rotation.Stage == "returning" },
	} {
		until(t, c.agents[0], "the next stage", right)
		for i := range c.agents {
			c.stop(i)
		}
		step("in the middle, without agents")
		for i := range c.agents {
			c.start(i)
		}
	}
	if again := rotated(t, c, 0); again == key {
		t.Error("the key is the same as before the second change")
	}
	step("after a change of the key with restarts")

	// All nodes at once.
	var keys []string
	for i, a := range c.agents {
		keys = append(keys, publicKeyOf(t, c, i))
		must(t, a.Rotate(RotateOptions{}))
	}
	for i := range c.agents {
		if rotated(t, c, i) == keys[i] {
			t.Errorf("node %d has the same key as before", i)
		}
	}
	step("after all nodes have changed their keys")
	if sent, lost := flood.Stop(t); sent == 0 || lost != 0 {
		t.Errorf("%d of %d packets lost", lost, sent)
	}
	if sent, missing := stream.Stop(t); sent == 0 || missing != 0 {
		t.Errorf("%d of %d bytes did not come back by TCP", missing, sent)
	}
	c.restartsWithoutChange()
}

// A peer that is away is waited for, unless it is to be left behind, and a change can be given up until the new key is in force.
func TestRotateWaitsForPeers(t *testing.T) {
	c := newNodes(t, 3, backendConfig(`{"Type":"vxlan"}`))
	withEngines(t, c)
	withPods(t, withTime(c))
	c.cluster.SetConfig(backendConfig(`{"Type":"wireguard"}`))
	c.moved(byWireGuard)
	c.spaces[0].Reach(t, c.pod(2))
	flood := c.spaces[0].Flood(t, c.pod(2), 10*time.Millisecond)
	old := publicKeyOf(t, c, 0)
	c.stop(2)
	must(t, c.agents[0].Rotate(RotateOptions{}))
	waits := func(s Status) bool {
		return s.Rotation != nil && slices.Equal(s.Rotation.Missing, []string{"n2: it has no second device yet; does weftd run there?"})
	}
	until(t, c.agents[0], "waiting for n2", waits)
	if _, body := ask(t, c.agents[0], "/metrics"); !strings.Contains(body, "\nweft_wireguard_rotation_missing_peers 1\n") {
		t.Errorf("metrics:\n%s", body)
	}
	info, err := os.Stat(c.options[0].KeyFile + ".rotation")
	must(t, err)
	if info.Mode().Perm() != fs.FileMode(0o600) {
		t.Errorf("the rotation is kept with the mode %s", info.Mode())
	}
	must(t, c.agents[0].Rotate(RotateOptions{Abort: true}))
	until(t, c.agents[0], "given up", func(s Status) bool { return s.Rotation == nil })
	if _, body := ask(t, c.agents[0], "/metrics"); strings.Contains(body, "weft_wireguard_rotation") {
		t.Errorf("metrics:\n%s", body)
	}
	if key := publicKeyOf(t, c, 0); key != old {
		t.Error("the key is another one after the change was given up")
	}
	if err := c.agents[0].Rotate(RotateOptions{Abort: true}); err == nil {
		t.Error("what is not under way was given up")
	}
	must(t, c.agents[0].Rotate(RotateOptions{}))
	until(t, c.agents[0], "waiting for n2", waits)
	c.start(2)
	if rotated(t, c, 0) == old {
		t.Error("the key is the same as before")
	}
	if sent, lost := flood.Stop(t); sent == 0 || lost != 0 {
		t.Errorf("%d of %d packets lost", lost, sent)
	}
}

// A peer that runs flanneld makes the change refused; where it is forced, flanneld finds the new key where it looks for it.
func TestRotateLeavesFlanneldBehind(t *testing.T) {
	c := newNodes(t, 2, backendConfig(`{"Type":"vxlan"}`))
	withEngines(t, c)
	withPods(t, withTime(c))
	c.cluster.SetConfig(backendConfig(`{"Type":"wireguard"}`))
	c.moved(byWireGuard)
	free := 1
	for slices.ContainsFunc(c.cluster.Leases(), func(l subnet.Lease) bool { return l.Subnets[subnet.Inet] == prefix("10.5.%d.0/24", free) }) {
		free++
	}
	c.cluster.Put(subnet.Lease{Subnets: subnet.Subnets{prefix("10.5.%d.0/24", free)}, Attrs: subnet.Attrs{Backend: "wireguard",
		PublicIP: [2]netip.Addr{netip.MustParseAddr("192.0.2.99")}, Data: [2]string{`{"PublicKey":"` + publicOf(kernel.Key{1: 9}).String() + `","Port":51820}`}}})
	until(t, c.agents[0], "flanneld as a peer", func(s Status) bool { return len(s.Peers) == 2 && s.Kernel.InStep })
	if err := c.agents[0].Rotate(RotateOptions{}); err == nil || !strings.Contains(err.Error(), "192.0.2.99") {
		t.Errorf("error %v, want one that names flanneld's node", err)
	}
	old := publicKeyOf(t, c, 0)
	flood := c.spaces[0].Flood(t, c.pod(1), 10*time.Millisecond)
	must(t, c.agents[0].Rotate(RotateOptions{Force: true}))
	until(t, c.agents[0], "the end of the rotation", func(s Status) bool { return s.Rotation == nil })
	if key := publicKeyOf(t, c, 0); key == old {
		t.Error("the key is the same as before")
	}
	if sent, lost := flood.Stop(t); sent == 0 || lost != 0 {
		t.Errorf("%d of %d packets lost", lost, sent)
	}
}
