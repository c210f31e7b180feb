package network

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
	"github.com/weft-network/weft/subnet/memory"
)

var blueMark = kernel.Mark{Name: "blue", Number: 1}

const blueConfig = `{"Network":"10.105.0.0/16","IPv6Network":"fd00:105::/48","EnableIPv6":true,"Backend":{"Type":"vxlan","VNI":2}}`

// second is another network on the node of b, which both of them are told.
func (b *bed) second(config string) *bed {
	b.t.Helper()
	b.o.Beside = &Beside{}
	b.t.Cleanup(func() { cleanAs(b.t, blueMark) })
	s := &bed{t: b.t, dir: b.t.TempDir(), cluster: memory.New(), o: b.o}
	if config != "" {
		s.cluster.SetConfig(config)
	}
	s.o.Mark, s.o.Store = blueMark, s.cluster.Store()
	s.o.SubnetFile, s.o.StateFile = filepath.Join(s.dir, "blue.env"), filepath.Join(s.dir, "leases.json")
	s.cluster.Put(subnet.Lease{
		Subnets: subnet.Subnets{prefix("10.105.%d.0/24", 2), prefix("fd00:105:0:%x::/64", 2)},
		Attrs: subnet.Attrs{Node: "n2", Backend: "vxlan", PublicIP: [2]netip.Addr{netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::2")},
			Data: [2]string{`{"VNI":2,"VtepMAC":"0e:00:00:00:04:52"}`, `{"VNI":2,"VtepMAC":"0e:00:00:00:06:52"}`}},
	})
	return s
}

// cleanAs takes away what the kernel holds of a network.
func cleanAs(t *testing.T, m kernel.Mark) {
	t.Helper()
	k, err := kernel.OpenAs(m, kernel.SysctlDir)
	must(t, err)
	defer k.Close()
	have, err := k.List(context.Background(), kernel.Scope{}, nil)
	must(t, err)
	must(t, k.Apply(context.Background(), kernel.Diff(have, kernel.State{})))
}

// heldAs lists what the kernel holds of a network.
func heldAs(t *testing.T, m kernel.Mark) string {
	t.Helper()
	k, err := kernel.OpenAs(m, kernel.SysctlDir)
	must(t, err)
	defer k.Close()
	s, err := k.List(context.Background(), kernel.Scope{}, nil)
	must(t, err)
	return m.Words(s.String())
}

// TestTwoNetworks runs the agents of two networks on one node: each keeps its own, through restarts and repairs of the other.
func TestTwoNetworks(t *testing.T) {
	b := newBed(t, dual)
	b.peer(2)
	blue := b.second(blueConfig)
	served := func(s Status) bool { return s.Ready && len(s.Peers) == 1 && s.Peers[0].Programmed && s.Firewall.InStep }
	both := func() (first, second *Agent, stop func()) {
		b.o.Beside = &Beside{}
		blue.o.Beside = b.o.Beside
		first, stopFirst := b.run()
		second, stopSecond := blue.run()
		until(t, first, "the first network", served)
		until(t, second, "blue", served)
		return first, second, func() { stopFirst(); stopSecond() }
	}
	first, second, stop := both()
	one, two, all := heldAs(t, kernel.Mark{}), heldAs(t, blueMark), looked(t)
	for _, want := range []string{"route 10.105.2.0/24 via 10.105.2.0 dev blue.2 proto 88 onlink\n", "link blue-v6.2 ", "route unreachable 10.105."} {
		if !strings.Contains(two, want) || strings.Contains(one, want) {
			t.Errorf("blue lacks %q, or the first network has it:\n%s\n%s", want, two, one)
		}
	}
	for _, want := range []string{"table inet weft {", "table inet weft-blue {"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %s in\n%s", want, all)
		}
	}
	checkBothTold(t, first, second)
	stop()
	if diff := cmp.Diff(all, looked(t)); diff != "" {
		t.Errorf("the end changed:\n%s", diff)
	}
	first, second, stop = both()
	defer stop()
	for name, a := range map[string]*Agent{"the first network": first, "blue": second} {
		for kind, n := range a.Status().Kernel.Changes {
			if n > 0 {
				t.Errorf("a second run changed %d %s of %s", n, kind, name)
			}
		}
	}
	if diff := cmp.Diff(all, looked(t)); diff != "" {
		t.Errorf("a second run changed:\n%s", diff)
	}

	cleanAs(t, blueMark)
	until(t, second, "blue repaired", func(s Status) bool { return heldAs(t, blueMark) == two })
	if diff := cmp.Diff(one, heldAs(t, kernel.Mark{})); diff != "" {
		t.Errorf("the first network was changed:\n%s", diff)
	}
	if n := first.Status().Kernel.Repairs["route"]; n != 0 {
		t.Errorf("the first network repaired %d routes", n)
	}
}

