package wireguard

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const (
	keyA = "0a00000000000000000000000000000000000000000000000000000000000001"
	keyB = "0b00000000000000000000000000000000000000000000000000000000000002"
)

func keyFrom(t *testing.T, text string) (k key) {
	t.Helper()
	if err := k.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return k
}

func prefixes(list ...string) (ps []netip.Prefix) {
	for _, s := range list {
		ps = append(ps, netip.MustParsePrefix(s))
	}
	return ps
}

func TestParsePeers(t *testing.T) {
	text := strings.Join([]string{"private_key=" + keyB, "listen_port=51820", "public_key=" + keyA, "preshared_key=" + keyB, "protocol_version=1",
		"endpoint=192.0.2.2:51820", "last_handshake_time_sec=5", "last_handshake_time_nsec=6", "tx_bytes=7", "rx_bytes=8",
		"persistent_keepalive_interval=25", "allowed_ip=10.5.3.0/24", "allowed_ip=10.5.2.0/24", "public_key=" + keyB, "something=new", ""}, "\n")
	got, err := parsePeers("wg", text)
	if err != nil {
		t.Fatal(err)
	}
	want := []peer{{Link: "wg", PublicKey: keyFrom(t, keyA), PSK: keyFrom(t, keyB), Endpoints: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.2:51820")},
		Keepalive: 25, Allowed: prefixes("10.5.2.0/24", "10.5.3.0/24"), Handshake: 5, Sent: 7, Received: 8}, {Link: "wg", PublicKey: keyFrom(t, keyB)}}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{}, netip.AddrPort{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, bad := range []string{"public_key=0a", "public_key=" + keyA + "\nendpoint=x", "public_key=" + keyA + "\nallowed_ip=10.5.2.0"} {
		if _, err := parsePeers("wg", bad); err == nil || !strings.Contains(err.Error(), "of a peer of wg") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestUpdate(t *testing.T) {
	have := &peer{PublicKey: keyFrom(t, keyA), Endpoints: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.9:1")}, Keepalive: 25,
		Allowed: prefixes("10.5.2.0/24", "10.5.3.0/24")}
	same := peer{PublicKey: have.PublicKey, Endpoints: have.Endpoints, Keepalive: 25, Allowed: have.Allowed}
	id := "public_key=" + keyA + "\n"
	for _, test := range []struct {
		name           string
		edit           func(*peer)
		have           *peer
		update, shrink string
	}{
		{"nothing", func(*peer) {}, have, id, ""},
		{"new", func(p *peer) { p.Stay = true }, nil,
			id + "endpoint=192.0.2.9:1\npersistent_keepalive_interval=25\nallowed_ip=10.5.2.0/24\nallowed_ip=10.5.3.0/24\n", ""},
		{"elsewhere", func(p *peer) { p.Endpoints = []netip.AddrPort{netip.MustParseAddrPort("192.0.2.2:2")} }, have, id + "endpoint=192.0.2.2:2\n", ""},
		{"among several", func(p *peer) {
			p.Endpoints = []netip.AddrPort{netip.MustParseAddrPort("192.0.2.2:2"), netip.MustParseAddrPort("192.0.2.9:1")}
		}, have, id, ""},
		{"learned", func(p *peer) {
			p.Endpoints, p.Stay = []netip.AddrPort{netip.MustParseAddrPort("192.0.2.2:2")}, true
		}, have, id, ""},
		{"secret", func(p *peer) { p.PSK = keyFrom(t, keyB) }, have, id + "preshared_key=" + keyB + "\n", ""},
		{"no keepalive", func(p *peer) { p.Keepalive = 0 }, have, id + "persistent_keepalive_interval=0\n", ""},
		{"other subnets", func(p *peer) { p.Allowed = prefixes("10.5.2.0/24", "10.5.4.0/24") }, have, id + "allowed_ip=10.5.4.0/24\n",
			id + "allowed_ip=-10.5.3.0/24\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := same
			test.edit(&p)
			if diff := cmp.Diff([]string{test.update, test.shrink}, []string{p.update(test.have), p.shrink(test.have)}); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// What is wrong with a key is said without it.
func TestKeysStaySecret(t *testing.T) {
	var k key
	err := json.Unmarshal([]byte(`"5ec4e7"`), &k)
	if err == nil || strings.Contains(err.Error(), "5ec4e7") {
		t.Errorf("error is %v", err)
	}
}
