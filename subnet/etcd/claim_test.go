package etcd

import (
	"errors"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weft-network/weft/subnet"
	"github.com/weft-network/weft/subnet/etcd/etcdtest"
)

// revision returns how many writes etcd has seen.
func revision(t *testing.T, client *clientv3.Client) int64 {
	t.Helper()
	resp, err := client.Get(t.Context(), "any")
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header.Revision
}

func leaseOf(t *testing.T, client *clientv3.Client, s subnet.Subnets) int64 {
	t.Helper()
	resp, err := client.Get(t.Context(), prefix+subnetsName+formatKey(s))
	if err != nil || len(resp.Kvs) != 1 {
		t.Fatalf("key of %s: %v, %v", s, resp, err)
	}
	return resp.Kvs[0].Lease
}

// TestRestartWritesNothing starts an agent for a node whose lease is there: it keeps the same etcd lease alive.
func TestRestartWritesNothing(t *testing.T) {
	c, client, a, own := single(t)
	a.stop()
	before, id := revision(t, client), leaseOf(t, client, own.Subnets)
	next := startAgent(t, newStore(t, Options{Endpoints: c.Endpoints()}), wantOf(a.want.Config, 1))
	next.untilOwn()
	if _, err := next.store.Claim(t.Context(), next.want); err != nil {
		t.Fatal(err)
	}
	next.untilHealth("a lease that is kept", func(h subnet.Health) bool { return h.Expires.After(time.Now()) })
	if after := revision(t, client); after != before {
		t.Errorf("a restart wrote %d times", after-before)
	}
	ids, err := client.Leases(t.Context())
	if err != nil || len(ids.Leases) != 1 || int64(ids.Leases[0].ID) != id {
		t.Errorf("etcd leases after a restart: %v, %v: want %d alone", ids, err, id)
	}
}

// TestFlanneldIsTakenOver writes once, for the identity, and keeps flanneld's etcd lease.
func TestFlanneldIsTakenOver(t *testing.T) {
	c := etcdtest.Start(t, 1)
	client := c.Client(t)
	config := configure(t, client, netconf)
	id, err := client.Grant(t.Context(), 86400)
	if err != nil {
		t.Fatal(err)
	}
	key := prefix + "subnets/10.5.52.0-24"
	value := `{"PublicIP":"192.0.0.1","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"0e:00:00:00:00:01"}}`
	if _, err := client.Put(t.Context(), key, value, clientv3.WithLease(id.ID)); err != nil {
		t.Fatal(err)
	}
	before := revision(t, client)
	s := newStore(t, Options{Endpoints: c.Endpoints()})
	for range 2 {
		if l, err := s.Claim(t.Context(), wantOf(config, 1)); err != nil || l.Subnets != parseSubnets("10.5.52.0/24") {
			t.Fatalf("Claim = %v, %v", l, err)
		}
	}
	if after := revision(t, client); after != before+1 {
		t.Errorf("a takeover wrote %d times", after-before)
	}
	if got := leaseOf(t, client, parseSubnets("10.5.52.0/24")); got != int64(id.ID) {
		t.Errorf("the key is attached to %d: want %d as before", got, id.ID)
	}
}

// TestClone starts a second machine with the identity of the first.
func TestClone(t *testing.T) {
	c, client, a, own := single(t)
	copied := wantOf(a.want.Config, 1)
	copied.Attrs.PublicIP = wantOf(a.want.Config, 2).Attrs.PublicIP
	s := newStore(t, Options{Endpoints: c.Endpoints(), ContestTime: patience})
	var before int64
	for n := range 3 {
		if n == 1 {
			before = revision(t, client)
		}
		l, err := s.Claim(t.Context(), copied)
		if !errors.Is(err, subnet.ErrIdentityInUse) {
			t.Fatalf("Claim of a clone = %v, %v: want ErrIdentityInUse", l, err)
		}
		for _, want := range []string{"node-1", "192.0.0.1", "192.0.0.2", own.Subnets.String(), "machine-id"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("the error does not name %s: %v", want, err)
			}
		}
	}
	if after := revision(t, client); after != before {
		t.Errorf("a refused clone wrote %d times when it tried again", after-before)
	}
}