// checkBothTold holds that what a node serves over HTTP is about both networks.
func checkBothTold(t *testing.T, first, second *Agent) {
	t.Helper()
	ask := func(path string) string {
		w := httptest.NewRecorder()
		Handler(first, second).ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return w.Body.String()
	}
	var s Status
	must(t, json.Unmarshal([]byte(ask("/status")), &s))
	if s.Network != "" || len(s.Networks) != 1 || s.Networks[0].Network != "blue" || !s.Networks[0].Ready {
		t.Errorf("status %+v", s)
	}
	metrics := ask("/metrics")
	for _, want := range []string{"\nweft_ready 1\n", "\nweft_ready{network=\"blue\"} 1\n", "\nweft_kernel_objects{kind=\"route\",network=\"blue\"} 4\n"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %q in the metrics:\n%s", want, metrics)
		}
	}
	if text := ask("/readyz"); text != "ok\n" {
		t.Errorf("readyz says %s", text)
	}
}

// TestNetworksThatOverlap holds that a config is refused that needs what another network of the node has, that nothing running is
// touched, and that it is taken when the other one has given up what it had.
func TestNetworksThatOverlap(t *testing.T) {
	for name, test := range map[string]struct{ config, want string }{
		"range":       {`{"Network":"10.5.64.0/18","Backend":{"Type":"vxlan","VNI":2}}`, "network 10.5.64.0/18 overlaps with 10.5.0.0/16 of the first network"},
		"IPv6 range":  {`{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd00:5:0:8000::/50","Backend":{"Type":"vxlan","VNI":2}}`, "overlaps with fd00:5::/48 of the first"},
		"a later one": {`{"Network":"10.105.0.0/16","Networks":[{"Network":"10.5.0.0/20"}],"Backend":{"Type":"host-gw"}}`, "network 10.5.0.0/20 overlaps with 10.5.0.0/16"},
		"VNI":         {`{"Network":"10.105.0.0/16","Backend":{"Type":"vxlan"}}`, "number 1 at UDP port 8472"},
		"port":        {`{"Network":"10.105.0.0/16","Backend":{"Type":"wireguard","ListenPort":8472}}`, "UDP port 8472"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, dual)
			blue := b.second(test.config)
			first, stop := b.run()
			defer stop()
			until(t, first, "the first network", ready)
			one := heldAs(t, kernel.Mark{})
			second, stopSecond := blue.run()
			defer stopSecond()
			refused := func(s Status) bool { return strings.Contains(strings.Join(s.Waiting, " "), test.want) }
			until(t, second, "refused", refused)
			if diff := cmp.Diff(one, heldAs(t, kernel.Mark{})); diff != "" {
				t.Errorf("the first network was changed:\n%s", diff)
			}
			if two := heldAs(t, blueMark); two != "" {
				t.Errorf("blue has\n%s", two)
			}
			blue.cluster.SetConfig(blueConfig)
			until(t, second, "another config", ready)
		})
	}
}

// TestNetworkGivenUp holds that a network waits for what another one has, until that gives it up.
func TestNetworkGivenUp(t *testing.T) {
	b := newBed(t, `{"Network":"10.5.0.0/16","Networks":[{"Network":"10.105.0.0/16"}],"Backend":{"Type":"vxlan"}}`)
	blue := b.second(`{"Network":"10.105.0.0/16","Backend":{"Type":"vxlan","VNI":2}}`)
	first, _ := b.run()
	until(t, first, "the first network", ready)
	second, _ := blue.run()
	until(t, second, "refused", func(s Status) bool { return strings.Contains(strings.Join(s.Waiting, " "), "overlaps") })
	b.cluster.SetConfig(`{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}`)
	until(t, second, "what was given up", ready)
}

