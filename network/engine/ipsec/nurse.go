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
)

// patient is how an association without keys is doing.
type patient struct {
	rounds int // since when it has none
	told   bool
}

// nurse looks at all associations now and then until ctx ends. charon tries again by itself only for as long as the peer does not answer:
// one that has refused, because it was not told of this node yet, would wait for a packet of a pod.
func (e *Engine) nurse(ctx context.Context) error {
	patients := map[string]patient{}
	t := time.NewTicker(round)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
		if err := e.look(patients); err != nil && !errors.Is(err, errAbsent) {
			e.log.WithError(err).Debug("looking at the keys with peers failed")
		}
	}
}

// look has keys agreed on where there are none, less and less often.
func (e *Engine) look(patients map[string]patient) error {
	e.mu.Lock()
	wanted := maps.Clone(e.wanted)
	e.mu.Unlock()
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
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		a, p := wanted[name], patients[name]
		log := e.log.WithFields(logrus.Fields{"peer": a.Peer.String(), "remote": a.Remote.String()})
		if keyed[name] {
			if p.told {
				log.Info("there are keys with the peer")
			}
			delete(patients, name)
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

// due tells whether an association without keys is tried in this round: in the first ones each time, later every 64.
func due(a kernel.Association, rounds int) bool {
	if !begins(a) {
		rounds -= turns
	}
	return rounds > 0 && (rounds <= warnAt && rounds&(rounds-1) == 0 || rounds%warnAt == 0 && rounds <= longest || rounds%longest == 0)
}
