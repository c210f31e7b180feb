package kernel_test

import (
	"encoding/binary"
	"fmt"
	"net"
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/network/kernel"
)

// BenchmarkApply makes the entries of so many peers: first with messages that were encoded before, by another implementation, so
// that the kernel's own time is known, then with Apply.
func BenchmarkApply(b *testing.B) {
	for _, peers := range []int{1000, 5000} {
		h := newHost(b)
		base, want := overlay(false, 0), overlay(false, peers)
		if err := h.Apply(b.Context(), kernel.Change{Put: base}); err != nil {
			b.Fatal(err)
		}
		remove := func(b *testing.B) {
			b.StopTimer()
			defer b.StartTimer()
			if err := h.Apply(b.Context(), kernel.Diff(h.list(b), base)); err != nil {
				b.Fatal(err)
			}
		}
		b.Run(fmt.Sprintf("bare/%d", peers), func(b *testing.B) {
			fd, batches := bare(b, h, peers)
			for b.Loop() {
				for _, batch := range batches {
					write(b, fd, batch)
				}
				remove(b)
			}
		})
		b.Run(fmt.Sprintf("peers/%d", peers), func(b *testing.B) {
			c := kernel.Diff(base, want)
			b.ReportAllocs()
			for b.Loop() {
				if err := h.Apply(b.Context(), c); err != nil {
					b.Fatal(err)
				}
				remove(b)
			}
		})
	}
}

// BenchmarkList is a pass that finds nothing to do.
func BenchmarkList(b *testing.B) {
	for _, peers := range []int{1000, 5000} {
		b.Run(fmt.Sprintf("peers/%d", peers), func(b *testing.B) {
			h, want := newHost(b), overlay(false, peers)
			if err := h.Apply(b.Context(), kernel.Change{Put: want}); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if c := kernel.Diff(h.list(b), want); !c.IsEmpty() {
					b.Fatal(c.Put.Len(), c.Drop.Len())
				}
			}
		})
	}
}

// bare opens a socket and encodes the entries of the peers in batches, the last message of each with a request for an answer.
func bare(b *testing.B, h host, peers int) (fd int, batches [][]byte) {
	b.Helper()
	index := h.device(b, "flannel.1").Attrs().Index
	h.do(b, func() (err error) {
		fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE)
		return err
	})
	b.Cleanup(func() { unix.Close(fd) })
	var kinds [3][][]byte
	for i := 1; i <= peers; i++ {
		dst, lladdr := subnet(false, i).Addr().As4(), mac(i)
		route := nl.NewNetlinkRequest(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE)
		route.AddData(&nl.RtMsg{RtMsg: unix.RtMsg{Family: unix.AF_INET, Dst_len: 24, Table: unix.RT_TABLE_MAIN,
			Protocol: kernel.RouteProtocol, Type: unix.RTN_UNICAST, Flags: unix.RTNH_F_ONLINK}})
		route.AddData(nl.NewRtAttr(unix.RTA_DST, dst[:]))
		route.AddData(nl.NewRtAttr(unix.RTA_GATEWAY, dst[:]))
		route.AddData(nl.NewRtAttr(unix.RTA_OIF, nl.Uint32Attr(uint32(index))))
		kinds[2] = append(kinds[2], route.Serialize())
		kinds[0] = append(kinds[0], neigh(unix.AF_INET, index, dst[:], lladdr[:]))
		kinds[1] = append(kinds[1], neigh(unix.AF_BRIDGE, index, net.IP{198, 18, byte(i >> 8), byte(i)}, lladdr[:]))
	}
	const size = 500
	for _, list := range kinds {
		for len(list) > 0 {
			var batch []byte
			n := min(size, len(list))
			binary.NativeEndian.PutUint16(list[n-1][6:], binary.NativeEndian.Uint16(list[n-1][6:])|unix.NLM_F_ACK)
			for _, m := range list[:n] {
				batch = append(batch, m...)
			}
			batches, list = append(batches, batch), list[n:]
		}
	}
	return fd, batches
}

func neigh(family uint8, index int, ip, lladdr []byte) []byte {
	r := nl.NewNetlinkRequest(unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_REPLACE)
	m := ndMsg{b: make([]byte, unix.SizeofNdMsg)}
	m.b[0] = family
	binary.NativeEndian.PutUint32(m.b[4:], uint32(index))
	binary.NativeEndian.PutUint16(m.b[8:], unix.NUD_PERMANENT)
	if family == unix.AF_BRIDGE {
		m.b[10] = unix.NTF_SELF
	}
	r.AddData(m)
	r.AddData(nl.NewRtAttr(unix.NDA_DST, ip))
	r.AddData(nl.NewRtAttr(unix.NDA_LLADDR, lladdr))
	return r.Serialize()
}

// ndMsg is the fixed part of a neighbour's message.
type ndMsg struct{ b []byte }

func (m ndMsg) Len() int          { return len(m.b) }
func (m ndMsg) Serialize() []byte { return m.b }

func write(b *testing.B, fd int, batch []byte) {
	b.Helper()
	if _, err := unix.Write(fd, batch); err != nil {
		b.Fatal(err)
	}
	var answer [4096]byte
	n, err := unix.Read(fd, answer[:])
	if err != nil {
		b.Fatal(err)
	}
	if code := int32(binary.NativeEndian.Uint32(answer[unix.SizeofNlMsghdr:n])); code != 0 {
		b.Fatal(unix.Errno(-code))
	}
}
