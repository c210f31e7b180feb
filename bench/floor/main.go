// Floor does what cannot be left out when an agent starts: it is a Go process that reads all leases from etcd with
// one request and writes their entries into the kernel in batches. It computes nothing, compares nothing and keeps
// nothing; what an agent takes is measured against it.
//
// usage: floor ENDPOINT PREFIX LINK PEERS
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/bench/rtnl"
)

func main() {
	if err := run(context.Background(), os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 5 {
		return fmt.Errorf("usage: floor ENDPOINT PREFIX LINK PEERS")
	}
	link, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	peers, err := strconv.Atoi(args[4])
	if err != nil {
		return err
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{args[1]}, Logger: zap.NewNop()})
	if err != nil {
		return err
	}
	defer client.Close()
	answer, err := client.Get(ctx, args[2]+"/subnets/", clientv3.WithPrefix())
	if err != nil {
		return err
	}
	if len(answer.Kvs) < peers {
		return fmt.Errorf("%d leases in etcd, want %d", len(answer.Kvs), peers)
	}
	conn, err := rtnl.Open(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Write(link, 0, peers)
}
