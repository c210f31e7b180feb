package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// pinger says how ping goes about it.
type pinger struct {
	every    time.Duration // between two packets
	patience time.Duration // after which a packet is no longer taken to be on its way; its answer counts whenever it comes
	most     int           // packets on their way: on a machine with much to do, more would overflow the buffers of a program that waits
	last     time.Duration // how long the answers may take that are missing in the end
}

// usual is what ping does.
func usual() pinger { return pinger{10 * time.Millisecond, 2 * time.Second, 100, 30 * time.Second} }

// tally is which packets were sent, and which came back.
type tally struct {
	mu   sync.Mutex
	sent []time.Time // when, by number
	came []bool
	open int // the first packet that may still come
}

// next is the number of a packet to send; ok is false while too many are on their way.
func (t *tally) next(p pinger, now time.Time) (n int, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.open < len(t.sent) && (t.came[t.open] || now.Sub(t.sent[t.open]) > p.patience) {
		t.open++
	}
	if len(t.sent)-t.open >= p.most {
		return 0, false
	}
	t.sent, t.came = append(t.sent, now), append(t.came, false)
	return len(t.sent) - 1, true
}

// back says that a packet came back.
func (t *tally) back(n uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n < uint64(len(t.came)) {
		t.came[n] = true
	}
}

// whole tells whether all packets came back.
func (t *tally) whole() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !slices.Contains(t.came, false)
}

// lost counts the packets that did not come back, and tells when the first of them was sent.
func (t *tally) lost() (count int, first time.Time) {
	for n, came := range t.came {
		if !came && count == 0 {
			first = t.sent[n]
		}
		if !came {
			count++
		}
	}
	return count, first
}

// ping sends numbers and counts which of them come back. What it prints in the end is "SENT sent, LOST lost", and in the next
// line when the first that was lost was sent. It fails where something was lost.
func (p pinger) ping(ctx context.Context, to string, out io.Writer) error {
	conn, err := net.Dial("udp", to)
	if err != nil {
		return err
	}
	defer conn.Close()
	fmt.Fprintln(out, "pinging", to)
	var all tally
	g := errgroup.Group{}
	g.Go(func() error {
		defer func() { _ = conn.SetReadDeadline(time.Now()) }()
		t := time.NewTicker(p.every)
		defer t.Stop()
		for ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-t.C:
				if n, ok := all.next(p, time.Now()); ok {
					_, _ = conn.Write(binary.BigEndian.AppendUint64(nil, uint64(n))) // what could not be sent is lost
				}
			}
		}
		for end := time.Now().Add(p.last); !all.whole() && time.Now().Before(end); {
			<-t.C
		}
		return nil
	})
	g.Go(func() error {
		buf := make([]byte, 1500)
		for {
			n, err := conn.Read(buf)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return nil
			}
			if err == nil && n >= 8 { // an error is the kernel's about what was sent before
				all.back(binary.BigEndian.Uint64(buf))
			}
		}
	})
	if err := g.Wait(); err != nil {
		return err
	}
	lost, first := all.lost()
	fmt.Fprintf(out, "%d sent, %d lost\n", len(all.sent), lost)
	if lost > 0 {
		return fmt.Errorf("the first that was lost was sent at %s", first.UTC().Format("15:04:05.000"))
	}
	return nil
}
