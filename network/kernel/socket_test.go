package kernel

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/network/kernel/kerneltest"
)

// tamper is a connection to the kernel that changes what it answers.
type tamper struct {
	descriptor
	read  func(b []byte) (n int, err error)
	reads int
}

func (c *tamper) Read(b []byte) (int, error) {
	c.reads++
	return c.read(b)
}

// tear makes the first listings come back as torn.
func tear(t *testing.T, times int) (*socket, *tamper) {
	t.Helper()
	s, err := openSocket()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.conn.Close() })
	c := &tamper{descriptor: s.conn.(descriptor)}
	c.read = func(b []byte) (int, error) {
		n, err := c.descriptor.Read(b)
		if err == nil && times > 0 && binary.NativeEndian.Uint16(b[4:]) != unix.NLMSG_DONE {
			times--
			binary.NativeEndian.PutUint16(b[6:], binary.NativeEndian.Uint16(b[6:])|unix.NLM_F_DUMP_INTR)
		}
		return n, err
	}
	s.conn = c
	return s, c
}

func TestTornListingIsRepeated(t *testing.T) {
	s, c := tear(t, 3)
	all, err := s.devices(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if c.reads < 4 || all.index("lo") == 0 {
		t.Errorf("devices %v after %d reads", all, c.reads)
	}
	s, _ = tear(t, 3)
	addrs, err := s.addrs(t.Context(), unix.AF_INET, 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(addrs) != 1 || addrs[0].prefix != netip.MustParsePrefix("127.0.0.1/8") {
		t.Errorf("addresses %v: what a torn listing gave was kept", addrs)
	}
}

func TestListingThatIsAlwaysTornIsGivenUp(t *testing.T) {
	s, c := tear(t, 1<<30)
	if _, err := s.devices(t.Context()); !errors.Is(err, errTorn) || !strings.HasPrefix(err.Error(), "list devices: ") {
		t.Errorf("error %v, want %v", err, errTorn)
	}
	if c.reads < maxTorn {
		t.Errorf("%d reads", c.reads)
	}
}

func TestListingEndsWithItsContext(t *testing.T) {
	s, _ := tear(t, 1<<30)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.devices(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestLostAnswerIsAnError(t *testing.T) {
	s, c := tear(t, 0)
	c.read = func([]byte) (int, error) { return 0, unix.EAGAIN }
	err := s.write(1, func(w *writer, _ int) {
		encodeAddr(w, unix.RTM_DELADDR, 0, Addr{"lo", netip.MustParsePrefix("127.9.9.9/8")}, 1)
	},
		func(int, error) { t.Error("blamed the request") })
	if !errors.Is(err, unix.EAGAIN) {
		t.Errorf("error %v", err)
	}
}

// A kernel without the module answers as the tampered connection does here.
func TestMissingModuleIsNamed(t *testing.T) {
	var k *Kernel
	var err error
	kerneltest.NewNS(t).Do(t, func() { k, err = Open() })
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	c := &tamper{descriptor: k.socket.conn.(descriptor)}
	c.read = func(b []byte) (int, error) {
		n, err := c.descriptor.Read(b)
		if err == nil && binary.NativeEndian.Uint16(b[4:]) == unix.NLMSG_ERROR {
			binary.NativeEndian.PutUint32(b[sizeHeader:], uint32(0x100000000-int64(unix.EOPNOTSUPP)))
		}
		return n, err
	}
	k.socket.conn = c
	var s State
	s.Links.Add(Link{Name: "flannel.77", MTU: 1400, VXLAN: VXLAN{VNI: 77, Port: 8472, Parent: "lo"}})
	err = k.Apply(t.Context(), Change{Put: s})
	if err == nil || !errors.Is(err, unix.EOPNOTSUPP) || !strings.Contains(err.Error(), "make link flannel.77 ") || !strings.Contains(err.Error(), "modprobe vxlan") {
		t.Errorf("error %v", err)
	}
	if isUnknownKind(&Refusal{unix.EOPNOTSUPP, "Cannot change port"}) {
		t.Error("a property that is not known is taken for a missing module")
	}
}

func TestForwardingIsSetLast(t *testing.T) {
	var set Set[string, Sysctl]
	for _, name := range []string{"net/ipv6/conf/all/forwarding", "net/ipv4/ip_forward", "net/ipv6/conf/eth0/accept_ra", "net/ipv4/conf/all/rp_filter"} {
		set.Add(Sysctl{name, "1"})
	}
	var got []string
	for _, s := range inOrder(set) {
		got = append(got, s.Name)
	}
	want := "net/ipv4/conf/all/rp_filter net/ipv6/conf/eth0/accept_ra net/ipv4/ip_forward net/ipv6/conf/all/forwarding"
	if strings.Join(got, " ") != want {
		t.Errorf("order %v, want %s", got, want)
	}
}

func TestLeftoversAreIgnored(t *testing.T) {
	s, _ := tear(t, 0)
	// A listing that was given up leaves its answers behind.
	s.seq++
	s.out.b = s.out.b[:0]
	s.out.begin(unix.RTM_GETLINK, unix.NLM_F_DUMP)
	s.out.raw(make([]byte, sizeLink)...)
	s.out.end(s.seq, 0)
	if _, err := s.conn.Write(s.out.b); err != nil {
		t.Fatal(err)
	}
	var failed []int
	err := s.write(3, func(w *writer, i int) {
		encodeAddr(w, unix.RTM_DELADDR, 0, Addr{"lo", netip.MustParsePrefix("127.9.9.9/8")}, 1)
	}, func(i int, err error) { failed = append(failed, i) })
	if err != nil || len(failed) != 3 || failed[0] != 0 || failed[2] != 2 {
		t.Errorf("failed %v, error %v", failed, err)
	}
}

func TestBatchesFitTheBuffer(t *testing.T) {
	s, _ := tear(t, 0)
	const n = 5000
	failed := map[int]bool{}
	err := s.write(n, func(w *writer, i int) {
		ip := netip.AddrFrom4([4]byte{127, 99, byte(i >> 8), byte(i)})
		encodeAddr(w, unix.RTM_DELADDR, 0, Addr{"lo", netip.PrefixFrom(ip, 32)}, 1)
	}, func(i int, err error) {
		if !isGone(err) {
			t.Errorf("request %d: %v", i, err)
		}
		failed[i] = true
	})
	if err != nil || len(failed) != n {
		t.Errorf("%d of %d refusals arrived, error %v", len(failed), n, err)
	}
}

// FuzzMessages feeds everything that reads the kernel's messages. Nothing may panic, whatever the bytes.
func FuzzMessages(f *testing.F) {
	var w writer
	link := Link{Name: "flannel.1", MTU: 1450, VXLAN: VXLAN{VNI: 1, Port: 8472, Local: netip.MustParseAddr("192.0.2.1"), GBP: true}}
	beginLink(&w, unix.RTM_NEWLINK, create, 7, unix.IFF_UP, unix.IFF_UP)
	w.text(unix.IFLA_IFNAME, link.Name)
	w.u32(unix.IFLA_MTU, 1450)
	encodeKind(&w, link, 2, true)
	w.end(1, 0)
	route := Route{Dst: netip.MustParsePrefix("10.5.1.0/24"), Via: netip.MustParseAddr("10.5.1.0"), Link: "flannel.1", OnLink: true, MTU: 1400}
	encodeRoute(&w, unix.RTM_NEWROUTE, replace, RouteProtocol, route, 7)
	w.end(2, 0)
	encodeNeigh(&w, unix.RTM_NEWNEIGH, replace, unix.AF_BRIDGE, 7, netip.MustParseAddr("192.0.2.2"), MAC{2, 1})
	w.end(3, 0)
	encodeNeigh(&w, unix.RTM_NEWNEIGH, replace, unix.AF_INET, 7, netip.MustParseAddr("10.5.1.0"), MAC{2, 1})
	w.end(4, 0)
	encodeAddr(&w, unix.RTM_NEWADDR, replace, Addr{"flannel.1", netip.MustParsePrefix("10.5.0.0/32")}, 7)
	w.end(5, 0)
	f.Add(w.b)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		s := &watcher{kernel: &Kernel{}, devices: devices{}, hosts: map[hostAddr]uint32{}}
		for h, body := range messages(b) {
			s.take(h, body)
			answerError(h, body)
			if isDefault(body) {
				appendDefault(nil, body, s.devices)
			}
		}
	})
}

func TestMessagesComeBackAsEncoded(t *testing.T) {
	for _, route := range []Route{
		{Dst: netip.MustParsePrefix("fd00:5:0:1::/64"), Metric: 1024, Via: netip.MustParseAddr("fd00:5:0:1::"), Link: "flannel-v6.1",
			OnLink: true, Src: netip.MustParseAddr("fd00:5::1"), MTU: 1400},
		{Dst: netip.MustParsePrefix("fd00:5:0:1::/64"), Metric: 1024, Link: "flannel-v6.1",
			Outer: Outer{Dst: netip.MustParseAddr("2001:db8::2"), Src: netip.MustParseAddr("2001:db8::1")}},
	} {
		w := writer{}
		encodeRoute(&w, unix.RTM_NEWROUTE, create, RouteProtocol, route, 7)
		w.end(9, unix.NLM_F_ACK)
		n := 0
		for h, b := range messages(w.b) {
			n++
			if h.kind != unix.RTM_NEWROUTE || h.flags != create|unix.NLM_F_REQUEST|unix.NLM_F_ACK || h.seq != 9 {
				t.Errorf("header %+v", h)
			}
			r, ok := parseRoute(b)
			if !ok || !r.isOurs(Scope{}, devices{7: {index: 7, name: "flannel-v6.1", kind: "vxlan"}}) || r.Route != route {
				t.Errorf("route %+v, want %+v", r, route)
			}
		}
		if n != 1 {
			t.Errorf("%d messages", n)
		}
	}
}

// A route into a tunnel of another sort says something that Route cannot.
func TestEncapsulationOfAnotherSort(t *testing.T) {
	w := writer{}
	encodeRoute(&w, unix.RTM_NEWROUTE, create, RouteProtocol, Route{Dst: netip.MustParsePrefix("fd00:5:0:1::/64"), Metric: 1024, Link: "eth0"}, 7)
	w.attr(unix.RTA_ENCAP_TYPE, []byte{1, 0}) // MPLS
	w.attr(unix.RTA_ENCAP, []byte{8, 0, 1, 0, 0, 0, 0, 0})
	w.end(9, 0)
	for _, b := range messages(w.b) {
		if r, ok := parseRoute(b); !ok || r.isOurs(Scope{}, devices{7: {index: 7, name: "eth0"}}) {
			t.Errorf("%+v is taken for ours", r)
		}
	}
}
