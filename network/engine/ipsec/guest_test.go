package ipsec

import (
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/backend"
)

const plain = `{"Type":"ipsec","PSK":"` + psk + `"}`

func TestGuestPodsReachEachOther(t *testing.T) {
	for _, test := range []struct{ name, config, kind string }{
		{"default", plain, "esp"},
		{"cbc", `{"Type":"ipsec","ESPProposal":"aes256-sha256-modp2048","PSK":"` + psk + `"}`, "esp"},
		{"encap", `{"Type":"ipsec","UDPEncap":true,"PSK":"` + psk + `"}`, "esp in udp"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, b := two(t, test.config)
			c := a.capture()
			meet(a, b)
			for _, x := range []*node{a, b} {
				if c := x.pass(); !c.IsEmpty() {
					t.Errorf("the second pass put\n%sand dropped\n%s", c.Put, c.Drop)
				}
			}
			for i, to := range b.echoes() { // the largest packets that the pods' MTU lets through
				size := backend.MTU(a.backend, a.plan) - []int{28, 48}[i]
				if err := a.pod.Ping(t, to, size, 10*time.Second); err != nil {
					t.Errorf("%d bytes to %s: %v", size, to, err)
				}
			}
			seen := c.stop()
			if seen["CLEAR"] != 0 || seen["fragment"] != 0 || seen[test.kind] < 10 {
				t.Errorf("seen on the uplink: %v, want %s and no pod's packet", seen, test.kind)
			}
			a.reachFromNode(b)
		})
	}
}

// reachFromNode has the node itself, rather than a pod, speak with the other node's pod.
func (x *node) reachFromNode(o *node) {
	x.Helper()
	for _, to := range o.echoes() {
		x.Reach(x, to)
	}
}

func TestGuestNothingLeavesInClear(t *testing.T) {
	a, b := two(t, plain)
	c := a.capture()
	a.pass() // the peer does not know of it
	for _, to := range b.echoes() {
		if err := a.pod.Ping(t, to, 64, time.Second); err == nil {
			t.Errorf("%s answers without keys", to)
		}
	}
	b.pass()
	reach(a, b)
	flood := a.pod.Flood(t, b.echoes()[0], 10*time.Millisecond)
	must(t, unix.Kill(a.pid(), unix.SIGTERM)) // takes all keys away, and what catches packets without
	a.looked()
	for _, to := range b.echoes() {
		if err := a.pod.Ping(t, to, 64, 500*time.Millisecond); err == nil {
			t.Errorf("%s answers without charon", to)
		}
	}
	a.pass()
	reach(a, b)
	flood.Stop(t)
	if seen := c.stop(); seen["CLEAR"] != 0 || seen["esp"] == 0 {
		t.Errorf("seen on the uplink: %v", seen)
	}
}

func TestGuestCharonIsBroughtBack(t *testing.T) {
	a, b := two(t, plain)
	meet(a, b)
	for _, x := range []*node{a, b} {
		before := x.pid()
		must(t, unix.Kill(before, unix.SIGKILL))
		x.looked()
		if c := x.pass(); len(c.Put.Associations) != 2 {
			t.Errorf("the pass after the end of charon put\n%s", c.Put)
		}
		if now := x.pid(); now == 0 || now == before {
			t.Errorf("charon is process %d, and was %d", now, before)
		}
		reach(a, b)
	}
}

func TestGuestRestartLosesNothing(t *testing.T) {
	a, b := two(t, plain)
	meet(a, b)
	before := a.pid()
	flood := a.pod.Flood(t, b.echoes()[0], 5*time.Millisecond)
	flood6 := a.pod.Flood(t, b.echoes()[1], 5*time.Millisecond)
	for range 3 {
		a.stop()
		a.begin()
		if c := a.pass(); !c.IsEmpty() {
			t.Errorf("the first pass after a restart put\n%sand dropped\n%s", c.Put, c.Drop)
		}
	}
	a.stop()
	must(t, os.Remove(a.engine.charon.noted())) // charon does not tell all that it knows
	a.begin()
	if c := a.pass(); len(c.Put.Associations) != 2 || len(c.Drop.Associations) != 0 {
		t.Errorf("the first pass without a note put\n%sand dropped\n%s", c.Put, c.Drop)
	}
	if c := a.pass(); !c.IsEmpty() {
		t.Errorf("the second pass without a note put\n%sand dropped\n%s", c.Put, c.Drop)
	}
	for _, f := range []interface {
		Stop(testing.TB) (int, int)
	}{flood, flood6} {
		if sent, lost := f.Stop(t); lost != 0 || sent == 0 {
			t.Errorf("%d of %d packets were lost", lost, sent)
		}
	}
	if now := a.pid(); now != before {
		t.Errorf("charon is process %d, and was %d", now, before)
	}
}

func TestGuestAnotherKey(t *testing.T) {
	a, b := two(t, plain)
	meet(a, b)
	for _, x := range []*node{a, b} {
		x.use(`{"Type":"ipsec","ESPProposal":"aes256gcm16-ecp256","PSK":"` + psk + `x"}`)
		if c := x.pass(); len(c.Put.Associations) != 2 || len(c.Drop.Associations) != 0 {
			t.Errorf("the change put\n%sand dropped\n%s", c.Put, c.Drop)
		}
		if c := x.pass(); !c.IsEmpty() {
			t.Errorf("the second pass put\n%sand dropped\n%s", c.Put, c.Drop)
		}
	}
	reach(a, b)
	a.until("keys of the new proposal", func() bool { return strings.Contains(a.xfrm("state"), "aead") && a.keyLength() == 288 })
	reach(a, b)
}

