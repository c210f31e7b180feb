package wireguard

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// parsePeers reads the peers of the device link out of what WireGuard says of it (the text of the configuration protocol's get operation).
func parsePeers(link, text string) ([]peer, error) {
	var list []peer
	for line := range strings.Lines(text) {
		word, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		if !ok {
			continue
		}
		if word == "public_key" {
			list = append(list, peer{Link: link})
		}
		if len(list) == 0 {
			continue // about the device
		}
		if err := list[len(list)-1].read(word, value); err != nil {
			return nil, fmt.Errorf("read %s of a peer of %s: %w", word, link, err)
		}
	}
	for i := range list {
		slices.SortFunc(list[i].Allowed, netip.Prefix.Compare)
	}
	return list, nil
}

// read takes in one line. Words that it does not know mean nothing to Weft.
func (p *peer) read(word, value string) (err error) {
	switch word {
	case "public_key":
		err = p.PublicKey.UnmarshalText([]byte(value))
	case "preshared_key":
		err = p.PSK.UnmarshalText([]byte(value))
	case "endpoint":
		var e netip.AddrPort
		e, err = netip.ParseAddrPort(value)
		p.Endpoints = []netip.AddrPort{netip.AddrPortFrom(e.Addr().Unmap(), e.Port())}
	case "persistent_keepalive_interval":
		var n uint64
		n, err = strconv.ParseUint(value, 10, 16)
		p.Keepalive = uint16(n)
	case "allowed_ip":
		var a netip.Prefix
		a, err = netip.ParsePrefix(value)
		p.Allowed = append(p.Allowed, a)
	case "last_handshake_time_sec":
		p.Handshake, err = strconv.ParseInt(value, 10, 64)
	case "rx_bytes":
		p.Received, err = strconv.ParseUint(value, 10, 64)
	case "tx_bytes":
		p.Sent, err = strconv.ParseUint(value, 10, 64)
	}
	return err
}

// update returns what makes have, nil if there is none, as p says, in the text of the set operation: what differs, so that who is in
// contact stays so. It takes nothing away of what p may send from.
func (p peer) update(have *peer) string {
	var b strings.Builder
	fmt.Fprintf(&b, "public_key=%s\n", digits(p.PublicKey))
	stay := p.Stay && have != nil
	if have == nil {
		have = &peer{}
	}
	if p.PSK != have.PSK {
		fmt.Fprintf(&b, "preshared_key=%s\n", digits(p.PSK))
	}
	if len(p.Endpoints) > 0 && !stay && (len(have.Endpoints) == 0 || !slices.Contains(p.Endpoints, have.Endpoints[0])) {
		fmt.Fprintf(&b, "endpoint=%s\n", p.Endpoints[0])
	}
	if p.Keepalive != have.Keepalive {
		fmt.Fprintf(&b, "persistent_keepalive_interval=%d\n", p.Keepalive)
	}
	for _, a := range p.Allowed {
		if !slices.Contains(have.Allowed, a) {
			fmt.Fprintf(&b, "allowed_ip=%s\n", a)
		}
	}
	return b.String()
}

// shrink returns what takes away from have what p may not send from, "" where there is nothing. It comes after the update of all peers, by which
// that may have gone over to another.
func (p peer) shrink(have *peer) string {
	var b strings.Builder
	if have == nil {
		return ""
	}
	for _, a := range have.Allowed {
		if !slices.Contains(p.Allowed, a) {
			fmt.Fprintf(&b, "allowed_ip=-%s\n", a)
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return fmt.Sprintf("public_key=%s\n", digits(p.PublicKey)) + b.String()
}

// remove returns what takes p away.
func (p peer) remove() string {
	return fmt.Sprintf("public_key=%s\nremove=true\n", digits(p.PublicKey))
}

// redirect returns what gives p its endpoint, if it is there.
func (p peer) redirect() string {
	return fmt.Sprintf("public_key=%s\nupdate_only=true\nendpoint=%s\n", digits(p.PublicKey), p.Endpoints[0])
}

// update returns what makes a device as d says where it is as have says.
func (d deviceConfig) update(have deviceConfig) string {
	var b strings.Builder
	if d.PrivateKey != have.PrivateKey {
		fmt.Fprintf(&b, "private_key=%s\n", digits(d.PrivateKey))
	}
	if d.Mark != have.Mark {
		fmt.Fprintf(&b, "fwmark=%d\n", d.Mark)
	}
	if d.Port != have.Port {
		fmt.Fprintf(&b, "listen_port=%d\n", d.Port)
	}
	return b.String()
}

func digits(k key) string { return hex.EncodeToString(k[:]) }
