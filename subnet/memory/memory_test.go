package memory_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-network/weft/subnet"
	"github.com/weft-network/weft/subnet/memory"
	"github.com/weft-network/weft/subnet/storetest"
)

func TestContract(t *testing.T) {
	storetest.Run(t, func(*testing.T) storetest.Cluster { return cluster{memory.New()} })
}

// cluster makes what an operator does to a store out of the methods of memory.Cluster.
type cluster struct{ *memory.Cluster }

var (
	_ storetest.Leasing   = cluster{}
	_ storetest.Garbling  = cluster{}
	_ storetest.Forgetful = cluster{}
)

func (c cluster) Store(string) subnet.Store { return c.Cluster.Store() }

func (c cluster) Break() { c.Cluster.Break(errors.New("connection refused")) }

func (c cluster) PutForeign(l subnet.Lease) { c.Put(l) }

func (c cluster) Reserve(l subnet.Lease) { c.Put(l) }

func (c cluster) PutGarbage(s subnet.Subnets, value string) string {
	return c.Damage(s, errors.New("not a lease: "+value))
}

// config is one that leaves room for many nodes.
func config(t *testing.T) subnet.Config {
	t.Helper()
	c, _, err := subnet.Parse(`{"Network": "10.0.0.0/8"}`)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func attrs(node string, last byte) subnet.Attrs {
	return subnet.Attrs{Node: node, Backend: "vxlan", PublicIP: [2]netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, last})}}
}

func TestWrites(t *testing.T) {
	c := memory.New()
	s := c.Store()
	want := subnet.Want{Config: config(t), Attrs: attrs("node-1", 1)}
	for range 3 {
		if _, err := s.Claim(t.Context(), want); err != nil {
			t.Fatal(err)
		}
	}
	if n := c.Writes(); n != 1 {
		t.Errorf("three equal claims wrote %d times: want 1", n)
	}
	want.Attrs = attrs("node-1", 2)
	l, err := s.Claim(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	if n := c.Writes(); n != 2 {
		t.Errorf("a claim that differs and those before it wrote %d times: want 2", n)
	}
	if got := c.Leases(); !slices.Equal(got, []subnet.Lease{l}) {
		t.Errorf("the cluster holds %v: want %v", got, l)
	}
	c.Revoke("node-2")
	if n := len(c.Leases()); n != 1 {
		t.Errorf("another node was revoked; %d leases are left", n)
	}
	c.Revoke("node-1")
	if n := len(c.Leases()); n != 0 {
		t.Errorf("the node was revoked; %d leases are left", n)
	}
}

func TestBreak(t *testing.T) {
	c := memory.New()
	c.SetConfig("{}")
	s := c.Store()
	if h := s.Health(); h != (subnet.Health{}) {
		t.Errorf("health before anything: %+v", h)
	}
	why := errors.New("cable cut")
	err := s.Watch(t.Context(), func(subnet.Snapshot) bool {
		c.Break(why)
		return true
	})
	if !errors.Is(err, why) || !errors.Is(s.Health().Err, why) {
		t.Errorf("Watch returned %v, health says %v: want %v", err, s.Health().Err, why)
	}
	if _, err := s.Claim(t.Context(), subnet.Want{Config: config(t), Attrs: attrs("node-1", 1)}); !errors.Is(err, why) {
		t.Errorf("Claim returned %v: want %v", err, why)
	}
	if n := s.Health().Errors; n != 2 {
		t.Errorf("%d errors are counted: want 2", n)
	}
	c.Break(nil)
	if _, err := s.Claim(t.Context(), subnet.Want{Config: config(t), Attrs: attrs("node-1", 1)}); err == nil {
		t.Error("Claim succeeded though the cluster is broken")
	}
}

func TestClaimRefuses(t *testing.T) {
	s := memory.New().Store()
	if _, err := s.Claim(t.Context(), subnet.Want{Config: config(t), Attrs: attrs("", 1)}); err == nil {
		t.Error("a node without identity got a lease")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Claim(ctx, subnet.Want{Config: config(t), Attrs: attrs("node-1", 1)}); !errors.Is(err, context.Canceled) {
		t.Errorf("Claim after its context ended returned %v", err)
	}
}

// TestSlowWatch makes more changes during one call of f than are remembered, or than it can be told one by one.
func TestSlowWatch(t *testing.T) {
	for _, changes := range []int{3, 100_000} {
		c := memory.New()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		calls := 0
		err := c.Store().Watch(ctx, func(p subnet.Snapshot) bool {
			calls++
			if calls == 1 {
				for n := range changes {
					a := netip.AddrFrom4([4]byte{10, byte(n >> 8), byte(n), 0})
					c.Put(subnet.Lease{Subnets: subnet.Subnets{netip.PrefixFrom(a, 24)}, Attrs: attrs("", byte(n))})
				}
				return true
			}
			if len(p.Leases) != min(changes, 1<<16) {
				t.Errorf("after %d changes there are %d leases", changes, len(p.Leases))
			}
			if few := changes == 3; few && len(p.Changed) != 3 || !few && p.Changed != nil {
				t.Errorf("after %d changes, %d are named", changes, len(p.Changed))
			}
			cancel()
			return true
		})
		if !errors.Is(err, context.Canceled) || calls != 2 {
			t.Errorf("Watch called f %d times and returned %v", calls, err)
		}
	}
}

// TestDoubt lets the clock run until what was not believed is read again.
func TestDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := memory.New()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var at []time.Time
		err := c.Store().Watch(ctx, func(subnet.Snapshot) bool {
			at = append(at, time.Now())
			if len(at) == 2 {
				cancel()
			}
			return len(at) > 1
		})
		if !errors.Is(err, context.Canceled) || len(at) != 2 || !at[1].After(at[0]) {
			t.Errorf("f was called at %v, Watch returned %v", at, err)
		}
	})
}

// TestForget cuts the history under a Watch that goes on: at the next change it reads everything again.
func TestForget(t *testing.T) {
	c := memory.New()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	calls := 0
	err := c.Store().Watch(ctx, func(p subnet.Snapshot) bool {
		calls++
		switch calls {
		case 1:
			c.SetConfig("{}")
		case 2:
			if p.Changed == nil || len(p.Changed) != 0 {
				t.Errorf("after a change of the config, the leases %v may differ", p.Changed)
			}
			c.Forget()
			c.SetConfig("")
		case 3:
			if p.Changed != nil {
				t.Errorf("after the history was forgotten, only %v may differ", p.Changed)
			}
			cancel()
		}
		return true
	})
	if !errors.Is(err, context.Canceled) || calls != 3 {
		t.Errorf("Watch called f %d times and returned %v", calls, err)
	}
}
