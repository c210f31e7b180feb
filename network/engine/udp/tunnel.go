package udp

import (
	"errors"
	"net/netip"
	"os"
	"sync/atomic"

	"golang.org/x/net/ipv4"
	"golang.org/x/time/rate"
	"golang.zx2c4.com/wireguard/tun"

	"github.com/weft-network/weft/network/engine/tundevice"
)

// room is what package tun needs in front of each packet.
const room = 16

// largest is the size of the largest packet.
const largest = 1<<16 - 1

// tunnel is a TUN device.
type tunnel struct {
	name   string
	inet6  bool
	device tun.Device
	table  atomic.Pointer[table]
	limit  *rate.Limiter // of complaints, as routers have one (RFC 1812, section 4.3.2.8)
	drops  drops
}

// openTunnel attaches to the device name, which is there already.
func openTunnel(name string, inet6 bool) (*tunnel, error) {
	device, err := tundevice.Open(name)
	if err != nil {
		return nil, err
	}
	t := &tunnel{name: name, inet6: inet6, device: device, limit: rate.NewLimiter(1000, 50)}
	t.table.Store(&table{})
	return t, nil
}

// outbound sends what the kernel routes to the device, until the device has gone or is closed. The error says why.
func (t *tunnel) outbound() error {
	packets := make([][]byte, t.device.BatchSize())
	for i := range packets {
		packets[i] = make([]byte, room+largest)
	}
	sizes := make([]int, len(packets))
	out := newSending(len(packets))
	for {
		n, err := t.device.Read(packets, sizes, room)
		var broken *os.PathError
		if n == 0 && (errors.Is(err, os.ErrClosed) || errors.As(err, &broken)) {
			return err
		} // else it is a packet that package tun does not understand
		table := t.table.Load()
		for i := range n {
			t.send(table, packets[i][room:room+sizes[i]], out)
		}
		out.flush()
	}
}

// send puts one packet of the kernel's into out, or complains to the kernel.
func (t *tunnel) send(table *table, raw []byte, out *sending) {
	p, ok := packet(raw).trimmed()
	if !ok || p.isInet6() != t.inet6 {
		return
	}
	dst := p.destination()
	r := table.lookup(dst)
	switch {
	case r == nil:
		if !dst.IsMulticast() { // the kernel tells neighbours and routers of every device
			t.drops.noSubnet.Add(1)
			t.complain(table, p, noRoute(), dst)
		}
	case !p.hop():
		t.drops.noHops.Add(1)
		t.complain(table, p, expired(), r.subnet.Addr())
	default:
		out.add(r, p)
	}
}

// complain tells the source of p on this side. The kernel takes no IPv4 packet that has an address of its own for a source, as
// the device's is; far, which it routes to this device, does for it.
func (t *tunnel) complain(table *table, p packet, c complaint, far netip.Addr) {
	if !p.mayComplain() || !t.limit.Allow() {
		return
	}
	from := far
	if t.inet6 && table.self.IsValid() {
		from = table.self
	}
	b := make([]byte, room+1280)
	told := p.complain(b[room:room], c, from)
	t.device.Write([][]byte{b[:room+len(told)]}, room) // lost as any packet may be
}

// sending gathers datagrams that leave by one socket.
type sending struct {
	socket   *socket
	messages []ipv4.Message // those of ipv6 are the same type
	n        int
}

func newSending(n int) *sending {
	s := &sending{messages: make([]ipv4.Message, n)}
	for i := range s.messages {
		s.messages[i].Buffers = make([][]byte, 1)
	}
	return s
}

// add takes p, which must not change before flush.
func (s *sending) add(r *route, p packet) {
	if s.socket != r.socket || s.n == len(s.messages) {
		s.flush()
		s.socket = r.socket
	}
	s.messages[s.n].Buffers[0], s.messages[s.n].Addr = p, r.remote
	s.n++
}

// flush sends what was added. A datagram that cannot be sent is lost; those behind it are not.
func (s *sending) flush() {
	for rest := s.messages[:s.n]; len(rest) > 0; {
		n, err := s.socket.batch.WriteBatch(rest, 0)
		n = max(n, 0)
		if err != nil {
			s.socket.tunnel.drops.unsent(err)
			n++
		}
		rest = rest[min(n, len(rest)):]
	}
	s.n = 0
}
