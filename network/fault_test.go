package network

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/weft-network/weft/subnet"
)

func TestAgentRefusesConfigsItCannotApply(t *testing.T) {
	b := newBed(t, dual)
	b.peer(2)
	a, _ := b.run()
	until(t, a, "ready", ready)
	state := b.held()
	for _, c := range []struct{ name, config, want string }{
		{"garbage", `{"Network":`, "JSON"},
		{"wrong value", `{"Network":"10.5.0.0/16","SubnetLen":31}`, "SubnetLen"},
		{"wrong backend key", `{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan","VNI":-1}}`, "VNI"},
		{"unknown backend", `{"Network":"10.5.0.0/16","Backend":{"Type":"carrier-pigeon"}}`, "carrier-pigeon"},
		{"another network", `{"Network":"10.99.0.0/16"}`, "10.99.0.0/16"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b.t = t
			b.cluster.SetConfig(c.config)
			s := until(t, a, "refused", func(s Status) bool { return strings.Contains(strings.Join(s.Warnings, " "), c.want) })
			if s.Config != dual || !s.Ready || b.held() != state {
				t.Errorf("in force %s, ready %v, kernel\n%s", s.Config, s.Ready, b.held())
			}
		})
	}
	b.t = t
	b.cluster.SetConfig(strings.Replace(dual, `"vxlan"`, `"vxlan","MTU":1400`, 1))
	until(t, a, "mended", func(s Status) bool { return len(s.Warnings) == 0 && s.Ready && s.MTU == 1330 })
	if want := strings.ReplaceAll(strings.ReplaceAll(state, "mtu 1450", "mtu 1350"), "mtu 1430", "mtu 1330"); b.held() != want {
		t.Errorf("the kernel holds\n%s, want\n%s", b.held(), want)
	}
}

func TestAgentWaitsForTheConfig(t *testing.T) {
	b := newBed(t, "")
	a, _ := b.run()
	until(t, a, "told", func(s Status) bool {
		text, err := os.ReadFile(b.o.SubnetFile + ".waiting")
		return err == nil && strings.Contains(string(text), "no network config")
	})
	b.cluster.SetConfig(dual)
	until(t, a, "ready", ready)
	if _, err := os.Stat(b.o.SubnetFile + ".waiting"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file that says what is waited for is still there: %v", err)
	}
}

func TestAgentWaitsForTheUplink(t *testing.T) {
	b := newBed(t, dual)
	must(t, netlink.LinkDel(b.link("eth0")))
	a, _ := b.run()
	until(t, a, "told", func(s Status) bool { return strings.Contains(strings.Join(s.Waiting, " "), "no IPv4 uplink") })
	v := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0", MTU: 1500}, PeerName: "wire"}
	must(t, netlink.LinkAdd(v))
	must(t, netlink.LinkSetUp(b.link("eth0")))
	b.address("192.0.2.1/24")
	b.address("2001:db8::1/64")
	b.defaultRoute("192.0.2.254")
	b.defaultRoute("2001:db8::fe")
	until(t, a, "ready", ready)
}

func TestAgentFollowsItsAddress(t *testing.T) {
	b := newBed(t, dual)
	b.peer(2)
	a, _ := b.run()
	before := until(t, a, "ready", ready)
	state := b.held()
	b.move("192.0.2.78/24")
	after := until(t, a, "moved", func(s Status) bool { return s.Lease.PublicIPs[0] == "192.0.2.78" })
	if d := strings.Join(after.Lease.Subnets, ","); d != strings.Join(before.Lease.Subnets, ",") {
		t.Errorf("the subnets became %s", d)
	}
	b.holds(strings.Replace(state, "local 192.0.2.1 ", "local 192.0.2.78 ", 1))
}

