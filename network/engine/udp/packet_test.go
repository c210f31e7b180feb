package udp

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/network/kernel"
)

// inet makes an IPv4 packet of UDP with a right checksum.
func inet(ttl byte, src, dst string) packet {
	p := make(packet, 60)
	p[0], p[8], p[9] = 0x45, ttl, 17
	binary.BigEndian.PutUint16(p[2:], 60)
	copy(p[12:], netip.MustParseAddr(src).AsSlice())
	copy(p[16:], netip.MustParseAddr(dst).AsSlice())
	binary.BigEndian.PutUint16(p[10:], checksum(p[:20], 0))
	return p
}

func inet6(hops byte, src, dst string) packet {
	p := make(packet, 100)
	p[0], p[6], p[7] = 0x60, 17, hops
	binary.BigEndian.PutUint16(p[4:], 60)
	copy(p[8:], netip.MustParseAddr(src).AsSlice())
	copy(p[24:], netip.MustParseAddr(dst).AsSlice())
	return p
}

func TestHops(t *testing.T) {
	for ttl := range 256 { // every sum of the header comes by
		p := inet(byte(ttl), "10.5.1.2", "10.5.2.2")
		if p.hop() != (ttl > 1) {
			t.Errorf("%d hops: it may go on: %t", ttl, ttl <= 1)
		}
		if ttl > 1 && (int(p[8]) != ttl-1 || checksum(p[:20], 0) != 0) {
			t.Errorf("%d hops: TTL %d, checksum is off by %#x", ttl, p[8], checksum(p[:20], 0))
		}
		q := inet6(byte(ttl), "fd00::1", "fd00::2")
		if q.hop() != (ttl > 1) || ttl > 1 && int(q[7]) != ttl-1 {
			t.Errorf("IPv6 with %d hops: %d", ttl, q[7])
		}
	}
}

func TestTrimmed(t *testing.T) {
	for _, test := range []struct {
		name string
		raw  packet
		want int // -1 for none
	}{
		{"IPv4", inet(64, "10.5.1.2", "10.5.2.2"), 60},
		{"IPv4 and something behind", append(inet(64, "10.5.1.2", "10.5.2.2"), 1, 2), 60},
		{"IPv4, cut off", inet(64, "10.5.1.2", "10.5.2.2")[:59], -1},
		{"IPv4, shorter than a header", inet(64, "10.5.1.2", "10.5.2.2")[:19], -1},
		{"IPv6", inet6(64, "fd00::1", "fd00::2"), 100},
		{"IPv6 and something behind", append(inet6(64, "fd00::1", "fd00::2"), 1), 100},
		{"IPv6, cut off", inet6(64, "fd00::1", "fd00::2")[:99], -1},
		{"IPv6, shorter than a header", inet6(64, "fd00::1", "fd00::2")[:30], -1},
		{"neither", make(packet, 100), -1},
		{"nothing", nil, -1},
	} {
		p, ok := test.raw.trimmed()
		if ok != (test.want >= 0) || ok && len(p) != test.want {
			t.Errorf("%s: %d bytes, %t", test.name, len(p), ok)
		}
	}
}

func TestMayComplain(t *testing.T) {
	edit := func(p packet, f func(p packet)) packet { f(p); return p }
	for _, test := range []struct {
		name string
		p    packet
		want bool
	}{
		{"UDP", inet(1, "10.5.1.2", "10.5.2.2"), true},
		{"UDP over IPv6", inet6(1, "fd00::1", "fd00::2"), true},
		{"echo", edit(inet(1, "10.5.1.2", "10.5.2.2"), func(p packet) { p[9], p[20] = 1, 8 }), true},
		{"unreachable", edit(inet(1, "10.5.1.2", "10.5.2.2"), func(p packet) { p[9], p[20] = 1, 3 }), false},
		{"echo over IPv6", edit(inet6(1, "fd00::1", "fd00::2"), func(p packet) { p[6], p[40] = 58, 128 }), true},
		{"expired over IPv6", edit(inet6(1, "fd00::1", "fd00::2"), func(p packet) { p[6], p[40] = 58, 3 }), false},
		{"first fragment", edit(inet(1, "10.5.1.2", "10.5.2.2"), func(p packet) { p[6] = 0x20 }), true},
		{"second fragment", edit(inet(1, "10.5.1.2", "10.5.2.2"), func(p packet) { p[7] = 1 }), false},
		{"to many", inet(1, "10.5.1.2", "224.0.0.1"), false},
		{"to many over IPv6", inet6(1, "fd00::1", "ff02::1"), false},
		{"from nobody", inet6(1, "::", "fd00::2"), false},
	} {
		if got := test.p.mayComplain(); got != test.want {
			t.Errorf("%s: %t", test.name, got)
		}
	}
}

