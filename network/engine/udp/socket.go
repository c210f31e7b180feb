package udp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// batchSize is how many datagrams are received at once.
const batchSize = 128

// socketBuffer is how many bytes of datagrams may wait on each side of a socket.
const socketBuffer = 4 << 20

// batcher reads and writes many datagrams with one system call.
type batcher interface {
	ReadBatch(messages []ipv4.Message, flags int) (int, error)
	WriteBatch(messages []ipv4.Message, flags int) (int, error)
}

// socket is a UDP socket and the device that its datagrams go into.
type socket struct {
	conn   *net.UDPConn
	batch  batcher
	tunnel *tunnel
}

// openSocket opens the socket at local.
func openSocket(local netip.AddrPort, t *tunnel) (*socket, error) {
	network := "udp4"
	if local.Addr().Is6() {
		network = "udp6"
	}
	conn, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(local))
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, fmt.Errorf("UDP port %d at %s, which Backend.Port asks for, is in use by %s; stop it, or give Backend.Port another number: %w",
			local.Port(), local.Addr(), holder(local), unix.EADDRINUSE)
	}
	if err != nil {
		return nil, fmt.Errorf("open UDP port %d at %s: %w", local.Port(), local.Addr(), err)
	}
	enlarge(conn)
	s := &socket{conn: conn, batch: ipv4.NewPacketConn(conn), tunnel: t}
	if network == "udp6" {
		s.batch = ipv6.NewPacketConn(conn)
	}
	return s, nil
}

// enlarge makes the buffers of conn larger, so that bursts fit; beyond the system's limit where it may.
func enlarge(conn *net.UDPConn) {
	conn.SetReadBuffer(socketBuffer) // what cannot be had is not needed
	conn.SetWriteBuffer(socketBuffer)
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(fd uintptr) {
		unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, socketBuffer)
		unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, socketBuffer)
	})
}

// inbound gives what arrives to the kernel, until the socket does not work any more or is closed. The error says why.
func (s *socket) inbound() error {
	messages := make([]ipv4.Message, batchSize)
	buffers := make([][]byte, batchSize)
	for i := range messages {
		buffers[i] = make([]byte, room+largest)
		messages[i].Buffers = [][]byte{buffers[i][room:]}
	}
	good := make([][]byte, 0, batchSize)
	answers := newSending(1)
	for {
		n, err := s.batch.ReadBatch(messages, 0)
		if err != nil {
			return err
		}
		good = good[:0]
		for i := range n {
			if p, ok := s.take(buffers[i][room:room+messages[i].N], answers); ok {
				good = append(good, buffers[i][:room+len(p)])
			}
		}
		if len(good) > 0 {
			s.tunnel.device.Write(good, room) // lost as any packet may be, and a device that has gone is found by outbound
		}
	}
}

// take returns a datagram's packet if the kernel may have it.
func (s *socket) take(raw []byte, answers *sending) (packet, bool) {
	p, ok := packet(raw).trimmed()
	if !ok || p.isInet6() != s.tunnel.inet6 {
		s.tunnel.drops.notPacket.Add(1)
		return nil, false
	}
	if p.hop() {
		return p, true
	}
	s.tunnel.drops.noHops.Add(1)
	table := s.tunnel.table.Load()
	r := table.lookup(p.source())
	if r != nil && table.self.IsValid() && p.mayComplain() && s.tunnel.limit.Allow() {
		answers.add(r, p.complain(make([]byte, 0, 1280), expired(), table.self))
		answers.flush()
	}
	return nil, false
}
