package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/weft-network/weft/bench/peer"
)

const (
	etcdCommand = "etcd"
	endpoint    = "http://127.0.0.1:2379"
	prefix      = "/coreos.com/network"
	day         = 24 * 60 * 60
)

// cluster is etcd in a process of its own, and what is stored there.
type cluster struct {
	client  *clientv3.Client
	process *exec.Cmd
	lease   clientv3.LeaseID
}

// newCluster starts an empty etcd in dir and puts the leases of the first peers into it.
func newCluster(ctx context.Context, dir string, peers int) (*cluster, error) {
	log, err := os.Create(dir + ".log")
	if err != nil {
		return nil, err
	}
	defer log.Close()
	c := &cluster{process: exec.Command("/proc/self/exe", etcdCommand, dir)}
	c.process.Stderr = log
	c.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.process.Start(); err != nil {
		return nil, fmt.Errorf("start etcd: %w", err)
	}
	c.client, err = clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop()})
	if err != nil {
		return nil, errors.Join(err, c.stop())
	}
	if err := c.fill(ctx, peers); err != nil {
		return nil, errors.Join(fmt.Errorf("fill etcd: %w", err), c.stop())
	}
	return c, nil
}

func (c *cluster) fill(ctx context.Context, peers int) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	lease, err := c.client.Grant(ctx, day)
	if err != nil {
		return err
	}
	c.lease = lease.ID
	if _, err := c.client.Put(ctx, prefix+"/config", peer.Config); err != nil {
		return err
	}
	const batch = 100 // etcd takes 128 operations in one transaction
	for from := 0; from < peers; from += batch {
		var puts []clientv3.Op
		for i := from; i < min(from+batch, peers); i++ {
			puts = append(puts, clientv3.OpPut(peer.Key(prefix, i), peer.Value(i), clientv3.WithLease(c.lease)))
		}
		if _, err := c.client.Txn(ctx).Then(puts...).Commit(); err != nil {
			return err
		}
	}
	return nil
}

// put stores the lease of peer i.
func (c *cluster) put(ctx context.Context, i int) error {
	_, err := c.client.Put(ctx, peer.Key(prefix, i), peer.Value(i), clientv3.WithLease(c.lease))
	return err
}

// remove takes it away.
func (c *cluster) remove(ctx context.Context, i int) error {
	_, err := c.client.Delete(ctx, peer.Key(prefix, i))
	return err
}

// stop ends etcd.
func (c *cluster) stop() error {
	var err error
	if c.client != nil {
		err = c.client.Close()
	}
	err = errors.Join(err, c.process.Process.Kill())
	_ = c.process.Wait() // says that it was killed
	return err
}

// serveEtcd is the process of etcd.
func serveEtcd(ctx context.Context, args []string) error {
	config := embed.NewConfig()
	config.Dir = filepath.Clean(args[0])
	config.LogLevel = "error"
	client, _ := url.Parse(endpoint)
	between, _ := url.Parse("http://127.0.0.1:2380")
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{*client}, []url.URL{*client}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{*between}, []url.URL{*between}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	server, err := embed.StartEtcd(config)
	if err != nil {
		return fmt.Errorf("start etcd: %w", err)
	}
	defer server.Close()
	select {
	case err := <-server.Err():
		return err
	case <-ctx.Done():
		return nil
	}
}
