package etcd

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"github.com/weft-network/weft/subnet"
	"github.com/weft-network/weft/subnet/etcd/etcdtest"
)

// patience is how long a test waits for something that has to come.
const patience = 60 * time.Second

const (
	prefix  = "/coreos.com/network/"
	netconf = `{"Network":"10.5.0.0/16"}`
	dual    = `{"Network":"10.0.0.0/12","EnableIPv6":true,"IPv6Network":"fd00:5::/48"}`
)

func parseConfig(t testing.TB, text string) subnet.Config {
	t.Helper()
	c, _, err := subnet.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func parseSubnets(texts ...string) subnet.Subnets {
	var s subnet.Subnets
	for _, text := range texts {
		p := netip.MustParsePrefix(text)
		s[subnet.FamilyOf(p.Addr())] = p
	}
	return s
}

// wantOf is what node number n asks for.
func wantOf(c subnet.Config, n int) subnet.Want {
	w := subnet.Want{Config: c, Attrs: subnet.Attrs{Node: fmt.Sprintf("node-%d", n), Backend: "vxlan"}}
	addrs := [2]netip.Addr{netip.AddrFrom4([4]byte{192, 0, byte(n >> 8), byte(n)}), netip.AddrFrom16([16]byte{0: 0xfd, 14: byte(n >> 8), 15: byte(n)})}
	for f, ip := range addrs {
		if c.Networks[f].Enabled() {
			w.Attrs.PublicIP[f] = ip
			w.Attrs.Data[f] = fmt.Sprintf(`{"VNI":1,"VtepMAC":"0e:00:00:00:%02x:%02x"}`, n>>8, n&255)
		}
	}
	return w
}

func newStore(t testing.TB, o Options) *Store {
	t.Helper()
	if o.RereadDelay == 0 {
		o.RereadDelay = 10 * time.Millisecond
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func configure(t testing.TB, client *clientv3.Client, text string) subnet.Config {
	t.Helper()
	if _, err := client.Put(t.Context(), prefix+configName, text); err != nil {
		t.Fatal(err)
	}
	return parseConfig(t, text)
}

// agent does with a store what a node's agent does: it follows, claims what it misses, and begins again after errors.
type agent struct {
	t     testing.TB
	store *Store
	want  subnet.Want
	pics  chan subnet.Snapshot
	errs  chan error // of Watch
	stop  func()     // ends it, and waits for its end
}

// agentBackoff is what stands between two calls of an agent that fail. It is the loop's, not the store's.
const agentBackoff = 50 * time.Millisecond

func startAgent(t testing.TB, s *Store, want subnet.Want) *agent {
	t.Helper()
	a := &agent{t: t, store: s, want: want, pics: make(chan subnet.Snapshot, 100_000), errs: make(chan error, 100_000)}
	ctx, cancel := context.WithCancel(context.Background())
	g, ctx := errgroup.WithContext(ctx)
	missing := make(chan struct{}, 1)
	g.Go(func() error {
		for ctx.Err() == nil {
			err := s.Watch(ctx, func(p subnet.Snapshot) bool {
				p.Leases = maps.Clone(p.Leases)
				a.pics <- p
				if _, ok := a.own(p); !ok && p.Config != "" {
					nudge(missing)
				}
				return true
			})
			if ctx.Err() == nil {
				a.errs <- err
			}
			_ = pause(ctx, agentBackoff)
		}
		return nil
	})
	g.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-missing:
			}
			for ctx.Err() == nil {
				l, err := s.Claim(ctx, a.want)
				if err == nil {
					a.want.Previous = l.Subnets
					break
				}
				_ = pause(ctx, agentBackoff)
			}
		}
	})
	a.stop = func() {
		cancel()
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(a.stop)
	return a
}

// own returns the agent's lease in p, if it is what it wants.
func (a *agent) own(p subnet.Snapshot) (subnet.Lease, bool) {
	for _, l := range p.Leases {
		if l.Attrs == a.want.Attrs {
			return l, true
		}
	}
	return subnet.Lease{}, false
}

// until returns the first picture for which is holds, of those that were not looked at before.
func (a *agent) until(what string, is func(subnet.Snapshot) bool) subnet.Snapshot {
	a.t.Helper()
	var last subnet.Snapshot
	for {
		select {
		case last = <-a.pics:
			if is(last) {
				return last
			}
		case <-time.After(patience):
			a.t.Fatalf("waited for %s; the last picture has %v, faults %v, config %q; health %+v", what, last.Leases, last.Faults, last.Config, a.store.Health())
		}
	}
}

func (a *agent) untilOwn() subnet.Lease {
	a.t.Helper()
	p := a.until("the own lease", func(p subnet.Snapshot) bool { _, ok := a.own(p); return ok })
	l, _ := a.own(p)
	return l
}

func (a *agent) untilGone() {
	a.t.Helper()
	a.until("the own lease to go", func(p subnet.Snapshot) bool { _, ok := a.own(p); return !ok })
}

// untilHealth waits until the store says of itself what is true of it.
func (a *agent) untilHealth(what string, is func(subnet.Health) bool) {
	a.t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !is(a.store.Health()) {
		select {
		case <-tick.C:
		case <-deadline:
			a.t.Fatalf("waited for %s; the health is %+v", what, a.store.Health())
		}
	}
}

// loudly is a log into the test's output.
func loudly(t testing.TB) logrus.FieldLogger {
	l := logrus.New()
	l.SetOutput(t.Output())
	return l
}

// single starts one member with a config, and an agent that has its lease.
func single(t *testing.T) (*etcdtest.Cluster, *clientv3.Client, *agent, subnet.Lease) {
	t.Helper()
	c := etcdtest.Start(t, 1)
	client := c.Client(t)
	config := configure(t, client, netconf)
	a := startAgent(t, newStore(t, Options{Endpoints: c.Endpoints(), Logger: loudly(t)}), wantOf(config, 1))
	return c, client, a, a.untilOwn()
}
