package kernel

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// fdbMessage is what the kernel announces of a permanent FDB entry of device 7.
func fdbMessage(attrs map[uint16][]byte) []byte {
	b := make([]byte, sizeNeigh)
	b[0] = unix.AF_BRIDGE
	binary.NativeEndian.PutUint32(b[4:], 7)
	binary.NativeEndian.PutUint16(b[8:], unix.NUD_PERMANENT)
	b[10] = unix.NTF_SELF
	for kind, v := range attrs {
		b = binary.NativeEndian.AppendUint16(b, uint16(4+len(v)))
		b = binary.NativeEndian.AppendUint16(b, kind)
		b = append(b, v...)
		for len(b)%4 != 0 {
			b = append(b, 0)
		}
	}
	return b
}

// Kernels before 6.14 announce an FDB entry twice, the second time without its destination: it is neither gone nor another one.
func TestForwardIsAnnouncedTwice(t *testing.T) {
	mac, dst := MAC{2, 0, 0, 0, 0, 1}, netip.MustParseAddr("192.0.2.2")
	ip := dst.As4()
	w := &watcher{kernel: &Kernel{}, devices: devices{7: {index: 7, name: "flannel.1", kind: "vxlan"}}, hosts: map[hostAddr]uint32{}}
	w.take(header{kind: unix.RTM_NEWNEIGH}, fdbMessage(map[uint16][]byte{
		unix.NDA_LLADDR: mac[:], unix.NDA_DST: ip[:], unix.NDA_CACHEINFO: make([]byte, 16)}))
	w.take(header{kind: unix.RTM_NEWNEIGH}, fdbMessage(map[uint16][]byte{unix.NDA_LLADDR: mac[:]}))
	var want Events
	want.Seen.Forwards.Add(Forward{"flannel.1", mac, dst})
	if diff := cmp.Diff(want.Seen.String(), w.events.Seen.String()); diff != "" || !w.events.Gone.IsEmpty() {
		t.Errorf("seen (-want +got):\n%s\ngone: %v", diff, w.events.Gone)
	}
}
