package kerneltest

import (
	"encoding/binary"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// Echo answers every UDP packet that reaches addr in the namespace until the test ends.
func (n *NS) Echo(t testing.TB, addr netip.AddrPort) {
	t.Helper()
	conn := n.listen(t, addr)
	var g errgroup.Group
	g.Go(func() error {
		buf := make([]byte, 65536)
		for {
			size, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return nil // closed by the cleanup below
			}
			conn.WriteToUDPAddrPort(buf[:size], from) // an answer that cannot be sent counts as lost
		}
	})
	t.Cleanup(func() {
		conn.Close()
		g.Wait()
	})
}

// Ping sends one UDP packet of size bytes (8 or more) from n to an Echo at to, and waits for the answer at most that long.
func (n *NS) Ping(t testing.TB, to netip.AddrPort, size int, wait time.Duration) error {
	t.Helper()
	conn := n.listen(t, netip.AddrPort{})
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(wait)); err != nil {
		return err
	}
	if _, err := conn.WriteToUDPAddrPort(make([]byte, size), to); err != nil {
		return err
	}
	_, _, err := conn.ReadFromUDPAddrPort(make([]byte, 65536))
	return err
}

// Reach waits until an Echo at to answers n: a new device takes a moment until it sends, and so does an address of IPv6. It fails the test
// after a minute.
func (n *NS) Reach(t testing.TB, to netip.AddrPort) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		err := n.Ping(t, to, 8, 100*time.Millisecond)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not answer: %v", to, err)
		}
	}
}

// Flood is a stream of UDP packets to an Echo.
type Flood struct {
	conn   *net.UDPConn
	stop   chan struct{}
	group  errgroup.Group
	sent   uint64
	last   atomic.Uint64 // number of the last packet, once that is known
	seen   map[uint64]bool
	failed []error
}

// Flood sends a UDP packet from n to an Echo at to every so often, until Stop is called.
func (n *NS) Flood(t testing.TB, to netip.AddrPort, every time.Duration) *Flood {
	t.Helper()
	f := &Flood{conn: n.listen(t, netip.AddrPort{}), stop: make(chan struct{}), seen: map[uint64]bool{}}
	_ = f.conn.SetReadBuffer(1 << 20) // for a test that does not get to run for some time; the kernel gives what it may
	f.group.Go(func() error { return f.send(to, every) })
	f.group.Go(f.receive)
	return f
}

// Stop ends the flood, waits for late answers at most ten seconds, and returns how many packets were sent and how many of these were not
// answered. An unsendable packet counts as lost.
func (f *Flood) Stop(t testing.TB) (sent, lost int) {
	t.Helper()
	close(f.stop)
	if err := f.group.Wait(); err != nil {
		t.Fatalf("flood: %v", err)
	}
	for i, err := range f.failed {
		if i < 3 {
			t.Logf("flood: %v", err)
		}
	}
	f.conn.Close()
	return int(f.sent), int(f.sent) - len(f.seen)
}

func (f *Flood) send(to netip.AddrPort, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		f.sent++
		if _, err := f.conn.WriteToUDPAddrPort(binary.BigEndian.AppendUint64(nil, f.sent), to); err != nil {
			f.failed = append(f.failed, err)
		}
		if f.last.Load() != 0 {
			return nil
		}
		select {
		case <-f.stop:
			f.last.Store(f.sent + 1)
			if err := f.conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
				return err
			}
		case <-tick.C:
		}
	}
}

// receive notes the answers until all packets were answered, or the deadline that send sets has passed.
func (f *Flood) receive() error {
	buf := make([]byte, 64)
	for {
		size, _, err := f.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return nil
		}
		if size >= 8 {
			f.seen[binary.BigEndian.Uint64(buf)] = true
		}
		if last := f.last.Load(); last != 0 && len(f.seen) >= int(last) {
			return nil
		}
	}
}

// listen opens a UDP socket in the namespace.
func (n *NS) listen(t testing.TB, addr netip.AddrPort) *net.UDPConn {
	t.Helper()
	var conn *net.UDPConn
	n.Do(t, func() {
		var local *net.UDPAddr
		if addr.IsValid() {
			local = net.UDPAddrFromAddrPort(addr)
		}
		var err error
		if conn, err = net.ListenUDP("udp", local); err != nil {
			t.Fatalf("open a UDP socket on %v: %v", addr, err)
		}
		// A busy machine must not look like a lossy network.
		if err = conn.SetReadBuffer(4 << 20); err != nil {
			t.Fatalf("give a UDP socket a large buffer: %v", err)
		}
	})
	return conn
}
