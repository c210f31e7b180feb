package probe

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/network/kernel"
)

// Types of ICMP messages (RFC 792 and 4443).
const (
	request, answer   = 8, 0
	request6, answer6 = 128, 129
)

// sockets send and receive ICMP. What comes back may come by any device, so that others receive than those that send.
type sockets struct {
	cookie cookie
	in     []net.PacketConn
	out    map[origin]int // descriptors
}

// origin is where probes leave from: a socket that is bound to a device finds only the routes that lead there, whatever their metric.
type origin struct {
	link string
	from netip.Addr
}

// openSockets opens what receives, in the network namespace of the calling thread. send is to be called there, too.
func openSockets(ctx context.Context) (wire, error) {
	s := &sockets{out: map[origin]int{}}
	rand.Read(s.cookie[:])
	for _, f := range []struct {
		network, any string
		filter       func(fd int) error
	}{
		{"ip4:1", "0.0.0.0", func(fd int) error { return block(fd, ^(1 << answer)) }},
		{"ip6:58", "::", func(fd int) error { return block6(fd, answer6) }},
	} {
		config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
			var err error
			return errors.Join(c.Control(func(fd uintptr) { err = f.filter(int(fd)) }), err)
		}}
		conn, err := config.ListenPacket(ctx, f.network, f.any)
		if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL) { // a host without IPv6
			continue
		}
		if err != nil {
			s.close()
			return nil, fmt.Errorf("open an ICMP socket: %w", err)
		}
		s.in = append(s.in, conn)
	}
	return s, nil
}

// block makes a socket take in no ICMP messages but those whose types are not in the mask (ICMP_FILTER of raw(7)).
func block(fd int, types int) error {
	const icmpFilter = 1
	return unix.SetsockoptInt(fd, unix.SOL_RAW, icmpFilter, types)
}

// block6 makes a socket take in no ICMPv6 messages but those of some types.
func block6(fd int, but ...int) error {
	var filter unix.ICMPv6Filter
	for i := range filter.Data {
		filter.Data[i] = ^uint32(0)
	}
	for _, kind := range but {
		filter.Data[kind/32] &^= 1 << (kind % 32)
	}
	return unix.SetsockoptICMPv6Filter(fd, unix.SOL_ICMPV6, unix.ICMPV6_FILTER, &filter)
}

// receive reads answers until close.
func (s *sockets) receive(answered func(echo)) error {
	var g errgroup.Group
	for _, conn := range s.in {
		g.Go(func() error {
			b := make([]byte, 256)
			for {
				n, _, err := conn.ReadFrom(b)
				switch {
				case errors.Is(err, net.ErrClosed):
					return nil
				case err != nil:
					return fmt.Errorf("read answers to probes: %w", err)
				}
				if e, ok := s.cookie.read(b[:n]); ok {
					answered(e)
				}
			}
		})
	}
	return g.Wait()
}

// send sends a probe and never waits for room.
func (s *sockets) send(p kernel.Probe, e echo) error {
	o := origin{p.Link, p.From}
	fd, ok := s.out[o]
	if !ok {
		var err error
		if fd, err = o.open(); err != nil {
			return err
		}
		s.out[o] = fd
	}
	err := unix.Sendto(fd, s.cookie.write(p.From.Is6(), e), 0, sockaddr(p.To()))
	if err != nil {
		unix.Close(fd) // the device or the address may be another one under the same name
		delete(s.out, o)
		return fmt.Errorf("send a probe to %s by %s: %w", p.To(), p.Link, err)
	}
	return nil
}

// open opens a socket that sends from there and takes nothing in.
func (o origin) open() (int, error) {
	family, protocol, filter := unix.AF_INET, unix.IPPROTO_ICMP, func(fd int) error { return block(fd, -1) }
	if o.from.Is6() {
		family, protocol, filter = unix.AF_INET6, unix.IPPROTO_ICMPV6, func(fd int) error { return block6(fd) }
	}
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return 0, fmt.Errorf("open an ICMP socket: %w", err)
	}
	err = errors.Join(filter(fd), unix.BindToDevice(fd, o.link), unix.Bind(fd, sockaddr(o.from)))
	if err != nil {
		unix.Close(fd)
		return 0, fmt.Errorf("bind an ICMP socket to %s on %s: %w", o.from, o.link, err)
	}
	return fd, nil
}

func sockaddr(a netip.Addr) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Addr: a.As4()}
	}
	return &unix.SockaddrInet6{Addr: a.As16()}
}

// close ends receive.
func (s *sockets) close() {
	for _, conn := range s.in {
		conn.Close()
	}
	for o, fd := range s.out {
		unix.Close(fd)
		delete(s.out, o)
	}
}

// cookie tells the answers to this process's probes from all others.
type cookie [8]byte

const (
	sizeHeader  = 8
	sizeMessage = sizeHeader + len(cookie{}) + 8
)

// write returns the message that asks for e.
func (c cookie) write(six bool, e echo) []byte {
	b := make([]byte, sizeMessage)
	copy(b[4:], c[:2]) // the identifier, for those who look at the wire
	binary.BigEndian.PutUint16(b[6:], uint16(e.number))
	copy(b[sizeHeader:], c[:])
	binary.BigEndian.PutUint32(b[sizeHeader+len(c):], e.path)
	binary.BigEndian.PutUint32(b[sizeHeader+len(c)+4:], e.number)
	if six {
		b[0] = request6 // the kernel computes the checksum
		return b
	}
	b[0] = request
	binary.BigEndian.PutUint16(b[2:], checksum(b))
	return b
}

// read reads an answer, and tells whether it is one to this process.
func (c cookie) read(b []byte) (e echo, ok bool) {
	if len(b) < sizeMessage || b[0] != answer && b[0] != answer6 || b[1] != 0 || cookie(b[sizeHeader:sizeHeader+len(c)]) != c {
		return e, false
	}
	rest := b[sizeHeader+len(c):]
	return echo{binary.BigEndian.Uint32(rest), binary.BigEndian.Uint32(rest[4:])}, true
}

// checksum is the Internet checksum of a message of even length (RFC 1071).
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
