package main

import (
	"context"
	"net/netip"
	"path/filepath"

	"github.com/weft-network/weft/bench/peer"
)

// source is where the programs that are measured read of their peers.
type source struct {
	label string                      // in front of rows of the tables
	read  string                      // what the floor reads with one request
	floor []string                    // where, for the floor
	weftd []string                    // and for weftd
	fresh func(context.Context) error // makes the node one that has never been there
}

// fromEtcd is the etcd of the other measurements.
func fromEtcd() source {
	return source{read: "one range read", floor: []string{endpoint, prefix},
		weftd: []string{"--etcd-endpoints", endpoint, "--etcd-prefix", prefix, "--iface", uplink},
		fresh: func(context.Context) error { return nil }}
}

// nodeName is that of the node that is measured.
const nodeName = "bench"

// ownPods is what the node that is measured has its pods in, on Kubernetes.
var ownPods = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 128, 0, 0}), 24)

// onNodes tells whether it is an API server.
func (s source) onNodes() bool { return s.label != "" }

// source is the API server as a source. Its node has been made before, by a kubelet.
func (n *nodes) source() source {
	return source{label: "Kubernetes: ", read: "one list of all Nodes, not looked at", floor: []string{"https://" + kubeAPI, n.dir},
		weftd: []string{"--kube-subnet-mgr", "--kubeconfig-file", n.file("weft.kubeconfig"), "--net-config-path", n.file("net-conf.json")},
		fresh: func(ctx context.Context) error {
			if err := n.remove(ctx, nodeName); err != nil {
				return err
			}
			return n.do(ctx, "POST", "/api/v1/nodes", peer.BareNode(nodeName, ownPods, netip.AddrFrom4(address)))
		}}
}

func (n *nodes) file(name string) string { return filepath.Join(n.dir, name) }
