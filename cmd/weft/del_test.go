package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Whatever happened to what ADD left behind, DEL takes the pod's device and addresses away, and can be repeated.
func TestDetachAfterLoss(t *testing.T) {
	remove := func(name string) func(*testing.T, *host) {
		return func(t *testing.T, h *host) {
			if err := os.Remove(h.file(name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	write := func(name, text string) func(*testing.T, *host) {
		return func(t *testing.T, h *host) { h.write(t, name, text) }
	}
	tests := []struct {
		name string
		lose []func(*testing.T, *host)
	}{
		{"nothing", nil},
		{"the record", []func(*testing.T, *host){remove("data/one")}},
		{"the record, and the lease changed", []func(*testing.T, *host){remove("data/one"), write("subnet.env", strings.ReplaceAll(envInet, "10.5.72", "10.5.99"))}},
		{"the record and the subnet", []func(*testing.T, *host){remove("data/one"), remove("subnet.env")}},
		{"the record, and the subnet file is damaged", []func(*testing.T, *host){remove("data/one"), write("subnet.env", "FLANNEL_")}},
		{"the subnet", []func(*testing.T, *host){remove("subnet.env")}},
		{"an empty record", []func(*testing.T, *host){write("data/one", "")}},
		{"a torn record", []func(*testing.T, *host){write("data/one", `{"cniVersion":"1.1.0","ipam":{"ran`)}},
		{"a record of no object", []func(*testing.T, *host){write("data/one", `[1]`)}},
		{"a record of no type", []func(*testing.T, *host){write("data/one", `{"name":"cbr0"}`)}},
		{"a damaged record and the subnet", []func(*testing.T, *host){write("data/one", "\x00"), remove("subnet.env")}},
		{"a record that is a folder", []func(*testing.T, *host){remove("data/one"), write("data/one/x", "")}},
		{"the network config changed", []func(*testing.T, *host){func(_ *testing.T, h *host) { h.config["delegate"] = map[string]any{"type": "gone"} }}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHost(t, envBoth)
			p := newPod(t, "one")
			other := newPod(t, "other")
			h.add(t, p)
			h.add(t, other)
			for _, lose := range tt.lose {
				lose(t, h)
			}
			h.must(t, "DEL", p)
			if diff := cmp.Diff([]string{"10.5.72.3", "fd00:5:0:1::3"}, h.reserved(t)); diff != "" {
				t.Errorf("reserved addresses (-want +got):\n%s", diff)
			}
			if left := addrs(t, p.ns, "eth0"); len(left) > 0 {
				t.Errorf("the pod still has %q", left)
			}
			p.ns = nil // as after the container is gone
			h.must(t, "DEL", p)
		})
	}
}

// A pod that flannel's plugin attached is detached by what flannel's plugin kept, and flannel's plugin finds what it
// needs of a pod that weft attached: a config for the delegate in a file that is named by the container.
func TestDetachWhatFlannelAttached(t *testing.T) {
	h := newHost(t, envInet)
	p := newPod(t, "one")
	h.add(t, p)
	kept, err := os.ReadFile(h.file("data/one"))
	if err != nil {
		t.Fatal(err)
	}
	flannels := strings.Replace(string(kept), `,"weft":{"ifName":"eth0"}`, "", 1)
	if flannels == string(kept) {
		t.Fatalf("a record has no mark: %s", kept)
	}
	h.write(t, "data/one", flannels)
	h.write(t, "subnet.env", strings.ReplaceAll(envInet, "10.5.72", "10.5.99"))

	h.config["prevResult"] = nil
	h.must(t, "DEL", p)
	if left := append(h.reserved(t), append(h.records(t), addrs(t, p.ns, "eth0")...)...); len(left) > 0 {
		t.Errorf("DEL left %q", left)
	}
}

// A delegate that is gone does not keep a pod from being deleted that it never attached, but one that it did attach.
func TestDetachWithoutDelegate(t *testing.T) {
	h := newHost(t, envInet)
	p := newPod(t, "one")
	h.add(t, p)
	h.path = t.TempDir()
	if err := os.Link(filepath.Join(os.Getenv(binDir), "weft"), filepath.Join(h.path, "weft")); err != nil {
		if err := os.Symlink(filepath.Join(os.Getenv(binDir), "weft"), filepath.Join(h.path, "weft")); err != nil {
			t.Fatal(err)
		}
	}
	h.must(t, "DEL", newPod(t, "never"))
	if _, err := h.call(t, "DEL", p); err == nil || !strings.Contains(err.Error(), `no plugin "bridge" in `+h.path) {
		t.Errorf("error %v, want one that says what is missing where", err)
	}
	if diff := cmp.Diff([]string{"one"}, h.records(t)); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}
