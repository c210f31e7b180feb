package kernel

import (
	"encoding/binary"
	"iter"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Sizes of the fixed parts of rtnetlink messages.
const (
	sizeHeader  = unix.SizeofNlMsghdr
	sizeLink    = unix.SizeofIfInfomsg
	sizeAddr    = unix.SizeofIfAddrmsg
	sizeRoute   = unix.SizeofRtMsg
	sizeNeigh   = unix.SizeofNdMsg
	sizeNetconf = 4 // struct netconfmsg, padded
	sizeError   = unix.SizeofNlMsgerr
)

// writer builds netlink messages one behind the other in one buffer that is used again and again.
type writer struct {
	b    []byte
	head int // where the message being built begins
}

// begin starts a message. Its length is set by end, its sequence number by the socket.
func (w *writer) begin(kind, flags uint16) {
	w.head = len(w.b)
	w.b = append(w.b, 0, 0, 0, 0)
	w.b = binary.NativeEndian.AppendUint16(w.b, kind)
	w.b = binary.NativeEndian.AppendUint16(w.b, flags|unix.NLM_F_REQUEST)
	w.b = append(w.b, 0, 0, 0, 0, 0, 0, 0, 0)
}

// end finishes the message with its sequence number and more flags.
func (w *writer) end(seq uint32, flags uint16) {
	h := w.b[w.head:]
	binary.NativeEndian.PutUint32(h, uint32(len(h)))
	binary.NativeEndian.PutUint16(h[6:], binary.NativeEndian.Uint16(h[6:])|flags)
	binary.NativeEndian.PutUint32(h[8:], seq)
}

func (w *writer) raw(b ...byte) { w.b = append(w.b, b...) }

func (w *writer) u16raw(v uint16) { w.b = binary.NativeEndian.AppendUint16(w.b, v) }

func (w *writer) u32raw(v uint32) { w.b = binary.NativeEndian.AppendUint32(w.b, v) }

// attr appends an attribute.
func (w *writer) attr(kind uint16, data []byte) {
	w.b = binary.NativeEndian.AppendUint16(w.b, uint16(unix.SizeofRtAttr+len(data)))
	w.b = binary.NativeEndian.AppendUint16(w.b, kind)
	w.b = append(w.b, data...)
	for len(w.b)%4 != 0 {
		w.b = append(w.b, 0)
	}
}

func (w *writer) u8(kind uint16, v uint8) { w.attr(kind, []byte{v}) }

func (w *writer) u32(kind uint16, v uint32) {
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], v)
	w.attr(kind, b[:])
}

func (w *writer) port(kind, v uint16) { w.attr(kind, []byte{byte(v >> 8), byte(v)}) }

func (w *writer) text(kind uint16, s string) { w.attr(kind, append([]byte(s), 0)) }

func (w *writer) addr(kind uint16, a netip.Addr) {
	if a.Is4() {
		b := a.As4()
		w.attr(kind, b[:])
		return
	}
	b := a.As16()
	w.attr(kind, b[:])
}

// nest starts an attribute that holds attributes; the result goes to unnest.
func (w *writer) nest(kind uint16) (start int) {
	start = len(w.b)
	w.attr(kind|unix.NLA_F_NESTED, nil)
	return start
}

func (w *writer) unnest(start int) {
	binary.NativeEndian.PutUint16(w.b[start:], uint16(len(w.b)-start))
}

// header is what every netlink message begins with.
type header struct {
	kind, flags uint16
	seq         uint32
}

// messages walks over the messages of a datagram. It stops where the bytes make no sense any more.
func messages(b []byte) iter.Seq2[header, []byte] {
	return func(yield func(header, []byte) bool) {
		for len(b) >= sizeHeader {
			size := int(binary.NativeEndian.Uint32(b))
			if size < sizeHeader || size > len(b) {
				return
			}
			h := header{
				kind:  binary.NativeEndian.Uint16(b[4:]),
				flags: binary.NativeEndian.Uint16(b[6:]),
				seq:   binary.NativeEndian.Uint32(b[8:]),
			}
			if !yield(h, b[sizeHeader:size]) {
				return
			}
			b = b[min(align(size), len(b)):]
		}
	}
}

// attrs walks over attributes. The bytes belong to the socket and are overwritten by the next read.
func attrs(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= unix.SizeofRtAttr {
			size := int(binary.NativeEndian.Uint16(b))
			if size < unix.SizeofRtAttr || size > len(b) {
				return
			}
			kind := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
			if !yield(kind, b[unix.SizeofRtAttr:size]) {
				return
			}
			b = b[min(align(size), len(b)):]
		}
	}
}

func align(size int) int { return (size + 3) &^ 3 }

func getU16(b []byte) uint16 {
	if len(b) < 2 {
		return 0
	}
	return binary.NativeEndian.Uint16(b)
}

func getU32(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(b)
}

// getAddr returns the invalid Addr where b is no address.
func getAddr(b []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(b)
	return a
}

func getMAC(b []byte) (m MAC) {
	if len(b) == len(m) {
		copy(m[:], b)
	}
	return m
}

// getText returns b up to its terminating zero.
func getText(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}
