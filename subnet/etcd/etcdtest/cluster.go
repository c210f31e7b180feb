// Package etcdtest runs real etcd inside a test: members that can be stopped, started again, and robbed of their
// data or their history. It knows how to hurt etcd, and nothing of what is kept in it.
package etcdtest

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"google.golang.org/grpc"
)

// patience is how long anything in a test may take before it counts as broken.
const patience = 30 * time.Second

// Cluster is an etcd cluster in this process. Its methods fail the test when they cannot do what they say.
type Cluster struct {
	t       testing.TB
	options []Option
	members []*member
}

type member struct {
	name   string
	dir    string
	client string // URL
	peer   string
	server *embed.Etcd       // nil while it is stopped
	grpc   chan *grpc.Server // what server serves clients with, as soon as it does
}

// Option changes the config of every member.
type Option func(*embed.Config)

// Start starts n members on ports of the loopback and waits until they have a leader. All ends with the test.
func Start(t testing.TB, n int, options ...Option) *Cluster {
	t.Helper()
	c := &Cluster{t: t, options: options}
	scheme := "http"
	probe := embed.NewConfig()
	for _, o := range options {
		o(probe)
	}
	if !probe.ClientTLSInfo.Empty() {
		scheme = "https"
	}
	ports := freePorts(t, 2*n)
	dir := t.TempDir()
	for i := range n {
		name := fmt.Sprintf("m%d", i)
		c.members = append(c.members, &member{
			name: name, dir: filepath.Join(dir, name),
			client: fmt.Sprintf("%s://127.0.0.1:%d", scheme, ports[2*i]),
			peer:   fmt.Sprintf("http://127.0.0.1:%d", ports[2*i+1]),
		})
	}
	t.Cleanup(func() {
		for i := range c.members {
			c.Stop(i)
		}
	})
	c.StartAll()
	return c
}

// freePorts returns TCP ports that nobody listens on.
func freePorts(t testing.TB, n int) []int {
	t.Helper()
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// Endpoints are the URLs of all members.
func (c *Cluster) Endpoints() []string {
	var out []string
	for _, m := range c.members {
		out = append(out, m.client)
	}
	return out
}

// Client returns a client of all members, which is closed with the test. options change its config.
func (c *Cluster) Client(t testing.TB, options ...func(*clientv3.Config)) *clientv3.Client {
	t.Helper()
	cfg := clientv3.Config{Endpoints: c.Endpoints(), Logger: zap.NewNop(), DialTimeout: patience}
	for _, o := range options {
		o(&cfg)
	}
	client, err := clientv3.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// Stop stops member i at once, without a word to anybody, as when it is killed. It keeps its data. To stop a stopped
// one does nothing.
func (c *Cluster) Stop(i int) {
	if m := c.members[i]; m.server != nil {
		select {
		case g := <-m.grpc:
			g.Stop() // Close alone waits for the watches to end, which they do not
		default:
		}
		m.server.Close()
		m.server = nil
	}
}

// StopAll stops all members at the same time.
func (c *Cluster) StopAll() {
	var wg sync.WaitGroup
	for i := range c.members {
		wg.Go(func() { c.Stop(i) })
	}
	wg.Wait()
}

// Restart starts member i again, and waits until it is part of the cluster, if there is one. To start a running one
// does nothing.
func (c *Cluster) Restart(i int) {
	c.t.Helper()
	c.launch(c.members[i])
	c.ready(c.members[i])
}

// StartAll starts all members that are stopped, and waits for them.
func (c *Cluster) StartAll() {
	c.t.Helper()
	var wg sync.WaitGroup
	for _, m := range c.members {
		wg.Go(func() { c.launch(m) })
	}
	wg.Wait()
	for _, m := range c.members {
		c.ready(m)
	}
}

func (c *Cluster) launch(m *member) {
	if m.server != nil {
		return
	}
	server, err := embed.StartEtcd(c.config(m))
	if err != nil {
		c.t.Errorf("start etcd member %s: %v", m.name, err)
		return
	}
	m.server = server
}

func (c *Cluster) ready(m *member) {
	c.t.Helper()
	if m.server == nil {
		c.t.FailNow()
	}
	select {
	case g := <-m.grpc:
		m.grpc <- g
	case err := <-m.server.Err():
		c.t.Fatalf("etcd member %s: %v", m.name, err)
	case <-time.After(patience):
		c.t.Fatalf("etcd member %s is not ready", m.name)
	}
}

func (c *Cluster) config(m *member) *embed.Config {
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir = m.name, m.dir
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	cfg.UnsafeNoFsync = true
	cfg.TickMs, cfg.ElectionMs = 20, 200
	cfg.BcryptCost = 4
	var cluster []string
	for _, o := range c.members {
		cluster = append(cluster, o.name+"="+o.peer)
	}
	cfg.InitialCluster = strings.Join(cluster, ",")
	for _, o := range c.options {
		o(cfg)
	}
	m.grpc = make(chan *grpc.Server, 1)
	cfg.ServiceRegister = func(s *grpc.Server) {
		select {
		case m.grpc <- s:
		default: // one of two, for the same connections
		}
	}
	client, peer := []url.URL{parse(m.client)}, []url.URL{parse(m.peer)}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = client, client
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = peer, peer
	return cfg
}

func parse(text string) url.URL {
	u, err := url.Parse(text)
	if err != nil {
		panic(err) // made a few lines above
	}
	return *u
}

// Wipe stops all members, takes their data away and starts them: another cluster at the same address.
func (c *Cluster) Wipe() {
	c.t.Helper()
	c.StopAll()
	for _, m := range c.members {
		if err := os.RemoveAll(m.dir); err != nil {
			c.t.Fatal(err)
		}
	}
	c.StartAll()
}

// Compact drops the history of all changes so far.
func (c *Cluster) Compact() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	client := c.Client(c.t)
	resp, err := client.Get(ctx, "any")
	if err == nil {
		_, err = client.Compact(ctx, resp.Header.Revision, clientv3.WithCompactPhysical())
	}
	if err != nil {
		c.t.Fatalf("compact etcd: %v", err)
	}
}
