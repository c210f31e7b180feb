package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weft-network/weft/network/kernel/kerneltest"
)

// How long is measured: turns between two nodes by themselves and their pods, so that both have the same machine.
const (
	speedTurns  = 5
	speedTime   = 300 * time.Millisecond // of one stream
	speedTrips  = 2000                   // of one byte there and back
	speedPort   = 7778
	speedBuffer = 128 << 10
)

// BenchmarkBackends measures what pods of two nodes have of the network between the nodes, with each backend that this machine's kernel
// can do: one TCP stream, and the round trip of one byte. The nodes themselves are measured in turns with them.
func BenchmarkBackends(b *testing.B) {
	for _, w := range speedWays() {
		b.Run(w.name, func(b *testing.B) {
			for b.Loop() {
				err := Run(b.Context(), Options{Nodes: 2, Pods: 1, Backend: w.config}, func(l *Lab) error { return measure(b, l) })
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// speedWays are the backends without those that only say otherwise what others do. A guest has those that need its kernel, and two that
// any kernel can do, by which both can be compared.
func speedWays() []way {
	if kerneltest.InGuest() {
		return append(guestWays(), slices.DeleteFunc(hostWays(), func(w way) bool { return w.name != "vxlan" && w.name != "host-gw" })...)
	}
	return slices.DeleteFunc(hostWays(), func(w way) bool { return w.foreign || w.name == "direct-routing" })
}

// speed is what was measured between two hosts: medians are taken of many.
type speed struct {
	stream []float64 // bytes per second
	trip   []time.Duration
}

func measure(b *testing.B, l *Lab) error {
	nodes, pods := l.Nodes, l.Pods()
	var bare, backend speed
	for range speedTurns {
		if err := bare.measure(b.Context(), nodes[0].Host, nodes[1].Host, nodes[1].Addrs[0]); err != nil {
			return err
		}
		if err := backend.measure(b.Context(), pods[0].Host, pods[1].Host, pods[1].Addrs[0]); err != nil {
			return err
		}
	}
	for _, m := range []struct {
		unit  string
		value float64
	}{
		{"bare-Gbit/s", middle(bare.stream) * 8 / 1e9}, {"pods-Gbit/s", middle(backend.stream) * 8 / 1e9},
		{"stream-ratio", middle(backend.stream) / middle(bare.stream)},
		{"bare-us", float64(middle(bare.trip).Microseconds())}, {"pods-us", float64(middle(backend.trip).Microseconds())},
		{"trip-ratio", float64(middle(backend.trip)) / float64(middle(bare.trip))},
	} {
		b.ReportMetric(m.value, m.unit)
	}
	return nil
}

// middle is the median.
func middle[T float64 | time.Duration](list []T) T {
	slices.Sort(list)
	return list[len(list)/2]
}

// measure adds one turn.
func (s *speed) measure(ctx context.Context, from, to *Host, dst netip.Addr) error {
	var listener net.Listener
	at := netip.AddrPortFrom(dst, speedPort).String()
	err := to.Do(func() (err error) {
		listener, err = net.Listen("tcp", at)
		return err
	})
	if err != nil {
		return fmt.Errorf("listen on %s: %w", to.Name, err)
	}
	defer listener.Close()
	for _, run := range []func(*net.TCPConn, *net.TCPConn) error{s.streams, s.trips} {
		if err := pair(ctx, from, listener, run); err != nil {
			return fmt.Errorf("measure %s to %s: %w", from.Name, to.Name, err)
		}
	}
	return nil
}

// pair connects from with a listener and hands both ends over.
func pair(ctx context.Context, from *Host, listener net.Listener, f func(near, far *net.TCPConn) error) error {
	var near net.Conn
	err := from.Do(func() (err error) {
		near, err = (&net.Dialer{Timeout: answerTime}).DialContext(ctx, "tcp", listener.Addr().String())
		return err
	})
	if err != nil {
		return err
	}
	defer near.Close()
	far, err := listener.Accept()
	if err != nil {
		return err
	}
	defer far.Close()
	return f(near.(*net.TCPConn), far.(*net.TCPConn))
}

// streams sends as much as goes through, and counts what arrives.
func (s *speed) streams(near, far *net.TCPConn) error {
	begin := time.Now()
	var g errgroup.Group
	g.Go(func() error {
		data := make([]byte, speedBuffer)
		for time.Since(begin) < speedTime {
			if _, err := near.Write(data); err != nil {
				return err
			}
		}
		return near.CloseWrite()
	})
	count := 0
	for buf := make([]byte, speedBuffer); ; {
		n, err := far.Read(buf)
		count += n
		if errors.Is(err, io.EOF) {
			s.stream = append(s.stream, float64(count)/time.Since(begin).Seconds())
			return g.Wait()
		}
		if err != nil {
			return errors.Join(err, g.Wait())
		}
	}
}

// trips sends one byte there and back, again and again.
func (s *speed) trips(near, far *net.TCPConn) error {
	var g errgroup.Group
	g.Go(func() error {
		_, err := io.CopyBuffer(struct{ io.Writer }{far}, struct{ io.Reader }{far}, make([]byte, 1))
		return err
	})
	buf := make([]byte, 1)
	for range speedTrips {
		begin := time.Now()
		if _, err := near.Write(buf); err != nil {
			return errors.Join(err, g.Wait())
		}
		if _, err := io.ReadFull(near, buf); err != nil {
			return errors.Join(err, g.Wait())
		}
		s.trip = append(s.trip, time.Since(begin))
	}
	return errors.Join(near.CloseWrite(), g.Wait())
}