func TestComplaintIsWhole(t *testing.T) {
	p := inet(1, "10.5.1.2", "10.5.2.2").complain(nil, expired(), netip.MustParseAddr("10.5.2.0"))
	if q, ok := p.trimmed(); !ok || len(q) != 88 || p.destination() != netip.MustParseAddr("10.5.1.2") || p[20] != 11 ||
		checksum(p[:20], 0) != 0 || checksum(p[20:], 0) != 0 {
		t.Errorf("%x", p)
	}
	p = inet6(1, "fd00::1", "fd00::2").complain(nil, noRoute(), netip.MustParseAddr("fd00::"))
	if q, ok := p.trimmed(); !ok || len(q) != 148 || p.destination() != netip.MustParseAddr("fd00::1") || p[40] != 1 ||
		checksum(p[8:], uint32(len(p)-40)+58) != 0 {
		t.Errorf("%x", p)
	}
}

func FuzzPacket(f *testing.F) {
	f.Add([]byte(inet(64, "10.5.1.2", "10.5.2.2")))
	f.Add([]byte(inet6(1, "fd00::1", "fd00::2")))
	f.Add([]byte{0x4f, 0, 0, 60})
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, ok := packet(raw).trimmed()
		if !ok {
			return
		}
		size := len(p)
		right := !p.isInet6() && checksum(p[:p.headerLen()], 0) == 0
		if p.hop() && right && checksum(p[:p.headerLen()], 0) != 0 {
			t.Error("the checksum is wrong after a hop")
		}
		if p.mayComplain() {
			c := p.complain(make([]byte, 0, 1280), expired(), p.destination())
			if q, ok := c.trimmed(); !ok || len(q) != len(c) || len(c) > 1280 || c.mayComplain() {
				t.Errorf("complaint %x", c)
			}
		}
		if len(p) != size {
			t.Error("its length has changed")
		}
	})
}

func TestTable(t *testing.T) {
	var all kernel.Set[kernel.DatagramKey, kernel.Datagram]
	add := func(link, local, subnet, remote string) {
		d := kernel.Datagram{Link: link, Local: netip.MustParseAddrPort(local), Subnet: netip.MustParsePrefix(subnet)}
		if remote != "" {
			d.Remote = netip.MustParseAddrPort(remote)
		}
		all.Add(d)
	}
	add("flannel0", "192.0.2.1:8285", "10.5.1.0/24", "")
	add("flannel0", "192.0.2.1:8285", "10.5.2.0/24", "192.0.2.2:8285")
	add("flannel0", "192.0.2.1:8285", "10.5.2.128/25", "192.0.2.3:8285")
	add("flannel0", "192.0.2.1:8285", "10.5.4.0/22", "192.0.2.4:8285")
	add("flannel0", "192.0.2.1:8286", "10.5.4.0/22", "192.0.2.4:8286")
	add("flannel-v6.0", "[2001:db8::1]:8285", "fd00::/64", "[2001:db8::2]:8285")
	table := newTable("flannel0", all, nil)
	got := map[string]string{"self": table.self.String()}
	for _, a := range []string{"10.5.2.1", "10.5.2.200", "10.5.7.255", "10.5.8.0", "10.5.1.1", "fd00::1"} {
		got[a] = ""
		if r := table.lookup(netip.MustParseAddr(a)); r != nil {
			got[a] = r.remote.String()
		}
	}
	want := map[string]string{"self": "10.5.1.0", "10.5.2.1": "192.0.2.2:8285", "10.5.2.200": "192.0.2.3:8285",
		"10.5.7.255": "192.0.2.4:8286", "10.5.8.0": "", "10.5.1.1": "", "fd00::1": ""}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestParseSockets(t *testing.T) {
	text := strings.Join([]string{
		"   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops",
		" 3521: 00000000:205D 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0000000000000000 0",
		" 3522: 0100007F:205E 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4712 2 0000000000000000 31",
		" 3523: 00000000:205D 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 0 2 0000000000000000 0",
		" 3524: 00000000:205F 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4713", // as of old kernels
		" 1: nonsense",
		"",
	}, "\n")
	want := []listed{{8285, "4711", 0}, {8286, "4712", 31}, {8285, "0", 0}, {8287, "4713", 0}}
	if diff := cmp.Diff(want, parseSockets(text), cmp.AllowUnexported(listed{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestParseDevices(t *testing.T) {
	text := strings.Join([]string{
		"Inter-|   Receive                                                |  Transmit",
		" face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed",
		"    lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16",
		"flannel0: 0 0 0 7 0 0 0 0 0 0 0 1500 0 0 0 0",
		"short: 1 2 3",
		"odd: a b c d e f g h i j k l m n o p",
		"",
	}, "\n")
	if diff := cmp.Diff(map[string]uint64{"lo": 12, "flannel0": 1500}, parseDevices(text)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func FuzzParseProc(f *testing.F) {
	f.Add("lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n")
	f.Add("1: 00000000:205D 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 4711 2 0000000000000000 3\n")
	f.Add(":\n::\n")
	f.Fuzz(func(t *testing.T, text string) {
		lines := strings.Count(text, "\n") + 1
		if devices, sockets := parseDevices(text), parseSockets(text); len(devices) > lines || len(sockets) > lines {
			t.Errorf("%d devices and %d sockets in %d lines", len(devices), len(sockets), lines)
		}
	})
}
