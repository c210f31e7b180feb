package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/weft-network/weft/subnet"
)

// Prefix is where the lab's cluster keeps its keys in etcd: flannel's default.
const Prefix = "/coreos.com/network"

// Etcd is the lab's etcd cluster. Each member is a process on a host of its own in the first rack.
type Etcd struct {
	Client  *clientv3.Client // connected from the router; of all members
	members []*member
}

type member struct {
	*Host
	config  memberConfig
	log     string
	process *process
}

// newEtcd makes the hosts and starts the members. It does not wait for them.
func newEtcd(l *Lab) (*Etcd, error) {
	e := &Etcd{}
	var cluster, endpoints []string
	for i := range l.opts.Members {
		name := "etcd" + strconv.Itoa(i+1)
		h, err := l.underlay.addHost(name, 0, memberNumber+i)
		if err != nil {
			return e, err
		}
		m := &member{Host: h, log: l.logFile(name), config: memberConfig{
			Name: name, Dir: filepath.Join(l.dir, name),
			Client: "http://" + net.JoinHostPort(h.Addrs[0].String(), "2379"),
			Peer:   "http://" + net.JoinHostPort(h.Addrs[0].String(), "2380"),
		}}
		e.members = append(e.members, m)
		cluster = append(cluster, name+"="+m.config.Peer)
		endpoints = append(endpoints, m.config.Client)
	}
	for _, m := range e.members {
		m.config.Cluster = strings.Join(cluster, ",")
	}
	var err error
	if e.Client, err = l.etcdClient(endpoints); err != nil {
		return e, err
	}
	return e, e.startAll()
}

// etcdClient returns a client whose connections start at the router.
func (l *Lab) etcdClient(endpoints []string) (*clientv3.Client, error) {
	dial := func(ctx context.Context, address string) (conn net.Conn, err error) {
		err = l.underlay.router.Do(func() error {
			conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", strings.TrimPrefix(address, "http://"))
			return err
		})
		return conn, err
	}
	c, err := clientv3.New(clientv3.Config{
		Endpoints:   endpoints,
		DialOptions: []grpc.DialOption{grpc.WithContextDialer(dial)},
		Logger:      zap.NewNop(),
	})
	if err != nil {
		return nil, fmt.Errorf("make the etcd client: %w", err)
	}
	return c, nil
}

// Endpoints are the URLs of all members.
func (e *Etcd) Endpoints() []string { return e.Client.Endpoints() }

// Members are the names of all members.
func (e *Etcd) Members() []string {
	var names []string
	for _, m := range e.members {
		names = append(names, m.Name)
	}
	return names
}

// Start starts the members that are not running and waits until the cluster answers.
func (e *Etcd) Start(ctx context.Context) error {
	if err := e.startAll(); err != nil {
		return err
	}
	return e.Ready(ctx)
}

func (e *Etcd) startAll() error {
	for _, m := range e.members {
		if err := m.start(); err != nil {
			return err
		}
	}
	return nil
}

func (m *member) start() error {
	if m.process.running() {
		return nil
	}
	text, err := json.Marshal(m.config)
	if err != nil {
		return fmt.Errorf("write the config of %s: %w", m.Name, err)
	}
	m.process, err = start(m.Host, m.Name, m.log, filepath.Join(binDir, "weftctl"), "lab", MemberCommand, string(text))
	return err
}

// Stop kills the members with SIGKILL.
func (e *Etcd) Stop() error {
	return all(e.members, func(m *member) error { return m.process.stop(syscall.SIGKILL) })
}

// StopMember kills one member with SIGKILL.
func (e *Etcd) StopMember(name string) error {
	for _, m := range e.members {
		if m.Name == name {
			return m.process.stop(syscall.SIGKILL)
		}
	}
	return fmt.Errorf("etcd has no member %q: %s", name, strings.Join(e.Members(), ", "))
}

