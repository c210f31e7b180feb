package wireguard

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

func TestPublicKey(t *testing.T) {
	// RFC 7748, section 6.1: Alice's keys.
	private, err := base64.StdEncoding.DecodeString("dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=")
	if err != nil {
		t.Fatal(err)
	}
	got, err := PublicKey(kernel.Key(private))
	if want := "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="; err != nil || got.String() != want {
		t.Errorf("%s, error %v; want %s", got, err, want)
	}
	if _, err := PublicKey(kernel.Key{}); err == nil {
		t.Error("no key at all has a public half")
	}
}

func TestWithoutKeyThereIsNothing(t *testing.T) {
	b, _, err := New("{}")
	if err != nil {
		t.Fatal(err)
	}
	var s kernel.State
	if a, err := b.Attrs(backend.Node{}); err == nil || a != (subnet.Attrs{}) {
		t.Errorf("attrs %+v, error %v", a, err)
	}
	if err := b.Base(backend.Node{}, subnet.Lease{}, &s); err == nil || !s.IsEmpty() {
		t.Errorf("base %s, error %v", s, err)
	}
}

func TestAgreed(t *testing.T) {
	for _, test := range []struct{ config, want string }{
		{`{}`, "a device for each family, at ports 51820 and 51821"},
		{`{"PSK": "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=", "MTU": 1400, "PersistentKeepaliveInterval": 5}`, "a device for each family, at ports 51820 and 51821"},
		{`{"ListenPort": 7000}`, "a device for each family, at ports 7000 and 51821"},
		{`{"Mode": "auto"}`, "one device, at port 51820"},
		{`{"Mode": "ipv6", "ListenPortV6": 9}`, "one device, at port 51820"},
	} {
		b, _, err := New(test.config)
		if err != nil {
			t.Fatal(err)
		}
		if got := b.Agreed(); got != test.want {
			t.Errorf("%s: %q, want %q", test.config, got, test.want)
		}
	}
}

func TestLike(t *testing.T) {
	key := kernel.PublicKey(sha256.Sum256(nil)).String()
	data := func(port string) string { return `{"PublicKey":"` + key + `","Port":` + port + `}` }
	for _, test := range []struct {
		name string
		data [2]string
		want string
		fits bool
	}{
		{"defaults", [2]string{data("51820"), data("51821")}, `{"ListenPort":51820,"ListenPortV6":51821}`, true},
		{"IPv6 alone", [2]string{"", data("7001")}, `{"ListenPortV6":7001}`, true},
		{"one device", [2]string{data("7000"), data("7000")}, `{"ListenPort":7000,"Mode":"auto"}`, true},
		{"no port", [2]string{data("0"), data("0")}, `{}`, true},
		{"none", [2]string{}, `{}`, true},
		{"another backend's", [2]string{`{"VNI":1,"VtepMAC":"0e:00:00:00:00:01"}`}, `{}`, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := (Backend{}).Like(test.data)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("config (-want +got):\n%s", diff)
			}
			if _, _, err := New(got); err != nil {
				t.Errorf("the config is not a good one: %v", err)
			}
			if fits := (Backend{}).Fits(test.data); fits != test.fits {
				t.Errorf("fits: %t, want %t", fits, test.fits)
			}
		})
	}
}

func TestRenamed(t *testing.T) {
	for config, want := range map[string]string{`{}`: "flannel-wgb flannel-wg-v6b", `{"Mode": "auto"}`: "flannel-wgb flannel-wgb"} {
		b, _, err := New(config)
		if err != nil {
			t.Fatal(err)
		}
		r, ok := b.Renamed("b").(Backend)
		if got := strings.Join(r.devices[:], " "); !ok || got != want {
			t.Errorf("%s: devices %s, want %s", config, got, want)
		}
	}
}

func FuzzNew(f *testing.F) {
	for _, seed := range []string{
		"", "{}", "null", "{", `{"Type":"wireguard"}`, `{"PSK":"CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=","ListenPort":1,"ListenPortV6":2,"MTU":1500,"Mode":"auto"}`,
		`{"Mode":null,"PSK":null}`, `{"PSK":"AA=="}`, `{"ListenPort":51821}`, `{"PersistentKeepaliveInterval":65536}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, config string) {
		b, _, err := New(config)
		if err != nil {
			if b != (Backend{}) {
				t.Errorf("both a backend and the error %v", err)
			}
			return
		}
		if b.ports[0] == 0 || b.ports[1] == 0 || b.mtu < 0 || b.devices[0] == "" {
			t.Errorf("accepted %q", config)
		}
		if (b.ports[0] == b.ports[1]) != (b.devices[0] == b.devices[1]) {
			t.Errorf("%q: ports %v for the devices %v", config, b.ports, b.devices)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "null", "{}", "[]", `{"PublicKey":"AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=","Port":51820}`, `{"PublicKey":"AgI="}`,
		`{"PublicKey":"AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=","Port":-1}`, `{"publickey":"AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=","Internal":"10.0.0.1"}`,
		`{"PublicKey":"AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=","Internal":"x"}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data string) {
		c, err := parse(data)
		if err != nil {
			if c != (contact{}) {
				t.Errorf("both %+v and the error %v", c, err)
			}
			return
		}
		u := backend.Uplink{Addr: c.internal, Public: c.internal}
		again, err := parse(announce(c.key, c.port, u))
		if err != nil || again.key != c.key || again.port != c.port {
			t.Errorf("written again it reads %+v, error %v, want %+v", again, err, c)
		}
	})
}

// TestBeside holds which ports the devices of a change of keys have.
func TestBeside(t *testing.T) {
	for config, want := range map[string]string{
		`{}`:                                    "a device for each family, at ports 51822 and 51823",
		`{"ListenPort":7000}`:                   "a device for each family, at ports 51822 and 51823",
		`{"ListenPort":60000}`:                  "a device for each family, at ports 60001 and 60002",
		`{"ListenPort":65534}`:                  "a device for each family, at ports 51819 and 51820",
		`{"ListenPort":65535,"ListenPortV6":1}`: "a device for each family, at ports 51820 and 51821",
		`{"Mode":"auto"}`:                       "one device, at port 51821",
		`{"Mode":"ipv6","ListenPort":65535}`:    "one device, at port 65533",
	} {
		b, _, err := New(config)
		if err != nil {
			t.Fatal(err)
		}
		if got := b.Beside().(Backend).Agreed(); got != want {
			t.Errorf("beside %s there is %s, want %s", config, got, want)
		}
	}
}
