package etcd

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weft-network/weft/subnet"
	"github.com/weft-network/weft/subnet/etcd/etcdtest"
)

// putPeer writes what node n would claim, at the place of its own.
func putPeer(t *testing.T, client *clientv3.Client, n int, s subnet.Subnets) subnet.Lease {
	t.Helper()
	l := subnet.Lease{Subnets: s, Attrs: wantOf(parseConfig(t, netconf), n).Attrs}
	value, err := encodeValue(l.Attrs)
	if err != nil {
		t.Fatal(err)
	}
	id, err := client.Grant(t.Context(), 3600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Put(t.Context(), prefix+subnetsName+formatKey(s), value, clientv3.WithLease(id.ID)); err != nil {
		t.Fatal(err)
	}
	return l
}

func TestMemberRestarts(t *testing.T) {
	c, client, a, own := single(t)
	c.Stop(0)
	a.untilHealth("an error", func(h subnet.Health) bool { return h.Err != nil && h.Errors > 0 })
	c.Restart(0)
	peer := putPeer(t, client, 2, parseSubnets("10.5.200.0/24"))
	p := a.until("the peer", func(p subnet.Snapshot) bool { return p.Leases[peer.Subnets] == peer })
	if p.Leases[own.Subnets] != own {
		t.Errorf("the own lease is not what it was: %v", p.Leases)
	}
	a.untilHealth("no error", func(h subnet.Health) bool { return h.Err == nil && h.Expires.After(time.Now()) })
}

func TestLostAMemberOfThree(t *testing.T) {
	c := etcdtest.Start(t, 3)
	client := c.Client(t)
	config := configure(t, client, netconf)
	a := startAgent(t, newStore(t, Options{Endpoints: c.Endpoints(), Logger: loudly(t)}), wantOf(config, 1))
	own := a.untilOwn()
	for i := range 3 {
		c.Stop(i)
		peer := putPeer(t, client, 2+i, parseSubnets("10.5.200.0/24"))
		a.until("the peer", func(p subnet.Snapshot) bool { return p.Leases[peer.Subnets] == peer && p.Leases[own.Subnets] == own })
		c.Restart(i)
	}
}

func TestLostLeaderOfThree(t *testing.T) {
	c := etcdtest.Start(t, 3)
	client := c.Client(t)
	config := configure(t, client, netconf)
	s := newStore(t, Options{Endpoints: c.Endpoints(), Logger: loudly(t), RequestTimeout: 2 * time.Second})
	a := startAgent(t, s, wantOf(config, 1))
	own := a.untilOwn()
	c.Stop(1)
	c.Stop(2)
	a.untilHealth("an error", func(h subnet.Health) bool { return h.Err != nil })
	c.StartAll()
	peer := putPeer(t, client, 2, parseSubnets("10.5.200.0/24"))
	a.until("the peer", func(p subnet.Snapshot) bool { return p.Leases[peer.Subnets] == peer && p.Leases[own.Subnets] == own })
	a.untilHealth("no error", func(h subnet.Health) bool { return h.Err == nil })
}

func TestAllMembersRestart(t *testing.T) {
	c := etcdtest.Start(t, 3)
	client := c.Client(t)
	config := configure(t, client, netconf)
	a := startAgent(t, newStore(t, Options{Endpoints: c.Endpoints(), Logger: loudly(t)}), wantOf(config, 1))
	own := a.untilOwn()
	c.StopAll()
	a.untilHealth("an error", func(h subnet.Health) bool { return h.Err != nil })
	c.StartAll()
	peer := putPeer(t, client, 2, parseSubnets("10.5.200.0/24"))
	a.until("the peer", func(p subnet.Snapshot) bool { return p.Leases[peer.Subnets] == peer && p.Leases[own.Subnets] == own })
}

// TestCompacted loses the history between the last event that the store saw and those that it missed.
func TestCompacted(t *testing.T) {
	c := etcdtest.Start(t, 1)
	client, front := c.Client(t), c.NewFront(t, 0)
	config := configure(t, client, netconf)
	a := startAgent(t, newStore(t, Options{Endpoints: []string{front.Endpoint()}, Logger: loudly(t)}), wantOf(config, 1))
	own := a.untilOwn()
	left := putPeer(t, client, 2, parseSubnets("10.5.200.0/24"))
	a.until("a peer", func(p subnet.Snapshot) bool { return p.Leases[left.Subnets] == left })

	front.Cut()
	came := putPeer(t, client, 3, parseSubnets("10.5.201.0/24"))
	if _, err := client.Delete(t.Context(), prefix+subnetsName+formatKey(left.Subnets)); err != nil {
		t.Fatal(err)
	}
	c.Compact()
	front.Join()

	p := a.until("the peer that came", func(p subnet.Snapshot) bool { return p.Leases[came.Subnets] == came })
	want := map[subnet.Subnets]subnet.Lease{own.Subnets: own, came.Subnets: came}
	if diff := cmp.Diff(want, p.Leases, compare); diff != "" {
		t.Errorf("leases after compaction (-want +got):\n%s", diff)
	}
	if p.Changed != nil {
		t.Errorf("after compaction only %v are said to differ", p.Changed)
	}
}

// TestDataGone starts etcd anew at the same address, where the watch would wait for a revision that is far away.
func TestDataGone(t *testing.T) {
	c, _, a, own := single(t)
	c.Wipe()
	a.until("an empty store", func(p subnet.Snapshot) bool { return p.Config == "" && len(p.Leases) == 0 })
	configure(t, c.Client(t), netconf)
	if again := a.untilOwn(); again != own {
		t.Errorf("claimed again: %v: want %v", again, own)
	}
}

func TestLeaseRevoked(t *testing.T) {
	_, client, a, own := single(t)
	kv, err := client.Get(t.Context(), prefix+subnetsName+formatKey(own.Subnets))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Revoke(t.Context(), clientv3.LeaseID(kv.Kvs[0].Lease)); err != nil {
		t.Fatal(err)
	}
	a.untilGone()
	if again := a.untilOwn(); again != own {
		t.Errorf("claimed again: %v: want %v", again, own)
	}
	a.untilHealth("a lease that is kept", func(h subnet.Health) bool { return h.Expires.After(time.Now()) })
}

func TestPrefixWiped(t *testing.T) {
	_, client, a, own := single(t)
	if _, err := client.Delete(t.Context(), prefix, clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	a.until("an empty store", func(p subnet.Snapshot) bool { return p.Config == "" && len(p.Leases) == 0 })
	configure(t, client, netconf)
	if again := a.untilOwn(); again != own {
		t.Errorf("claimed again: %v: want %v", again, own)
	}
}

// TestOwnKeyGarbled overwrites the key of a node whose agent runs: it keeps its subnet.
func TestOwnKeyGarbled(t *testing.T) {
	_, client, a, own := single(t)
	key := prefix + subnetsName + formatKey(own.Subnets)
	for _, value := range []string{"nonsense", `{"PublicIP":17}`, `{"PublicIP":"192.0.0.1"}`} {
		if _, err := client.Put(t.Context(), key, value, clientv3.WithIgnoreLease()); err != nil {
			t.Fatal(err)
		}
		a.until("a fault", func(p subnet.Snapshot) bool { return len(p.Faults) == 1 && p.Faults[0].Key == key })
		if again := a.untilOwn(); again != own {
			t.Errorf("after %s: %v: want %v", value, again, own)
		}
	}
}

func TestSlow(t *testing.T) {
	c := etcdtest.Start(t, 1)
	client, front := c.Client(t), c.NewFront(t, 0)
	front.Slow(200 * time.Millisecond)
	config := configure(t, client, netconf)
	a := startAgent(t, newStore(t, Options{Endpoints: []string{front.Endpoint()}}), wantOf(config, 1))
	own := a.untilOwn()
	peer := putPeer(t, client, 2, parseSubnets("10.5.200.0/24"))
	a.until("the peer", func(p subnet.Snapshot) bool { return p.Leases[peer.Subnets] == peer && p.Leases[own.Subnets] == own })
	if n := len(a.errs); n > 0 {
		t.Errorf("Watch failed %d times, with %v", n, <-a.errs)
	}
}

// TestExpiry keeps a lease that would be gone after a second, and lets it go when nobody keeps it.
func TestExpiry(t *testing.T) {
	c := etcdtest.Start(t, 1)
	client := c.Client(t)
	config := configure(t, client, netconf)
	a := startAgent(t, newStore(t, Options{Endpoints: c.Endpoints(), TTL: 2 * time.Second}), wantOf(config, 1))
	other := startAgent(t, newStore(t, Options{Endpoints: c.Endpoints()}), wantOf(config, 2))
	own := a.untilOwn()
	other.until("both leases", func(p subnet.Snapshot) bool {
		_, ok := other.own(p)
		return ok && p.Leases[own.Subnets] == own
	})
	first := time.Time{}
	a.untilHealth("three renewals", func(h subnet.Health) bool {
		if first.IsZero() {
			first = h.Expires
		}
		return !first.IsZero() && h.Expires.After(first.Add(3*time.Second))
	})
	if n := len(other.pics); n > 0 {
		t.Errorf("renewal was seen %d times by another node: %v", n, (<-other.pics).Changed)
	}
	a.stop()
	other.until("the lease to end", func(p subnet.Snapshot) bool { _, ok := p.Leases[own.Subnets]; return !ok })
}
