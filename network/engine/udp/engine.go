// Package udp moves packets between TUN devices and UDP, which is how backend udp reaches its peers: a process of its
// own does it, which lives on when the agent ends. The package knows datagrams, packets and their hops, and refuses to know
// who the peers are and which routes lead to the devices.
package udp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/sirupsen/logrus"

	"github.com/weft-network/weft/network/engine/child"
	"github.com/weft-network/weft/network/kernel"
)

// Engine keeps the Datagrams of a State. It is the agent's side; the packets go through the process of Move.
type Engine struct {
	child *child.Child
	log   logrus.FieldLogger
}

// New makes the engine. The process has its socket in the folder dir, which it shares with no other node, and is started by command, of which
// the first word is the program; what it runs calls Move. Nothing is started before there is something to move.
func New(dir string, command []string, log logrus.FieldLogger) *Engine {
	return &Engine{child: child.New(filepath.Join(dir, "udp.sock"), command), log: log}
}

// version is that of what the two sides say to each other. A process that speaks another is replaced.
const version = 1

// What a request asks for. How to end a process is the same in all versions.
const (
	opList = "list"
	opPut  = "put"
	opDrop = "drop"
	opEnd  = "end"

	opCount = "count"
)

type request struct {
	Op        string
	Datagrams []kernel.Datagram `json:",omitempty"`
}

type response struct {
	Version   int
	Datagrams []kernel.Datagram `json:",omitempty"` // all that is kept now
	Dropped   []kernel.Dropped  `json:",omitempty"` // by device and reason, where that was asked for
	Errors    []string          `json:",omitempty"`
}

// List adds the datagrams that the process moves.
func (e *Engine) List(ctx context.Context, s *kernel.State) error {
	r, err := e.call(ctx, opList, nil)
	if errors.Is(err, child.ErrAbsent) {
		return nil
	}
	if err == nil && r.Version != version {
		e.log.WithField("version", r.Version).Info("the process that moves packets is another version's; it is replaced")
		return e.End(ctx)
	}
	for _, d := range r.Datagrams {
		s.Datagrams.Add(d)
	}
	return err
}

// Put has the datagrams of s moved. The process is started where there is none.
func (e *Engine) Put(ctx context.Context, s kernel.State) error {
	if len(s.Datagrams) == 0 {
		return nil
	}
	_, err := e.call(ctx, opPut, s.Datagrams)
	if !errors.Is(err, child.ErrAbsent) {
		return err
	}
	if err := e.child.Start(ctx); err != nil {
		return err
	}
	e.log.Info("started the process that moves packets between TUN devices and UDP")
	_, err = e.call(ctx, opPut, s.Datagrams)
	return err
}

// Drop ends the moving of the datagrams of s. With the last one the process ends.
func (e *Engine) Drop(ctx context.Context, s kernel.State) error {
	if len(s.Datagrams) == 0 {
		return nil
	}
	_, err := e.call(ctx, opDrop, s.Datagrams)
	if errors.Is(err, child.ErrAbsent) {
		return nil
	}
	return err
}

// End ends the process; that there is none is a success.
func (e *Engine) End(ctx context.Context) error {
	_, err := e.call(ctx, opEnd, nil)
	if errors.Is(err, child.ErrAbsent) {
		return nil
	}
	return err
}

// Run tells when the process has ended, or a device has gone.
func (e *Engine) Run(ctx context.Context, look func()) error {
	return e.child.Watch(ctx, func() {
		e.log.Info("the process that moves packets has ended, or a device of its own has gone")
		look()
	})
}

// Dropped lists how many packets were dropped, by device and reason; all reasons there are, also those of which there was none. The process
// counts, and begins anew with another process or device.
func (e *Engine) Dropped(ctx context.Context) ([]kernel.Dropped, error) {
	r, err := e.call(ctx, opCount, nil)
	if errors.Is(err, child.ErrAbsent) {
		return nil, nil
	}
	return r.Dropped, err
}

func (e *Engine) call(ctx context.Context, op string, datagrams kernel.Set[kernel.DatagramKey, kernel.Datagram]) (response, error) {
	var r response
	if err := e.child.Call(ctx, request{op, sorted(datagrams)}, &r); err != nil {
		return r, fmt.Errorf("speaking with the process that moves packets: %w", err)
	}
	var errs []error
	for _, text := range r.Errors {
		errs = append(errs, errors.New(text))
	}
	return r, errors.Join(errs...)
}

// sorted returns the datagrams of set in an order that is always the same.
func sorted(set kernel.Set[kernel.DatagramKey, kernel.Datagram]) []kernel.Datagram {
	return slices.SortedFunc(maps.Values(set), func(a, b kernel.Datagram) int {
		if c := a.Local.Compare(b.Local); c != 0 {
			return c
		}
		return a.Subnet.Compare(b.Subnet)
	})
}
