package kernel_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/network/kernel"
)

func TestDeviceIsChangedInPlace(t *testing.T) {
	for name, edit := range map[string]func(*kernel.Link){
		"MTU":      func(l *kernel.Link) { l.MTU = 1300 },
		"MAC":      func(l *kernel.Link) { l.MAC = mac(99) },
		"learning": func(l *kernel.Link) { l.VXLAN.Learning = true },
		"local":    func(l *kernel.Link) { l.VXLAN.Local = l.VXLAN.Local.Next() },
		"parent":   func(l *kernel.Link) { l.VXLAN.Parent = "eth1" },
		"all": func(l *kernel.Link) {
			l.MTU, l.MAC = 1300, mac(99)
			l.VXLAN.Learning, l.VXLAN.Local, l.VXLAN.Parent = true, l.VXLAN.Local.Next(), "eth1"
		},
	} {
		for _, inet6 := range []bool{false, true} {
			h := newHost(t)
			h.Join(t, "eth1", h.peer, "eth1", nil, nil)
			before := overlay(inet6, 3)
			h.converge(t, before)
			for device := range before.Links {
				t.Run(name+"/"+device, func(t *testing.T) {
					index := h.device(t, device).Attrs().Index
					h.converge(t, with(overlay(inet6, 3), func(s *kernel.State) {
						l := s.Links[device]
						edit(&l)
						s.Links.Add(l)
					}))
					if now := h.device(t, device).Attrs().Index; now != index {
						t.Errorf("index of %s is %d, was %d: it was made anew", device, now, index)
					}
				})
			}
		}
	}
}

// What the kernel cannot change takes a new device. What was on the old one is on the new one after the same Apply.
func TestDeviceIsMadeAnewWithItsContents(t *testing.T) {
	for name, edit := range map[string]func(*kernel.Link){
		"VNI":    func(l *kernel.Link) { l.VXLAN.VNI = 2 },
		"port":   func(l *kernel.Link) { l.VXLAN.Port = 4789 },
		"GBP":    func(l *kernel.Link) { l.VXLAN.GBP = true },
		"family": func(l *kernel.Link) { l.VXLAN.Local = addr("2001:db8::1") },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.converge(t, overlay(false, 3))
			want := with(overlay(false, 2), device("flannel.1", edit))
			if want.Links["flannel.1"].VXLAN.Local.Is6() {
				for _, f := range want.Forwards {
					f.Dst = addr("2001:db8::2")
					want.Forwards.Add(f)
				}
			}
			h.converge(t, want)
			h.converge(t, want)
		})
	}
}

// A device of another name for the same VNI and port has to go before, others go last: their routes are replaced first.
func TestDeviceIsReplacedByAnother(t *testing.T) {
	h := newHost(t)
	rename := func(s kernel.State, name string, vni uint32) (renamed kernel.State) {
		for _, l := range s.Links {
			l.Name, l.VXLAN.VNI = name, vni
			renamed.Links.Add(l)
		}
		for _, a := range s.Addrs {
			a.Link = name
			renamed.Addrs.Add(a)
		}
		for _, r := range s.Routes {
			r.Link = name
			renamed.Routes.Add(r)
		}
		for _, n := range s.Neighbours {
			n.Link = name
			renamed.Neighbours.Add(n)
		}
		for _, f := range s.Forwards {
			f.Link = name
			renamed.Forwards.Add(f)
		}
		return renamed
	}
	h.converge(t, overlay(false, 3))
	h.converge(t, rename(overlay(false, 3), "flannel.2", 1))
	h.converge(t, rename(overlay(false, 3), "flannel.3", 3))
	h.converge(t, routes(kernel.Route{Dst: subnet(false, 1), Via: addr("192.0.2.2"), Link: "eth0"}))
}

func TestDeviceWithAnyMAC(t *testing.T) {
	h := newHost(t)
	want := with(overlay(false, 0), device("flannel.1", func(l *kernel.Link) { l.MAC = kernel.MAC{} }))
	for range 2 {
		if err := h.Apply(t.Context(), kernel.Diff(h.list(t), want)); err != nil {
			t.Fatal(err)
		}
		if c := kernel.Diff(h.list(t), want); !c.IsEmpty() {
			t.Errorf("a second pass would change something:\n%s%s", c.Put, c.Drop)
		}
	}
}

func TestDeviceGoesDownAndUp(t *testing.T) {
	h := newHost(t)
	want := overlay(false, 2)
	h.converge(t, want)
	h.do(t, func() error { return netlink.LinkSetDown(h.device(t, "flannel.1")) })
	h.converge(t, want)
}

func TestDeviceOfAnotherKindIsLeftAlone(t *testing.T) {
	h := newHost(t)
	h.Join(t, "flannel.1", h.peer, "eth1", nil, nil)
	index := h.device(t, "flannel.1").Attrs().Index
	if have := h.list(t); !have.IsEmpty() {
		t.Fatalf("listed as ours:\n%s", have)
	}
	err := h.Apply(t.Context(), kernel.Change{Put: overlay(false, 0), Drop: overlay(false, 0)})
	if err == nil || !strings.Contains(err.Error(), "flannel.1 vxlan") || !strings.Contains(err.Error(), "of kind veth rather than vxlan") {
		t.Errorf("error: %v", err)
	}
	if now := h.device(t, "flannel.1"); now.Attrs().Index != index || now.Type() != "veth" {
		t.Errorf("device is %v", now)
	}
}

func TestMissingDevice(t *testing.T) {
	h := newHost(t)
	want := overlay(false, 1)
	want.Links = nil
	err := h.Apply(t.Context(), kernel.Change{Put: want})
	var failures kernel.Failures
	if !errors.As(err, &failures) || len(failures) != want.Len() || !errors.Is(err, unix.ENODEV) {
		t.Fatalf("error: %v", err)
	}
	err = h.Apply(t.Context(), kernel.Change{Put: with(overlay(false, 0), device("flannel.1", func(l *kernel.Link) { l.VXLAN.Parent = "eth9" }))})
	if err == nil || !strings.Contains(err.Error(), "there is no device eth9") {
		t.Fatalf("error: %v", err)
	}
}
