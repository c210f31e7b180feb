package kerneltest

import (
	"bytes"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Capture looks at all packets that a device sends and receives.
type Capture struct {
	texts   [][]byte
	packets atomic.Int64
	found   atomic.Int64
}

// Capture begins to look at the packets of a device of n, and counts those that hold one of the texts anywhere. It ends with the test,
// which fails if packets were missed.
func (n *NS) Capture(t testing.TB, link string, texts ...[]byte) *Capture {
	t.Helper()
	c := &Capture{texts: texts}
	var fd int
	n.Do(t, func() {
		d, err := net.InterfaceByName(link)
		if err == nil {
			fd, err = captureSocket(d.Index)
		}
		if err != nil {
			t.Fatalf("capture on %s: %v", link, err)
		}
	})
	stop := make(chan struct{})
	var g errgroup.Group
	g.Go(func() error { return c.read(fd, stop) })
	t.Cleanup(func() {
		close(stop)
		err := g.Wait()
		stats, errStats := unix.GetsockoptTpacketStats(fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
		if err := errors.Join(err, errStats, unix.Close(fd)); err != nil {
			t.Errorf("capture on %s: %v", link, err)
		} else if stats.Drops > 0 {
			t.Errorf("capture on %s: %d packets were missed", link, stats.Drops)
		}
	})
	return c
}

// captureSocket opens a socket for all packets of a device.
func captureSocket(index int) (fd int, err error) {
	const all = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8 // in network order
	fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	return fd, errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<20),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: index}))
}

func (c *Capture) read(fd int, stop <-chan struct{}) error {
	buf := make([]byte, 1<<16)
	for {
		size, _, err := unix.Recvfrom(fd, buf, 0)
		switch {
		case err == nil:
			c.count(buf[:size])
			continue
		case !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR):
			return err
		}
		select {
		case <-stop:
			return nil
		default:
		}
	}
}

func (c *Capture) count(packet []byte) {
	for _, text := range c.texts {
		if bytes.Contains(packet, text) {
			c.found.Add(1)
			break
		}
	}
	c.packets.Add(1)
}

// Counts returns how many packets were seen so far, and how many of these held one of the texts. Of a packet that was sent a moment before,
// nothing may be known yet.
func (c *Capture) Counts() (packets, found int64) {
	return c.packets.Load(), c.found.Load()
}

// Await waits until so many more packets were seen.
func (c *Capture) Await(t testing.TB, more int64) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	late := time.After(10 * time.Second)
	for until := c.packets.Load() + more; c.packets.Load() < until; {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%d more packets did not come", more)
		}
	}
}
