package masq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Watch implements Firewall. The kernel announces every change of nftables' rules; what concerns tables in which
// nothing of ours is or could be is ignored.
func (n *NFTables) Watch(ctx context.Context, f func()) error {
	return watchTables(ctx, []string{tableName, "filter"}, f)
}

// watchTables calls f at first, and whenever the kernel announces a change in nftables' tables of these names, those that
// iptables-nft keeps included.
func watchTables(ctx context.Context, names []string, f func()) error {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return fmt.Errorf("watch nftables: %w", err)
	}
	defer conn.Close()
	if err := conn.JoinGroup(unix.NFNLGRP_NFTABLES); err != nil {
		return fmt.Errorf("watch nftables: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) }) // wakes Receive
	defer stop()
	f()
	for {
		messages, err := conn.Receive()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, unix.ENOBUFS): // the kernel could not keep up with telling us
			f()
		case err != nil:
			return fmt.Errorf("watch nftables: %w", err)
		case slices.ContainsFunc(messages, func(m netlink.Message) bool { return concerns(m, names) }):
			f()
		}
	}
}

// concerns tells whether m is about one of the tables of these names. Messages about tables, chains, rules and sets
// all carry the table's name as attribute 1.
func concerns(m netlink.Message, names []string) bool {
	if m.Header.Type>>8 != unix.NFNL_SUBSYS_NFTABLES || m.Header.Type&0xff == unix.NFT_MSG_NEWGEN || len(m.Data) < 4 {
		return false
	}
	ad, err := netlink.NewAttributeDecoder(m.Data[4:])
	if err != nil {
		return true // not understood: better looked at once too often
	}
	for ad.Next() {
		if ad.Type() == unix.NFTA_TABLE_NAME {
			return slices.Contains(names, ad.String())
		}
	}
	return ad.Err() != nil
}

// poll calls f at once and then at every interval.
func poll(ctx context.Context, interval time.Duration, f func()) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		f()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
