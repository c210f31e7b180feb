package lab

import (
	"context"
	"testing"

	"github.com/weft-network/weft/subnet"
)

func TestUnderlay(t *testing.T) {
	t.Parallel()
	opts := Options{Families: subnet.Families[:], Racks: 2, MTU: 1400}.complete()
	u, err := newUnderlay(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.close)
	a := addTestHost(t, u, "a", 0, 10)
	b := addTestHost(t, u, "b", 0, 11)
	c := addTestHost(t, u, "c", 1, 12)
	for i, f := range opts.Families {
		for _, to := range []*Host{b, c} {
			if _, err := a.Ping(context.Background(), to.Addrs[i], 1400); err != nil {
				t.Errorf("%s: ping %s from a: %v", f, to.Name, err)
			}
			if _, err := a.Ping(context.Background(), to.Addrs[i], 1401); err == nil {
				t.Errorf("%s: a packet of 1401 bytes went through an underlay with an MTU of 1400", f)
			}
		}
		if _, err := c.Ping(context.Background(), outsideAddrs[f], 0); err != nil {
			t.Errorf("%s: ping the world from c: %v", f, err)
		}
	}
}

func addTestHost(t *testing.T, u *underlay, name string, rack, number int) *Host {
	t.Helper()
	h, err := u.addHost(name, rack, number)
	if err != nil {
		t.Fatal(err)
	}
	return h
}
