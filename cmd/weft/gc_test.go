package main

import (
	"os"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/google/go-cmp/cmp"
)

// GC leaves alone what is valid and what belongs to another network, and releases everything else.
func TestGC(t *testing.T) {
	h := newHost(t, envInet)
	names := []string{"valid", "gone", "lost", "flannels", "damaged"}
	for _, id := range names {
		h.add(t, newPod(t, id))
	}
	if err := os.Remove(h.file("data/lost")); err != nil {
		t.Fatal(err)
	}
	kept, err := os.ReadFile(h.file("data/flannels"))
	if err != nil {
		t.Fatal(err)
	}
	h.write(t, "data/flannels", strings.Replace(string(kept), `,"weft":{"ifName":"eth0"}`, "", 1))
	h.write(t, "data/damaged", "{")
	h.write(t, "data/elsewhere", strings.Replace(string(kept), `"cbr0"`, `"other"`, 1))
	h.write(t, "data/.weft-123", "half")

	if _, err := h.call(t, "GC", pod{}); codeOf(err) != types.ErrInvalidNetworkConfig {
		t.Fatalf("GC without a list of what is valid: error %v, want code %d", err, types.ErrInvalidNetworkConfig)
	}
	if got := len(h.reserved(t)); got != len(names) {
		t.Fatalf("GC without a list of what is valid left %d addresses of %d", got, len(names))
	}
	for range 2 {
		h.config["cni.dev/valid-attachments"] = []types.GCAttachment{{ContainerID: "valid", IfName: "eth0"}}
		h.must(t, "GC", pod{})
		if diff := cmp.Diff([]string{"10.5.72.2"}, h.reserved(t)); diff != "" {
			t.Errorf("reserved addresses (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"elsewhere", "valid"}, h.records(t)); diff != "" {
			t.Errorf("records (-want +got):\n%s", diff)
		}
	}

	// The name of the key in an early text of the specification; and the subnet is not needed.
	delete(h.config, "cni.dev/valid-attachments")
	h.config["cni.dev/attachments"] = []types.GCAttachment{}
	if err := os.Remove(h.file("subnet.env")); err != nil {
		t.Fatal(err)
	}
	h.must(t, "GC", pod{})
	if left := h.reserved(t); len(left) > 0 {
		t.Errorf("GC with nothing valid left %q", left)
	}
}

// One attachment that cannot be detached does not keep GC from the others, and stays on record.
func TestGCGoesOn(t *testing.T) {
	h := newHost(t, envInet)
	for _, id := range []string{"a", "b"} {
		h.add(t, newPod(t, id))
	}
	h.write(t, "data/0", `{"type":"missing","name":"cbr0"}`)
	h.config["cni.dev/valid-attachments"] = []types.GCAttachment{}
	if _, err := h.call(t, "GC", pod{}); err == nil || !strings.Contains(err.Error(), `"missing"`) {
		t.Errorf("error %v, want one that names the delegate", err)
	}
	if diff := cmp.Diff([]string{"0"}, append(h.reserved(t), h.records(t)...)); diff != "" {
		t.Errorf("what is left (-want +got):\n%s", diff)
	}
}
