package kernel

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Kernel is the Sync to the network namespace in which Open was called, whatever thread its methods are called on
// later. All its methods are safe for concurrent use.
type Kernel struct {
	namespace *os.File
	mark      Mark
	sysctlDir string
	watched   watched
	mu        sync.Mutex // guards socket
	socket    *socket
}

// SysctlDir is where kernel parameters are, and are written unless a caller says otherwise.
const SysctlDir = "/proc/sys"

// Open opens a Kernel to the network namespace of the calling thread. The caller closes it.
func Open() (*Kernel, error) { return OpenAs(Mark{}, SysctlDir) }

// OpenAs is Open for the network with that mark: all others' objects are as strange to the Kernel as those of other programs.
//
// dir is SysctlDir but for a process that may write the kernel's parameters in another folder only: in a container without
// privileges that one is read-only, and a mount of the host's /proc/sys/net elsewhere is not. They are read in SysctlDir in any
// case.
func OpenAs(mark Mark, dir string) (*Kernel, error) {
	if err := mark.Check(); err != nil {
		return nil, err
	}
	namespace, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("find the network namespace: %w", err)
	}
	s, err := openSocket()
	if err != nil {
		namespace.Close()
		return nil, err
	}
	s.mark = mark
	return &Kernel{namespace: namespace, mark: mark, sysctlDir: dir, socket: s}, nil
}

// Close releases what Open took. It changes nothing in the kernel. It is to be called when no other method runs any more.
func (k *Kernel) Close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.socket.conn.Close()
	k.namespace.Close()
}

// Inside runs f on a thread in the namespace of k and returns what it returns. Sockets that f opens and programs that it
// starts are in that namespace; goroutines that it starts need not be. It needs the right to enter a namespace
// (CAP_SYS_ADMIN) only where the process runs in another one.
func (k *Kernel) Inside(f func() error) error {
	here, err := k.isHere()
	if err != nil {
		return err
	}
	if here {
		return f()
	}
	var g errgroup.Group
	g.Go(func() error {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := unix.Setns(int(k.namespace.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter the network namespace: %w", err)
		}
		return f()
	})
	return g.Wait()
}

// isHere tells whether the threads of this process are in the namespace of k.
func (k *Kernel) isHere() (bool, error) {
	var own, there unix.Stat_t
	err := errors.Join(unix.Stat("/proc/thread-self/ns/net", &own), unix.Fstat(int(k.namespace.Fd()), &there))
	if err != nil {
		return false, fmt.Errorf("compare network namespaces: %w", err)
	}
	return own.Ino == there.Ino && own.Dev == there.Dev, nil
}

// List returns what the kernel holds of our objects, and those of the named parameters that it has. What List is told is
// remembered by Watch until the next List.
func (k *Kernel) List(ctx context.Context, scope Scope, sysctls []string) (State, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	scope.mark = k.mark
	s, err := k.list(ctx, scope)
	if err == nil {
		err = k.readSysctls(sysctls, &s)
	}
	if err != nil {
		return State{}, err
	}
	k.watched.listed(scope, sysctls, s)
	return s, nil
}

// list lists all but parameters.
func (k *Kernel) list(ctx context.Context, scope Scope) (s State, err error) {
	all, err := k.socket.devices(ctx)
	if err != nil {
		return s, err
	}
	if s.WireGuardPeers, err = k.fillWireGuard(all); err != nil {
		return s, err
	}
	for _, index := range all.ours() {
		s.Links.Add(all[index].link(all))
		if err := k.listDevice(ctx, index, all[index].name, kindNamed(all[index].kind).fdb, &s); err != nil {
			return s, err
		}
	}
	s.Routes, err = k.listRoutes(ctx, scope, all, unix.AF_INET, unix.AF_INET6)
	return s, err
}

// listDevice adds what one of our devices holds: addresses, neighbours, forwarding entries if it has them.
func (k *Kernel) listDevice(ctx context.Context, index int, name string, fdb bool, s *State) error {
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		addrs, err := k.socket.addrs(ctx, family, index)
		if err != nil {
			return err
		}
		for _, a := range addrs {
			if a.isOurs() {
				s.Addrs.Add(Addr{name, a.prefix})
			}
		}
		neighs, err := k.socket.neighs(ctx, family, index)
		if err != nil {
			return err
		}
		s.Neighbours.grow(len(neighs))
		for _, n := range neighs {
			s.Neighbours.Add(Neighbour{name, n.ip, n.mac})
		}
	}
	if !fdb {
		return nil
	}
	entries, err := k.socket.neighs(ctx, unix.AF_BRIDGE, index)
	if err != nil {
		return err
	}
	s.Forwards.grow(len(entries))
	for _, n := range entries {
		s.Forwards.Add(Forward{name, n.mac, n.ip})
	}
	return nil
}

// listRoutes lists our routes and flannel's of some families. Of several under the same key the first one counts, as it does for packets.
func (k *Kernel) listRoutes(ctx context.Context, scope Scope, all devices, families ...uint8) (Set[RouteKey, Route], error) {
	var set Set[RouteKey, Route]
	for _, family := range families {
		for _, protocol := range []uint8{scope.mark.Protocol(), unix.RTPROT_BOOT} {
			routes, err := k.socket.routes(ctx, family, protocol, scope, all)
			if err != nil {
				return nil, err
			}
			set.grow(len(routes))
			for _, r := range routes {
				if _, ok := set[r.Key()]; !ok {
					set.Add(r)
				}
			}
		}
	}
	return set, nil
}

// grow makes room for n objects in an empty set at once.
func (s *Set[K, V]) grow(n int) {
	if len(*s) == 0 && n > 0 {
		*s = make(Set[K, V], n)
	}
}
