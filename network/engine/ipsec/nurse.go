package ipsec

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/weft-network/weft/network/kernel"
)

const (
	round   = 2 * time.Second // between two looks at all keys
	turns   = 4               // rounds that the node which does not begin leaves to the other
	warnAt  = 8               // rounds without keys after which that is told
	longest = 64              // rounds between two tries at most
	losing  = 2               // rounds in a row in which the kernel lacks something until it is made again: in one alone, keys may just be changing
)

// patient is how an association is doing.
type patient struct {
	rounds int  // since when it has no keys
	told   bool // that it has none
	lacks  int  // rounds since when the kernel lacks something of it
}

// nurse looks at all associations now and then until ctx ends. charon tries again by itself only for as long as the peer does not answer:
// one that has refused, because it was not told of this node yet, would wait for a packet of a pod. And it does not notice when somebody
// takes keys or policies out of the kernel.
func (e *Engine) nurse(ctx context.Context) error {
	t := time.NewTicker(round)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
		if err := e.look(ctx); err != nil && !errors.Is(err, errAbsent) {
			e.log.WithError(err).Debug("looking at the keys with peers failed")
		}
	}
}

// look has keys agreed on where there are none, less and less often, and mends what the kernel has lost.
func (e *Engine) look(ctx context.Context) error {
	e.mu.Lock()
	wanted, patients := maps.Clone(e.wanted), maps.Clone(e.patients)
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.patients = patients
	}()
	maps.DeleteFunc(patients, func(name string, _ patient) bool { _, ok := wanted[name]; return !ok })
	if len(wanted) == 0 {
		return nil
	}
	v, err := e.charon.speak()
	if err != nil {
		return err
	}
	defer v.Close()
	keyed, busy, err := v.associated()
	if err != nil {
		return err
	}
	held, err := e.held(ctx)
	errs := []error{err}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		a, p := wanted[name], patients[name]
		log := e.log.WithFields(logrus.Fields{"peer": a.Peer.String(), "remote": a.Remote.String()})
		spis, isKeyed := keyed[name]
		if err == nil && lacks(held, a, spis, isKeyed) {
			p.lacks++
		} else {
			p.lacks = 0
		}
		if mends(p.lacks) {
			log.Warn("the kernel has lost keys or policies for packets to the peer; they are made again")
			errs = append(errs, e.mend(v, name, a))
		}
		if isKeyed {
			if p.told {
				log.Info("there are keys with the peer")
			}
			patients[name] = patient{lacks: p.lacks}
			continue
		}
		p.rounds++
		if !busy[name] && due(a, p.rounds) {
			errs = append(errs, v.initiate(name))
		}
		if p.rounds == warnAt {
			p.told = true
			log.WithField("log", e.charon.logFile()).Warn("there are no keys with the peer, and packets to it are dropped; charon's log says why")
		}
		patients[name] = p
	}
	return errors.Join(errs...)
}

// lacks tells whether the kernel lacks something of an association, which has keys with these SPIs where isKeyed is set. Without keys only
// what asks for them is missed.
func lacks(held kernel.IPsecState, a kernel.Association, spis []uint32, isKeyed bool) bool {
	for _, dir := range []kernel.Direction{kernel.Out, kernel.In, kernel.Through} {
		if !held.Policies[a.Policy(dir)] && (isKeyed || dir == kernel.Out) {
			return true
		}
	}
	return slices.ContainsFunc(spis, func(spi uint32) bool { return !held.SPIs[spi] })
}

// mends tells whether what the kernel has lacked for this many rounds is made again in this one: less and less often, where that is of no use.
func mends(rounds int) bool {
	return rounds >= losing && (rounds&(rounds-1) == 0 || rounds%longest == 0)
}

// mend has charon make an association anew. charon gives up before what it takes for being in the kernel: it would make nothing again that
// it believes to be there.
func (e *Engine) mend(v vici, name string, a kernel.Association) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.wanted[name] != a {
		return nil // it was dropped meanwhile
	}
	return errors.Join(v.unload(name), v.abandon(name), v.load(name, a), v.initiate(name))
}

// held is what the kernel holds.
func (e *Engine) held(ctx context.Context) (kernel.IPsecState, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.kernel == nil {
		return kernel.IPsecState{}, errors.New("the kernel's IPsec is not open")
	}
	return e.kernel.List(ctx)
}

// open opens the kernel's IPsec in the network namespace of the calling thread, where it is not open.
func (e *Engine) open() (err error) {
	if e.kernel == nil {
		e.kernel, err = kernel.OpenIPsec()
	}
	return err
}

// due tells whether an association without keys is tried in this round: in the first ones each time, later every 64.
func due(a kernel.Association, rounds int) bool {
	if !begins(a) {
		rounds -= turns
	}
	return rounds > 0 && (rounds <= warnAt && rounds&(rounds-1) == 0 || rounds%warnAt == 0 && rounds <= longest || rounds%longest == 0)
}
