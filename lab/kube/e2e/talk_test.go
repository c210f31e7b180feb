package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weft-network/weft/lab/kube"
	"github.com/weft-network/weft/subnet"
)

// patience is how long something may take that is to happen by itself. A machine that does much at once is slow.
const patience = 240 * time.Second

// inTime is patience for kubectl.
func inTime() string { return "--timeout=" + patience.String() }

// eventually waits until something holds.
func eventually(t *testing.T, what string, holds func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	pause := 200 * time.Millisecond
	for {
		err := holds()
		if err == nil {
			return
		}
		select {
		case <-time.After(pause): // the longer it takes, the less there is to gain by looking often
			pause = min(pause*3/2, 2*time.Second)
		case <-ctx.Done():
			t.Fatalf("waiting for %s: %v", what, err)
		}
	}
}

// must fails the test where something that has to succeed did not.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// conversation is packets that go between pods, both ways.
type conversation struct {
	names  []string
	pings  []*kube.Ping
	pods   []*kube.Pod
	before int // overflows
}

// converse begins to send packets between each two of the pods, in both directions.
func converse(t *testing.T, pods ...*kube.Pod) *conversation {
	t.Helper()
	c := conversation{pods: pods, before: overflows(t, pods)}
	for _, from := range pods {
		for _, to := range pods {
			for _, addr := range to.Addrs {
				if from == to || !addr.IsValid() {
					continue
				}
				p, err := from.Ping(netip.AddrPortFrom(addr, 80))
				must(t, err)
				c.names = append(c.names, fmt.Sprintf("from %s on %s to %s on %s at %s", from.Name, from.Node.Name(), to.Name, to.Node.Name(), addr))
				c.pings = append(c.pings, p)
			}
		}
	}
	return &c
}

// end ends the packets. Not one may have been lost, but for those that had reached a pod whose program did not get to run for
// so long that its socket had no more room: the kernel counts them. It returns how many packets each ping has sent at least.
func (c *conversation) end(t *testing.T) (least int) {
	t.Helper()
	var g errgroup.Group
	lost, counts := make([]int, len(c.pings)), make([]int, len(c.pings))
	for i, p := range c.pings {
		g.Go(func() error { // each waits for its last answers
			sent, missing, err := p.Stop()
			if err != nil || sent == 0 {
				t.Errorf("%s: %d packets sent, %v", c.names[i], sent, err)
			}
			lost[i], counts[i] = missing, sent
			return nil
		})
	}
	_ = g.Wait()
	all, said := 0, ""
	for i, p := range c.pings {
		if all += lost[i]; lost[i] > 0 {
			said += fmt.Sprintf("\n%s: %d lost: %s", c.names[i], lost[i], p.Said())
		}
	}
	if unread := overflows(t, c.pods) - c.before; all > unread {
		t.Errorf("%d packets were lost, and %d of them had reached a pod:%s", all, unread, said)
	} else if all > 0 {
		t.Logf("%d packets reached a pod, which did not read them in time", all)
	}
	return slices.Min(counts)
}

// overflows counts the packets for which sockets of the pods had no room.
func overflows(t *testing.T, pods []*kube.Pod) int {
	t.Helper()
	all := 0
	for _, p := range pods {
		out, err := p.Run("sh", "-c", `sed -n 's/^Udp: [0-9]* [0-9]* [0-9]* [0-9]* \([0-9]*\) .*/\1/p' /proc/net/snmp; sed -n 's/^Udp6RcvbufErrors *//p' /proc/net/snmp6`)
		must(t, err)
		for word := range strings.FieldsSeq(out) {
			n, err := strconv.Atoi(word)
			must(t, err)
			all += n
		}
	}
	return all
}

// talk waits until the pods reach each other, in both directions and all families.
func talk(t *testing.T, pods ...*kube.Pod) {
	t.Helper()
	for _, from := range pods {
		for _, to := range pods {
			if from == to {
				continue
			}
			eventually(t, from.Name+" to reach "+to.Name, func() error { return reaches(from, to) })
		}
	}
}

// reaches asks once.
func reaches(from, to *kube.Pod) error {
	var errs []error
	for _, addr := range to.Addrs {
		if addr.IsValid() {
			_, err := from.Run("pod", "get", "http://"+netip.AddrPortFrom(addr, 80).String()+"/")
			errs = append(errs, err)
		}
	}
	if to.Addrs == ([2]netip.Addr{}) {
		errs = append(errs, errors.New("it has no address"))
	}
	return errors.Join(errs...)
}

// within tells whether a pod's addresses are of the pod CIDRs of its Node.
func within(p *kube.Pod, cidrs subnet.Subnets) error {
	for f, addr := range p.Addrs {
		if addr.IsValid() && !cidrs[f].Contains(addr) {
			return fmt.Errorf("pod %s has %s, and its node the pod CIDRs %s", p.Name, addr, cidrs)
		}
	}
	return nil
}
