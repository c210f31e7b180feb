package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/weft-network/weft/network/kernel/kerneltest"
	"github.com/weft-network/weft/subnet/memory"
)

// TestSeveralAgents holds that agents in one process, each made in a network namespace of its own, connect these and
// leave the namespace of the process alone.
func TestSeveralAgents(t *testing.T) {
	for _, firewall := range []string{"nftables", "iptables"} {
		t.Run(firewall, func(t *testing.T) { testSeveralAgents(t, firewall) })
	}
}

func testSeveralAgents(t *testing.T, firewall string) {
	spaces := []*kerneltest.NS{kerneltest.NewNS(t), kerneltest.NewNS(t)}
	spaces[0].Join(t, "eth0", spaces[1], "eth0", []string{"192.0.2.1/24"}, []string{"192.0.2.2/24"})
	cluster := memory.New()
	cluster.SetConfig(`{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}`)
	own := looked(t)
	var agents []*Agent
	var stops []func()
	start := func() {
		agents, stops = nil, nil
		for i, ns := range spaces {
			dir := t.TempDir()
			o := Options{Node: fmt.Sprint("n", i), Store: cluster.Store(), StoreKind: "memory", Backend: backends, Firewall: firewall,
				Uplink: UplinkRules{Ifaces: []string{"eth0"}}, SubnetFile: filepath.Join(dir, "subnet.env"), Masquerade: true, Log: testLog(t)}
			var a *Agent
			ns.Do(t, func() {
				var err error
				a, err = New(o)
				must(t, err)
			})
			agents, stops = append(agents, a), append(stops, running(t, a))
		}
		for _, a := range agents {
			until(t, a, "a peer", func(s Status) bool { return s.Ready && len(s.Peers) == 1 && s.Peers[0].Programmed && s.Firewall.InStep })
		}
	}
	stop := func() {
		for _, f := range stops {
			f()
		}
	}
	start()
	there := netip.MustParsePrefix(agents[1].Status().Lease.Subnets[0]).Addr()
	spaces[1].Echo(t, netip.AddrPortFrom(there, 7))
	spaces[0].Reach(t, netip.AddrPortFrom(there, 7))
	stop()
	var before []string
	for _, ns := range spaces {
		ns.Do(t, func() { before = append(before, looked(t)) })
		if text := strings.ToLower(before[len(before)-1]); !strings.Contains(text, "weft") || !strings.Contains(text, "flannel.1") || !strings.Contains(text, "ip_forward: 1") {
			t.Errorf("a namespace holds, after its agent:\n%s", text)
		}
	}
	if now := looked(t); now != own {
		t.Errorf("the namespace of the process held\n%s, now\n%s", own, now)
	}
	start()
	stop()
	for i, ns := range spaces {
		ns.Do(t, func() {
			if now := looked(t); now != before[i] {
				t.Errorf("a second run changed\n%s to\n%s", before[i], now)
			}
		})
	}
}

// running runs a until the test ends, or the returned function is called.
func running(t *testing.T, a *Agent) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("the agent ended with %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

// looked is what the namespace of the calling thread holds, as others see it.
func looked(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	links, err := netlink.LinkList()
	must(t, err)
	for _, l := range links {
		fmt.Fprintln(&b, l.Attrs().Name, l.Attrs().HardwareAddr)
	}
	for _, words := range [][]string{{"ip", "route"}, {"nft", "--stateless", "list", "ruleset"}} {
		out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", words, err, out)
		}
		b.Write(out)
	}
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward")
	must(t, err)
	return fmt.Sprintf("%sip_forward: %s", b.String(), text)
}

// TestRunLeavesNothing holds that an agent whose Run has returned keeps no goroutine and no file.
func TestRunLeavesNothing(t *testing.T) {
	b := newBed(t, dual)
	b.peer(2)
	count := func() (goroutines, files int) {
		open, err := os.ReadDir("/proc/self/fd")
		must(t, err)
		return runtime.NumGoroutine(), len(open)
	}
	lap := func() {
		a, err := New(b.o)
		must(t, err)
		if a.Status().Ready {
			t.Error("ready before Run")
		}
		stop := running(t, a)
		until(t, a, "ready", ready)
		stop()
		if s := a.Status(); len(s.Peers) != 1 {
			t.Errorf("after Run the status is %+v", s)
		}
	}
	lap() // what the libraries make once
	goroutines, files := count()
	for range 3 {
		lap()
	}
	late := time.After(patience)
	for {
		g, f := count()
		if g <= goroutines && f <= files {
			return
		}
		select {
		case <-late:
			all := make([]byte, 1<<16)
			t.Fatalf("%d goroutines became %d, %d files %d:\n%s", goroutines, g, files, f, all[:runtime.Stack(all, true)])
		case <-time.After(5 * time.Millisecond):
			runtime.GC() // which closes what is no longer used
		}
	}
}