// Pause stops the members where they are, as a machine that is busy beyond use does; Resume lets them go on.
func (e *Etcd) Pause(ctx context.Context) error {
	return all(e.members, func(m *member) error { return m.process.pause(ctx) })
}

// Resume undoes Pause.
func (e *Etcd) Resume() error {
	return all(e.members, func(m *member) error { return m.process.resume() })
}

// Ready waits until the cluster answers a read that needs a leader.
func (e *Etcd) Ready(ctx context.Context) error {
	return await(ctx, "etcd", func() error {
		for _, m := range e.members {
			if !m.process.running() {
				return fmt.Errorf("%w: %w", errGivenUp, m.process.failure())
			}
		}
		return e.Answers(ctx)
	})
}

// Answers returns nil when the cluster answers a read within a second.
func (e *Etcd) Answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err := e.Client.Get(ctx, Prefix+"/config")
	return err
}

// Leader returns the name of the member that leads.
func (e *Etcd) Leader(ctx context.Context) (string, error) {
	for _, m := range e.members {
		if m.leads(ctx, e.Client) {
			return m.Name, nil
		}
	}
	return "", errors.New("no member of etcd says that it leads")
}

// leads asks the member itself, for a second.
func (m *member) leads(ctx context.Context, c *clientv3.Client) bool {
	if !m.process.running() {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	s, err := c.Status(ctx, m.config.Client)
	return err == nil && s.Leader == s.Header.MemberId
}

// PutConfig stores the network config.
func (e *Etcd) PutConfig(ctx context.Context, text string) error {
	if _, err := e.Client.Put(ctx, Prefix+"/config", text); err != nil {
		return fmt.Errorf("store the network config: %w", err)
	}
	return nil
}

// Compact forgets all history up to now.
func (e *Etcd) Compact(ctx context.Context) error {
	got, err := e.Client.Get(ctx, Prefix+"/config")
	if err != nil {
		return fmt.Errorf("read the revision of etcd: %w", err)
	}
	if _, err := e.Client.Compact(ctx, got.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		return fmt.Errorf("compact etcd: %w", err)
	}
	return nil
}

// Wipe replaces the cluster by an empty one at the same addresses, with the given network config.
func (e *Etcd) Wipe(ctx context.Context, config string) error {
	if err := e.Stop(); err != nil {
		return err
	}
	for _, m := range e.members {
		if err := os.RemoveAll(m.config.Dir); err != nil {
			return fmt.Errorf("remove the data of %s: %w", m.Name, err)
		}
	}
	if err := e.Start(ctx); err != nil {
		return err
	}
	return e.PutConfig(ctx, config)
}

// Entry is one key of etcd.
type Entry struct {
	Key, Value string
	Lease      clientv3.LeaseID // 0 where there is none
}

// Subnets returns the keys of all subnets.
func (e *Etcd) Subnets(ctx context.Context) ([]Entry, error) {
	got, err := e.Client.Get(ctx, Prefix+"/subnets/", clientv3.WithPrefix())
	if err != nil {
		return nil, fmt.Errorf("read the subnets in etcd: %w", err)
	}
	var entries []Entry
	for _, kv := range got.Kvs {
		entries = append(entries, Entry{string(kv.Key), string(kv.Value), clientv3.LeaseID(kv.Lease)})
	}
	return entries, nil
}

// close ends the cluster.
func (e *Etcd) close() error {
	errs := []error{e.Stop()}
	if e.Client != nil {
		errs = append(errs, e.Client.Close())
	}
	return errors.Join(errs...)
}

// subnetKey is the key under which a lease of these subnets is stored.
func subnetKey(s subnet.Subnets) string {
	var parts []string
	for _, p := range s {
		if p.IsValid() {
			parts = append(parts, strings.ReplaceAll(p.String(), "/", "-"))
		}
	}
	return Prefix + "/subnets/" + strings.Join(parts, "&")
}
