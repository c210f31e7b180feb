package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/subnet"
)

// answerTime is how long an answer may take before it counts as lost. It is generous: a lab is about whether packets
// arrive, on machines that may be busy.
const answerTime = 5 * time.Second

// lastAnswersTime is how long the answers of many pings may take that are missing in the end, and answersRoom how many bytes of
// answers may wait for a lab that does not get to run for some time.
const (
	lastAnswersTime = 30 * time.Second
	answersRoom     = 8 << 20
)

// smallPacket is the size of an ordinary ping in bytes, with all headers.
const smallPacket = 84

// echoSocket sends ICMP echo requests from a host to one address and reads the answers.
type echoSocket struct {
	conn   net.PacketConn
	dst    net.Addr
	family subnet.Family
	id     uint16
	data   []byte
}

// newEchoSocket opens a raw socket on h. Packets are size bytes long with all headers and must not be fragmented.
func newEchoSocket(h *Host, dst netip.Addr, size int) (*echoSocket, error) {
	e := &echoSocket{dst: &net.IPAddr{IP: dst.AsSlice()}, family: subnet.FamilyOf(dst), id: uint16(rand.Uint32())}
	network, address, headers := "ip4:icmp", "0.0.0.0", 20+8
	if e.family == subnet.Inet6 {
		network, address, headers = "ip6:ipv6-icmp", "::", 40+8
	}
	e.data = make([]byte, max(size-headers, 0))
	config := net.ListenConfig{Control: e.prepare}
	err := h.Do(func() (err error) {
		e.conn, err = config.ListenPacket(context.Background(), network, address)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open an ICMP socket on %s: %w", h.Name, err)
	}
	return e, nil
}

// prepare makes the kernel set DF and refuse what is larger than the device takes, whatever it believes of the path, and
// keep back all packets but the answers to this socket: a raw socket gets a copy of everything else.
func (e *echoSocket) prepare(_, _ string, c syscall.RawConn) error {
	level, option, value := unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE
	if e.family == subnet.Inet6 {
		level, option, value = unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE
	}
	filter, err := e.filter()
	if err != nil {
		return err
	}
	var optErr, filterErr error
	err = c.Control(func(fd uintptr) {
		optErr = unix.SetsockoptInt(int(fd), level, option, value)
		filterErr = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, filter)
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, answersRoom) != nil { // only root of the machine may
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, answersRoom) // as much as net.core.rmem_max lets it have
		}
	})
	return errors.Join(err, optErr, filterErr)
}

// filter is the program that lets only the answers to this socket through. It sees IPv4 packets with their header, and
// IPv6 packets without.
func (e *echoSocket) filter() (*unix.SockFprog, error) {
	load := []bpf.Instruction{bpf.LoadMemShift{Off: 0}}
	if e.family == subnet.Inet6 {
		load = []bpf.Instruction{bpf.LoadConstant{Dst: bpf.RegX, Val: 0}}
	}
	raw, err := bpf.Assemble(append(load,
		bpf.LoadIndirect{Off: 0, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(e.reply()), SkipTrue: 3},
		bpf.LoadIndirect{Off: 4, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(e.id), SkipTrue: 1},
		bpf.RetConstant{Val: 1 << 16},
		bpf.RetConstant{Val: 0},
	))
	if err != nil {
		return nil, fmt.Errorf("assemble the filter of an ICMP socket: %w", err)
	}
	program := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		program[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}, nil
}

// reply is the ICMP type of an answer.
func (e *echoSocket) reply() byte {
	if e.family == subnet.Inet6 {
		return byte(ipv6.ICMPTypeEchoReply)
	}
	return byte(ipv4.ICMPTypeEchoReply)
}

// send sends one request.
func (e *echoSocket) send(seq uint16) error {
	m := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: int(e.id), Seq: int(seq), Data: e.data}}
	if e.family == subnet.Inet6 {
		m.Type = ipv6.ICMPTypeEchoRequest
	}
	packet, err := m.Marshal(nil)
	if err != nil {
		return fmt.Errorf("write an ICMP echo: %w", err)
	}
	if _, err := e.conn.WriteTo(packet, e.dst); err != nil {
		return fmt.Errorf("send %d bytes to %s: %w", len(e.data), e.dst, err)
	}
	return nil
}

