package kernel_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/network/kernel/kerneltest"
)

// podHost is a host with a bridge and pods as the CNI plugin bridge makes them.
type podHost struct {
	host
	pods   []*kerneltest.NS
	places string // a directory with a file for each pod's namespace
}

func newPodHost(t *testing.T, mtu, pods int) podHost {
	h := podHost{host: newHost(t), places: t.TempDir()}
	h.do(t, func() error {
		bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "cni0", MTU: mtu}}
		if err := netlink.LinkAdd(bridge); err != nil {
			return err
		}
		a, err := netlink.ParseAddr("10.5.7.1/24")
		if err != nil {
			return err
		}
		return netlink.AddrAdd(bridge, a)
	})
	for i := range pods {
		h.addPod(t, i, mtu, mtu)
	}
	return h
}

func (h *podHost) addPod(t *testing.T, i, mtu, inside int) {
	t.Helper()
	pod := kerneltest.NewNS(t)
	h.pods = append(h.pods, pod)
	if err := os.Symlink(pod.Path(), filepath.Join(h.places, fmt.Sprint(i))); err != nil {
		t.Fatal(err)
	}
	h.do(t, func() error {
		veth := netlink.NewVeth(netlink.LinkAttrs{Name: fmt.Sprint("veth", i), MTU: mtu, MasterIndex: h.device(t, "cni0").Attrs().Index})
		veth.PeerName, veth.PeerNamespace, veth.PeerMTU = "eth0", netlink.NsFd(pod.Fd()), uint32(inside)
		return netlink.LinkAdd(veth)
	})
}

// mtus are those of the bridge, and of both ends of each pod.
func (h *podHost) mtus(t *testing.T) []string {
	t.Helper()
	var list []string
	h.do(t, func() error {
		list = append(list, fmt.Sprint("cni0 ", h.device(t, "cni0").Attrs().MTU))
		return nil
	})
	for i, p := range h.pods {
		var outside, inside int
		h.do(t, func() error { outside = h.device(t, fmt.Sprint("veth", i)).Attrs().MTU; return nil })
		p.Do(t, func() {
			l, err := netlink.LinkByName("eth0")
			if err != nil {
				t.Fatal(err)
			}
			inside = l.Attrs().MTU
		})
		list = append(list, fmt.Sprintf("pod%d %d %d", i, outside, inside))
	}
	return list
}

func (h *podHost) resize(t *testing.T, from, to int) (kernel.Resized, error) {
	return h.Resize(context.Background(), kernel.PodPorts{
		Gateways: []netip.Addr{netip.MustParseAddr("10.5.7.1")}, From: from, To: to,
		Namespaces: []string{filepath.Join(t.TempDir(), "nothing"), filepath.Join(h.places, "*")},
	})
}

func TestResize(t *testing.T) {
	for _, test := range []struct {
		name     string
		pods     int
		change   func(t *testing.T, h *podHost)
		from, to int
		want     []string
		kept     string // a part of the error
	}{
		{"smaller", 2, nil, 1450, 1350, []string{"cni0 1350", "pod0 1350 1350", "pod1 1350 1350"}, ""},
		{"larger", 2, nil, 1450, 8950, []string{"cni0 8950", "pod0 8950 8950", "pod1 8950 8950"}, ""},
		{"no pods", 0, nil, 1450, 1350, []string{"cni0 1350"}, ""},
		{"bridge with an MTU of its own", 1, func(t *testing.T, h *podHost) {
			h.do(t, func() error { return netlink.LinkSetMTU(h.device(t, "cni0"), 1450) })
		}, 1450, 8950, []string{"cni0 8950", "pod0 8950 8950"}, ""},
		{"bridge with an MTU of its own, and a pod", 1, func(t *testing.T, h *podHost) {
			h.addPod(t, 1, 1400, 1400)
			h.do(t, func() error { return netlink.LinkSetMTU(h.device(t, "cni0"), 1450) })
		}, 1450, 8950, []string{"cni0 1400", "pod0 8950 8950", "pod1 1400 1400"}, ""},
		{"another MTU was given by hand", 1, func(t *testing.T, h *podHost) {
			h.addPod(t, 1, 1400, 1400)
		}, 1450, 1300, []string{"cni0 1300", "pod0 1300 1300", "pod1 1400 1400"}, ""},
		{"another MTU in the pod", 1, func(t *testing.T, h *podHost) {
			h.addPod(t, 1, 1450, 1400)
		}, 1450, 8950, []string{"cni0 1450", "pod0 8950 8950", "pod1 1450 1400"}, "its own end has 1400"},
		{"pod that is not found", 1, func(t *testing.T, h *podHost) {
			h.addPod(t, 1, 1450, 1450)
			if err := os.Remove(filepath.Join(h.places, "1")); err != nil {
				t.Fatal(err)
			}
		}, 1450, 8950, []string{"cni0 1450", "pod0 8950 8950", "pod1 1450 1450"}, "not to be found"},
		{"halfway already", 1, func(t *testing.T, h *podHost) {
			h.pods[0].Do(t, func() {
				l, err := netlink.LinkByName("eth0")
				if err == nil {
					err = netlink.LinkSetMTU(l, 1350)
				}
				if err != nil {
					t.Error(err)
				}
			})
		}, 1450, 1350, []string{"cni0 1350", "pod0 1350 1350"}, ""},
		{"not what it was", 1, nil, 1400, 1350, []string{"cni0 1450", "pod0 1450 1450"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newPodHost(t, 1450, test.pods)
			if test.change != nil {
				test.change(t, &h)
			}
			for range 2 {
				_, err := h.resize(t, test.from, test.to)
				if test.kept == "" && err != nil || test.kept != "" && (err == nil || !strings.Contains(err.Error(), test.kept)) {
					t.Errorf("error %v, want %q", err, test.kept)
				}
				if diff := cmp.Diff(test.want, h.mtus(t)); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			}
		})
	}
}

// TestResizeNames looks at what is told of it.
func TestResizeNames(t *testing.T) {
	h := newPodHost(t, 1450, 2)
	if err := os.Remove(filepath.Join(h.places, "1")); err != nil {
		t.Fatal(err)
	}
	got, err := h.resize(t, 1450, 1400)
	want := kernel.Resized{Bridge: "cni0", Pods: []string{"veth0"}, Kept: []string{"veth1"}}
	if diff := cmp.Diff(want, got); diff != "" || err == nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	other := newHost(t)
	got, err = other.Resize(context.Background(), kernel.PodPorts{Gateways: []netip.Addr{netip.MustParseAddr("10.5.7.1")}, From: 1450, To: 1400})
	if got.Bridge != "" || !slices.Equal(got.Pods, nil) || err != nil {
		t.Errorf("a host without pods: %+v, %v", got, err)
	}
}
