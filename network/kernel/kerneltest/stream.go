package kerneltest

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// Stream is a TCP connection on which everything comes back.
type Stream struct {
	conn   *net.TCPConn
	listen net.Listener
	stop   chan struct{}
	group  errgroup.Group
	sent   int64
}

// Stream opens a TCP connection from n to an address of server, and sends a kilobyte on it every so often, until Stop is called.
func (n *NS) Stream(t testing.TB, server *NS, at netip.AddrPort, every time.Duration) *Stream {
	t.Helper()
	s := &Stream{stop: make(chan struct{})}
	var err error
	server.Do(t, func() { s.listen, err = net.Listen("tcp", at.String()) })
	if err != nil {
		t.Fatalf("listen at %s: %v", at, err)
	}
	s.group.Go(s.answer)
	n.Do(t, func() { s.conn, err = net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(at)) })
	if err != nil {
		s.listen.Close()
		t.Fatalf("connect to %s: %v", at, err)
	}
	s.group.Go(func() error { return s.send(every) })
	return s
}

// answer sends back what comes on the first connection.
func (s *Stream) answer() error {
	c, err := s.listen.Accept()
	if err != nil {
		return nil // closed because nobody came
	}
	defer c.Close()
	_, err = io.Copy(c, c)
	return err
}

func (s *Stream) send(every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for block := make([]byte, 1000); ; {
		n, err := s.conn.Write(block)
		s.sent += int64(n)
		if err != nil {
			return err
		}
		select {
		case <-s.stop:
			return s.conn.CloseWrite()
		case <-tick.C:
		}
	}
}

// Stop ends the stream, and returns how many bytes were sent and how many of them did not come back within some seconds.
func (s *Stream) Stop(t testing.TB) (sent, missing int64) {
	t.Helper()
	defer s.listen.Close()
	defer s.conn.Close()
	close(s.stop)
	err := s.conn.SetDeadline(time.Now().Add(10 * time.Second))
	back, errBack := io.Copy(io.Discard, s.conn)
	if err := errors.Join(err, errBack, s.group.Wait()); err != nil {
		t.Errorf("stream: %v", err)
	}
	return s.sent, s.sent - back
}
