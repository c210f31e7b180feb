package kernel_test

import (
	"testing"
)

func TestOverlay(t *testing.T) {
	for name, inet6 := range map[string]bool{"IPv4": false, "IPv6": true} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.converge(t, overlay(inet6, 3))
			h.converge(t, overlay(inet6, 1))
			h.converge(t, overlay(inet6, 4))
		})
	}
}
