package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weft-network/weft/bench/peer"
	"github.com/weft-network/weft/subnet"
	"github.com/weft-network/weft/subnet/etcd"
)

// claims lets many nodes ask for a subnet at the same moment, each by a store and a connection of its own.
func (b *bench) claims(ctx context.Context, nodes int) (err error) {
	c, err := newCluster(ctx, filepath.Join(b.dir, "data", "claims"), 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	config, _, err := subnet.Parse(peer.Config)
	if err != nil {
		return err
	}
	stores := make([]*etcd.Store, nodes)
	for i := range stores {
		if stores[i], err = etcd.New(etcd.Options{Endpoints: []string{endpoint}, Prefix: prefix}); err != nil {
			return err
		}
	}
	leases := make([]subnet.Lease, nodes)
	var g errgroup.Group
	began := time.Now()
	for i := range nodes {
		g.Go(func() (err error) {
			a := subnet.Attrs{Node: fmt.Sprint("node-", i), Backend: "vxlan"}
			a.PublicIP[subnet.Inet] = netip.AddrFrom4(peer.Public(i))
			a.Data[subnet.Inet] = `{"VNI":1,"VtepMAC":"0e:00:00:00:00:01"}`
			leases[i], err = stores[i].Claim(ctx, subnet.Want{Config: config, Attrs: a})
			return err
		})
	}
	err = g.Wait()
	took := time.Since(began)
	for _, s := range stores {
		err = errors.Join(err, s.Close())
	}
	if err != nil {
		return err
	}
	different := map[netip.Prefix]bool{}
	for _, l := range leases {
		different[l.Subnets[subnet.Inet]] = true
	}
	text := fmt.Sprintf("%s, %d different subnets", ms(took), len(different))
	b.report.addGoal(all, "h", fmt.Sprintf("%s claims at the same time", thousands(nodes)), text, "no two the same", len(different) == nodes)
	return nil
}
