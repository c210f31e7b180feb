package kernel

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// PodPorts say which devices of pods Resize may change, and where the pods are found.
type PodPorts struct {
	Gateways   []netip.Addr // the pods' bridge has one of these addresses
	From       int          // MTU in bytes; a device that has another one was given it by somebody else, and keeps it
	To         int
	Namespaces []string // patterns of the files of network namespaces, as "/run/netns/*"
}

// Resized is what became of the pods' devices.
type Resized struct {
	Bridge string   // "" where there is none
	Pods   []string // the host's ends of those that were changed, by name
	Kept   []string // the host's ends of those that were not, because the pod could not be entered or has another MTU
}

// Resize changes the MTU of the bridge that Weft's CNI plugin has had made, and of the veth pairs of the pods on it. A veth pair is
// changed at both ends or not at all: the kernel drops without a word what is larger than the end that it arrives at
// (is_skb_forwardable), while pods whose ends stay learn of smaller paths by ICMP. The error says why pods were kept. To do it again
// changes nothing.
func (k *Kernel) Resize(ctx context.Context, p PodPorts) (Resized, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var done Resized
	all, err := k.socket.ports(ctx)
	if err != nil {
		return done, err
	}
	bridge, err := k.socket.podBridge(ctx, all, p.Gateways)
	if err != nil || bridge.index == 0 {
		return done, err
	}
	done.Bridge = bridge.name
	var ends []port
	largest := p.To // that the bridge may hand on: it drops what a port does not take
	for _, d := range all {
		switch {
		case d.master != bridge.index:
		case d.mtu == p.From && d.kind == "veth":
			ends = append(ends, d)
		default:
			largest = min(largest, d.mtu)
		}
	}
	errs := k.resizeEnds(ends, p, &done)
	if len(done.Kept) == 0 {
		errs = append(errs, k.resizeBridge(bridge, p.From, largest))
	}
	return done, errors.Join(errs...)
}

// resizeEnds changes the pairs whose host's ends are given: larger at first here, smaller at first in the pod.
func (k *Kernel) resizeEnds(ends []port, p PodPorts, done *Resized) (errs []error) {
	if len(ends) == 0 {
		return nil
	}
	spaces := k.socket.namespaces(p.Namespaces)
	defer func() {
		for _, f := range spaces {
			f.Close()
		}
	}()
	for _, d := range ends {
		f, ok := spaces[d.nsid]
		if !ok {
			done.Kept = append(done.Kept, d.name)
			errs = append(errs, fmt.Errorf("the network namespace at the other end of %s is not to be found from here", d.name))
			continue
		}
		err := within(f, func(s *socket) error {
			return s.resizeEnd(d, p, func() error { return k.socket.setMTU(d.index, p.To) })
		})
		if err != nil {
			done.Kept = append(done.Kept, d.name)
			errs = append(errs, fmt.Errorf("change the MTU of the pod at %s: %w", d.name, err))
			continue
		}
		done.Pods = append(done.Pods, d.name)
	}
	return errs
}

// resizeEnd changes the pod's end of d, on a socket in the pod, and the host's by host.
func (s *socket) resizeEnd(d port, p PodPorts, host func() error) error {
	mtu := 0
	err := s.ask(func(w *writer) {
		w.begin(unix.RTM_GETLINK, 0)
		w.raw(unix.AF_UNSPEC, 0, 0, 0)
		w.u32raw(uint32(d.peer))
		w.u32raw(0)
		w.u32raw(0)
	}, func(b []byte) {
		if peer, ok := parsePort(b); ok && peer.kind == "veth" {
			mtu = peer.mtu
		}
	})
	if err != nil {
		return err
	}
	if mtu != p.From && mtu != p.To {
		return fmt.Errorf("its own end has %d, which somebody else has given it", mtu)
	}
	if p.To > p.From {
		return errors.Join(host(), s.setMTU(d.peer, p.To))
	}
	return errors.Join(s.setMTU(d.peer, p.To), host())
}

// resizeBridge changes the bridge where the kernel has not: it follows its ports as long as nobody has said otherwise.
func (k *Kernel) resizeBridge(bridge port, from, to int) error {
	now, err := k.socket.device(bridge.name)
	if err != nil || now.index != bridge.index || now.mtu != from {
		return err
	}
	if err := k.socket.setMTU(bridge.index, to); err != nil {
		return fmt.Errorf("change the MTU of %s: %w", bridge.name, err)
	}
	return nil
}

