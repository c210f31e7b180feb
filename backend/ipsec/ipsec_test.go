package ipsec_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/backend/backendtest"
	"github.com/weft-network/weft/backend/ipsec"
	"github.com/weft-network/weft/network/kernel"
)

func TestGolden(t *testing.T) {
	backendtest.Golden(t, func(_, config string) (backend.Backend, []string, error) { return ipsec.New(config) })
}

const psk = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func mustNew(t *testing.T, config string) ipsec.Backend {
	t.Helper()
	b, _, err := ipsec.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSecretIsNotShown(t *testing.T) {
	for _, config := range []string{`{"PSK":"` + psk[:95] + `"}`, `{"PSK":["` + psk + `"]}`, `{"PSK":{"a":"` + psk + `"},"ESPProposal":"x"}`} {
		_, warnings, err := ipsec.New(config)
		if err == nil || strings.Contains(fmt.Sprint(err, warnings), "abcdef") {
			t.Errorf("%s: error %v, warnings %v", config, err, warnings)
		}
	}
	a := kernel.Association{PSK: psk}
	var s kernel.State
	s.Associations.Add(a)
	if all := fmt.Sprintf("%v %+v %#v %s", a, a, a, s); strings.Contains(all, "abcdef") {
		t.Errorf("an association shows its key: %s", all)
	}
}

func TestAgreed(t *testing.T) {
	one := mustNew(t, `{"PSK":"`+psk+`"}`).Agreed()
	if strings.Contains(one, "abcdef") || !strings.Contains(one, "aes128gcm16") {
		t.Errorf("agreed is %q", one)
	}
	for _, test := range []struct {
		config string
		same   bool
	}{
		{`{"PSK":"` + psk + `","UDPEncap":true}`, true},
		{`{"PSK":"` + psk + `","ESPProposal":"AES128GCM16-sha256-prfsha256-ecp256"}`, true},
		{`{"PSK":"` + psk + `x"}`, false},
		{`{"PSK":"` + psk + `","ESPProposal":"aes256gcm16"}`, false},
	} {
		if got := mustNew(t, test.config).Agreed(); (got == one) != test.same {
			t.Errorf("%s agrees on %q, the other on %q", test.config, got, one)
		}
	}
}
