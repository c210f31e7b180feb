package kernel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

const (
	// wantedBuffer is asked for as the receive buffer of sockets, in bytes. Where the process may not exceed the system's limit it gets that.
	wantedBuffer = 16 << 20
	// answerBuffer holds one datagram: the kernel fills up to 32 KiB of it in a listing.
	answerBuffer = 64 << 10
	// answerCost is what one refusal takes at most from the receive buffer by the kernel's bookkeeping.
	answerCost = 1280
	// maxBatch and maxBatchSize limit what is sent to the kernel at once, in messages and bytes.
	maxBatch     = 1024
	maxBatchSize = 96 << 10
	// maxTorn is how often a listing is begun again when something changed during it.
	maxTorn = 20
)

var errTorn = errors.New("it changes faster than the kernel can list it")

// socket speaks rtnetlink: requests in batches, listings. It is not safe for concurrent use.
type socket struct {
	conn  io.ReadWriteCloser
	batch int // number of messages whose refusals fit into the receive buffer
	seq   uint32
	in    []byte
	out   writer
	mark  Mark // of the network whose devices are ours
}

// descriptor reads and writes a netlink socket without the allocations of Recvfrom.
type descriptor int

func (d descriptor) Read(b []byte) (int, error) {
	for {
		n, err := unix.Read(int(d), b)
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}

func (d descriptor) Write(b []byte) (int, error) {
	for {
		n, err := unix.Write(int(d), b)
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}

func (d descriptor) Close() error { return unix.Close(int(d)) }

// openDescriptor opens an rtnetlink socket in the network namespace of the calling thread and subscribes it to groups. It returns the size
// that the kernel gave its receive buffer.
func openDescriptor(flags int, groups ...int) (d descriptor, buffer int, err error) {
	return openDescriptorOf(unix.NETLINK_ROUTE, flags, groups...)
}

// openDescriptorOf does so for another protocol of netlink.
func openDescriptorOf(protocol, flags int, groups ...int) (d descriptor, buffer int, err error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|flags, protocol)
	if err != nil {
		return 0, 0, fmt.Errorf("open a netlink socket: %w", err)
	}
	if err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		unix.Close(fd)
		return 0, 0, fmt.Errorf("bind a netlink socket: %w", err)
	}
	// Only the first needs a capability, in the host's user namespace. The others exist since Linux 4.12 and 4.20; without them errors
	// say less and listings are longer, and what is listed is filtered here in any case.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, wantedBuffer) != nil {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, wantedBuffer)
	}
	for _, option := range []int{unix.NETLINK_CAP_ACK, unix.NETLINK_EXT_ACK, unix.NETLINK_GET_STRICT_CHK} {
		unix.SetsockoptInt(fd, unix.SOL_NETLINK, option, 1)
	}
	for _, group := range groups {
		if err = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, group); err != nil {
			unix.Close(fd)
			return 0, 0, fmt.Errorf("subscribe to netlink group %d: %w", group, err)
		}
	}
	buffer, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
	if err != nil {
		unix.Close(fd)
		return 0, 0, fmt.Errorf("read the size of a netlink socket: %w", err)
	}
	return descriptor(fd), buffer, nil
}

// openSocket opens a socket for requests in the network namespace of the calling thread.
func openSocket() (*socket, error) { return openSocketOf(unix.NETLINK_ROUTE) }

// openSocketOf does so for another protocol of netlink than rtnetlink.
func openSocketOf(protocol int) (*socket, error) {
	// The kernel has answered before the write of a request returns, so an answer that is not there was lost: not worth waiting for.
	conn, buffer, err := openDescriptorOf(protocol, unix.SOCK_NONBLOCK)
	if err != nil {
		return nil, err
	}
	return &socket{conn: conn, batch: min(maxBatch, max(16, buffer/answerCost)), in: make([]byte, answerBuffer)}, nil
}

// write sends n requests in few system calls. encode appends request i; failed is told of each one that the kernel
// refused. The error is about the socket itself: then it is unknown what was done.
//
// Only the last request of a batch asks for an answer: refusals come anyway, and a success costs nothing that way. The kernel works a
// batch off before the write returns, so the answers are all there by then.
func (s *socket) write(n int, encode func(w *writer, i int), failed func(i int, err error)) error {
	for done := 0; done < n; {
		first := s.seq + 1
		s.out.b = s.out.b[:0]
		count := 0
		for done+count < n && count < s.batch && len(s.out.b) < maxBatchSize {
			encode(&s.out, done+count)
			count++
			s.seq++
			var flags uint16
			if done+count == n || count == s.batch || len(s.out.b) >= maxBatchSize {
				flags = unix.NLM_F_ACK
			}
			s.out.end(s.seq, flags)
		}
		if _, err := s.conn.Write(s.out.b); err != nil {
			return fmt.Errorf("write %d requests to the kernel: %w", count, err)
		}
		if err := s.answers(first, s.seq, func(seq uint32, err error) { failed(done+int(seq-first), err) }); err != nil {
			return err
		}
		done += count
	}
	return nil
}

