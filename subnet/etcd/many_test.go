package etcd

import (
	"context"
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"github.com/weft-network/weft/subnet"
	"github.com/weft-network/weft/subnet/etcd/etcdtest"
)

// TestManyClaims lets many nodes start at the same time, a tenth of them with a running Watch. The tight networks have
// room for few more.
func TestManyClaims(t *testing.T) {
	for _, tt := range []struct {
		name, config string
		nodes        int
	}{
		{"IPv4", `{"Network":"10.0.0.0/12"}`, 200},
		{"dual-stack", dual, 1000},
		{"tight", `{"Network":"10.0.0.0/16"}`, 250},
		{"tight in IPv6", `{"Network":"10.0.0.0/12","EnableIPv6":true,"IPv6Network":"fd00:5::/56"}`, 250},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := etcdtest.Start(t, 1)
			config := configure(t, c.Client(t), tt.config)
			stores := make([]*Store, tt.nodes)
			for n := range stores {
				stores[n] = newStore(t, Options{Endpoints: c.Endpoints(), RequestTimeout: patience})
			}
			began := time.Now()
			leases := claimAll(t, config, stores)
			t.Logf("%d claims in %v", tt.nodes, time.Since(began))
			checkDisjoint(t, leases)
			checkStored(t, c.Client(t), leases)
		})
	}
}

// claimAll claims with all stores at once. As an agent does, it tries again when etcd is too busy to answer.
func claimAll(t *testing.T, config subnet.Config, stores []*Store) []subnet.Lease {
	t.Helper()
	leases := make([]subnet.Lease, len(stores))
	ctx, cancel := context.WithTimeout(t.Context(), 5*patience)
	defer cancel()
	var watches, claims errgroup.Group
	for n, s := range stores {
		if n%10 == 0 {
			watches.Go(func() error {
				_ = s.Watch(ctx, func(subnet.Snapshot) bool { return true })
				return nil
			})
		}
		claims.Go(func() error {
			for {
				var err error
				if leases[n], err = s.Claim(ctx, wantOf(config, n)); err == nil {
					return nil
				}
				if pause(ctx, agentBackoff) != nil {
					return err
				}
			}
		})
	}
	err := claims.Wait()
	cancel()
	_ = watches.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return leases
}

func checkDisjoint(t *testing.T, leases []subnet.Lease) {
	t.Helper()
	for n, l := range leases {
		for _, o := range leases[:n] {
			if l.Subnets.Overlaps(o.Subnets) {
				t.Errorf("%s of %s and %s of %s overlap", l.Subnets, l.Node, o.Subnets, o.Node)
			}
		}
	}
}

// checkStored compares the leases with what is in etcd, key by key.
func checkStored(t *testing.T, client *clientv3.Client, leases []subnet.Lease) {
	t.Helper()
	resp, err := client.Get(t.Context(), prefix+subnetsName, clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	m := newMirror(prefix, 0)
	m.load(resp.Kvs)
	if len(m.leases) != len(leases) || len(m.faults()) != 0 {
		t.Errorf("etcd holds %d leases and %d faults: want %d and none", len(m.leases), len(m.faults()), len(leases))
	}
	for _, l := range leases {
		if m.leases[l.Subnets] != l {
			t.Errorf("%s has %s, and etcd says %s", l.Node, l.Subnets, fmt.Sprint(m.leases[l.Subnets]))
		}
	}
}
