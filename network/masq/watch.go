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
	return watchTables(ctx, about(f, n.names.table(), "filter"))
}

// about calls f for the tables of these names, and for what could be any table.
func about(f func(), names ...string) func(table string) {
	return func(table string) {
		if table == anyTable || slices.Contains(names, table) {
			f()
		}
	}
}

// anyTable stands for tables whose names are not known.
const anyTable = ""

// watchTables calls f once for any table, and then with the name of the table whenever the kernel announces a change in
// one of nftables', those that iptables-nft keeps included.
func watchTables(ctx context.Context, f func(table string)) error {
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
	f(anyTable)
	for {
		messages, err := conn.Receive()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, unix.ENOBUFS): // the kernel could not keep up with telling us
			f(anyTable)
		case err != nil:
			return fmt.Errorf("watch nftables: %w", err)
		}
		last := "no table"
		for _, m := range messages {
			if table, ok := tableOf(m); ok && table != last {
				f(table)
				last = table
			}
		}
	}
}

// tableOf returns the name of the table that m is about. Messages about tables, chains, rules and sets all carry it as
// attribute 1; only the one that ends a transaction is about none.
func tableOf(m netlink.Message) (table string, ok bool) {
	if m.Header.Type>>8 != unix.NFNL_SUBSYS_NFTABLES || m.Header.Type&0xff == unix.NFT_MSG_NEWGEN || len(m.Data) < 4 {
		return "", false
	}
	ad, err := netlink.NewAttributeDecoder(m.Data[4:])
	if err != nil {
		return anyTable, true // not understood: better looked at once too often
	}
	for ad.Next() {
		if ad.Type() == unix.NFTA_TABLE_NAME {
			return ad.String(), true
		}
	}
	return anyTable, true
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
