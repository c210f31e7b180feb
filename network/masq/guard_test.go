package masq

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/weft-network/weft/network/kernel/kerneltest"
	"github.com/weft-network/weft/subnet"
)

// lost tells whether ask got no answer.
func lost(answer string) bool {
	_, err := netip.ParseAddr(answer)
	return err != nil
}

// TestGuard sends to pods of other nodes by the device that encrypts and by others, and to all that is not its concern.
func TestGuard(t *testing.T) {
	for _, r := range renderings {
		t.Run(r.name, func(t *testing.T) {
			w := newWorld(t)
			fw, err := r.firewall()
			if err != nil {
				t.Fatal(err)
			}
			for _, ns := range []*kerneltest.NS{w.node, w.pod, w.peer, w.far} {
				report(t, ns, plain)
			}
			for name, test := range map[string]struct {
				guard  []string
				passes bool
			}{
				"none":                    {nil, true},
				"the device that is used": {[]string{"flannel-wg-v6", "overlay"}, true},
				"another device":          {[]string{"flannel-wg"}, false},
			} {
				t.Run(name, func(t *testing.T) {
					c := dualStack()
					c.Guard = test.guard
					w.node.Do(t, func() { sync(t, fw, c) })
					for _, f := range subnet.Families {
						w.tryGuard(t, f, test.passes)
					}
				})
			}
			w.node.Do(t, func() {
				c := dualStack()
				c.Guard = []string{"flannel-wg"}
				sync(t, fw, c)
				if err := fw.Remove(t.Context()); err != nil {
					t.Fatal(err)
				}
				if state := r.state(t); strings.Contains(state, "plain text") || strings.Contains(state, "WEFT-GUARD") {
					t.Errorf("left behind:\n%s", state)
				}
			})
		})
	}
}

func (w world) tryGuard(t *testing.T, f subnet.Family, passes bool) {
	for _, test := range []struct {
		name string
		from *kerneltest.NS
		to   [2]string
		want bool
	}{
		{"pod to pod of another node", w.pod, peerAddr, passes},
		{"node to pod of another node", w.node, peerAddr, passes},
		{"outside to pod of another node", w.far, peerAddr, passes},
		{"pod of another node to pod", w.peer, podAddr, passes}, // the answer is what is dropped
		{"node to pod", w.node, podAddr, true},
		{"pod to its node", w.pod, bridgeAddr, true},
		{"pod to outside", w.pod, farAddr, true},
		{"outside to pod", w.far, podAddr, true},
		{"node to outside", w.node, farAddr, true},
	} {
		to := netip.AddrPortFrom(netip.MustParseAddr(test.to[f]), plain)
		if got := ask(t, test.from, "udp", to); lost(got) == test.want {
			t.Errorf("%s %s: answered %q, want an answer: %t", f, test.name, got, test.want)
		}
	}
}
