package extension_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/backend/backendtest"
	"github.com/weft-network/weft/backend/extension"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

func TestGolden(t *testing.T) {
	backendtest.Golden(t, func(_, config string) (backend.Backend, []string, error) { return extension.New(config) })
}

// node is one of a dual-stack cluster.
func node(prepared string) backend.Node {
	n := backend.Node{Name: "a", Prepared: prepared}
	n.Networks = [2]subnet.Network{{Prefix: netip.MustParsePrefix("10.5.0.0/16")}, {Prefix: netip.MustParsePrefix("fd00:5::/48")}}
	n.Uplinks = [2]backend.Uplink{
		{Link: "eth0", MTU: 1500, Addr: netip.MustParseAddr("192.0.2.1"), Public: netip.MustParseAddr("192.0.2.1")},
		{Link: "eth0", MTU: 1500, Addr: netip.MustParseAddr("2001:db8::1"), Public: netip.MustParseAddr("2001:db8::1")},
	}
	return n
}

func peer(data string) subnet.Lease {
	return subnet.Lease{Subnets: subnet.Subnets{netip.MustParsePrefix("10.5.2.0/24")},
		Attrs: subnet.Attrs{Node: "b", PublicIP: [2]netip.Addr{netip.MustParseAddr("192.0.2.2")}, Data: [2]string{data}}}
}

func TestAttrsAnnounceWhatWasPrepared(t *testing.T) {
	for _, test := range []struct {
		name, config, prepared string
		inet                   bool // the cluster has IPv4
		want                   [2]string
	}{
		{"nothing to prepare", `{"SubnetAddCommand":"true"}`, "left over", true, [2]string{}},
		{"nothing said", `{"PreStartupCommand":"true"}`, "", true, [2]string{`""`}},
		{"both families", `{"PreStartupCommand":"true"}`, "a \"b\"\nc", true, [2]string{`"a \"b\"\nc"`}},
		{"IPv6 alone", `{"PreStartupCommand":"true"}`, "x", false, [2]string{subnet.Inet6: `"x"`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b, _, err := extension.New(test.config)
			if err != nil {
				t.Fatal(err)
			}
			n := node(test.prepared)
			if !test.inet {
				n.Networks[subnet.Inet], n.Uplinks[subnet.Inet] = subnet.Network{}, backend.Uplink{}
			}
			a, err := b.Attrs(n)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, a.Data); diff != "" || a.Backend != "extension" {
				t.Errorf("kind %q, data (-want +got):\n%s", a.Backend, diff)
			}
		})
	}
}

// TestAnnouncedIsWhatPeersRead holds that what one node says arrives at the others as it was said.
func TestAnnouncedIsWhatPeersRead(t *testing.T) {
	b, _, err := extension.New(`{"PreStartupCommand":"true","SubnetAddCommand":"true"}`)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "key", "a\nb", `"quoted" $(touch /tmp/x)`, "<&>\u2028"} {
		a, err := b.Attrs(node(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := added(t, b, "", peer(a.Data[subnet.Inet])).Stdin; got != text {
			t.Errorf("announced %q, peers read %q", text, got)
		}
	}
}

// added is the command for the peer.
func added(t *testing.T, b extension.Backend, prepared string, peer subnet.Lease) kernel.Command {
	t.Helper()
	var s kernel.State
	if err := b.Peer(node(prepared), peer, &s); err != nil {
		t.Fatal(err)
	}
	if s.Len() != 1 {
		t.Fatalf("the peer is\n%s, want one command", s)
	}
	return s.Commands["10.5.2.0/24"]
}

func TestPeerCommand(t *testing.T) {
	b, _, err := extension.New(`{"PreStartupCommand":"key","SubnetAddCommand":"add $SUBNET","SubnetRemoveCommand":"remove $SUBNET"}`)
	if err != nil {
		t.Fatal(err)
	}
	want := kernel.Command{Name: "10.5.2.0/24", Run: "add $SUBNET", Undo: "remove $SUBNET",
		Env: "PUBLIC_IP=192.0.2.2\nSUBNET=10.5.2.0/24", Stdin: "its key", After: "key\nour key"}
	if diff := cmp.Diff(want, added(t, b, "our key", peer(`"its key"`))); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if added(t, b, "our key", peer(`"its key"`)) == added(t, b, "another", peer(`"its key"`)) {
		t.Error("another preparation leaves the command as it was: what built on the old one would not be done again")
	}
	if got := b.Prepare(); got != (kernel.Command{Name: "preparation", Run: "key"}) {
		t.Errorf("preparation is %#v", got)
	}
}

func FuzzPeerData(f *testing.F) {
	for _, seed := range []string{"", `"a"`, `{"VNI":1}`, "null", `"\ud800"`, "\"\x00\"", `"a`, "5"} {
		f.Add(seed)
	}
	b, _, err := extension.New(`{"SubnetAddCommand":"true"}`)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data string) {
		var s kernel.State
		err := b.Peer(node(""), peer(data), &s)
		if (err == nil) != (s.Len() == 1) {
			t.Errorf("error %v, and the state has %d objects", err, s.Len())
		}
	})
}
