package kernel

import (
	"encoding/base64"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// PublicKey is the public half of a WireGuard key, by which peers know each other.
type PublicKey [32]byte

// String returns the usual form, in base64.
func (p PublicKey) String() string { return base64.StdEncoding.EncodeToString(p[:]) }

// MarshalText returns what String returns.
func (p PublicKey) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// WireGuardPeerKey is what makes a peer unique in the kernel.
type WireGuardPeerKey struct {
	Link      string
	PublicKey PublicKey
}

// WireGuardPeer is a peer of one of our WireGuard devices. What has more than one value is one text, so that peers can be
// compared; EndpointText and AllowedText make it.
type WireGuardPeer struct {
	Link      string
	PublicKey PublicKey
	PSK       Key    // second secret that both sides know; zero for none
	Endpoints string // where the peer may be, the best first; "" waits for it to come; as listed: where it is
	Keepalive uint16 // seconds between packets that keep the way back open; 0 for none
	Allowed   string // sorted: what it may send from, and what is sent to it

	// Listed says that the kernel holds it, and Fresh that both sides have agreed on keys of late: so its endpoint works, whoever
	// told it. Neither is set in a wanted state.
	Listed, Fresh bool
	// Stay says, in a change, that the endpoint is to be left alone.
	Stay bool
}

// Key returns device and public key.
func (p WireGuardPeer) Key() WireGuardPeerKey { return WireGuardPeerKey{p.Link, p.PublicKey} }

// String returns the peer as "wg set" takes it, without its secret.
func (p WireGuardPeer) String() string {
	words := []string{"wg", p.Link, "peer", p.PublicKey.String()}
	if p.PSK != (Key{}) {
		words = append(words, "preshared-key", p.PSK.String())
	}
	if p.Endpoints != "" {
		words = append(words, "endpoint", p.Endpoints)
	}
	if p.Keepalive != 0 {
		words = append(words, "persistent-keepalive", strconv.Itoa(int(p.Keepalive)))
	}
	return strings.Join(append(words, "allowed-ips", p.Allowed), " ")
}

// EndpointText returns WireGuardPeer.Endpoints that says list, in that order, each once.
func EndpointText(list ...netip.AddrPort) string {
	var words []string
	for _, e := range list {
		if w := e.String(); !slices.Contains(words, w) {
			words = append(words, w)
		}
	}
	return strings.Join(words, ",")
}

// EndpointList returns what EndpointText was told. Words that are no endpoints are left out.
func (p WireGuardPeer) EndpointList() []netip.AddrPort {
	return parseList(p.Endpoints, netip.ParseAddrPort)
}

// AllowedText returns WireGuardPeer.Allowed that says list.
func AllowedText(list ...netip.Prefix) string {
	list = slices.Clone(list)
	slices.SortFunc(list, netip.Prefix.Compare)
	var words []string
	for _, p := range slices.Compact(list) {
		words = append(words, p.String())
	}
	return strings.Join(words, ",")
}

// AllowedList returns what AllowedText was told, sorted. Words that are no prefixes are left out.
func (p WireGuardPeer) AllowedList() []netip.Prefix { return parseList(p.Allowed, netip.ParsePrefix) }

func parseList[T any](text string, parse func(string) (T, error)) []T {
	var list []T
	for word := range strings.SplitSeq(text, ",") {
		if v, err := parse(word); err == nil {
			list = append(list, v)
		}
	}
	return list
}

// diffPeers is diff for WireGuard peers. The endpoint of a peer that the kernel holds is right where it is one of those
// that are wanted, or where it was learned from the peer itself and works.
func diffPeers(have, want Set[WireGuardPeerKey, WireGuardPeer]) (put, drop Set[WireGuardPeerKey, WireGuardPeer]) {
	for k, w := range want {
		h, ok := have[k]
		if !ok {
			put.Add(w)
			continue
		}
		right := h.Endpoints == w.Endpoints || h.Listed && (h.Fresh || isAmong(h.Endpoints, w.Endpoints))
		h.Endpoints, h.Listed, h.Fresh = w.Endpoints, w.Listed, w.Fresh
		h.Stay = w.Stay
		if !right || h != w {
			w.Stay = right
			put.Add(w)
		}
	}
	for k, h := range have {
		if _, ok := want[k]; !ok {
			drop.Add(h)
		}
	}
	return put, drop
}

// isAmong tells whether the endpoint one is in the text of several. One that waits for its peer to come has none.
func isAmong(one, several string) bool {
	if several == "" {
		return true
	}
	for word := range strings.SplitSeq(several, ",") {
		if word == one {
			return true
		}
	}
	return false
}

// WireGuardTraffic is what a WireGuard device counts of one peer.
type WireGuardTraffic struct {
	Link      string
	PublicKey PublicKey
	Endpoint  netip.AddrPort // in use; invalid while there is none
	Handshake int64          // Unix time in seconds when keys were agreed on last; 0 for never
	Received  uint64         // bytes of outer packets' content
	Sent      uint64
}
