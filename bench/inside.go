package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/bench/rtnl"
)

const (
	uplink     = "eth0"
	device     = "flannel.1"
	reportFile = "report.md"
)

// address is that of the node that is measured.
var address = [4]byte{192, 168, 0, 1}

// bench is what all measurements share.
type bench struct {
	options
	cluster *cluster
	source  source
	conn    *rtnl.Conn
	watch   *rtnl.Watch
	report  *report
	peers   int             // of the cluster that is there now
	bare    []time.Duration // bare writes of all entries of so many peers
}

// measureAll measures inside of the namespaces.
func measureAll(ctx context.Context, o options, out io.Writer) (err error) {
	if err := isolate(o.dir); err != nil {
		return err
	}
	b := &bench{options: o, report: newReport(out, o.peers)}
	if b.conn, err = rtnl.Open(unix.NETLINK_ROUTE); err != nil {
		return err
	}
	defer b.conn.Close()
	if err := b.conn.AddVeth(uplink, "switch0", address, 16); err != nil {
		return err
	}
	for _, peers := range o.sizes() {
		if err := b.measure(ctx, peers); err != nil {
			return fmt.Errorf("%d peers: %w", peers, err)
		}
	}
	if o.wants("kubernetes") {
		if err := b.kubernetes(ctx); err != nil {
			return fmt.Errorf("kubernetes: %w", err)
		}
	}
	if o.wants("claims") {
		if err := b.claims(ctx, 1000); err != nil {
			return fmt.Errorf("claims: %w", err)
		}
	}
	if o.wants("attach") {
		if err := b.attach(ctx); err != nil {
			return fmt.Errorf("pod attach: %w", err)
		}
	}
	if o.wants("backends") {
		if err := b.backends(ctx); err != nil {
			return fmt.Errorf("backends: %w", err)
		}
	}
	return b.report.write(filepath.Join(o.dir, reportFile))
}

// isolate makes the mounts and the processes of the namespace its own.
func isolate(dir string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	data := filepath.Join(dir, "data")
	if err := os.MkdirAll(data, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", data, "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("mount a file system in memory for etcd: %w", err)
	}
	return nil
}

// measure takes everything that depends on the number of peers.
func (b *bench) measure(ctx context.Context, peers int) (err error) {
	b.peers, b.bare, b.source = peers, nil, fromEtcd()
	if b.cluster, err = newCluster(ctx, filepath.Join(b.dir, "data", fmt.Sprint("etcd", peers)), peers); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.cluster.stop()) }()
	if b.watch, err = rtnl.NewWatch(device); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.watch.Close()) }()

	a, err := b.starts(ctx)
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	steps := []struct {
		part string
		do   func(context.Context, *agent) error
	}{
		{"idle", b.idle}, {"latency", b.latency}, {"repair", b.repair}, {"churn", b.churn},
	}
	for _, s := range steps {
		if err := ctx.Err(); err != nil {
			return errors.Join(err, a.kill())
		}
		if !b.wants(s.part) {
			continue
		}
		if err := s.do(ctx, a); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", s.part, err), a.kill())
		}
	}
	return errors.Join(a.kill(), b.clean())
}

// clean takes away what a program left in the kernel.
func (b *bench) clean() error {
	err := errors.Join(b.conn.RemoveLink(device), nft("flush ruleset"))
	if err == nil {
		err = b.watch.Quiet(20 * time.Millisecond)
	}
	if err == nil {
		err = b.watch.List()
	}
	return err
}

// quantile returns the value below which the share q of all values lies.
func quantile(values []time.Duration, q float64) time.Duration {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func median(values []time.Duration) time.Duration { return quantile(values, 0.5) }
