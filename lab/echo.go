package lab

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// echoPort is where echo servers listen.
const echoPort = 7777

// echo is a TCP server that tells each caller the source address it saw, and then returns what it is sent.
type echo struct {
	ctx       context.Context
	cancel    context.CancelFunc
	listeners []net.Listener
	group     errgroup.Group
}

// startEcho listens on all addresses of h.
func startEcho(h *Host) (*echo, error) {
	e := &echo{}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	err := h.Do(func() error {
		for _, a := range h.Addrs {
			l, err := net.Listen("tcp", netip.AddrPortFrom(a, echoPort).String())
			if err != nil {
				return fmt.Errorf("listen on %s: %w", h.Name, err)
			}
			e.listeners = append(e.listeners, l)
		}
		return nil
	})
	if err != nil {
		e.close()
		return nil, err
	}
	for _, l := range e.listeners {
		e.group.Go(func() error { return e.serve(l) })
	}
	return e, nil
}

// serve takes callers until the listener is closed.
func (e *echo) serve(l net.Listener) error {
	var g errgroup.Group
	for {
		conn, err := l.Accept()
		if err != nil {
			return g.Wait()
		}
		g.Go(func() error {
			stop := context.AfterFunc(e.ctx, func() { conn.Close() })
			defer stop()
			defer conn.Close()
			fmt.Fprintln(conn, conn.RemoteAddr())
			_, _ = io.Copy(conn, conn) // the caller notices what goes wrong
			return nil
		})
	}
}

// close ends the server and its connections. The nil server is closed.
func (e *echo) close() {
	if e == nil {
		return
	}
	e.cancel()
	for _, l := range e.listeners {
		l.Close()
	}
	_ = e.group.Wait()
}

// call connects h with the echo server at dst and returns the connection and the address that the server saw.
func call(ctx context.Context, h *Host, dst netip.Addr) (net.Conn, netip.Addr, error) {
	var conn net.Conn
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	err := h.Do(func() (err error) {
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", netip.AddrPortFrom(dst, echoPort).String())
		return err
	})
	if err != nil {
		return nil, netip.Addr{}, fmt.Errorf("connect %s with %s: %w", h.Name, dst, err)
	}
	deadline, _ := ctx.Deadline()
	seen, err := readSource(conn, deadline)
	if err != nil {
		conn.Close()
		return nil, netip.Addr{}, fmt.Errorf("hear from %s which address it saw: %w", dst, err)
	}
	return conn, seen, nil
}

// readSource reads the server's first line. Nothing follows it before the caller sends something.
func readSource(conn net.Conn, deadline time.Time) (netip.Addr, error) {
	if err := conn.SetReadDeadline(deadline); err != nil {
		return netip.Addr{}, err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return netip.Addr{}, err
	}
	seen, err := netip.ParseAddrPort(strings.TrimSpace(line))
	return seen.Addr().Unmap(), err
}

// source asks the echo server at dst which address packets of h have when they arrive.
func source(ctx context.Context, h *Host, dst netip.Addr) (netip.Addr, error) {
	conn, seen, err := call(ctx, h, dst)
	if err != nil {
		return seen, err
	}
	return seen, conn.Close()
}

// Stream is a TCP connection that carries numbers there and back until somebody asks how many came.
type Stream struct {
	conn   net.Conn
	cancel context.CancelFunc
	group  errgroup.Group
	echoed atomic.Int64
}

// StartStream connects h with the pod to and sends a number every interval until Finish.
func (h *Host) StartStream(ctx context.Context, to *Pod, dst netip.Addr, interval time.Duration) (*Stream, error) {
	if err := to.answer(); err != nil {
		return nil, err
	}
	conn, _, err := call(ctx, h, dst)
	if err != nil {
		return nil, err
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return nil, fmt.Errorf("start a stream: %w", err)
	}
	sending, cancel := context.WithCancel(context.Background())
	s := &Stream{conn: conn, cancel: cancel}
	s.group.Go(func() error { return s.send(sending, interval) })
	s.group.Go(s.receive)
	return s, nil
}

// send writes numbers until ctx ends, and then says that no more will come.
func (s *Stream) send(ctx context.Context, interval time.Duration) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for n := uint64(0); ctx.Err() == nil; n++ {
		if _, err := s.conn.Write(binary.BigEndian.AppendUint64(nil, n)); err != nil {
			return fmt.Errorf("stream broke after %d numbers were sent: %w", n, err)
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	return s.conn.(*net.TCPConn).CloseWrite()
}

// receive compares what comes back with what was sent.
func (s *Stream) receive() error {
	buf := make([]byte, 8)
	for want := uint64(0); ; want++ {
		_, err := io.ReadFull(s.conn, buf)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("stream broke after %d numbers came back: %w", want, err)
		}
		if got := binary.BigEndian.Uint64(buf); got != want {
			return fmt.Errorf("stream returned %d in the place of %d", got, want)
		}
		s.echoed.Add(1)
	}
}

// Echoed is how many numbers came back so far.
func (s *Stream) Echoed() int { return int(s.echoed.Load()) }

// Finish ends the stream and returns how many numbers came back, and whether it broke. It is called once.
func (s *Stream) Finish() (int, error) {
	s.cancel()
	err := s.group.Wait()
	return s.Echoed(), errors.Join(err, s.conn.Close())
}

// answer makes the pod run an echo server, if it does not yet.
func (p *Pod) answer() error {
	if p.echo != nil {
		return nil
	}
	var err error
	p.echo, err = startEcho(p.Host)
	return err
}