func (s *socket) setMTU(index, mtu int) error {
	var refused error
	err := s.write(1, func(w *writer, _ int) {
		beginLink(w, unix.RTM_NEWLINK, 0, index, 0, 0)
		w.u32(unix.IFLA_MTU, uint32(mtu))
	}, func(_ int, err error) { refused = err })
	return errors.Join(err, refused)
}

// port is a device with what joins it to others.
type port struct {
	index, mtu, master, peer int
	nsid                     int // of the namespace that peer is in; -1 where it is in this one
	name, kind               string
}

func (s *socket) ports(ctx context.Context) (all []port, err error) {
	err = s.list(ctx, listing{
		what: "devices",
		request: func(w *writer) {
			w.begin(unix.RTM_GETLINK, 0)
			w.raw(make([]byte, sizeLink)...)
			w.u32(unix.IFLA_EXT_MASK, skipStats)
		},
		restart: func() { all = nil },
		each: func(kind uint16, b []byte) {
			if p, ok := parsePort(b); ok && kind == unix.RTM_NEWLINK {
				all = append(all, p)
			}
		},
	})
	return all, err
}

func parsePort(b []byte) (p port, ok bool) {
	d, ok := parseDevice(b)
	if !ok {
		return p, false
	}
	p = port{index: d.index, mtu: d.mtu, nsid: -1, name: d.name, kind: d.kind}
	for kind, v := range attrs(b[sizeLink:]) {
		switch kind {
		case unix.IFLA_MASTER:
			p.master = int(getU32(v))
		case unix.IFLA_LINK:
			p.peer = int(getU32(v))
		case unix.IFLA_LINK_NETNSID:
			p.nsid = int(int32(getU32(v)))
		}
	}
	return p, true
}

// podBridge returns the bridge with one of the gateways' addresses; the zero port where there is none.
func (s *socket) podBridge(ctx context.Context, all []port, gateways []netip.Addr) (port, error) {
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		addrs, err := s.addrs(ctx, family, 0)
		if err != nil {
			return port{}, err
		}
		for _, a := range addrs {
			if !slices.Contains(gateways, a.prefix.Addr()) {
				continue
			}
			for _, d := range all {
				if d.index == a.device && d.kind == "bridge" {
					return d, nil
				}
			}
		}
	}
	return port{}, nil
}

// namespaces opens those files of network namespaces that this one has numbers for. The caller closes them.
func (s *socket) namespaces(patterns []string) map[int]*os.File {
	found := map[int]*os.File{}
	for _, pattern := range patterns {
		paths, _ := filepath.Glob(pattern) // the one error is a pattern that is none
		for _, path := range paths {
			f, err := os.Open(path)
			if err != nil {
				continue // it has ended meanwhile, or is not for us to see
			}
			id, err := s.number(f)
			if _, known := found[id]; err != nil || id < 0 || known {
				f.Close()
				continue
			}
			found[id] = f
		}
	}
	return found
}

// number returns the number that this namespace has for the one of f; -1 where it has none.
func (s *socket) number(f *os.File) (id int, err error) {
	const sizeGeneric = 4 // struct rtgenmsg with its padding
	id = unix.NETNSA_NSID_NOT_ASSIGNED
	err = s.ask(func(w *writer) {
		w.begin(unix.RTM_GETNSID, 0)
		w.raw(unix.AF_UNSPEC, 0, 0, 0)
		w.u32(unix.NETNSA_FD, uint32(f.Fd()))
	}, func(b []byte) {
		if len(b) < sizeGeneric {
			return
		}
		for kind, v := range attrs(b[sizeGeneric:]) {
			if kind == unix.NETNSA_NSID {
				id = int(int32(getU32(v)))
			}
		}
	})
	return id, err
}

// within runs f with a socket in the namespace of file.
func within(file *os.File, f func(*socket) error) error {
	var g errgroup.Group
	g.Go(func() error {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter its network namespace: %w", err)
		}
		s, err := openSocket()
		if err != nil {
			return err
		}
		defer s.conn.Close()
		return f(s)
	})
	return g.Wait()
}