// move gives the uplink another address.
func (b *bed) move(cidr string) {
	b.t.Helper()
	b.address("192.0.2.77/24")
	addrs, err := netlink.AddrList(b.link("eth0"), netlink.FAMILY_V4)
	must(b.t, err)
	must(b.t, netlink.AddrDel(b.link("eth0"), &addrs[0])) // takes its secondary with it
	b.address(cidr)
	b.defaultRoute("192.0.2.254")
}

// The node goes on when the store refuses its new address, and says so.
func TestAgentMovesToAnAddressInUse(t *testing.T) {
	b := newBed(t, dual)
	leave := b.neighbourNode(2, "192.0.2.78")
	a, _ := b.run()
	until(t, a, "ready", ready)
	b.move("192.0.2.78/24")
	until(t, a, "told", func(s Status) bool {
		text := strings.Join(s.Warnings, " ")
		return s.Ready && strings.Contains(text, "what was announced stays in force: ") && strings.Contains(text, "n2")
	})
	leave()
	until(t, a, "moved", func(s Status) bool {
		return s.Lease.PublicIPs[0] == "192.0.2.78" && !strings.Contains(strings.Join(s.Warnings, " "), "stays in force")
	})
}

func TestAgentSurvivesAWipe(t *testing.T) {
	b := newBed(t, dual)
	for n := 2; n < 6; n++ {
		b.peer(n)
	}
	a, _ := b.run()
	until(t, a, "ready", ready)
	state := b.held()
	own := a.claims.lease()
	b.cluster.Wipe()
	for n := 2; n < 6; n++ {
		b.peer(n)
	}
	until(t, a, "claimed again", func(Status) bool {
		for _, l := range b.cluster.Leases() {
			if l == own {
				return true
			}
		}
		return false
	})
	b.holds(state)
	if s := a.Status(); s.Kernel.Repairs["route"] != 0 {
		t.Errorf("the kernel was changed meanwhile: %+v", s.Kernel)
	}
}

// Pods keep their addresses when the node gets other subnets, and nobody reaches them from then on.
func TestAgentWarnsOfOtherSubnets(t *testing.T) {
	b := newBed(t, dual)
	a, stop := b.run()
	until(t, a, "ready", ready)
	other := b.peer(9)
	take := func() func(Status) bool { // what the node has is another's now
		other.Subnets = a.claims.lease().Subnets
		b.cluster.Put(other)
		return func(s Status) bool {
			return ready(s) && a.envSubnets() == a.claims.lease().Subnets && strings.Contains(strings.Join(s.Warnings, "\n"), "no longer "+other.Subnets.String()+": no other node reaches the pods")
		}
	}
	until(t, a, "other subnets", take())
	stop()
	warned := take()
	b.o.Store = b.cluster.Store()
	a, stop = b.run() // which knows from subnet.env
	until(t, a, "other subnets than before its start", warned)
	stop()
	b.o.Store = b.cluster.Store()
	a, _ = b.run()
	if s := until(t, a, "ready", ready); len(s.Warnings) > 0 {
		t.Errorf("warnings %q", s.Warnings)
	}
}

func TestAgentStartsWithoutTheStore(t *testing.T) {
	b := newBed(t, dual)
	b.peer(2)
	three := b.peer(3)
	a, stop := b.run()
	until(t, a, "saved", func(s Status) bool {
		saved, err := subnet.LoadSaved(b.o.StateFile)
		return s.Ready && err == nil && len(saved.Peers) == 2 && saved.Own == a.claims.lease()
	})
	stop()
	state := b.held()
	b.t.Log("as after a reboot: kernel and /run are empty, and the store is away")
	b.clean()
	must(t, os.Remove(b.o.SubnetFile))
	b.cluster.Break(errors.New("connection refused"))
	a, _ = b.run()
	until(t, a, "ready without the store", ready)
	if got := b.held(); got != state {
		t.Errorf("the kernel holds\n%s, want\n%s", got, state)
	}
	b.cluster.Remove(three.Subnets)
	b.cluster.Mend()
	until(t, a, "store back", func(s Status) bool { return s.Store.Connected && len(s.Peers) == 1 })
	if strings.Contains(b.held(), "10.5.3.0/24") {
		b.holds(strings.Join(without(b.held(), "10.5.3.0", "fd00:5:0:3:", "04:03", "06:03"), ""))
	}
}

