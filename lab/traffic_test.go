package lab

import (
	"fmt"
	"testing"
	"time"
)

// traffic is what flows between pods of different nodes while something happens: a ping at each interval from each pod to
// the first pod of every other node, and a TCP stream beside each.
type traffic struct {
	every   time.Duration
	pings   map[string]*Pings
	streams map[string]*Stream
}

func newTraffic(interval time.Duration) *traffic {
	return &traffic{interval, map[string]*Pings{}, map[string]*Stream{}}
}

// usual is how often packets are sent.
const usual = 10 * time.Millisecond

// startTraffic starts traffic between the first pods of the given nodes, in all families.
func startTraffic(t *testing.T, l *Lab, nodes ...*Node) *traffic {
	t.Helper()
	return startTrafficEvery(t, l, usual, nodes...)
}

func startTrafficEvery(t *testing.T, l *Lab, interval time.Duration, nodes ...*Node) *traffic {
	t.Helper()
	tr := newTraffic(interval)
	for _, from := range nodes {
		for _, to := range nodes {
			if from != to {
				tr.add(t, l, from.Pods[0], to.Pods[0])
			}
		}
	}
	tr.flow(t, 20)
	return tr
}

func (tr *traffic) add(t *testing.T, l *Lab, from, to *Pod) {
	t.Helper()
	for i, f := range l.opts.Families {
		name := fmt.Sprintf("%s %s to %s", f, from.Name, to.Name)
		p, err := from.StartPings(to.Addrs[i], tr.every)
		if err != nil {
			t.Fatal(err)
		}
		tr.pings[name] = p
		s, err := from.StartStream(within(t, patience), to, to.Addrs[i], tr.every)
		if err != nil {
			t.Fatal(err)
		}
		tr.streams[name] = s
	}
}

// flow waits until so many further packets were answered everywhere, or fewer that take as long where they are not sent as often
// as usual. This also is how time passes in these tests.
func (tr *traffic) flow(t *testing.T, answers int) {
	t.Helper()
	answers = max(1, answers*int(usual)/int(tr.every))
	goals := map[string]int{}
	for name, count := range tr.counts() {
		goals[name] = count + answers
	}
	eventually(t, "traffic to flow", func() error {
		for name, count := range tr.counts() {
			if count < goals[name] {
				return fmt.Errorf("%s: %d answers, %d are missing", name, count, goals[name]-count)
			}
		}
		return nil
	})
}

// counts are the answers to each ping and each stream so far.
func (tr *traffic) counts() map[string]int {
	counts := map[string]int{}
	for name, p := range tr.pings {
		counts["ping "+name] = p.Answered()
	}
	for name, s := range tr.streams {
		counts["stream "+name] = s.Echoed()
	}
	return counts
}

// check ends the traffic and fails the test unless every packet was answered and every stream is whole.
func (tr *traffic) check(t *testing.T) {
	t.Helper()
	sent := 0
	for name, p := range tr.pings {
		r := p.Finish()
		if r.Lost != 0 || r.Err != nil {
			t.Errorf("ping %s: %d of %d lost, longest pause %s, %v", name, r.Lost, r.Sent, r.Pause, r.Err)
		}
		sent += r.Sent
	}
	for name, s := range tr.streams {
		if _, err := s.Finish(); err != nil {
			t.Errorf("stream %s: %v", name, err)
		}
	}
	t.Logf("%d pings, none may be lost; %d streams, none may break", sent, len(tr.streams))
}
