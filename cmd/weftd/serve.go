package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"

	"github.com/weft-network/weft/cmd/internal/wire"
	"github.com/weft-network/weft/network"
	"github.com/weft-network/weft/network/install"
	"github.com/weft-network/weft/subnet/etcd"
	"github.com/weft-network/weft/subnet/kube"
)

// serve puts the parts together and runs them until ctx ends.
func serve(ctx context.Context, o options, log logrus.FieldLogger) error {
	collectLate()
	ready := make(chan struct{})
	stores := o.stores(log)
	node, err := nodeName(ctx, o, stores, log)
	if err != nil {
		return err
	}
	stores.Kube.Node = node
	all := network.Options{
		Node: node, Beside: &network.Beside{}, Backend: wire.Backend,
		Firewall: o.firewall, FirewallResync: time.Duration(o.resync) * time.Second,
		Masquerade: o.ipMasq, RandomFully: !o.noRandomFully, Forward: o.forwardRules, Blackhole: o.blackhole,
		SysctlDir: o.sysctlDir, RenewMargin: time.Duration(o.renewMargin) * time.Minute, Version: version,
	}
	first := all
	first.Install, first.Ready = o.installer(log), func() { tellSystemd(log); close(ready) }
	agent, store, err := o.first().agent(o, first, stores, log)
	if err != nil {
		return err
	}
	defer store.Close()
	var others []*network.Agent
	for _, m := range o.members {
		a, store, err := m.agent(o, all, stores, log)
		if err != nil {
			return err
		}
		defer store.Close()
		others = append(others, a)
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, a := range append(others, agent) {
		g.Go(func() error { return a.Run(ctx) })
	}
	g.Go(func() error { return settleLater(ctx, ready) })
	for _, l := range listeners(o, log) {
		h := network.Handler(agent, others...)
		if l.Addr().Network() == "unix" {
			h = network.Control(agent, others...)
		}
		g.Go(func() error { return answer(ctx, l, h) })
	}
	return g.Wait()
}

// stores is what the flags say of the store.
func (o options) stores(log logrus.FieldLogger) wire.Stores {
	return wire.Stores{
		Kubernetes: o.kube,
		Kube: kube.Options{Endpoints: strings.Split(o.kubeAPI, ","), Kubeconfig: o.kubeConfig, Prefix: o.kubePrefix,
			ConfigPath: o.confPath, KeepCondition: o.keepCondition, Logger: log},
		Etcd: etcd.Options{Endpoints: strings.Split(o.etcdEndpoints, ","), Prefix: o.etcdPrefix,
			CAFile: o.etcdCA, CertFile: o.etcdCert, KeyFile: o.etcdKey, Username: o.etcdUser, Password: o.etcdPassword, Logger: log},
	}
}

// installer is what the flags say of installing; nil where nothing is installed.
func (o options) installer(log logrus.FieldLogger) *install.Installer {
	if !o.cniInstall {
		return nil
	}
	o.cni.Log = log
	return install.New(o.cni)
}

// stateFile is where the last good snapshot is kept; "" where none is.
func stateFile(dir string) string {
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, "leases.json")
}

// keyFile is where the node's private key for WireGuard is kept.
func keyFile(dir string) string {
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, "wireguard.key")
}

// listeners opens the socket and the port. One that cannot be opened is a warning: pods need neither.
func listeners(o options, log logrus.FieldLogger) []net.Listener {
	var list []net.Listener
	add := func(what string, l net.Listener, err error) {
		if err != nil {
			log.WithError(err).Warnf("cannot serve status and metrics at %s", what)
			return
		}
		list = append(list, l)
	}
	if o.socket != "" {
		l, err := listenUnix(o.socket)
		add(o.socket, l, err)
	}
	if o.healthzPort != 0 {
		at := net.JoinHostPort(o.healthzIP, strconv.Itoa(o.healthzPort))
		l, err := net.Listen("tcp", at)
		add(at, l, err)
	}
	return list
}

// listenUnix listens on a socket that only root may use. A socket of an agent that is gone is replaced; one that answers
// is an error.
func listenUnix(path string) (net.Listener, error) {
	if c, err := net.Dial("unix", path); err == nil {
		c.Close()
		return nil, fmt.Errorf("another weftd answers at %s", path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// answer serves HTTP until ctx ends.
func answer(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving status at %s: %w", l.Addr(), err)
	}
	return ctx.Err()
}

// tellSystemd says that the node is ready for pods; without systemd it does nothing.
func tellSystemd(log logrus.FieldLogger) {
	log.Info("node is ready for pods")
	if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
		log.WithError(err).Warn("telling systemd that the node is ready failed")
	}
}

// newLog makes the logger that the flags ask for.
func newLog(o options, w io.Writer) (*logrus.Logger, error) {
	log := logrus.New()
	log.SetOutput(w)
	if o.logFormat == "json" {
		log.SetFormatter(&logrus.JSONFormatter{})
	} else {
		log.SetFormatter(&logrus.TextFormatter{FullTimestamp: true})
	}
	level := o.logLevel
	if o.verbosity > 0 {
		level = "debug"
	}
	l, err := logrus.ParseLevel(level)
	if err != nil {
		return nil, fmt.Errorf("--log-level: %w", err)
	}
	log.SetLevel(l)
	return log, nil
}
