package e2e

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/weft-network/weft/lab/kube"
	"github.com/weft-network/weft/subnet"
)

// stream is a connection between pods of each family, with a number every 10 ms.
type stream struct {
	stop  chan struct{}
	ended []chan error
}

// newStream connects one pod to another.
func newStream(t *testing.T, from, to *kube.Pod) *stream {
	t.Helper()
	s := &stream{stop: make(chan struct{})}
	for _, f := range subnet.Families {
		if !to.Addrs[f].IsValid() {
			continue
		}
		out, in := connect(t, from, to, f)
		sent, come := make(chan error, 1), make(chan error, 1)
		go func() { sent <- s.send(out) }()
		go func() { come <- receive(in) }()
		s.ended = append(s.ended, sent, come)
	}
	return s
}

// send sends numbers until the stream ends.
func (s *stream) send(out net.Conn) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for n := uint64(0); ; n++ {
		select {
		case <-s.stop:
			return out.Close()
		case <-tick.C:
		}
		_ = out.SetWriteDeadline(time.Now().Add(patience)) // a connection has deadlines
		if _, err := out.Write(binary.BigEndian.AppendUint64(nil, n)); err != nil {
			return fmt.Errorf("number %d: %w", n, err)
		}
	}
}

// receive reads until the other end is closed. No number may be missing.
func receive(in net.Conn) error {
	from, buf := bufio.NewReader(in), make([]byte, 8)
	for n := uint64(0); ; n++ {
		switch _, err := io.ReadFull(from, buf); {
		case err == io.EOF && n > 0:
			return nil
		case err != nil:
			return fmt.Errorf("number %d: %w", n, err)
		}
		if got := binary.BigEndian.Uint64(buf); got != n {
			return fmt.Errorf("number %d came in the place of %d", got, n)
		}
	}
}

// end ends the stream, which must have gone on until then.
func (s *stream) end(t *testing.T) {
	t.Helper()
	close(s.stop)
	for _, ended := range s.ended {
		if err := <-ended; err != nil {
			t.Errorf("connection: %v", err)
		}
	}
}
