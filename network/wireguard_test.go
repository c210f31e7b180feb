package network

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/network/kernel"
)

// far is a peer that may be at two places.
func far(endpoints ...string) kernel.WireGuardPeer {
	var list []netip.AddrPort
	for _, e := range endpoints {
		list = append(list, netip.MustParseAddrPort(e))
	}
	return kernel.WireGuardPeer{Link: "flannel-wg", PublicKey: kernel.PublicKey{2}, Endpoints: kernel.EndpointText(list...),
		Allowed: kernel.AllowedText(netip.MustParsePrefix("10.5.2.0/24"))}
}

func TestPeersAreLookedFor(t *testing.T) {
	const announced, internal, learned = "198.51.100.2:51820", "192.168.1.2:51820", "203.0.113.9:4711"
	start := time.Unix(1000000, 0)
	type look struct {
		after     int    // seconds
		at        string // where the kernel sends to
		sent      uint64
		handshake int // seconds after the start; 0 for never
	}
	for _, test := range []struct {
		name  string
		peer  kernel.WireGuardPeer
		looks []look
		want  []string // where the peer is looked for after each look; "" for no change
	}{
		{"one place alone", far(announced), []look{{0, announced, 0, 0}, {60, announced, 999, 0}}, []string{"", ""}},
		{"it answers", far(announced, internal), []look{{0, announced, 0, 0}, {30, announced, 999, 20}}, []string{"", ""}},
		{"nobody asks for it", far(announced, internal), []look{{0, announced, 7, 0}, {60, announced, 7, 0}, {65, announced, 8, 0}}, []string{"", "", ""}},
		{"no answer", far(announced, internal), []look{{0, announced, 0, 0}, {5, announced, 148, 0}, {10, announced, 296, 0}, {15, announced, 444, 0},
			{20, internal, 592, 0}, {30, internal, 740, 0}, {35, announced, 888, 0}}, []string{"", "", "", internal, "", announced, ""}},
		{"an answer from elsewhere", far(announced, internal), []look{{0, announced, 0, 0}, {15, learned, 148, 14}, {20, learned, 296, 14}}, []string{"", "", ""}},
		{"silent where it was learned", far(announced, internal), []look{{0, learned, 0, 1}, {210, learned, 148, 1}, {230, learned, 296, 1}, {240, announced, 400, 1}},
			[]string{"", "", announced, ""}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var c contacts
			var want kernel.Set[kernel.WireGuardPeerKey, kernel.WireGuardPeer]
			want.Add(test.peer)
			var got []string
			for _, l := range test.looks {
				x := kernel.WireGuardTraffic{Link: "flannel-wg", PublicKey: kernel.PublicKey{2}, Endpoint: netip.MustParseAddrPort(l.at), Sent: l.sent}
				if l.handshake != 0 {
					x.Handshake = start.Unix() + int64(l.handshake)
				}
				list := []kernel.WireGuardTraffic{x}
				to := ""
				for _, m := range c.moves(list, want, start.Add(time.Duration(l.after)*time.Second)) {
					to = m.to.String()
				}
				got = append(got, to)
				if c.count(list, want) {
					t.Error("a peer is said to be missing")
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("where it is looked for (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMissingPeersAreSeen(t *testing.T) {
	var c contacts
	var want kernel.Set[kernel.WireGuardPeerKey, kernel.WireGuardPeer]
	want.Add(far("198.51.100.2:51820"))
	there := []kernel.WireGuardTraffic{{Link: "flannel-wg", PublicKey: kernel.PublicKey{2}}, {Link: "flannel-wg", PublicKey: kernel.PublicKey{3}}}
	for i, step := range []struct {
		list []kernel.WireGuardTraffic
		want bool
	}{
		{nil, false},       // not there yet
		{there, false},     // now it is
		{there[:1], false}, // one that nobody wants has gone
		{there[1:], true},  // ours has gone
		{there[1:], false}, // that was told
		{there, false},     // it is back
		{[]kernel.WireGuardTraffic{}, true},
	} {
		if got := c.count(step.list, want); got != step.want {
			t.Errorf("step %d: missing: %t, want %t", i, got, step.want)
		}
	}
}
