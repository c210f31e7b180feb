package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/weft-network/weft/network/kernel/kerneltest"
)

func TestAttachAndDetach(t *testing.T) {
	tests := []struct {
		name, env        string
		plugin           string
		pod, bridge, ips []string
	}{
		{"IPv4", envInet, "weft", []string{"10.5.72.2/24"}, []string{"10.5.72.1/24"}, []string{"10.5.72.2"}},
		{"IPv6", envInet6, "weft", []string{"fd00:5:0:1::2/64"}, []string{"fd00:5:0:1::1/64"}, []string{"fd00:5:0:1::2"}},
		{"both", envBoth, "weft", []string{"10.5.72.2/24", "fd00:5:0:1::2/64"}, []string{"10.5.72.1/24", "fd00:5:0:1::1/64"}, []string{"10.5.72.2", "fd00:5:0:1::2"}},
		{"type flannel", envBoth, "flannel", []string{"10.5.72.2/24", "fd00:5:0:1::2/64"}, []string{"10.5.72.1/24", "fd00:5:0:1::1/64"}, []string{"10.5.72.2", "fd00:5:0:1::2"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHost(t, tt.env)
			h.config["type"] = tt.plugin
			p := newPod(t, "one")
			result := h.must(t, "ADD", p)
			if diff := cmp.Diff(tt.pod, addrs(t, p.ns, "eth0")); diff != "" {
				t.Errorf("addresses of the pod (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.bridge, addrs(t, h.ns, "cni0")); diff != "" {
				t.Errorf("addresses of the bridge (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.ips, h.reserved(t)); diff != "" {
				t.Errorf("reserved addresses (-want +got):\n%s", diff)
			}

			h.config["prevResult"] = json.RawMessage(result)
			h.must(t, "CHECK", p)
			h.must(t, "STATUS", pod{})
			h.must(t, "DEL", p)
			if left := append(h.reserved(t), append(h.records(t), addrs(t, p.ns, "eth0")...)...); len(left) > 0 {
				t.Errorf("DEL left %q", left)
			}
			h.must(t, "DEL", p)
			if _, err := h.call(t, "CHECK", p); codeOf(err) != types.ErrUnknownContainer {
				t.Errorf("CHECK after DEL: error %v, want code %d", err, types.ErrUnknownContainer)
			}
		})
	}
}

// The result has the version that the config asks for, and the delegate is asked for the same.
func TestResultVersions(t *testing.T) {
	h := newHost(t, envBoth)
	for _, v := range []string{"", "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"} {
		t.Run("version "+v, func(t *testing.T) {
			h.config["cniVersion"] = v
			p := newPod(t, "pod-"+v)
			var got, record struct {
				CNIVersion string   `json:"cniVersion"`
				IPs        []any    `json:"ips"`
				IP4        struct{} `json:"ip4"`
			}
			if err := json.Unmarshal(h.must(t, "ADD", p), &got); err != nil {
				t.Fatal(err)
			}
			kept, err := os.ReadFile(h.file("data/" + p.id))
			if err := errors.Join(err, json.Unmarshal(kept, &record)); err != nil {
				t.Fatal(err)
			}
			want := v
			if v == "" {
				want = "0.1.0"
			}
			if got.CNIVersion != want || record.CNIVersion != want {
				t.Errorf("result has version %q, delegate was asked for %q, want %q", got.CNIVersion, record.CNIVersion, want)
			}
			if inList := len(got.IPs) == 2; inList != (want > "0.2.0") {
				t.Errorf("result has %d addresses in \"ips\", which does not fit its version", len(got.IPs))
			}
			h.must(t, "DEL", p)
		})
	}
}

func TestManyAtOnceGetDistinctAddresses(t *testing.T) {
	const pods = 50
	h := newHost(t, envBoth)
	var all [pods]pod
	for i := range all {
		all[i] = newPod(t, fmt.Sprint("pod", i))
	}
	var group errgroup.Group
	for _, p := range all {
		group.Go(func() error { _, err := h.call(t, "ADD", p); return err })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for _, p := range all {
		for _, a := range addrs(t, p.ns, "eth0") {
			if other, ok := seen[a]; ok {
				t.Errorf("%s and %s both have %s", other, p.id, a)
			}
			seen[a] = p.id
		}
	}
	if len(seen) != 2*pods {
		t.Errorf("%d addresses for %d pods", len(seen), pods)
	}
	if got := len(h.records(t)); got != pods {
		t.Errorf("%d records for %d pods", got, pods)
	}
}

// A container that is attached to the network twice keeps one attachment when it loses the other.
func TestTwoInterfacesOfOneContainer(t *testing.T) {
	h := newHost(t, envInet)
	first := newPod(t, "one")
	second := pod{id: first.id, ifName: "net1", ns: first.ns}
	h.add(t, first)
	h.add(t, second)
	if diff := cmp.Diff([]string{"one", "one:net1"}, h.records(t)); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	h.must(t, "DEL", second)
	h.must(t, "DEL", second)
	if diff := cmp.Diff([]string{"10.5.72.2"}, h.reserved(t)); diff != "" {
		t.Errorf("reserved after the second is gone (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"one"}, h.records(t)); diff != "" {
		t.Errorf("records after the second is gone (-want +got):\n%s", diff)
	}
	h.must(t, "DEL", first)
	if left := append(h.reserved(t), h.records(t)...); len(left) > 0 {
		t.Errorf("DEL left %q", left)
	}
}

// CHECK tells of what is not as ADD left it.
func TestCheckFinds(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(t *testing.T, h *host, p pod)
		want  string
	}{
		{"a pod of an older lease", func(t *testing.T, h *host, _ pod) {
			h.write(t, "subnet.env", strings.Replace(envInet, "72.1", "73.1", 1))
		}, "10.5.72.2 of container's interface is not in 10.5.73.0/24"},
		{"a lost record", func(t *testing.T, h *host, p pod) {
			if err := os.Remove(h.file("data/" + p.id)); err != nil {
				t.Fatal(err)
			}
		}, "nothing is kept of this attachment in "},
		{"a damaged record", func(t *testing.T, h *host, p pod) { h.write(t, "data/"+p.id, "{") }, "is damaged: recreate the pod"},
		{"what the delegate finds", func(t *testing.T, h *host, p pod) {
			elsewhere := kerneltest.NewNS(t)
			p.ns.Join(t, "none", elsewhere, "none", nil, nil)
			h.config["prevResult"] = json.RawMessage(strings.Replace(string(h.config["prevResult"].(json.RawMessage)), "10.5.72.2/24", "10.5.72.3/24", 1))
		}, `CHECK by delegate "bridge": `},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHost(t, envInet)
			p := newPod(t, "one")
			h.config["prevResult"] = json.RawMessage(h.must(t, "ADD", p))
			h.must(t, "CHECK", p)
			tt.spoil(t, h, p)
			if _, err := h.call(t, "CHECK", p); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

// What the runtime says in CNI_ARGS reaches the delegate, and its ipam.
func TestArgumentsReachDelegate(t *testing.T) {
	h := newHost(t, envInet)
	p := newPod(t, "one")
	cmd := h.command(t, "weft", "ADD", p)
	cmd.Env = append(cmd.Env, "CNI_ARGS=IgnoreUnknown=1;IP=10.5.72.50")
	h.ns.Do(t, func() {
		if out, err := cmd.Output(); err != nil {
			t.Fatalf("ADD: %v: %s", err, out)
		}
	})
	if diff := cmp.Diff([]string{"10.5.72.50/24"}, addrs(t, p.ns, "eth0")); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
}
