package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os/signal"
	"syscall"

	"go.etcd.io/etcd/server/v3/embed"
)

// MemberCommand is with what the lab runs weftctl to get a member of etcd: "weftctl lab member CONFIG" hands CONFIG to RunMember.
const MemberCommand = "member"

// memberConfig is what a member of etcd is told on its command line, as JSON.
type memberConfig struct {
	Name    string
	Dir     string // data directory
	Client  string // URL for clients
	Peer    string // URL for other members
	Cluster string // every member as name=URL, separated by commas
}

// RunMember runs a member of etcd until SIGTERM.
func RunMember(config string) error {
	var c memberConfig
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		return fmt.Errorf("read the config of the member: %w", err)
	}
	e, err := c.embed()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	member, err := embed.StartEtcd(e)
	if err != nil {
		return fmt.Errorf("start etcd member %s: %w", c.Name, err)
	}
	defer member.Close()
	select {
	case <-ctx.Done():
		return nil
	case err := <-member.Err():
		return fmt.Errorf("etcd member %s: %w", c.Name, err)
	}
}

// embed returns the config in etcd's own form. Elections are quicker than etcd's defaults: the network is a bridge in memory.
func (c memberConfig) embed() (*embed.Config, error) {
	client, err := url.Parse(c.Client)
	if err != nil {
		return nil, fmt.Errorf("read the client URL of %s: %w", c.Name, err)
	}
	peer, err := url.Parse(c.Peer)
	if err != nil {
		return nil, fmt.Errorf("read the peer URL of %s: %w", c.Name, err)
	}
	e := embed.NewConfig()
	e.Name, e.Dir = c.Name, c.Dir
	e.ListenClientUrls, e.AdvertiseClientUrls = []url.URL{*client}, []url.URL{*client}
	e.ListenPeerUrls, e.AdvertisePeerUrls = []url.URL{*peer}, []url.URL{*peer}
	e.InitialCluster = c.Cluster
	e.TickMs, e.ElectionMs = 50, 500
	e.UnsafeNoFsync = true // the data lies in memory
	e.LogLevel = "warn"
	return e, nil
}
