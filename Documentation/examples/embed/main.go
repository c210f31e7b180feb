// Embed is what a distribution begins with that carries Weft in its own process: a store on Node objects, the backends
// that it wants, one agent, and an end on SIGTERM. It knows how the parts are put together and refuses to know the
// rest of a distribution, which gives the values that are flags here.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/backend/hostgw"
	"github.com/weft-network/weft/backend/vxlan"
	"github.com/weft-network/weft/network"
	"github.com/weft-network/weft/subnet/kube"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "embed:", err)
		os.Exit(1)
	}
}

// run connects this node until ctx ends, which is no error.
func run(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("embed", flag.ContinueOnError)
	node := f.String("node-name", "", "name of this node's Node")
	kubeconfig := f.String("kubeconfig", "", "credentials for the API, and where it is")
	config := f.String("net-config", "/etc/weft/net-conf.json", "the network config")
	runDir := f.String("run-dir", "/run/flannel", "where subnet.env is written, which the CNI plugin reads")
	stateDir := f.String("state-dir", "/var/lib/weft", "where the peers are kept for a start without the API")
	listen := f.String("listen", "127.0.0.1:10274", "where /status, /healthz, /readyz and /metrics are served")
	if err := f.Parse(args); err != nil {
		return err
	}
	log := logrus.New() // to standard error
	store, err := kube.New(kube.Options{Node: *node, Kubeconfig: *kubeconfig, ConfigPath: *config, KeepCondition: true, Logger: log})
	if err != nil {
		return err
	}
	defer store.Close()
	agent, err := network.New(network.Options{
		Node: *node, Store: store, StoreKind: "kubernetes", Backend: backends, Masquerade: true, Forward: true,
		SubnetFile: filepath.Join(*runDir, "subnet.env"), StateFile: filepath.Join(*stateDir, "leases.json"),
		Version: "example", Log: log, Ready: func() { log.Info("pods may come") },
	})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: agent.Handler(), ReadHeaderTimeout: 5 * time.Second}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return agent.Run(gctx) })
	g.Go(func() error { return server.Serve(listener) })
	g.Go(func() error {
		<-gctx.Done()
		return server.Close()
	})
	err = g.Wait()
	if ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, http.ErrServerClosed)) {
		return nil // the kernel stays as it is, and pods go on talking
	}
	return err
}

// backends makes those backends that this distribution has. Others cannot be chosen in net-conf.json, and their code is
// not in the program.
func backends(kind, config string) (backend.Backend, []string, error) {
	switch kind {
	case vxlan.Kind:
		return vxlan.New(config)
	case hostgw.Kind:
		return hostgw.New(config)
	}
	return nil, nil, fmt.Errorf("Backend.Type: there is no %q here, but %s and %s", kind, vxlan.Kind, hostgw.Kind)
}
