package kernel_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/network/kernel"
)

func TestStateInWords(t *testing.T) {
	s := overlay(false, 1)
	s.Links.Add(kernel.Link{Name: "flannel.2", MTU: 1400, VXLAN: kernel.VXLAN{VNI: 2, Port: 4789, Local: addr("2001:db8::1"), Parent: "eth1", Learning: true, GBP: true}})
	s.Routes.Add(kernel.Route{Dst: subnet(true, 2), Metric: 1024, Type: kernel.Unreachable})
	s.Routes.Add(kernel.Route{Dst: subnet(false, 3), Metric: 5, Via: addr("192.0.2.2"), Link: "eth0", Src: addr("192.0.2.1"), MTU: 1400, Foreign: true})
	s.Sysctls.Add(kernel.Sysctl{Name: "net/ipv4/ip_forward", Value: "1"})
	const want = `link flannel.1 vxlan id 1 local 192.0.2.1 dev eth0 dstport 8472 nolearning address 0e:00:00:00:00:00 mtu 1430 up
link flannel.2 vxlan id 2 local 2001:db8::1 dev eth1 dstport 4789 gbp mtu 1400
addr 10.5.0.0/32 dev flannel.1
route 10.5.1.0/24 via 10.5.1.0 dev flannel.1 proto 87 onlink
route 10.5.3.0/24 via 192.0.2.2 dev eth0 proto boot metric 5 src 192.0.2.1 mtu lock 1400
route unreachable fd00:5:0:2::/64 proto 87 metric 1024
neigh 10.5.1.0 lladdr 0e:00:00:00:00:01 dev flannel.1 nud permanent
fdb 0e:00:00:00:00:01 dev flannel.1 dst 198.18.0.1 self permanent
sysctl net/ipv4/ip_forward=1
`
	if diff := cmp.Diff(want, s.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if s.Len() != strings.Count(want, "\n") || s.IsEmpty() || !(kernel.State{}).IsEmpty() {
		t.Errorf("Len %d", s.Len())
	}
}

func TestRouteTypesInWords(t *testing.T) {
	var got []string
	for i := kernel.Unicast; i <= kernel.Throw+1; i++ {
		got = append(got, i.String())
	}
	if want := "unicast unreachable blackhole prohibit throw type 5"; strings.Join(got, " ") != want {
		t.Errorf("%v, want %s", got, want)
	}
}

func TestDiff(t *testing.T) {
	two, three := overlay(false, 2), overlay(false, 3)
	moved := with(overlay(false, 2), func(s *kernel.State) {
		s.Forwards.Add(kernel.Forward{Link: "flannel.1", MAC: mac(2), Dst: addr("198.18.9.9")})
	})
	var third, second kernel.State
	addPeer(&third, false, 3)
	sysctl := func(value string) (s kernel.State) {
		s.Sysctls.Add(kernel.Sysctl{Name: "net/ipv4/ip_forward", Value: value})
		return s
	}
	second.Forwards.Add(moved.Forwards[kernel.ForwardKey{Link: "flannel.1", MAC: mac(2)}])
	for _, test := range []struct {
		name       string
		have, want kernel.State
		put, drop  kernel.State
	}{
		{name: "nothing"},
		{name: "same", have: three, want: three},
		{name: "from nothing", want: three, put: three},
		{name: "to nothing", have: three, drop: three},
		{name: "one more", have: two, want: three, put: third},
		{name: "one less", have: three, want: two, drop: third},
		{name: "one moved", have: two, want: moved, put: second},
		{name: "parameter", have: sysctl("0"), want: sysctl("1"), put: sysctl("1")},
		{name: "parameter is not taken back", have: sysctl("1")},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := kernel.Diff(test.have, test.want)
			if diff := cmp.Diff(test.put.String(), c.Put.String()); diff != "" {
				t.Errorf("put (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.drop.String(), c.Drop.String()); diff != "" {
				t.Errorf("drop (-want +got):\n%s", diff)
			}
			if c.IsEmpty() != (test.put.IsEmpty() && test.drop.IsEmpty()) {
				t.Errorf("IsEmpty() = %v", c.IsEmpty())
			}
		})
	}
}

func TestFailuresInWords(t *testing.T) {
	refusal := &kernel.Refusal{Errno: unix.ENOSPC, Text: "table full"}
	var fs kernel.Failures
	for i := range 13 {
		fs = append(fs, kernel.Failure{Object: kernel.Sysctl{Name: fmt.Sprint("a", i), Value: "1"}, Err: refusal})
	}
	fs = append(fs, kernel.Failure{Drop: true, Object: kernel.Addr{Link: "eth0", Prefix: prefix("10.0.0.1/32")}, Err: &kernel.Refusal{Errno: unix.EPERM}})
	text := fs.Error()
	for _, want := range []string{
		"make sysctl a0=1: no space left on device (table full); make sysctl a1=1: ",
		"; remove addr 10.0.0.1/32 dev eth0: operation not permitted; and 3 more like that: no space left on device (table full)",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q lacks %q", text, want)
		}
	}
	if strings.Contains(text, "a10") {
		t.Errorf("%q names more than ten", text)
	}
	if !errors.Is(fs, unix.EPERM) || !errors.Is(fs, unix.ENOSPC) || errors.Is(fs, unix.EEXIST) {
		t.Error("errors.Is does not find the reasons")
	}
}
