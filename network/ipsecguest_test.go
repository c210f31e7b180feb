package network

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	engine "github.com/weft-network/weft/network/engine/ipsec"
)

// TestGuestBackendChangesToIPsec changes to IPsec and back, and restarts an agent there while pods talk.
func TestGuestBackendChangesToIPsec(t *testing.T) {
	const vxlan = `{"Type":"vxlan"}`
	key := strings.Repeat("0123456789abcdef", 6)
	c := newNodes(t, 2, backendConfig(vxlan))
	for i := range c.options {
		o := &c.options[i]
		o.Engines = []Engine{engine.New(engine.Options{Dir: filepath.Join(t.TempDir(), "ipsec"), Log: o.Log})}
	}
	withPods(t, c)
	to := c.pod(1)
	c.spaces[0].Reach(t, to)
	c.cluster.SetConfig(backendConfig(`{"Type":"ipsec","PSK":"` + key + `"}`))
	for i, a := range c.agents {
		until(t, a, "the node moves to IPsec", func(s Status) bool { return slices.Equal(c.devices(i), []string{"flannel.esp"}) })
	}
	c.spaces[0].Reach(t, to)
	flood := c.spaces[0].Flood(t, to, 10*time.Millisecond)
	c.restartsWithoutChange()
	if sent, lost := flood.Stop(t); sent == 0 || lost != 0 {
		t.Errorf("%d of %d packets lost", lost, sent)
	}
	c.cluster.SetConfig(backendConfig(vxlan))
	for i, a := range c.agents {
		until(t, a, "the node moves back", func(s Status) bool { return slices.Equal(c.devices(i), []string{"flannel.1"}) })
	}
	c.spaces[0].Reach(t, to)
}