// keyLength is that of the newest state, in bits; with what AES-GCM adds to its key.
func (x *node) keyLength() int {
	x.Helper()
	longest := 0
	for _, word := range strings.Fields(x.xfrm("state")) {
		if hex, ok := strings.CutPrefix(word, "0x"); ok {
			longest = max(longest, 4*len(hex))
		}
	}
	return longest
}

// xfrm is what ip xfrm shows of the node, or does there.
func (x *node) xfrm(what string) string {
	x.Helper()
	var out []byte
	x.Do(x, func() {
		var err error
		out, err = exec.Command("ip", append([]string{"xfrm"}, strings.Fields(what)...)...).CombinedOutput()
		if err != nil {
			x.Fatalf("ip xfrm %s: %v: %s", what, err, out)
		}
	})
	return string(out)
}

func (x *node) until(what string, is func() bool) {
	x.Helper()
	must(x, until(x.Context(), what, is))
}

func TestGuestPeersComeAndGo(t *testing.T) {
	a, b := two(t, plain)
	meet(a, b)
	third := lease(3)
	third.PublicIP = [2]netip.Addr{addr("192.0.2.%d", 3), addr("2001:db8::%d", 3)}
	a.peers = append(a.peers, third)
	if c := a.pass(); len(c.Put.Associations) != 2 {
		t.Errorf("a peer more put\n%s", c.Put)
	}
	reach(a, b)
	a.peers = a.peers[1:]
	if c := a.pass(); len(c.Drop.Associations) != 2 {
		t.Errorf("a peer less dropped\n%s", c.Drop)
	}
	if text := a.xfrm("policy"); strings.Contains(text, "10.5.2.0") {
		t.Errorf("policies for the peer that went:\n%s", text)
	}
	if a.pid() == 0 {
		t.Error("charon has ended and there is a peer left")
	}
	a.peers = nil
	a.pass()
	if a.pid() != 0 {
		t.Error("charon runs and there is no peer left")
	}
	if text := a.xfrm("policy"); strings.Contains(text, "10.5.") {
		t.Errorf("policies for peers that went:\n%s", text)
	}
	if _, err := os.Stat(a.engine.charon.logFile()); err != nil {
		t.Error(err)
	}
}

// policies are the ones of the node's associations, in order.
func (x *node) policies() (all []string) {
	x.Helper()
	var policy string
	for _, line := range strings.Split(x.xfrm("policy"), "\n") {
		switch words := strings.Fields(line); {
		case strings.HasPrefix(line, "src "):
			policy = strings.Join(words, " ")
		case len(words) > 1 && words[0] == "dir":
			policy += " dir " + words[1]
		case len(words) > 1 && words[0] == "if_id":
			all = append(all, policy+" if_id "+words[1])
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// misses tells whether the kernel lacked something when the engine looked last.
func (x *node) misses() bool {
	x.engine.mu.Lock()
	defer x.engine.mu.Unlock()
	for _, p := range x.engine.patients {
		if p.lacks > 0 {
			return true
		}
	}
	return false
}

// TestGuestLostInKernel holds that what somebody takes out of the kernel is made again, also where neither charon nor the peer notices.
func TestGuestLostInKernel(t *testing.T) {
	const out, in = "src 10.5.1.0/24 dst 10.5.2.0/24 dir out if_id 87", "src 10.5.2.0/24 dst 10.5.1.0/24 dir in if_id 87"
	a, b := two(t, plain)
	c := a.capture()
	meet(a, b)
	before := a.policies()
	if len(before) != 6 {
		t.Errorf("the policies of one peer are, want three in each family:\n%s", strings.Join(before, "\n"))
	}
	for _, test := range []struct {
		name     string
		commands []string // of ip xfrm
	}{
		{"all keys", []string{"state flush"}},
		{"the keys of what comes in", []string{"state deleteall src 192.0.2.2 dst 192.0.2.1"}},
		{"the keys of what goes out", []string{"state deleteall src 192.0.2.1 dst 192.0.2.2"}},
		{"a policy for what goes out", []string{"policy delete " + out}},
		{"a policy for what comes in", []string{"policy delete " + in}},
		{"a policy for what is forwarded", []string{"policy delete " + strings.Replace(in, "dir in", "dir fwd", 1)}},
		{"all", []string{"policy flush", "state flush"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, command := range test.commands {
				a.xfrm(command)
			}
			a.until("the policies that there were", func() bool { return slices.Equal(a.policies(), before) })
			reach(a, b)
			a.until("the engine to miss nothing", func() bool { return !a.misses() })
			for _, x := range []*node{a, b} {
				if c := x.pass(); !c.IsEmpty() {
					t.Errorf("the next pass put\n%sand dropped\n%s", c.Put, c.Drop)
				}
			}
		})
	}
	if seen := c.stop(); seen["CLEAR"] != 0 || seen["esp"] == 0 {
		t.Errorf("seen on the uplink: %v", seen)
	}
}
