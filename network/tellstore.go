package network

import (
	"context"
	"strings"
	"time"

	"github.com/weft-network/weft/subnet"
)

const (
	// reportEvery is how often a store that wants to know is told how the node is; it writes only what is new.
	reportEvery = time.Second
	// reportAfter is how long a node has to be not ready before that is told. A restart and a repair are quicker, and
	// must not keep pods off the node.
	reportAfter = 5 * time.Second
)

// tellStore tells the store whether the pods of this node have their network, if it wants to know.
func (a *Agent) tellStore(ctx context.Context) error {
	store, ok := a.o.Store.(subnet.Reporter)
	if !ok {
		return nil
	}
	var since time.Time         // when the node was seen not ready first; zero while it is ready
	told := map[string]string{} // of what an operator should put right, by subject
	failing := pause{reportEvery, 30 * time.Second}
	wait := reportEvery
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-a.tell:
		case <-time.After(wait):
		}
		a.tellWarnings(ctx, told)
		why := a.notReady()
		switch {
		case len(why) == 0:
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
		}
		if !since.IsZero() && time.Since(since) < reportAfter {
			continue
		}
		err := store.Report(ctx, len(why) == 0, strings.Join(why, "; "))
		if ctx.Err() != nil {
			return ctx.Err()
		}
		a.report.warn(a.o.Log, "telling the cluster how this node is", texts(err))
		if wait = failing.next(wait); err == nil {
			wait = reportEvery
		}
	}
}

// tellWarnings tells a store that warns what is new of what an operator should put right: why a net-conf.json is not in
// force, why peers are told something else than they should, and that pods have addresses of subnets that the node has no longer.
func (a *Agent) tellWarnings(ctx context.Context, told map[string]string) {
	store, ok := a.o.Store.(subnet.Warner)
	if !ok {
		return
	}
	for _, w := range []struct{ subject, reason string }{{"config", "ConfigRefused"}, {claimSubject, "ClaimRefused"}, {movedSubject, "SubnetsChanged"}} {
		now := strings.Join(a.report.about(w.subject), "; ")
		if now == told[w.subject] || now != "" && !store.Warn(ctx, w.reason, now) {
			continue
		}
		told[w.subject] = now
	}
}