// TestFirstNetworkGoesFirst holds that of two configs that overlap the first network's is taken, though another agent is told its own earlier, and
// that one which is broken does not stop another.
func TestFirstNetworkGoesFirst(t *testing.T) {
	b := newBed(t, "")
	blue := b.second(`{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan","VNI":2}}`)
	first, err := New(b.o)
	must(t, err)
	second, _ := blue.run()
	until(t, second, "way given", func(s Status) bool {
		return strings.Contains(strings.Join(s.Waiting, " "), "the first network comes first and has no config yet")
	})
	running(t, first)
	b.cluster.SetConfig(`{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}`)
	until(t, first, "the first network", ready)
	until(t, second, "refused", func(s Status) bool { return strings.Contains(strings.Join(s.Waiting, " "), "overlaps") })

	blue.cluster.SetConfig(blueConfig)
	until(t, second, "blue", ready)
	b.cluster.SetConfig(`{"Network":`)
	until(t, second, "blue goes on", ready)
}

// TestWayIsGivenForAWhile holds that a network which has no config waits for nothing else when the first one has its own.
func TestWayIsGivenForAWhile(t *testing.T) {
	b := newBed(t, dual)
	blue := b.second("")
	first, err := New(b.o)
	must(t, err)
	second, _ := blue.run()
	until(t, second, "way given", func(s Status) bool {
		return strings.Contains(strings.Join(s.Waiting, " "), "comes first and has no config yet")
	})
	running(t, first)
	until(t, second, "a config", func(s Status) bool {
		return len(s.Waiting) == 1 && strings.HasPrefix(s.Waiting[0], "there is no network config yet")
	})
}

// TestFirstNetworkWithoutConfig holds that a network does not wait for ever for one that was made before it.
func TestFirstNetworkWithoutConfig(t *testing.T) {
	b := newBed(t, "")
	blue := b.second(blueConfig)
	b.run()
	second, err := New(blue.o)
	must(t, err)
	second.born = time.Now().Add(-giveWayFor)
	running(t, second)
	until(t, second, "blue", ready)
}

// TestSavedNetworkIsKept holds that a config which overlaps is not taken at a start either, before the agent that has the range is told its own.
func TestSavedNetworkIsKept(t *testing.T) {
	b := newBed(t, dual)
	blue := b.second(blueConfig)
	first, stopFirst := b.run()
	second, stopSecond := blue.run()
	saved := func(file string) func(Status) bool {
		return func(s Status) bool {
			_, err := os.Stat(file)
			return s.Ready && err == nil
		}
	}
	until(t, first, "saved", saved(b.o.StateFile))
	until(t, second, "saved", saved(blue.o.StateFile))
	stopFirst()
	stopSecond()

	blue.cluster.SetConfig(dual)
	blue.o.Beside = &Beside{}
	b.o.Beside = blue.o.Beside
	first, err := New(b.o)
	must(t, err)
	second, _ = blue.run()
	until(t, second, "the config of before", func(s Status) bool {
		return s.Ready && s.Config == blueConfig && strings.Contains(strings.Join(s.Warnings, " "), "is refused")
	})
	running(t, first)
	until(t, first, "the first network", ready)
}

// TestBesideRefuses holds that agents cannot be made that would take each other's objects or files for their own.
func TestBesideRefuses(t *testing.T) {
	b := newBed(t, dual)
	blue := b.second(blueConfig)
	b.o.KeyFile = "/run/w.key"
	for _, o := range []Options{b.o, blue.o} {
		a, err := New(o)
		must(t, err)
		t.Cleanup(a.kern.Close)
	}
	for want, change := range map[string]func(*Options){
		"network blue is there twice":                       func(o *Options) { o.Mark.Name = "blue" },
		"network red has the number 1 of network blue":      func(o *Options) { o.Mark.Number = 1 },
		"the first network is there twice":                  func(o *Options) { o.Mark = kernel.Mark{} },
		"number 200 is not between 1 and 8":                 func(o *Options) { o.Mark.Number = 200 },
		`name "a.b" is not 1 to 7 lower-case letters`:       func(o *Options) { o.Mark.Name = "a.b" },
		"is what devices of the first network begin with":   func(o *Options) { o.Mark.Name = "flannel" },
		"/blue.env, as network blue does":                   func(o *Options) { o.SubnetFile = blue.o.SubnetFile },
		"/leases.json, as the first network does":           func(o *Options) { o.StateFile = b.dir + "/x/../leases.json" },
		"would write /run/w.key, as the first network does": func(o *Options) { o.KeyFile = "/run/w.key" },
	} {
		t.Run(want, func(t *testing.T) {
			red := blue.o
			red.Mark, red.SubnetFile, red.StateFile = kernel.Mark{Name: "red", Number: 2}, filepath.Join(blue.dir, "red.env"), ""
			change(&red)
			a, err := New(red)
			if err == nil {
				a.kern.Close()
			}
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %s", err, want)
			}
		})
	}
}