// receive waits for the next answer and returns its number.
func (e *echoSocket) receive(buf []byte) (uint16, error) {
	for {
		n, from, err := e.conn.ReadFrom(buf)
		if err != nil {
			return 0, err
		}
		own := n >= 8 && buf[0] == e.reply() && binary.BigEndian.Uint16(buf[4:]) == e.id
		if own && from.String() == e.dst.String() && n == 8+len(e.data) {
			return binary.BigEndian.Uint16(buf[6:]), nil
		}
	}
}

func (e *echoSocket) close() error { return e.conn.Close() }

// Ping sends one echo request of size bytes, all headers counted, that must not be fragmented, and returns how long
// the answer took. Size 0 is an ordinary small ping.
func (h *Host) Ping(ctx context.Context, dst netip.Addr, size int) (time.Duration, error) {
	if size == 0 {
		size = smallPacket
	}
	e, err := newEchoSocket(h, dst, size)
	if err != nil {
		return 0, err
	}
	defer e.close()
	deadline := time.Now().Add(answerTime)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	if err := e.conn.SetReadDeadline(deadline); err != nil {
		return 0, fmt.Errorf("ping %s: %w", dst, err)
	}
	sent := time.Now()
	if err := e.send(1); err != nil {
		return 0, err
	}
	_, err = e.receive(make([]byte, 1<<16))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return 0, fmt.Errorf("no answer from %s to %d bytes", dst, size)
	}
	if err != nil {
		return 0, fmt.Errorf("ping %s: %w", dst, err)
	}
	return time.Since(sent), nil
}

// Pings are echo requests that leave in a steady rhythm until somebody looks at how many were answered.
type Pings struct {
	socket   *echoSocket
	cancel   context.CancelFunc
	sender   errgroup.Group
	receiver errgroup.Group
	sent     atomic.Int64
	answered atomic.Int64
	refused  error         // why the kernel did not take a request, the first time
	pause    time.Duration // longest time between two answers
}

// PingResult is what became of Pings.
type PingResult struct {
	Sent, Lost int
	Pause      time.Duration // longest time between two answers
	Err        error         // why a request could not be sent; nil if all could
}

// StartPings sends an echo request from h to dst every interval until Finish.
func (h *Host) StartPings(dst netip.Addr, interval time.Duration) (*Pings, error) {
	e, err := newEchoSocket(h, dst, smallPacket)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &Pings{socket: e, cancel: cancel}
	p.sender.Go(func() error { p.sendAll(ctx, interval); return nil })
	p.receiver.Go(func() error { p.receiveAll(); return nil })
	return p, nil
}

func (p *Pings) sendAll(ctx context.Context, interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for seq := uint16(1); ctx.Err() == nil; seq++ {
		p.sent.Add(1)
		if err := p.socket.send(seq); err != nil && p.refused == nil {
			p.refused = err
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// receiveAll counts answers until the socket is closed.
func (p *Pings) receiveAll() {
	buf := make([]byte, 1<<16)
	for last := time.Now(); ; {
		if _, err := p.socket.receive(buf); err != nil {
			return
		}
		now := time.Now()
		p.pause = max(p.pause, now.Sub(last))
		last = now
		p.answered.Add(1)
	}
}

// Answered is how many answers came so far.
func (p *Pings) Answered() int { return int(p.answered.Load()) }

// Finish stops sending, gives the last answers time to arrive, and says what happened. It is called once.
func (p *Pings) Finish() PingResult {
	p.cancel()
	_ = p.sender.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), lastAnswersTime)
	defer cancel()
	// Whether all came is the result, not an error; so is what was never sent.
	_ = await(ctx, "the last answers", func() error {
		if p.answered.Load() < p.sent.Load() {
			return errors.New("answers are missing")
		}
		return nil
	})
	p.socket.close()
	_ = p.receiver.Wait()
	sent := int(p.sent.Load())
	return PingResult{Sent: sent, Lost: sent - p.Answered(), Pause: p.pause, Err: p.refused}
}
