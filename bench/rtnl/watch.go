package rtnl

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/bench/peer"
)

// Kind is one of the three entries that a peer has in the kernel.
type Kind int

// The kinds.
const (
	Route Kind = iota
	Neighbour
	Forward
)

// Kinds are all kinds, in the order in which they can be written.
var Kinds = []Kind{Route, Neighbour, Forward}

// String returns the name of the kind, as people write it.
func (k Kind) String() string { return [...]string{"route", "neighbour", "FDB entry"}[k] }

// Watch follows the peers' entries and the device that they are on, by the kernel's own notifications. Time passes for
// it in Until alone. It is not safe for concurrent use.
type Watch struct {
	conn    *Conn
	device  string
	present [3][]bool
	count   [3]int
	seen    []bool // routes that were there at some time since Forget
	Up      bool   // the device is there and up
	Address bool   // the device has an address
	Changes int    // entries, devices and addresses that were made, changed or removed since Forget
	Made    int    // entries that were made or changed since Forget
	Last    time.Time
}

// NewWatch follows what is on device, from an empty picture; see List.
func NewWatch(device string) (*Watch, error) {
	conn, err := Open(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_NEIGH, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV4_ROUTE)
	if err != nil {
		return nil, err
	}
	w := &Watch{conn: conn, device: device, seen: make([]bool, peer.Max)}
	for k := range w.present {
		w.present[k] = make([]bool, peer.Max)
	}
	return w, nil
}

// Close ends the watch.
func (w *Watch) Close() error { return w.conn.Close() }

// Has tells whether peer i has its entry of kind k.
func (w *Watch) Has(k Kind, i int) bool { return w.present[k][i] }

// Seen tells whether peer i has had its route since Forget.
func (w *Watch) Seen(i int) bool { return w.seen[i] }

// Whole tells whether exactly n entries of each kind are there.
func (w *Watch) Whole(n int) bool {
	return w.count[Route] == n && w.count[Neighbour] == n && w.count[Forward] == n
}

// Forget begins a new count of Changes and Seen.
func (w *Watch) Forget() {
	w.Changes, w.Made = 0, 0
	clear(w.seen)
}

// Until takes in notifications until done says so, and returns when it did: the time at which the one that made the
// difference arrived. It is an error if that takes longer than timeout.
func (w *Watch) Until(timeout time.Duration, done func() bool) (time.Time, error) {
	for deadline := time.Now().Add(timeout); !done(); {
		if time.Now().After(deadline) {
			return time.Time{}, fmt.Errorf("waited %v for the kernel: %d routes, %d neighbours, %d FDB entries", timeout,
				w.count[Route], w.count[Neighbour], w.count[Forward])
		}
		if err := w.take(10 * time.Millisecond); err != nil {
			return time.Time{}, err
		}
	}
	return w.Last, nil
}

// Quiet takes in notifications until there was none for the time d.
func (w *Watch) Quiet(d time.Duration) error {
	for began := time.Now(); time.Since(began) < d; {
		before := w.Last
		if err := w.take(d); err != nil {
			return err
		}
		if w.Last != before {
			began = time.Now()
		}
	}
	return nil
}

func (w *Watch) take(timeout time.Duration) error {
	messages, err := w.conn.read(timeout)
	if err != nil {
		return err
	}
	if w.conn.Lost {
		w.conn.Lost = false
		return w.List()
	}
	if len(messages) > 0 {
		w.Last = time.Now()
	}
	for _, m := range messages {
		w.notice(m)
	}
	return nil
}

func (w *Watch) notice(m message) {
	switch m.kind {
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		w.noticeRoute(m)
	case unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
		w.noticeNeighbour(m)
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		attrs(m.body[unix.SizeofIfAddrmsg:], func(kind uint16, value []byte) {
			if kind == unix.IFA_LABEL && string(bytes.TrimRight(value, "\x00")) == w.device {
				w.Changes++
				if w.Address = m.kind == unix.RTM_NEWADDR; !w.Address {
					w.forgetAll(Route) // IPv4 routes go with the last address, without a word from the kernel
				}
			}
		})
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		w.noticeLink(m)
	}
}

