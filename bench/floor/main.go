// Floor does what cannot be left out when an agent starts: it is a Go process that reads all leases from etcd, or all
// Nodes from an API server, with one request, and writes their entries into the kernel in batches. It computes nothing,
// compares nothing and keeps nothing; what an agent takes is measured against it.
//
// usage: floor http://ETCD PREFIX LINK PEERS
//
//	floor https://API-SERVER FOLDER LINK PEERS
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

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
		return errors.New("usage: floor SERVER PREFIX-OR-FOLDER LINK PEERS")
	}
	link, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	peers, err := strconv.Atoi(args[4])
	if err != nil {
		return err
	}
	if strings.HasPrefix(args[1], "https://") {
		err = readNodes(ctx, args[1], args[2], peers)
	} else {
		err = readLeases(ctx, args[1], args[2], peers)
	}
	if err != nil {
		return err
	}
	conn, err := rtnl.Open(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Write(link, 0, peers)
}

// readLeases reads all leases from etcd.
func readLeases(ctx context.Context, endpoint, prefix string, peers int) error {
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop()})
	if err != nil {
		return err
	}
	defer client.Close()
	answer, err := client.Get(ctx, prefix+"/subnets/", clientv3.WithPrefix())
	if err != nil {
		return err
	}
	if len(answer.Kvs) < peers {
		return fmt.Errorf("%d leases in etcd, want %d", len(answer.Kvs), peers)
	}
	return nil
}