// A mistake in the config costs nothing, even where the agent is restarted while it is there.
func TestAgentStartsWithTheLastGoodConfig(t *testing.T) {
	b := newBed(t, dual)
	b.peer(2)
	a, stop := b.run()
	until(t, a, "saved", func(s Status) bool {
		saved, err := subnet.LoadSaved(b.o.StateFile)
		return s.Ready && err == nil && saved.Config == dual
	})
	stop()
	state := b.held()
	b.cluster.SetConfig(`{"Network":"10.5.0.0/16","Backend":{"Type":"vxlam"}}`)
	a, stop = b.run()
	s := until(t, a, "ready", ready)
	if b.held() != state || s.Config != dual || len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], "vxlam") {
		t.Errorf("in force %s, warnings %q, kernel\n%s", s.Config, s.Warnings, b.held())
	}
	stop()
	t.Log("the disk of another node is of no use")
	saved, err := subnet.LoadSaved(b.o.StateFile)
	must(t, err)
	saved.Own.Node = "another"
	_, err = saved.Save(b.o.StateFile)
	must(t, err)
	a, stop = b.run()
	until(t, a, "told", func(s Status) bool { return strings.Contains(strings.Join(s.Waiting, " "), "vxlam") })
	stop()
}

// without are the lines of text that hold none of the words.
func without(text string, words ...string) []string {
	var out []string
	for _, line := range strings.SplitAfter(text, "\n") {
		keep := true
		for _, w := range words {
			keep = keep && !strings.Contains(line, w)
		}
		if keep {
			out = append(out, line)
		}
	}
	return out
}

func TestAgentServesTheOthersWhenOnePeerIsBad(t *testing.T) {
	b := newBed(t, dual)
	b.peer(2)
	bad := b.peer(3)
	bad.Data = [2]string{`{"VNI":1,"VtepMAC":"not a MAC"}`, bad.Data[1]}
	b.cluster.Put(bad)
	a, _ := b.run()
	s := until(t, a, "ready", ready)
	if len(s.Peers) != 2 || !s.Peers[0].Programmed || s.Peers[1].Programmed || !strings.Contains(s.Peers[1].Error, "not a MAC") {
		t.Errorf("peers %+v", s.Peers)
	}
	b.peer(3)
	until(t, a, "mended", func(s Status) bool { return s.Peers[1].Programmed && len(s.Warnings) == 0 })
}

func TestAgentRefusesAnAddressInUse(t *testing.T) {
	b := newBed(t, dual)
	leave := b.neighbourNode(2, "192.0.2.1")
	a, _ := b.run()
	until(t, a, "told", func(s Status) bool {
		text := strings.Join(s.Waiting, " ")
		return strings.Contains(text, "192.0.2.1") && strings.Contains(text, "n2")
	})
	leave()
	until(t, a, "ready", ready)
}

// neighbourNode lets node n live in the cluster with the given address until the returned function is called.
func (b *bed) neighbourNode(n int, address string) (leave func()) {
	b.t.Helper()
	config, _, err := subnet.Parse(dual)
	must(b.t, err)
	l := b.peer(n)
	b.cluster.Remove(l.Subnets)
	l.PublicIP[subnet.Inet] = netip.MustParseAddr(address)
	s := b.cluster.Store()
	ctx, cancel := context.WithCancel(context.Background())
	seen, done := make(chan struct{}, 100), make(chan error, 1)
	go func() {
		done <- s.Watch(ctx, func(subnet.Snapshot) bool {
			seen <- struct{}{}
			return true
		})
	}()
	<-seen
	_, err = s.Claim(ctx, subnet.Want{Config: config, Attrs: l.Attrs})
	must(b.t, err)
	leave = func() {
		cancel()
		<-done
	}
	b.t.Cleanup(cancel)
	return leave
}

