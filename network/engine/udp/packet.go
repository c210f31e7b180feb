package udp

import (
	"encoding/binary"
	"net/netip"
)

// Sizes of headers, in bytes.
const (
	headerInet  = 20
	headerInet6 = 40
	headerICMP  = 8
)

// Where things are in an IP header.
const (
	atTTL         = 8  // IPv4
	atProtocol    = 9  // IPv4
	atChecksum    = 10 // IPv4
	atSource      = 12 // IPv4
	atDestination = 16 // IPv4
	atNext        = 6  // IPv6
	atHopLimit    = 7  // IPv6
	atSource6     = 8  // IPv6
	atDest6       = 24 // IPv6
)

// Numbers of protocols.
const (
	protoICMP  = 1
	protoICMP6 = 58
)

// packet is one IP packet.
type packet []byte

// trimmed returns the packet without what lies behind its end. ok tells whether its header makes sense; no other method may be called
// where it does not.
func (p packet) trimmed() (_ packet, ok bool) {
	if len(p) < headerInet {
		return nil, false
	}
	switch p[0] >> 4 {
	case 4:
		header, total := p.headerLen(), int(binary.BigEndian.Uint16(p[2:]))
		if header < headerInet || total < header || total > len(p) {
			return nil, false
		}
		return p[:total], true
	case 6:
		if len(p) < headerInet6 {
			return nil, false
		}
		total := headerInet6 + int(binary.BigEndian.Uint16(p[4:]))
		if total > len(p) {
			return nil, false
		}
		return p[:total], true
	}
	return nil, false
}

func (p packet) isInet6() bool { return p[0]>>4 == 6 }

// headerLen is the length of the header, in IPv6 without extensions.
func (p packet) headerLen() int {
	if p.isInet6() {
		return headerInet6
	}
	return int(p[0]&0xf) * 4
}

func (p packet) source() netip.Addr {
	if p.isInet6() {
		return netip.AddrFrom16([16]byte(p[atSource6:]))
	}
	return netip.AddrFrom4([4]byte(p[atSource:]))
}

func (p packet) destination() netip.Addr {
	if p.isInet6() {
		return netip.AddrFrom16([16]byte(p[atDest6:]))
	}
	return netip.AddrFrom4([4]byte(p[atDestination:]))
}

// hop counts the packet's remaining hops down by one, and tells whether it may go on.
func (p packet) hop() bool {
	if p.isInet6() {
		if p[atHopLimit] <= 1 {
			return false
		}
		p[atHopLimit]--
		return true
	}
	if p[atTTL] <= 1 {
		return false
	}
	p[atTTL]--
	sum := uint32(binary.BigEndian.Uint16(p[atChecksum:])) + 0x100 // RFC 1141: the word of the TTL is less by this
	binary.BigEndian.PutUint16(p[atChecksum:], uint16(sum+sum>>16))
	return true
}

// complaint is what a router says about a packet that it drops: ICMP type and code for both families.
type complaint struct {
	kind, code [2]byte // IPv4, IPv6
}

// noRoute and expired are the complaints that a tunnel has: nobody has the destination's subnet, and no hops are left.
func noRoute() complaint { return complaint{kind: [2]byte{3, 1}, code: [2]byte{0, 0}} }
func expired() complaint { return complaint{kind: [2]byte{11, 3}, code: [2]byte{0, 0}} }

// mayComplain tells whether there may be a complaint about p: not about another one, which would go round for ever, nor about parts of packets
// after the first, nor to or about many (RFC 1122, section 3.2.2; RFC 4443, section 2.4).
func (p packet) mayComplain() bool {
	src, dst := p.source(), p.destination()
	if src.IsUnspecified() || src.IsMulticast() || dst.IsMulticast() || src == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return false
	}
	if p.isInet6() {
		return p[atNext] != 44 && (p[atNext] != protoICMP6 || len(p) > headerInet6 && p[headerInet6] >= 128)
	}
	if binary.BigEndian.Uint16(p[6:])&0x1fff != 0 {
		return false
	}
	if p[atProtocol] != protoICMP {
		return true
	}
	n := p.headerLen()
	return len(p) > n && (p[n] == 0 || p[n] == 8) // echo and its reply
}

// complain makes the ICMP packet that tells p's source of c, as if from, in room, an empty slice that can hold 1280 bytes.
func (p packet) complain(room []byte, c complaint, from netip.Addr) packet {
	if p.isInet6() {
		return p.complain6(room, c, from)
	}
	quote := p[:min(len(p), 576-headerInet-headerICMP)] // RFC 1812, section 4.3.2.3
	b := append(room, 0x45, 0, 0, 0, 0, 0, 0, 0, 64, protoICMP, 0, 0)
	b = append(append(b, from.AsSlice()...), p[atSource:atSource+4]...)
	b = append(append(b, c.kind[0], c.code[0], 0, 0, 0, 0, 0, 0), quote...)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	binary.BigEndian.PutUint16(b[atChecksum:], checksum(b[:headerInet], 0))
	binary.BigEndian.PutUint16(b[headerInet+2:], checksum(b[headerInet:], 0))
	return b
}

func (p packet) complain6(room []byte, c complaint, from netip.Addr) packet {
	quote := p[:min(len(p), 1280-headerInet6-headerICMP)] // RFC 4443, section 2.4
	b := append(room, 0x60, 0, 0, 0, 0, 0, protoICMP6, 64)
	b = append(append(b, from.AsSlice()...), p[atSource6:atSource6+16]...)
	b = append(append(b, c.kind[1], c.code[1], 0, 0, 0, 0, 0, 0), quote...)
	size := len(b) - headerInet6
	binary.BigEndian.PutUint16(b[4:], uint16(size))
	// The pseudo header is the addresses, the length and the protocol.
	sum := checksum(b[atSource6:], uint32(size)+protoICMP6)
	binary.BigEndian.PutUint16(b[headerInet6+2:], sum)
	return b
}

// checksum is that of the Internet (RFC 1071) over b, with sum to begin with.
func checksum(b []byte, sum uint32) uint16 {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