func (w *Watch) noticeRoute(m message) {
	if m.body[1] != 24 || m.body[4] != unix.RT_TABLE_MAIN {
		return
	}
	attrs(m.body[unix.SizeofRtMsg:], func(kind uint16, value []byte) {
		if kind != unix.RTA_DST {
			return
		}
		if i, ok := peer.ByGateway(value); ok {
			w.set(Route, i, m.kind == unix.RTM_NEWROUTE)
		}
	})
}

func (w *Watch) noticeNeighbour(m message) {
	k, by, what := Neighbour, peer.ByGateway, unix.NDA_DST
	if m.body[0] == unix.AF_BRIDGE {
		k, by, what = Forward, peer.ByMAC, unix.NDA_LLADDR
	}
	attrs(m.body[unix.SizeofNdMsg:], func(kind uint16, value []byte) {
		if int(kind) != what {
			return
		}
		if i, ok := by(value); ok {
			w.set(k, i, m.kind == unix.RTM_NEWNEIGH && binary.NativeEndian.Uint16(m.body[8:])&permanent != 0)
		}
	})
}

// noticeLink follows the device. IPv4 routes go with it without a word from the kernel.
func (w *Watch) noticeLink(m message) {
	if m.body[0] != unix.AF_UNSPEC {
		return
	}
	attrs(m.body[unix.SizeofIfInfomsg:], func(kind uint16, value []byte) {
		if kind != unix.IFLA_IFNAME || string(bytes.TrimRight(value, "\x00")) != w.device {
			return
		}
		w.Changes++
		w.Up = m.kind == unix.RTM_NEWLINK && binary.NativeEndian.Uint32(m.body[8:])&unix.IFF_UP != 0
		if !w.Up {
			w.forgetAll(Route)
		}
		if m.kind == unix.RTM_DELLINK {
			w.forgetAll(Neighbour)
			w.forgetAll(Forward)
			w.Address = false
		}
	})
}

func (w *Watch) set(k Kind, i int, there bool) {
	w.Changes++
	if there {
		w.Made++
	}
	if k == Route && there {
		w.seen[i] = true
	}
	if w.present[k][i] == there {
		return
	}
	w.present[k][i] = there
	if there {
		w.count[k]++
	} else {
		w.count[k]--
	}
}

func (w *Watch) forgetAll(k Kind) {
	clear(w.present[k])
	w.count[k] = 0
}

// List replaces the picture by a listing of what is there.
func (w *Watch) List() error {
	conn, err := Open(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer conn.Close()
	w.Up, w.Address = false, false
	changes, made := w.Changes, w.Made
	for _, k := range Kinds {
		w.forgetAll(k)
	}
	for _, request := range []struct {
		kind   int
		family byte
		size   int
	}{
		{unix.RTM_GETLINK, unix.AF_UNSPEC, unix.SizeofIfInfomsg}, {unix.RTM_GETADDR, unix.AF_INET, unix.SizeofIfAddrmsg},
		{unix.RTM_GETROUTE, unix.AF_INET, unix.SizeofRtMsg},
		{unix.RTM_GETNEIGH, unix.AF_INET, unix.SizeofNdMsg}, {unix.RTM_GETNEIGH, unix.AF_BRIDGE, unix.SizeofNdMsg},
	} {
		fixed := make([]byte, request.size)
		fixed[0] = request.family
		conn.begin(request.kind, unix.NLM_F_DUMP, fixed...)
		conn.end()
		if err := w.dump(conn); err != nil {
			return fmt.Errorf("list what the kernel holds: %w", err)
		}
	}
	w.Changes, w.Made = changes, made
	w.Last = time.Now()
	return nil
}

func (w *Watch) dump(conn *Conn) error {
	_, err := unix.Write(conn.fd, conn.out)
	conn.out = conn.out[:0]
	if err != nil {
		return err
	}
	for {
		messages, err := conn.read(5 * time.Second)
		if err != nil || len(messages) == 0 {
			return fmt.Errorf("no answer from the kernel: %w", err)
		}
		for _, m := range messages {
			switch m.kind {
			case unix.NLMSG_DONE:
				return nil
			case unix.NLMSG_ERROR:
				return unix.Errno(-int32(binary.NativeEndian.Uint32(m.body)))
			}
			w.notice(m)
		}
	}
}
