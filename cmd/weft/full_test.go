package main

import (
	"strings"
	"testing"
)

// A node whose subnet is full says so with what can be done, and takes a pod again when one has gone.
func TestFullSubnet(t *testing.T) {
	h := newHost(t, strings.Replace(envBoth, "10.5.72.1/24", "10.5.72.1/30", 1)) // an address for the bridge, and one for a pod
	one, two := newPod(t, "one"), newPod(t, "two")
	if _, err := h.call(t, "ADD", one); err != nil {
		t.Fatal(err)
	}
	_, err := h.call(t, "ADD", two)
	const want = "every address of this node's subnet 10.5.72.0/30 is held by a pod: the pod starts when another one here ends"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
	for _, c := range []struct {
		command string
		pod     pod
	}{{"DEL", two}, {"DEL", one}, {"ADD", two}} {
		if _, err := h.call(t, c.command, c.pod); err != nil {
			t.Errorf("%s %s: %v", c.command, c.pod.id, err)
		}
	}
}