func TestAgentFollowsTheUplinksMTU(t *testing.T) {
	b := newBed(t, dual)
	b.peer(2)
	a, _ := b.run()
	until(t, a, "ready", ready)
	state := b.held()
	must(t, netlink.LinkSetMTU(b.link("eth0"), 1400))
	until(t, a, "smaller", func(s Status) bool { return s.MTU == 1330 && s.Ready })
	b.holds(strings.ReplaceAll(strings.ReplaceAll(state, "mtu 1450", "mtu 1350"), "mtu 1430", "mtu 1330"))
	if env, err := subnet.ReadEnv(b.o.SubnetFile); err != nil || env.MTU != 1330 {
		t.Errorf("subnet.env %+v, %v", env, err)
	}
}

func TestAgentKeepsTheOverlayWhileTheUplinkIsDown(t *testing.T) {
	b := newBed(t, `{"Network":"10.5.0.0/16"}`)
	b.peer(2)
	a, _ := b.run()
	until(t, a, "ready", ready)
	state := b.held()
	must(t, netlink.LinkSetDown(b.link("eth0")))
	until(t, a, "noticed", func(s Status) bool { return !s.Ready && strings.Contains(strings.Join(s.Waiting, " "), "uplink") })
	if got := b.held(); got != state {
		t.Errorf("the kernel holds\n%s, want\n%s", got, state)
	}
	must(t, netlink.LinkSetUp(b.link("eth0")))
	b.defaultRoute("192.0.2.254")
	until(t, a, "ready again", ready)
	b.holds(state)
}

func TestAgentMovesToAnotherUplink(t *testing.T) {
	b := newBed(t, `{"Network":"10.5.0.0/16"}`)
	b.peer(2)
	a, _ := b.run()
	until(t, a, "ready", ready)
	state := b.held()
	v := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth1", MTU: 1500}, PeerName: "wire1"}
	must(t, netlink.LinkAdd(v))
	must(t, netlink.LinkSetUp(b.link("eth1")))
	must(t, netlink.LinkSetUp(b.link("wire1")))
	addr, err := netlink.ParseAddr("198.51.100.1/24")
	must(t, err)
	must(t, netlink.AddrAdd(b.link("eth1"), addr))
	must(t, netlink.LinkDel(b.link("eth0"))) // takes the overlay's device with it
	must(t, netlink.RouteAdd(&netlink.Route{Gw: prefix("198.51.100.%d/32", 254).Addr().AsSlice(), LinkIndex: b.link("eth1").Attrs().Index}))
	until(t, a, "moved", func(s Status) bool { return s.Ready && s.Lease.PublicIPs[0] == "198.51.100.1" })
	b.holds(strings.Replace(state, "local 192.0.2.1 dev eth0", "local 198.51.100.1 dev eth1", 1))
}

func TestAgentKeepsTheSubnetFile(t *testing.T) {
	b := newBed(t, dual)
	b.o.SubnetFile = filepath.Join(b.dir, "run", "subnet.env")
	a, _ := b.run()
	until(t, a, "ready", ready)
	want, err := os.ReadFile(b.o.SubnetFile)
	must(t, err)
	for _, c := range []struct {
		name string
		harm func() error
	}{
		{"removed", func() error { return os.Remove(b.o.SubnetFile) }},
		{"damaged", func() error { return os.WriteFile(b.o.SubnetFile, []byte("FLANNEL_MTU=9"), 0o644) }},
		{"moved away with its folder", func() error { return os.Rename(filepath.Dir(b.o.SubnetFile), filepath.Join(b.dir, "away")) }},
		{"removed again", func() error { return os.Remove(b.o.SubnetFile) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			must(t, c.harm())
			until(t, a, "back", func(Status) bool {
				text, err := os.ReadFile(b.o.SubnetFile)
				return err == nil && string(text) == string(want)
			})
		})
	}
}
