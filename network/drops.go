package network

import (
	"context"
	"sync"
	"time"

	"github.com/weft-network/weft/network/kernel"
)

// dropper is an engine that moves packets, and counts those that it drops.
type dropper interface {
	// Dropped lists how many packets were dropped, by device and reason.
	Dropped(ctx context.Context) ([]kernel.Dropped, error)
}

// DroppedStatus is how many packets of a device were dropped by the process that moves them, for one reason.
type DroppedStatus struct {
	Link    string `json:"link"`
	Reason  string `json:"reason"`
	Packets uint64 `json:"packets"`
}

// drops is what was counted last.
type drops struct {
	mu   sync.Mutex
	list []kernel.Dropped
}

// dropsEvery is how often the engines are asked what was dropped.
const dropsEvery = 5 * time.Second

// followDrops asks the engines now and then until ctx ends.
func (a *Agent) followDrops(ctx context.Context) error {
	for range ticks(ctx, dropsEvery) {
		a.countDrops(ctx)
	}
	return ctx.Err()
}

// countDrops does so once. What cannot be asked for keeps nobody from the rest.
func (a *Agent) countDrops(ctx context.Context) {
	var all []kernel.Dropped
	for _, e := range a.keeper.list {
		d, ok := e.(dropper)
		if !ok {
			continue
		}
		list, err := d.Dropped(ctx)
		if err != nil && ctx.Err() == nil {
			a.o.Log.WithError(err).Debug("asking for what was dropped failed")
		}
		all = append(all, list...)
	}
	a.drops.mu.Lock()
	a.drops.list = all
	a.drops.mu.Unlock()
}

// status is what was counted last, for Status.
func (d *drops) status() (list []DroppedStatus) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, x := range d.list {
		list = append(list, DroppedStatus(x))
	}
	return list
}
