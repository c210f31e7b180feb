package backend_test

import (
	"testing"

	"github.com/weft-network/weft/backend"
)

func TestPublish(t *testing.T) {
	for _, test := range []struct {
		name, config, want string
		partial            bool
	}{
		{"nothing", "", "", false},
		{"defaults", `{}`, "", false},
		{"type alone", `{"Type":"vxlan"}`, "", false},
		{"keys in order, compact", `{ "Type": "vxlan", "VNI": 2, "MTU": 1400, "Port": null }`, `{"MTU":1400,"VNI":2}`, false},
		{"a key for all", `{"Type":"wireguard","PSK":"Yw==","ListenPort":51}`, `{"ListenPort":51}`, true},
		{"a key in another case", `{"type":"ipsec","psk":"00"}`, "", true},
		{"commands", `{"Type":"extension","SubnetAddCommand":"ip route add","PostStartupCommand":"x"}`, "", true},
		{"no object", `[1]`, "", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got, partial := backend.Publish(test.config); got != test.want || partial != test.partial {
				t.Errorf("Publish(%s) = %s, %t: want %s, %t", test.config, got, partial, test.want, test.partial)
			}
		})
	}
}

func FuzzPublish(f *testing.F) {
	for _, seed := range []string{"", "{}", `{"Type":"vxlan","VNI":1}`, `{"PSK":"x"}`, `{"a":{"psk":1}}`, "[", `{"a":1,"A":2}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, config string) {
		text, partial := backend.Publish(config)
		if again, more := backend.Publish(text); again != text || more && !partial {
			t.Errorf("%q is published as %q, and that as %q", config, text, again)
		}
	})
}
