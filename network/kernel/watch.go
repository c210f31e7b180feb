package kernel

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Events say what the kernel has announced since the last ones. Nothing in them is to be applied; they say where to look.
type Events struct {
	// All: look at everything again. Messages were lost, or something went that takes others with it without a word, as a
	// device that is set down takes its IPv4 routes.
	All bool
	// Uplink: devices with addresses, addresses or default routes of the host have changed; choose the uplink again.
	Uplink bool
	// Seen holds our objects as they are now, Gone those that are there no more, the values as they were or with the key alone.
	// The last word for each key counts, so no key is in both.
	Seen, Gone State
}

// isEmpty tells whether there is nothing to say.
func (e Events) isEmpty() bool { return !e.All && !e.Uplink && e.Seen.IsEmpty() && e.Gone.IsEmpty() }

// maxEvents is how many messages go into one Events at most, so that a storm does not hold back what began it.
const maxEvents = 1 << 15

// watchedGroups are the netlink groups that tell of all that Weft keeps. NEIGH covers forwarding entries.
var watchedGroups = [...]int{
	unix.RTNLGRP_LINK, unix.RTNLGRP_NEIGH,
	unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
	unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE,
	unix.RTNLGRP_IPV4_NETCONF, unix.RTNLGRP_IPV6_NETCONF,
}

// Watch calls f, one call at a time, with what the kernel announces, until ctx ends; it returns ctx.Err() then, any other error
// when the kernel cannot be listened to. The first call comes at once and says All and Uplink: whoever lists after it misses
// nothing. Changes made by Apply are announced as well. Which routes and parameters are ours is taken from the last List.
//
// What arrives while f runs is kept and told together in the next call. Where the kernel had to drop messages, the next call says All.
func (k *Kernel) Watch(ctx context.Context, f func(Events)) error {
	file, err := k.openEvents()
	if err != nil {
		return err
	}
	defer file.Close()
	stop := context.AfterFunc(ctx, func() { file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()

	w := &watcher{kernel: k, in: make([]byte, answerBuffer)}
	if err := w.reset(ctx); err != nil {
		return err
	}
	for {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !w.events.isEmpty() {
			events := w.events
			w.events = Events{}
			f(events)
			continue
		}
		if err := w.wait(file); err != nil && ctx.Err() == nil {
			return fmt.Errorf("listen to the kernel: %w", err)
		}
		if w.lost {
			if err := w.reset(ctx); err != nil {
				return err
			}
		}
	}
}

// openEvents opens a socket that hears of all changes.
func (k *Kernel) openEvents() (file *os.File, err error) {
	err = k.Inside(func() error {
		d, _, err := openDescriptor(unix.SOCK_NONBLOCK, watchedGroups[:]...)
		if err == nil {
			file = os.NewFile(uintptr(d), "netlink")
		}
		return err
	})
	return file, err
}

// watcher turns messages of the kernel into Events.
type watcher struct {
	kernel *Kernel
	in     []byte
	events Events
	lost   bool // messages were lost: what is below is out of date

	interest interest
	devices  devices
	hosts    map[hostAddr]uint32 // global addresses that are not on our devices, with their flags
}

type hostAddr struct {
	device int
	prefix netip.Prefix
}

// reset learns devices and addresses anew.
func (w *watcher) reset(ctx context.Context) (err error) {
	k := w.kernel
	k.mu.Lock()
	defer k.mu.Unlock()
	w.lost = false
	w.events = Events{All: true, Uplink: true}
	w.hosts = map[hostAddr]uint32{}
	if w.devices, err = k.socket.devices(ctx); err != nil {
		return err
	}
	if _, err := k.fillWireGuard(w.devices); err != nil {
		return err
	}
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		addrs, err := k.socket.addrs(ctx, family, 0)
		if err != nil {
			return err
		}
		for _, a := range addrs {
			if key, ok := w.host(a); ok {
				w.hosts[key] = a.flags
			}
		}
	}
	return nil
}

// wait waits for messages and takes in all that are there.
func (w *watcher) wait(file *os.File) error {
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = conn.Read(func(fd uintptr) bool {
		count, err := w.drain(descriptor(fd))
		failed = err
		return count > 0 || err != nil
	})
	return errors.Join(err, failed)
}

// drain takes in the messages that are there.
func (w *watcher) drain(d descriptor) (count int, err error) {
	fresh := false
	for ; count < maxEvents || w.lost; count++ {
		n, err := d.Read(w.in)
		if err == unix.EAGAIN {
			return count, nil
		}
		if err == unix.ENOBUFS {
			// What is still queued is from before the gap and no last word on anything. The kernel queues nothing new before it is read.
			w.lost = true
			continue
		}
		if err != nil {
			return count, err
		}
		if w.lost {
			continue
		}
		if !fresh {
			w.interest, fresh = w.kernel.watched.snapshot(), true
		}
		for h, b := range messages(w.in[:n]) {
			w.take(h, b)
		}
	}
	return count, nil
}
