package ipsec

import (
	"strings"
	"testing"
)

func TestProposal(t *testing.T) {
	for _, test := range []struct {
		text     string
		overhead int
		wantErr  string
	}{
		{"aes128gcm16-sha256-prfsha256-ecp256", 37, ""},
		{"AES256GCM16-modp4096", 37, ""},
		{"aes128gcm8", 29, ""},
		{"chacha20poly1305-x25519", 37, ""},
		{"aes256-sha256-modp2048", 57, ""}, // flannel's 77 bytes, with the outer header
		{"aes-sha512", 73, ""},
		{"aes128ctr-sha1-noesn", 33, ""},
		{"3des-md5", 37, ""},
		{"null-sha256", 29, ""},
		{"aes128gmac-ecp384bp", 37, ""},
		{"", 0, `"" does not begin with an algorithm`},
		{"sha256-aes128", 0, "does not begin with an algorithm"},
		{"aes129gcm16", 0, "does not begin with an algorithm"},
		{"aesgcm16", 0, "does not begin with an algorithm"},
		{"default", 0, "does not begin with an algorithm"},
		{"aes128", 0, "nothing that would show that a packet was changed"},
		{"aes128-ecp256", 0, "nothing that would show"},
		{"aes128gcm16,aes256", 0, "does not begin with an algorithm"},
		{"aes128gcm16-", 0, `"" is not an algorithm`},
		{"aes128gcm16-sha257", 0, `"sha257" is not an algorithm`},
		{"aes128-sha256-modp1", 0, `"modp1" is not an algorithm`},
		{"aes128-sha256-prfmodp", 0, `"prfmodp" is not an algorithm`},
		{"aes128-sha256 -ecp256", 0, `"sha256 " is not an algorithm`},
	} {
		t.Run(test.text, func(t *testing.T) {
			p, err := parseProposal(test.text)
			if test.wantErr == "" && err != nil || test.wantErr != "" && (err == nil || !strings.Contains(err.Error(), test.wantErr)) {
				t.Fatalf("error is %v, want %q in it", err, test.wantErr)
			}
			if err == nil && p.overhead() != test.overhead {
				t.Errorf("overhead is %d, want %d", p.overhead(), test.overhead)
			}
		})
	}
}

func FuzzProposal(f *testing.F) {
	for _, seed := range []string{"aes128gcm16-sha256-prfsha256-ecp256", "", "-", "aes", "aes-sha256", "null-md5-modp", "aes128gcm16-ecp256bp", "aes%"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parseProposal(text)
		if err == nil && (p.overhead() < 10 || p.overhead() > 100 || strings.ContainsAny(p.text, " \n{}\"=#")) {
			t.Errorf("%q is taken, with %d bytes", p.text, p.overhead())
		}
	})
}
