package main

import (
	"context"
	"encoding/json"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/weft-network/weft/lab"
)

// The plugin works where it is mostly used: first in a list with portmap and bandwidth, called by the library of the
// CNI as container runtimes do.
func TestChainWithPortmapAndBandwidth(t *testing.T) {
	h := newHost(t, envBoth)
	p := newPod(t, "one")
	h.config["delegate"] = map[string]any{"isDefaultGateway": true}
	plugins := []any{h.config,
		map[string]any{"type": "portmap", "capabilities": map[string]bool{"portMappings": true}},
		map[string]any{"type": "bandwidth", "capabilities": map[string]bool{"bandwidth": true}},
	}
	text, err := json.Marshal(map[string]any{"cniVersion": "1.1.0", "name": "cbr0", "plugins": plugins})
	if err != nil {
		t.Fatal(err)
	}
	list, err := libcni.ConfListFromBytes(text)
	if err != nil {
		t.Fatal(err)
	}
	library := libcni.NewCNIConfigWithCacheDir([]string{h.path}, h.file("cache"), nil)
	pod := &libcni.RuntimeConf{
		ContainerID: p.id, NetNS: p.ns.Path(), IfName: p.ifName,
		CapabilityArgs: map[string]any{
			"portMappings": []map[string]any{{"hostPort": 8053, "containerPort": 53, "protocol": "udp"}},
			"bandwidth":    map[string]any{"ingressRate": 1e9, "ingressBurst": 1e9, "egressRate": 1e9, "egressBurst": 1e9},
		},
	}
	ctx := context.Background()
	must := func(what string, f func() error) {
		t.Helper()
		var err error
		h.ns.Do(t, func() { err = f() })
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	add := func() (result types.Result, err error) {
		err = lab.Attach(func() (err error) {
			result, err = library.AddNetworkList(ctx, list, pod)
			return err
		}, func() error { return library.DelNetworkList(ctx, list, pod) })
		return result, err
	}
	for range 2 { // all can be done again after DEL
		must("STATUS", func() error { return library.GetStatusNetworkList(ctx, list) })
		must("ADD", func() error {
			result, err := add()
			if err == nil && len(result.(*types100.Result).IPs) != 2 {
				t.Errorf("addresses %v, want two", result)
			}
			return err
		})
		must("CHECK", func() error { return library.CheckNetworkList(ctx, list, pod) })
		must("GC", func() error {
			return library.GCNetworkList(ctx, list, &libcni.GCArgs{ValidAttachments: []types.GCAttachment{{ContainerID: p.id, IfName: p.ifName}}})
		})
		must("CHECK after GC", func() error { return library.CheckNetworkList(ctx, list, pod) })

		inside := netip.MustParseAddr(strings.TrimSuffix(addrs(t, p.ns, "eth0")[0], "/24"))
		p.ns.Echo(t, netip.AddrPortFrom(inside, 53))
		if err := h.ns.Ping(t, netip.MustParseAddrPort("10.5.72.1:8053"), 100, 5*time.Second); err != nil {
			t.Errorf("from the node's port to the pod's: %v", err)
		}

		must("DEL", func() error { return library.DelNetworkList(ctx, list, pod) })
		if left := append(h.reserved(t), append(h.records(t), addrs(t, p.ns, "eth0")...)...); len(left) > 0 {
			t.Errorf("DEL left %q", left)
		}
		h.ns.Do(t, func() {
			devices, err := net.Interfaces()
			if err != nil || len(devices) != 2 {
				t.Errorf("error %v, devices %v, want lo and cni0 alone", err, devices)
			}
		})
	}

	// What the runtime has forgotten goes at GC.
	must("ADD", func() error { _, err := add(); return err })
	must("GC of all", func() error {
		return library.GCNetworkList(ctx, list, &libcni.GCArgs{ValidAttachments: []types.GCAttachment{}})
	})
	if left := append(h.reserved(t), h.records(t)...); len(left) > 0 {
		t.Errorf("GC left %q", left)
	}
}
