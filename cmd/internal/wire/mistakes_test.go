package wire_test

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/cmd/internal/wire"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// mistake is a value that a key of a backend cannot have.
type mistake struct {
	key, value string
	want       string // the error
}

// mistakes are values on all sides of what each key may have, by backend.
var mistakes = map[string][]mistake{
	"vxlan": {
		{"VNI", "0", "Backend.VNI: 0 is not a whole number from 1 to 16777215"},
		{"VNI", "-1", "Backend.VNI: -1 is not a whole number from 1 to 16777215"},
		{"VNI", "16777216", "Backend.VNI: 16777216 is not a whole number from 1 to 16777215"},
		{"VNI", "1.5", "Backend.VNI: 1.5 is not a whole number from 1 to 16777215"},
		{"VNI", `"1"`, `Backend.VNI: "1" is not a whole number from 1 to 16777215`},
		{"Port", "-1", "Backend.Port: -1 is not a whole number from 0 to 65535"},
		{"Port", "65536", "Backend.Port: 65536 is not a whole number from 0 to 65535"},
		{"MTU", "-1", "Backend.MTU: -1 is not a whole number from 0 to 65535"},
		{"MTU", `"1450"`, `Backend.MTU: "1450" is not a whole number from 0 to 65535`},
		{"GBP", "1", "Backend.GBP: 1 is not true or false"},
		{"Learning", `"yes"`, `Backend.Learning: "yes" is not true or false`},
		{"DirectRouting", `"true"`, `Backend.DirectRouting: "true" is not true or false`},
	},
	"auto": {
		{"Encrypt", `"yes"`, `Backend.Encrypt: "yes" is not true or false`},
		{"Encrypt", `1`, `Backend.Encrypt: 1 is not true or false`},
		{"VNI", "0", "Backend.VNI: 0 is not a whole number from 1 to 16777215"},
		{"MTU", `"1450"`, `Backend.MTU: "1450" is not a whole number from 0 to 65535`},
	},
	"host-gw": {},
	"alloc":   {},
	"ipip": {
		{"DirectRouting", "1", "Backend.DirectRouting: 1 is not true or false"},
		{"DirectRouting", "[true]", "Backend.DirectRouting: [true] is not true or false"},
	},
	"udp": {
		{"Port", "0", "Backend.Port: 0 is not a whole number from 1 to 65535"},
		{"Port", "65536", "Backend.Port: 65536 is not a whole number from 1 to 65535"},
		{"Port", "{}", "Backend.Port: {} is not a whole number from 1 to 65535"},
	},
	"wireguard": {
		{"PSK", `"c2hvcnQ="`, "Backend.PSK: a key of 5 bytes, which is not shown, has the wrong length; it must be 32 bytes in base64, as wg genpsk prints them"},
		{"PSK", `"a pass phrase"`, "Backend.PSK: a text of 13 characters, which is not shown, is not base64; it must be 32 bytes in base64, as wg genpsk prints them"},
		{"PSK", "123456", "Backend.PSK: what is there, which is not shown, is not a text in quotes"},
		{"ListenPort", "0", "Backend.ListenPort: 0 is not a whole number from 1 to 65535"},
		{"ListenPort", "51821", "Backend.ListenPortV6: 51821 is the port of ListenPort too; in the mode separate each family needs one of its own"},
		{"ListenPortV6", "70000", "Backend.ListenPortV6: 70000 is not a whole number from 1 to 65535"},
		{"MTU", "65536", "Backend.MTU: 65536 is not a whole number from 0 to 65535"},
		{"Mode", `"both"`, `Backend.Mode: "both" is not separate, auto, ipv4 or ipv6`},
		{"Mode", "4", "Backend.Mode: 4 is not a text in quotes"},
		{"PersistentKeepaliveInterval", "-1", "Backend.PersistentKeepaliveInterval: -1 is not a whole number from 0 to 65535"},
		{"PersistentKeepaliveInterval", "65536", "Backend.PersistentKeepaliveInterval: 65536 is not a whole number from 0 to 65535"},
	},
	"ipsec": {
		{"PSK", `"too short"`, "Backend.PSK: it has 9 characters, and a key that all nodes share needs 96 or more"},
		{"PSK", "12345678", "Backend.PSK: what is there, which is not shown, is not a text in quotes"},
		{"PSK", "null", "Backend.PSK: it has 0 characters"},
		{"UDPEncap", "1", "Backend.UDPEncap: 1 is not true or false"},
		{"ESPProposal", `"aes999"`, `Backend.ESPProposal: "aes999" does not begin with an algorithm for packets`},
		{"ESPProposal", "{}", "Backend.ESPProposal: {} is not a text in quotes"},
	},
	"extension": {
		{"PreStartupCommand", `["echo"]`, `Backend.PreStartupCommand: ["echo"] is not a text in quotes`},
		{"PostStartupCommand", "true", "Backend.PostStartupCommand: true is not a text in quotes"},
		{"SubnetAddCommand", `"a\u0000b"`, "Backend.SubnetAddCommand: there is a zero byte in it, which no command can have"},
		{"SubnetRemoveCommand", "0", "Backend.SubnetRemoveCommand: 0 is not a text in quotes"},
	},
}

