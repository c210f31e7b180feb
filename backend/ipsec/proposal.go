package ipsec

import (
	"fmt"
	"slices"
	"strings"
)

// cipher is what an algorithm for packets adds to each.
type cipher struct {
	name  string
	iv    int
	block int // packets are filled up to a multiple of it
	icv   int // 0: another algorithm makes it
}

// ciphers are the algorithms that begin a proposal, in strongSwan's words without the key's length.
var ciphers = []cipher{
	{"aes%gcm8", 8, 4, 8}, {"aes%gcm12", 8, 4, 12}, {"aes%gcm16", 8, 4, 16}, {"aes%gcm64", 8, 4, 8}, {"aes%gcm96", 8, 4, 12},
	{"aes%gcm128", 8, 4, 16}, {"aes%gmac", 8, 4, 16}, {"aes%ccm8", 8, 4, 8}, {"aes%ccm12", 8, 4, 12}, {"aes%ccm16", 8, 4, 16},
	{"chacha20poly1305", 8, 4, 16}, {"aes%ctr", 8, 4, 0}, {"aes%", 16, 16, 0}, {"camellia%", 16, 16, 0}, {"3des", 8, 8, 0}, {"null", 0, 4, 0},
}

// icvs are the algorithms that make a packet's check value, and its length.
var icvs = map[string]int{"md5": 12, "sha1": 12, "sha": 12, "sha256": 16, "sha2_256": 16, "sha384": 24, "sha2_384": 24, "sha512": 32,
	"sha2_512": 32, "aesxcbc": 12, "aescmac": 12}

// proposal is what ESPProposal says, as far as it decides how large packets become.
type proposal struct {
	cipher
	text string
}

// parseProposal reads a proposal: an algorithm, and what goes with it, joined by "-". Words after the first for the exchange of keys
// are strongSwan's business.
func parseProposal(text string) (proposal, error) {
	words := strings.Split(strings.ToLower(text), "-")
	i := slices.IndexFunc(ciphers, func(c cipher) bool { return c.is(words[0]) })
	if i < 0 {
		return proposal{}, fmt.Errorf("%.40q does not begin with an algorithm for packets, such as aes128gcm16, aes256 or chacha20poly1305", text)
	}
	p := proposal{ciphers[i], strings.ToLower(text)}
	for _, w := range words[1:] {
		icv, known := icvs[w]
		if !known && !isExchange(w) {
			return proposal{}, fmt.Errorf("%.40q: %.20q is not an algorithm that strongSwan knows, such as sha256, prfsha256, ecp256, modp4096 or x25519", text, w)
		}
		if ciphers[i].icv == 0 {
			p.icv = max(p.icv, icv)
		}
	}
	if p.icv == 0 {
		return proposal{}, fmt.Errorf("%.40q has nothing that would show that a packet was changed on its way: add -sha256, or use aes128gcm16", text)
	}
	return p, nil
}

// is tells whether word is c with one of the lengths of its key.
func (c cipher) is(word string) bool {
	before, after, keyed := strings.Cut(c.name, "%")
	if !keyed {
		return word == c.name
	}
	for _, bits := range []string{"128", "192", "256", ""} {
		if word == before+bits+after {
			return bits != "" || after == ""
		}
	}
	return false
}

// isExchange tells words of how keys are agreed on.
func isExchange(w string) bool {
	for _, group := range []string{"modp", "ecp"} {
		if digits, ok := strings.CutPrefix(w, group); ok {
			digits = strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(digits, "bp"), "s160"), "s224")
			return len(digits) >= 3 && len(digits) <= 4 && strings.Trim(digits, "0123456789") == ""
		}
	}
	if prf, ok := strings.CutPrefix(w, "prf"); ok {
		_, known := icvs[prf]
		return known
	}
	return slices.Contains([]string{"curve25519", "x25519", "curve448", "x448", "esn", "noesn"}, w)
}

// overhead is the most that ESP in tunnel mode adds to a packet, beside the outer IP header: its header, what fills the packet up, the
// trailer's two bytes and the check value.
func (p proposal) overhead() int { return 8 + p.iv + p.block - 1 + 2 + p.icv }
