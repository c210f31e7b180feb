package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/weft-network/weft/network"
)

// Where weftd keeps what others look for, on every node.
const (
	subnetFile = "/run/flannel/subnet.env"
	socketFile = "/run/weft/weftd.sock"
)

// Node is a virtual machine with a weftd and pods.
type Node struct {
	*Host
	Pods []*Pod
	Rack int

	lab    *Lab
	number int
	made   int // pods made so far; their names count on
	weftd  *process
}

// newNode makes the machine; weftd does not run yet.
func newNode(l *Lab, number int) (*Node, error) {
	rack := number % l.opts.Racks
	h, err := l.underlay.addHost("node"+strconv.Itoa(number+1), rack, nodeNumber+number)
	if err != nil {
		return nil, err
	}
	n := &Node{Host: h, Rack: rack, lab: l, number: number}
	return n, n.dropForwarded()
}

// Start starts weftd. flags come after the lab's own.
func (n *Node) Start(flags ...string) error { return n.start(binDir, flags) }

// StartUpgrade starts the other build of weftd, as after an upgrade of the package.
func (n *Node) StartUpgrade(flags ...string) error { return n.start(upgradeDir, flags) }

func (n *Node) start(dir string, flags []string) error {
	if n.Running() {
		return fmt.Errorf("weftd runs on %s already", n.Name)
	}
	args := slices.Concat([]string{
		"--etcd-endpoints=" + strings.Join(n.lab.Etcd.Endpoints(), ","),
		"--node-name=" + n.Name,
		"--ip-masq",
		"--subnet-file=" + subnetFile,
		"--socket=" + socketFile,
		"--log-level=debug",
	}, n.lab.opts.Flags, flags)
	var err error
	n.weftd, err = start(n.Host, "weftd on "+n.Name, n.Log(), filepath.Join(dir, "weftd"), args...)
	return err
}

// Log is the file with the output of weftd on the node.
func (n *Node) Log() string { return n.lab.logFile(n.Name) }

// Running tells whether weftd runs.
func (n *Node) Running() bool { return n.weftd.running() }

// Kill ends weftd with SIGKILL, as the kernel does when memory is short.
func (n *Node) Kill() error { return n.weftd.stop(syscall.SIGKILL) }

// Stop ends weftd with SIGTERM, as systemd does.
func (n *Node) Stop() error { return n.weftd.stop(syscall.SIGTERM) }

// Pause stops weftd where it is; Resume lets it go on.
func (n *Node) Pause(ctx context.Context) error { return n.weftd.pause(ctx) }

// Resume undoes Pause.
func (n *Node) Resume() error { return n.weftd.resume() }

// Status asks weftd for its status.
func (n *Node) Status(ctx context.Context) (network.Status, error) {
	var s network.Status
	resp, err := n.ask(ctx, "/status")
	if err != nil {
		return s, fmt.Errorf("ask %s for its status: %w", n.Name, err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
		return s, fmt.Errorf("read the status of %s: %w", n.Name, err)
	}
	return s, nil
}

// ask asks weftd at its socket. The caller closes the body of the answer.
func (n *Node) ask(ctx context.Context, path string) (*http.Response, error) {
	dial := func(ctx context.Context, _, _ string) (conn net.Conn, err error) {
		err = n.Do(func() error {
			conn, err = (&net.Dialer{}).DialContext(ctx, "unix", socketFile)
			return err
		})
		return conn, err
	}
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://weftd"+path, nil)
	if err != nil {
		return nil, err
	}
	return client.Do(req)
}

// Ready waits until weftd is ready, its kernel in step, and as many peers served as given.
func (n *Node) Ready(ctx context.Context, peers int) error {
	return await(ctx, n.Name, func() error {
		if err := n.weftd.failure(); err != nil {
			return fmt.Errorf("%w: %w", errGivenUp, err)
		}
		s, err := n.Status(ctx)
		if err != nil {
			return err
		}
		return unready(s, peers)
	})
}

// unready says what keeps a node from being ready with so many peers; nil if it is.
func unready(s network.Status, peers int) error {
	switch {
	case !s.Ready:
		return fmt.Errorf("not ready: %s", strings.Join(append(s.Waiting, s.Store.Error, s.Kernel.Error), "; "))
	case !s.Kernel.InStep || !s.Firewall.InStep:
		return fmt.Errorf("kernel not in step: %s %s", s.Kernel.Error, s.Firewall.Error)
	case len(s.Peers) != peers:
		return fmt.Errorf("knows %d peers of %d", len(s.Peers), peers)
	}
	for _, p := range s.Peers {
		if !p.Programmed {
			return fmt.Errorf("peer %s is not served: %s", strings.Join(p.Subnets, ","), p.Error)
		}
	}
	return nil
}

// close ends weftd and the pods.
func (n *Node) close() error {
	errs := []error{n.weftd.stop(syscall.SIGKILL)}
	for _, p := range n.Pods {
		p.close()
	}
	return errors.Join(errs...)
}
