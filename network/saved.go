package network

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/weft-network/weft/subnet"
)

// saveEvery is how long changes of the picture are gathered before they are written to disk.
const saveEvery = 5 * time.Second

// keepSaved keeps the last good snapshot on disk: at once when the node is ready, later a little behind the
// store.
func (a *Agent) keepSaved(ctx context.Context) error {
	if a.o.StateFile == "" {
		return nil
	}
	saved := false
	return keep(ctx, a.save, pause{saveEvery, time.Minute}, func(ctx context.Context) error {
		late := time.After(saveEvery)
		for early := saved || !a.report.isReady(); early; {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-late:
				early = false
			case <-a.save: // it rings when the node becomes ready: a power cut may be next
				early = saved || !a.report.isReady()
			}
		}
		own := a.claims.lease()
		if own == (subnet.Lease{}) {
			return nil // the next change of the picture is our own lease
		}
		s := subnet.Saved{Config: a.report.inForce(), Own: own, Peers: make([]subnet.Lease, 0, a.picture.size()), Self: a.picture.ofSelf()}
		a.picture.each(func(x subnet.Lease) {
			if x.Subnets != own.Subnets {
				s.Peers = append(s.Peers, x)
			}
		})
		_, err := s.Save(a.o.StateFile)
		saved = saved || err == nil
		a.report.warn(a.o.Log, "state file", texts(err))
		return err
	})
}

// restore lets the last good snapshot serve until the store answers.
func (a *Agent) restore() {
	s, err := subnet.LoadSaved(a.o.StateFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return
	case err != nil:
		a.report.warn(a.o.Log, "state file", texts(err))
		return
	}
	if s.Own.Node != a.o.Node {
		s.Own, s.Self = subnet.Lease{}, subnet.Self{} // the disk of another node, copied
	}
	if !a.picture.load(s) {
		return
	}
	a.claims.believe(s.Own)
	a.o.Log.WithField("peers", len(s.Peers)).Warn("the store does not answer; going on with the leases that were saved last")
	a.look.ring()
}