// TestMovedWhileAway starts the agent of a machine that has got another address: nobody answers for the old one.
func TestMovedWhileAway(t *testing.T) {
	c, client, a, own := single(t)
	a.stop()
	moved := wantOf(a.want.Config, 1)
	moved.Attrs.PublicIP = wantOf(a.want.Config, 2).Attrs.PublicIP
	s := newStore(t, Options{Endpoints: c.Endpoints(), ContestTime: 200 * time.Millisecond, Logger: loudly(t)})
	l, err := s.Claim(t.Context(), moved)
	if err != nil || l.Subnets != own.Subnets || l.PublicIP != moved.Attrs.PublicIP {
		t.Errorf("Claim = %v, %v: want %s at the new address", l, err, own.Subnets)
	}
	left, err := client.Get(t.Context(), prefix+contestsName, clientv3.WithPrefix())
	if err != nil || len(left.Kvs) != 0 {
		t.Errorf("questions that are left: %v, %v", left, err)
	}
}

// TestOldestWins lets a dual-stack node pick an IPv6 subnet that another one takes under its eyes.
func TestOldestWins(t *testing.T) {
	c := etcdtest.Start(t, 1)
	client := c.Client(t)
	config := configure(t, client, dual)
	s := newStore(t, Options{Endpoints: c.Endpoints()})
	want := wantOf(config, 1)
	old, err := s.list(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	first, err := decide(old, holding{}, want, nil)
	if err != nil {
		t.Fatal(err)
	}
	other := first.to
	other[subnet.Inet] = parseSubnets("10.1.1.0/24")[subnet.Inet]
	peer := putPeer(t, client, 2, other)

	value, err := encodeValue(want.Attrs)
	if err != nil {
		t.Fatal(err)
	}
	late := claim{s: s, want: want, value: value, base: old, settled: map[string]int64{}}
	if l, err := late.try(t.Context()); !errors.Is(err, errRaced) {
		t.Fatalf("a claim on an old picture returned %v, %v: want %v", l, err, errRaced)
	}
	resp, err := client.Get(t.Context(), prefix+subnetsName, clientv3.WithPrefix())
	if err != nil || len(resp.Kvs) != 1 {
		t.Errorf("after a lost race etcd holds %v, %v", resp, err)
	}
	l, err := late.try(t.Context())
	if err != nil || l.Subnets.Overlaps(peer.Subnets) {
		t.Errorf("the next attempt returned %v, %v", l, err)
	}
}

// TestLostAnswer repeats a claim whose transaction succeeded, and whose answer never came: nothing stays behind.
func TestLostAnswer(t *testing.T) {
	c := etcdtest.Start(t, 1)
	client := c.Client(t)
	config := configure(t, client, netconf)
	want := wantOf(config, 1)
	s := newStore(t, Options{Endpoints: c.Endpoints()})
	old, err := s.list(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	first, err := newStore(t, Options{Endpoints: c.Endpoints()}).Claim(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	value, err := encodeValue(want.Attrs)
	if err != nil {
		t.Fatal(err)
	}
	repeated := claim{s: s, want: want, value: value, base: old, settled: map[string]int64{}}
	if l, err := repeated.try(t.Context()); !errors.Is(err, errRaced) {
		t.Fatalf("a claim on an old picture returned %v, %v: want %v", l, err, errRaced)
	}
	if l, err := repeated.try(t.Context()); err != nil || l != first {
		t.Errorf("the next attempt returned %v, %v: want %v", l, err, first)
	}
}

// TestLeftover finds two keys of the node, of which one lost a race: one is enough.
func TestLeftover(t *testing.T) {
	c := etcdtest.Start(t, 1)
	client := c.Client(t)
	config := configure(t, client, dual)
	value, err := encodeValue(wantOf(config, 1).Attrs)
	if err != nil {
		t.Fatal(err)
	}
	putPeer(t, client, 2, parseSubnets("10.1.1.0/24", "fd00:5:0:1::/64"))
	for _, key := range []string{"10.1.2.0-24&fd00:5:0:2::-64", "10.1.3.0-24&fd00:5:0:1::-64", "10.1.4.0-24&fd00:5:0:4::-64"} {
		id, err := client.Grant(t.Context(), 3600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Put(t.Context(), prefix+subnetsName+key, value, clientv3.WithLease(id.ID)); err != nil {
			t.Fatal(err)
		}
	}
	want := wantOf(config, 1)
	want.Previous = parseSubnets("10.1.4.0/24", "fd00:5:0:4::/64")
	l, err := newStore(t, Options{Endpoints: c.Endpoints()}).Claim(t.Context(), want)
	if err != nil || l.Subnets != want.Previous {
		t.Errorf("Claim = %v, %v: want %s", l, err, want.Previous)
	}
	resp, err := client.Get(t.Context(), prefix+subnetsName, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil || len(resp.Kvs) != 2 {
		t.Errorf("etcd holds %v, %v: want the peer's key and one of the node", resp, err)
	}
}