// answers reads the answers to the requests first to last until that of the last one.
func (s *socket) answers(first, last uint32, failed func(seq uint32, err error)) error {
	for {
		n, err := s.conn.Read(s.in)
		if err != nil {
			return fmt.Errorf("read the kernel's answers: %w", err)
		}
		for h, b := range messages(s.in[:n]) {
			if h.kind != unix.NLMSG_ERROR || h.seq-first > last-first {
				continue // left over from a request that was given up
			}
			if err := answerError(h, b); err != nil {
				failed(h.seq, err)
			}
			if h.seq == last {
				return nil
			}
		}
	}
}

// listing is a dump of one kind of object.
type listing struct {
	what    string                      // for the error
	request func(w *writer)             // appends the request
	restart func()                      // forgets what each has got
	each    func(kind uint16, b []byte) // gets every message; b is gone afterwards
}

// list carries a listing out, from the beginning again as long as the kernel says that it was torn by a change. What the
// kernel cannot list because it has no such table, device or family is empty.
func (s *socket) list(ctx context.Context, l listing) error {
	for range maxTorn {
		if err := ctx.Err(); err != nil {
			return err
		}
		l.restart()
		torn, err := s.listOnce(l)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EAFNOSUPPORT) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("list %s: %w", l.what, err)
		}
		if !torn {
			return nil
		}
	}
	return fmt.Errorf("list %s: %w", l.what, errTorn)
}

func (s *socket) listOnce(l listing) (torn bool, err error) {
	s.seq++
	s.out.b = s.out.b[:0]
	l.request(&s.out)
	s.out.end(s.seq, unix.NLM_F_DUMP)
	if _, err := s.conn.Write(s.out.b); err != nil {
		return false, err
	}
	for {
		n, err := s.conn.Read(s.in)
		if err != nil {
			return false, err
		}
		for h, b := range messages(s.in[:n]) {
			if h.seq != s.seq {
				continue
			}
			torn = torn || h.flags&unix.NLM_F_DUMP_INTR != 0
			switch h.kind {
			case unix.NLMSG_DONE, unix.NLMSG_ERROR:
				return torn, answerError(h, b)
			default:
				l.each(h.kind, b)
			}
		}
	}
}

// ask sends one request that the kernel answers with one message, and hands that to answer.
func (s *socket) ask(request func(w *writer), answer func(b []byte)) error {
	s.seq++
	s.out.b = s.out.b[:0]
	request(&s.out)
	s.out.end(s.seq, 0)
	if _, err := s.conn.Write(s.out.b); err != nil {
		return err
	}
	for {
		n, err := s.conn.Read(s.in)
		if err != nil {
			return err
		}
		for h, b := range messages(s.in[:n]) {
			if h.seq != s.seq {
				continue
			}
			if h.kind == unix.NLMSG_ERROR {
				return answerError(h, b)
			}
			answer(b)
			return nil
		}
	}
}

// Refusal is the kernel's reason for not doing something: an error number and often a sentence.
type Refusal struct {
	Errno unix.Errno
	Text  string // the kernel's own words; may be empty
}

// Error returns the text of the error number and the kernel's own words.
func (r *Refusal) Error() string {
	if r.Text == "" {
		return r.Errno.Error()
	}
	return fmt.Sprintf("%v (%s)", r.Errno, r.Text)
}

// Unwrap returns the error number, so that errors.Is(err, unix.ENODEV) works.
func (r *Refusal) Unwrap() error { return r.Errno }

// answerError reads the outcome from a message of kind NLMSG_ERROR or NLMSG_DONE; nil is success.
func answerError(h header, b []byte) error {
	if len(b) < 4 {
		return nil
	}
	code := int32(binary.NativeEndian.Uint32(b))
	if code >= 0 {
		return nil
	}
	r := &Refusal{Errno: unix.Errno(-code)}
	if h.flags&unix.NLM_F_ACK_TLVS == 0 {
		return r
	}
	rest := b[4:]
	if h.kind == unix.NLMSG_ERROR {
		skip := sizeError
		if h.flags&unix.NLM_F_CAPPED == 0 && len(b) >= 8 {
			skip = 4 + align(int(binary.NativeEndian.Uint32(b[4:])))
		}
		rest = b[min(skip, len(b)):]
	}
	for kind, v := range attrs(rest) {
		if kind == unix.NLMSGERR_ATTR_MSG {
			r.Text = getText(v)
		}
	}
	return r
}
