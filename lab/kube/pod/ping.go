package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
)

// The rhythm of ping, and how long the last answers may take.
const (
	every    = 10 * time.Millisecond
	patience = 2 * time.Second
)

// ping sends numbers and counts which of them come back. What it prints in the end is "SENT sent, LOST lost", and in the next
// line the first of the lost numbers. It fails where something was lost.
func ping(ctx context.Context, to string, out io.Writer) error {
	conn, err := net.Dial("udp", to)
	if err != nil {
		return err
	}
	defer conn.Close()
	fmt.Fprintln(out, "pinging", to)
	var sent uint64
	came := map[uint64]bool{}
	g := errgroup.Group{}
	g.Go(func() error {
		defer conn.SetReadDeadline(time.Now().Add(patience))
		t := time.NewTicker(every)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-t.C:
			}
			sent++
			_, _ = conn.Write(binary.BigEndian.AppendUint64(nil, sent)) // what could not be sent is lost
		}
	})
	g.Go(func() error {
		buf := make([]byte, 1500)
		for {
			n, err := conn.Read(buf)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return nil
			}
			if err == nil && n >= 8 { // an error is the kernel's about what was sent before
				came[binary.BigEndian.Uint64(buf)] = true
			}
		}
	})
	if err := g.Wait(); err != nil {
		return err
	}
	lost, first := uint64(0), uint64(0)
	for n := sent; n > 0; n-- {
		if !came[n] {
			lost, first = lost+1, n
		}
	}
	fmt.Fprintf(out, "%d sent, %d lost\n", sent, lost)
	if lost > 0 {
		return fmt.Errorf("the first that was lost is number %d", first)
	}
	return nil
}
