package auto_test

import (
	"strings"
	"testing"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/backend/auto"
	"github.com/weft-network/weft/backend/backendtest"
)

func TestGolden(t *testing.T) {
	backendtest.Golden(t, func(_, config string) (backend.Backend, []string, error) { return auto.New(config) })
}

// What a node announces is of another type, and everything that the agent asks about a backend stays true when its devices have other names.
func TestKinds(t *testing.T) {
	for _, test := range []struct {
		name, config, kind, agreed string
		tries, encrypts, key       bool
	}{
		{"defaults", `{"Type":"auto"}`, "vxlan", "VNI 1 at port 8472", true, false, false},
		{"with keys of vxlan", `{"Type":"auto","VNI":7,"Port":4789,"Encrypt":false}`, "vxlan", "VNI 7 at port 4789", true, false, false},
		{"encrypted", `{"Type":"auto","encrypt":true}`, "wireguard", "a device for each family, at ports 51820 and 51821", false, true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			b, warnings, err := auto.New(test.config)
			if err != nil || len(warnings) > 0 {
				t.Fatalf("%q, %v", warnings, err)
			}
			for _, b := range []backend.Backend{b, b.(backend.Renamer).Renamed("b")} {
				if kind := backend.KindOf(auto.Kind, b); kind != test.kind {
					t.Errorf("announced as %s, want %s", kind, test.kind)
				}
				if agreed := backend.Agreed(b); agreed != test.agreed {
					t.Errorf("agreed %q, want %q", agreed, test.agreed)
				}
				if backend.Tries(b) != test.tries || backend.Encrypts(b) != test.encrypts || backend.NeedsKey(b) != test.key {
					t.Errorf("tries %t, encrypts %t, needs a key %t", backend.Tries(b), backend.Encrypts(b), backend.NeedsKey(b))
				}
			}
		})
	}
}

// Keys of the backend that is not fallen back to, and those that it decides itself, have no meaning.
func TestKeysWithoutMeaning(t *testing.T) {
	for config, want := range map[string]string{
		`{"DirectRouting":true}`:      "Backend.DirectRouting is not known and is ignored",
		`{"ListenPort":51820}`:        "Backend.ListenPort is not known and is ignored",
		`{"Encrypt":true,"VNI":2}`:    "Backend.VNI is not known and is ignored",
		`{"Encript":true}`:            "did you mean Encrypt?",
		`{"Encrypt":true,"Prt":2222}`: "Backend.Prt is not known and is ignored",
	} {
		_, warnings, err := auto.New(config)
		if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], want) {
			t.Errorf("%s: %q, %v; want %q", config, warnings, err, want)
		}
	}
}
