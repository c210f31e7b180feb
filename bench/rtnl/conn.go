// Package rtnl speaks just as much rtnetlink as a benchmark needs: it writes the entries of made-up peers in batches
// with nothing around them, and watches them come and go. It is separate from the code that it measures, and refuses
// to share any with it.
package rtnl

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// batchSize is how much is sent with one system call.
const batchSize = 64 << 10

// Conn is a netlink socket. It is not safe for concurrent use.
type Conn struct {
	fd    int
	in    []byte
	out   []byte
	start int // of the message that is being written
	seq   uint32
	Lost  bool // the kernel had more to tell than the socket could hold
}

// Open opens a socket of a protocol (unix.NETLINK_ROUTE, ...) and subscribes it to groups.
func Open(protocol int, groups ...int) (*Conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket: %w", err)
	}
	c := &Conn{fd: fd, in: make([]byte, 256<<10)}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, errors.Join(fmt.Errorf("bind a netlink socket: %w", err), c.Close())
	}
	const buffer = 64 << 20
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, buffer) // then Lost tells
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1) // shorter answers, where there are such
	for _, group := range groups {
		if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, group); err != nil {
			return nil, errors.Join(fmt.Errorf("subscribe to netlink group %d: %w", group, err), c.Close())
		}
	}
	return c, nil
}

// Close closes the socket.
func (c *Conn) Close() error { return unix.Close(c.fd) }

// begin starts a message of kind with a fixed part of its own.
func (c *Conn) begin(kind int, flags uint16, fixed ...byte) {
	c.start = len(c.out)
	c.seq++
	c.out = binary.NativeEndian.AppendUint32(c.out, 0)
	c.out = binary.NativeEndian.AppendUint16(c.out, uint16(kind))
	c.out = binary.NativeEndian.AppendUint16(c.out, unix.NLM_F_REQUEST|flags)
	c.out = binary.NativeEndian.AppendUint32(c.out, c.seq)
	c.out = binary.NativeEndian.AppendUint32(c.out, 0)
	c.out = append(c.out, fixed...)
}

// attr appends an attribute to the message.
func (c *Conn) attr(kind int, value ...byte) {
	c.out = binary.NativeEndian.AppendUint16(c.out, uint16(4+len(value)))
	c.out = binary.NativeEndian.AppendUint16(c.out, uint16(kind))
	c.out = append(c.out, value...)
	for len(c.out)%4 != 0 {
		c.out = append(c.out, 0)
	}
}

// nest appends an attribute that holds what inside appends.
func (c *Conn) nest(kind int, inside func()) {
	at := len(c.out)
	c.attr(kind)
	inside()
	binary.NativeEndian.PutUint16(c.out[at:], uint16(len(c.out)-at))
}

// end finishes the message.
func (c *Conn) end() { binary.NativeEndian.PutUint32(c.out[c.start:], uint32(len(c.out)-c.start)) }

// flushFull sends what has gathered if it is enough for one system call.
func (c *Conn) flushFull() error {
	if len(c.out) < batchSize {
		return nil
	}
	return c.flush()
}

// flush sends what has gathered and waits for the answer to the last message. The error is the first refusal.
func (c *Conn) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	flags := binary.NativeEndian.Uint16(c.out[c.start+6:])
	binary.NativeEndian.PutUint16(c.out[c.start+6:], flags|unix.NLM_F_ACK)
	_, err := unix.Write(c.fd, c.out)
	c.out = c.out[:0]
	if err != nil {
		return fmt.Errorf("write to the kernel: %w", err)
	}
	return c.answers()
}

// answers reads until the answer to the last request.
func (c *Conn) answers() error {
	var first error
	for {
		messages, err := c.read(10 * time.Second)
		if err != nil {
			return err
		}
		for _, m := range messages {
			if m.kind != unix.NLMSG_ERROR {
				continue
			}
			if code := int32(binary.NativeEndian.Uint32(m.body)); code != 0 && first == nil {
				first = fmt.Errorf("the kernel refused request %d: %w", m.seq, unix.Errno(-code))
			}
			if m.seq == c.seq {
				return first
			}
		}
	}
}

type message struct {
	kind uint16
	seq  uint32
	body []byte
}

// read returns the messages of one datagram; none if there is no datagram in time. They are valid until the next read.
func (c *Conn) read(timeout time.Duration) ([]message, error) {
	fds := []unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLIN}}
	for deadline := time.Now().Add(timeout); ; {
		left := max(0, time.Until(deadline))
		n, err := unix.Poll(fds, int((left+time.Millisecond-1)/time.Millisecond))
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return nil, err
		}
		n, err = unix.Read(c.fd, c.in)
		switch err {
		case nil:
			return split(c.in[:n]), nil
		case unix.EINTR:
		case unix.ENOBUFS:
			c.Lost = true
			return nil, nil
		default:
			return nil, fmt.Errorf("read from the kernel: %w", err)
		}
	}
}

// split takes a datagram apart.
func split(b []byte) []message {
	var all []message
	for len(b) >= unix.NLMSG_HDRLEN {
		n := int(binary.NativeEndian.Uint32(b))
		if n < unix.NLMSG_HDRLEN || n > len(b) {
			break
		}
		all = append(all, message{binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint32(b[8:]), b[unix.NLMSG_HDRLEN:n]})
		b = b[min(len(b), (n+3)&^3):]
	}
	return all
}

// attrs calls f with each attribute of b.
func attrs(b []byte, f func(kind uint16, value []byte)) {
	for len(b) >= 4 {
		n := int(binary.NativeEndian.Uint16(b))
		if n < 4 || n > len(b) {
			return
		}
		f(binary.NativeEndian.Uint16(b[2:])&^unix.NLA_F_NESTED, b[4:n])
		b = b[min(len(b), (n+3)&^3):]
	}
}

// Drain throws away what the kernel has told up to now.
func (c *Conn) Drain() error {
	for {
		messages, err := c.read(0)
		if err != nil || len(messages) == 0 {
			return err
		}
	}
}

// Commit waits until the rules of nftables have changed, and returns when the kernel said so. The socket must be one
// of unix.NETLINK_NETFILTER, subscribed to unix.NFNLGRP_NFTABLES.
func (c *Conn) Commit(timeout time.Duration) (time.Time, error) {
	const generation = unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWGEN
	for deadline := time.Now().Add(timeout); time.Now().Before(deadline); {
		messages, err := c.read(time.Until(deadline))
		if err != nil {
			return time.Time{}, err
		}
		for _, m := range messages {
			if m.kind == generation {
				return time.Now(), nil
			}
		}
	}
	return time.Time{}, fmt.Errorf("waited %v for a change of the rules", timeout)
}