// Each mistake is named with its key, its value unless that is secret, and what would be right.
func TestMistakes(t *testing.T) {
	for kind, list := range mistakes {
		for _, m := range list {
			t.Run(kind+" "+m.key+" "+m.value, func(t *testing.T) {
				_, _, err := wire.Backend(kind, fmt.Sprintf(`{"Type": %q, %q: %s}`, kind, m.key, m.value))
				if err == nil || !strings.Contains(err.Error(), m.want) {
					t.Errorf("error %v, want %q", err, m.want)
				}
				if strings.Contains(m.want, "not shown") && strings.Contains(err.Error(), strings.Trim(m.value, `"`)) {
					t.Errorf("error %v shows a secret", err)
				}
			})
		}
		t.Run(kind+" not an object", func(t *testing.T) {
			for _, config := range []string{`[]`, `"vxlan"`, `{"Type":`, `{} {}`} {
				if _, _, err := wire.Backend(kind, config); err == nil || !strings.Contains(err.Error(), "Backend: ") {
					t.Errorf("%s: error %v, want one about Backend", config, err)
				}
			}
		})
	}
}

// The table has each key that the documentation has, so that none goes without.
func TestMistakesAreComplete(t *testing.T) {
	text, err := os.ReadFile("../../../Documentation/configuration.md")
	check(t, err)
	documented, had := map[string]bool{}, map[string]bool{}
	kind := ""
	_, backends, _ := strings.Cut(string(text), "\n### Backends\n")
	backends, _, _ = strings.Cut(backends, "\n### ")
	for line := range strings.Lines(backends) {
		if word, rest, ok := strings.Cut(strings.TrimPrefix(line, "`"), "`"); ok && strings.HasPrefix(line, "`") && strings.HasPrefix(rest, " ") {
			kind = word
			documented[kind] = true
		}
		if word, _, ok := strings.Cut(strings.TrimPrefix(line, "| `"), "`"); ok && strings.HasPrefix(line, "| `") && word != "Type" {
			documented[kind+" "+word] = true
		}
	}
	for kind, list := range mistakes {
		had[kind] = true
		for _, m := range list {
			had[kind+" "+m.key] = true
		}
	}
	for key := range documented {
		if !had[key] {
			t.Errorf("%s is documented, and nothing wrong is tried with it", key)
		}
	}
}

// An MTU that IPv6 does not work with is refused before anything is announced, and the message says what would be right.
func TestTooSmallForInet6(t *testing.T) {
	for _, test := range []struct {
		kind, config string
		uplink       int
		want         string // of the error; "" for none
	}{
		{"vxlan", "{}", 1349, "must be 1350 or more"},
		{"vxlan", "{}", 1350, ""},
		{"vxlan", `{"MTU": 1300}`, 9000, "the uplink's MTU and Backend.MTU must be 1350 or more"},
		{"ipip", "{}", 1319, "the uplink's MTU must be 1320 or more"},
		{"ipip", "{}", 1320, ""},
		{"udp", "{}", 1327, "must be 1328 or more"},
		{"udp", "{}", 1328, ""},
		{"wireguard", "{}", 1359, "must be 1360 or more"},
		{"wireguard", "{}", 1360, ""},
		{"wireguard", `{"MTU": 1300}`, 9000, "Backend.MTU (1300) must be 1360 or more"},
		{"host-gw", "{}", 1280, ""},
	} {
		t.Run(fmt.Sprint(test.kind, test.config, test.uplink), func(t *testing.T) {
			b, _, err := wire.Backend(test.kind, test.config)
			check(t, err)
			addr := netip.MustParseAddr("2001:db8::1")
			n := backend.Node{Name: "n", WireGuardKey: kernel.Key{1}}
			n.Networks[subnet.Inet6].Prefix = netip.MustParsePrefix("fd00:5::/56")
			n.Uplinks[subnet.Inet6] = backend.Uplink{Link: "eth7", MTU: test.uplink, Addr: addr, Public: addr}
			own := subnet.Lease{Subnets: subnet.Subnets{subnet.Inet6: netip.MustParsePrefix("fd00:5:0:1::/64")}}
			var s kernel.State
			_, announced := b.Attrs(n)
			for what, err := range map[string]error{"Attrs": announced, "Base": b.Base(n, own, &s)} {
				if test.want == "" && err != nil {
					t.Errorf("%s: %v", what, err)
				}
				if test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "eth7")) {
					t.Errorf("%s: error %v, want %q in it and the device", what, err, test.want)
				}
			}
			if test.want != "" && !s.IsEmpty() {
				t.Errorf("a device is made all the same:\n%s", s)
			}
		})
	}
}
