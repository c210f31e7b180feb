// Package wireguard is WireGuard for kernels that have none: a process of its own encrypts what goes through TUN devices
// that stand in for the kernel's WireGuard devices, and lives on when the agent ends. The package knows devices and peers, and refuses to know
// whose they are and which routes lead to the devices.
package wireguard

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/weft-network/weft/network/engine/child"
	"github.com/weft-network/weft/network/engine/tundevice"
	"github.com/weft-network/weft/network/kernel"
)

// freshFor is how long keys that two peers have agreed on are in use, with some time to agree on new ones.
const freshFor = 200 * time.Second

// Engine keeps those WireGuard devices of a State, and their peers, that TUN devices stand in for. Those that the kernel
// itself has it lets alone.
type Engine struct {
	child *child.Child
	log   logrus.FieldLogger

	mu     sync.Mutex
	listed bool // List was called before
	active bool // there are devices
}

// New makes the engine. The process has its socket in the folder dir, which it shares with no other node, and is started by command, of which
// the first word is the program; what it runs calls Serve. Nothing is started before there is a device to serve.
func New(dir string, command []string, log logrus.FieldLogger) *Engine {
	return &Engine{child: child.New(filepath.Join(dir, "wireguard.sock"), command), log: log}
}

// List says of the TUN devices that the process serves that they are WireGuard devices, and adds their peers. A first List on a kernel
// that has WireGuard by now ends the process: the kernel takes over.
func (e *Engine) List(ctx context.Context, s *kernel.State) error {
	e.mu.Lock()
	first := !e.listed
	e.listed = true
	e.mu.Unlock()
	r, err := e.call(ctx, request{Op: opList})
	if errors.Is(err, child.ErrAbsent) {
		e.see(response{})
		return nil
	}
	if err == nil && (first && kernel.KnowsWireGuard() || r.Version != version) {
		e.log.Info("the process that encrypts packets ends; the kernel's WireGuard, or another version, takes its place")
		return e.End(ctx)
	}
	e.see(r)
	for _, d := range r.Devices {
		if l, ok := s.Links[d.Name]; ok && l.TUN {
			l.TUN, l.WireGuard = false, d.wireGuard()
			s.Links.Add(l)
		}
	}
	for _, p := range r.Peers {
		s.WireGuardPeers.Add(p.listed(time.Now()))
	}
	return err
}

// see takes in what the process keeps.
func (e *Engine) see(r response) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.active = len(r.Devices) > 0
}

// Put makes those devices and peers of s that TUN devices stand in for. The process is started where there is none.
func (e *Engine) Put(ctx context.Context, s kernel.State) error {
	q := request{Op: opPut}
	for _, l := range s.Links {
		if l.WireGuard != (kernel.WireGuard{}) && tundevice.Is(l.Name) {
			q.Devices = append(q.Devices, newDevice(l))
		}
	}
	q.Peers = ours(s)
	if len(q.Devices) == 0 && len(q.Peers) == 0 {
		return nil
	}
	r, err := e.call(ctx, q)
	if errors.Is(err, child.ErrAbsent) {
		if err := e.child.Start(ctx); err != nil {
			return err
		}
		e.log.Info("started the process that encrypts packets for WireGuard")
		r, err = e.call(ctx, q)
	}
	e.see(r)
	return err
}

const missed = "the kernel has no WireGuard, so that packets are encrypted outside of it, which is slower; " +
	"the module wireguard (kernel 5.6 or later) helps, and after it weftd is to be started again"

// Warnings are sentences for the status: that the kernel's WireGuard is missed, where it is.
func (e *Engine) Warnings() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.active {
		return []string{missed}
	}
	return nil
}

// Drop takes peers of s away. Devices end by themselves when their TUN devices go, and the process with the last one.
func (e *Engine) Drop(ctx context.Context, s kernel.State) error {
	q := request{Op: opDrop, Peers: ours(s)}
	if len(q.Peers) == 0 {
		return nil
	}
	_, err := e.call(ctx, q)
	if errors.Is(err, child.ErrAbsent) {
		return nil
	}
	return err
}

// ours are the peers of devices that TUN devices stand in for.
func ours(s kernel.State) (list []peer) {
	is := map[string]bool{}
	for _, p := range s.WireGuardPeers {
		yes, known := is[p.Link]
		if !known {
			yes = tundevice.Is(p.Link)
			is[p.Link] = yes
		}
		if yes {
			list = append(list, newPeer(p))
		}
	}
	return list
}

// End ends the process; that there is none is a success.
func (e *Engine) End(ctx context.Context) error {
	e.see(response{})
	_, err := e.call(ctx, request{Op: opEnd})
	if errors.Is(err, child.ErrAbsent) {
		return nil
	}
	return err
}

// Run tells when the process has ended, or a device has gone.
func (e *Engine) Run(ctx context.Context, look func()) error {
	return e.child.Watch(ctx, func() {
		e.log.Info("the process that encrypts packets has ended, or a device of its own has gone")
		look()
	})
}

// WireGuardTraffic lists what the devices count, by device and public key.
func (e *Engine) WireGuardTraffic(ctx context.Context) ([]kernel.WireGuardTraffic, error) {
	r, err := e.call(ctx, request{Op: opList})
	if errors.Is(err, child.ErrAbsent) {
		return nil, nil
	}
	var list []kernel.WireGuardTraffic
	for _, p := range r.Peers {
		list = append(list, p.traffic())
	}
	return list, err
}

// Redirect gives a peer another endpoint. A peer or device that is not there is left so.
func (e *Engine) Redirect(ctx context.Context, p kernel.WireGuardPeerKey, to netip.AddrPort) error {
	_, err := e.call(ctx, request{Op: opRedirect, Peers: []peer{{Link: p.Link, PublicKey: key(p.PublicKey), Endpoints: []netip.AddrPort{to}}}})
	if errors.Is(err, child.ErrAbsent) {
		return nil
	}
	return err
}

func (e *Engine) call(ctx context.Context, q request) (response, error) {
	var r response
	if err := e.child.Call(ctx, q, &r); err != nil {
		return r, fmt.Errorf("speaking with the process that encrypts packets: %w", err)
	}
	var errs []error
	for _, text := range r.Errors {
		errs = append(errs, errors.New(text))
	}
	return r, errors.Join(errs...)
}
