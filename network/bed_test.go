package network

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/backend/auto"
	"github.com/weft-network/weft/backend/extension"
	"github.com/weft-network/weft/backend/hostgw"
	"github.com/weft-network/weft/backend/ipsec"
	"github.com/weft-network/weft/backend/vxlan"
	"github.com/weft-network/weft/backend/wireguard"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
	"github.com/weft-network/weft/subnet/memory"
)

// patience is how long a test waits for something that should come at once.
const patience = 20 * time.Second

const dual = `{"Network":"10.5.0.0/16","IPv6Network":"fd00:5::/48","EnableIPv6":true,"Backend":{"Type":"vxlan"}}`

// bed is a node with an uplink, the real kernel of the test's namespace, and a cluster in memory.
type bed struct {
	t       *testing.T
	dir     string
	cluster *memory.Cluster
	o       Options
}

// newBed makes the uplink eth0 with an address and a default route in each family.
func newBed(t *testing.T, config string) *bed {
	t.Helper()
	b := &bed{t: t, dir: t.TempDir(), cluster: memory.New()}
	if config != "" {
		b.cluster.SetConfig(config)
	}
	v := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0", MTU: 1500}, PeerName: "wire"}
	must(t, netlink.LinkAdd(v))
	t.Cleanup(func() { b.sweep() })
	for _, name := range []string{"wire", "eth0"} {
		l, err := netlink.LinkByName(name)
		must(t, err)
		must(t, netlink.LinkSetUp(l))
	}
	b.address("192.0.2.1/24")
	b.address("2001:db8::1/64")
	b.defaultRoute("192.0.2.254")
	b.defaultRoute("2001:db8::fe")
	b.o = Options{Node: "n1", Store: b.cluster.Store(), StoreKind: "memory", Backend: backends, SubnetFile: filepath.Join(b.dir, "subnet.env"),
		StateFile: filepath.Join(b.dir, "leases.json"), StoreGrace: 50 * time.Millisecond, Masquerade: true, Forward: true, Version: "test", Log: testLog(t)}
	return b
}

// testLog logs where somebody reads it.
func testLog(t *testing.T) logrus.FieldLogger {
	log := logrus.New()
	log.SetOutput(io.Discard)
	if testing.Verbose() {
		log.SetOutput(t.Output())
	}
	return log
}

// backends is the choice that weftd makes.
func backends(kind, config string) (backend.Backend, []string, error) {
	switch kind {
	case vxlan.Kind:
		return vxlan.New(config)
	case hostgw.Kind:
		return hostgw.New(config)
	case wireguard.Kind:
		return wireguard.New(config)
	case ipsec.Kind:
		return ipsec.New(config)
	case extension.Kind:
		return extension.New(config)
	case auto.Kind:
		return auto.New(config)
	}
	return nil, nil, fmt.Errorf("backend %q is unknown", kind)
}

// sweep takes everything away that the bed and its agents made.
func (b *bed) sweep() {
	links, err := netlink.LinkList()
	must(b.t, err)
	for _, l := range links {
		if l.Attrs().Name != "lo" && l.Attrs().Name != "wire" {
			if err := netlink.LinkDel(l); err != nil && !errors.Is(err, unix.ENODEV) { // it went with its parent
				b.t.Errorf("delete %s: %v", l.Attrs().Name, err)
			}
		}
	}
	b.clean()
}

// clean takes away what the kernel holds of ours.
func (b *bed) clean() {
	k, err := kernel.Open()
	must(b.t, err)
	defer k.Close()
	have, err := k.List(context.Background(), kernel.Scope{}, nil)
	must(b.t, err)
	must(b.t, k.Apply(context.Background(), kernel.Diff(have, kernel.State{})))
}

func (b *bed) address(cidr string) {
	b.t.Helper()
	a, err := netlink.ParseAddr(cidr)
	must(b.t, err)
	a.Flags = 0x02 // nodad
	must(b.t, netlink.AddrAdd(b.link("eth0"), a))
}

func (b *bed) defaultRoute(via string) {
	b.t.Helper()
	must(b.t, netlink.RouteAdd(&netlink.Route{Gw: netip.MustParseAddr(via).AsSlice(), LinkIndex: b.link("eth0").Attrs().Index}))
}

func (b *bed) link(name string) netlink.Link {
	b.t.Helper()
	l, err := netlink.LinkByName(name)
	must(b.t, err)
	return l
}

// peer puts the lease of node n into the cluster, as another weftd would.
func (b *bed) peer(n int) subnet.Lease {
	l := subnet.Lease{
		Subnets: subnet.Subnets{prefix("10.5.%d.0/24", n), prefix("fd00:5:0:%x::/64", n)},
		Attrs: subnet.Attrs{Node: fmt.Sprintf("n%d", n), Backend: "vxlan",
			PublicIP: [2]netip.Addr{prefix("192.0.2.%d/32", n).Addr(), prefix("2001:db8::%x/128", n).Addr()},
			Data:     [2]string{fmt.Sprintf(`{"VNI":1,"VtepMAC":"0e:00:00:00:04:%02x"}`, n), fmt.Sprintf(`{"VNI":1,"VtepMAC":"0e:00:00:00:06:%02x"}`, n)}},
	}
	b.cluster.Put(l)
	return l
}

func prefix(format string, n int) netip.Prefix { return netip.MustParsePrefix(fmt.Sprintf(format, n)) }

// run starts an agent, which ends with the test or when the returned function is called.
func (b *bed) run() (a *Agent, stop func()) {
	b.t.Helper()
	a, err := New(b.o)
	must(b.t, err)
	return a, running(b.t, a)
}

// until waits until what the agent says of itself is right.
func until(t *testing.T, a *Agent, what string, right func(Status) bool) Status {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for {
		s := a.Status()
		if right(s) {
			return s
		}
		select {
		case <-late:
			t.Fatalf("%s: not within %s; waiting %q warnings %q kernel %+v store %+v firewall %+v", what, patience, s.Waiting, s.Warnings, s.Kernel, s.Store, s.Firewall)
		case <-tick.C:
		}
	}
}

func ready(s Status) bool { return s.Ready }

// held lists what the kernel holds of ours.
func (b *bed) held() string {
	b.t.Helper()
	k, err := kernel.Open()
	must(b.t, err)
	defer k.Close()
	s, err := k.List(context.Background(), kernel.Scope{}, nil)
	must(b.t, err)
	return s.String()
}

// holds waits until the kernel holds want.
func (b *bed) holds(want string) {
	b.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for b.held() != want {
		select {
		case <-late:
			b.t.Fatalf("the kernel holds\n%s, want\n%s", b.held(), want)
		case <-tick.C:
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
