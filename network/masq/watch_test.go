package masq

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"
)

// watched runs Watch in the namespace of the test process, in which only tests of this file work, and returns the bell and
// a function that ends it. The bell has rung once already.
func watched(t *testing.T, fw Firewall) <-chan struct{} {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	bell := make(chan struct{}, 100)
	var g errgroup.Group
	g.Go(func() error { return fw.Watch(ctx, func() { bell <- struct{}{} }) })
	t.Cleanup(func() {
		cancel()
		if err := g.Wait(); !errors.Is(err, context.Canceled) {
			t.Errorf("Watch: %v, want context.Canceled", err)
		}
	})
	rings(t, bell)
	return bell
}

// rings waits until the bell rings.
func rings(t *testing.T, bell <-chan struct{}) {
	t.Helper()
	select {
	case <-bell:
	case <-time.After(10 * time.Second):
		t.Fatal("Watch reports nothing")
	}
}

// quieten swallows what has rung so far. All that a command makes the kernel say has been said when it ends, but may
// still have to be read; a change of a table that is listened to, made by marker, tells when it has been.
func quieten(bell <-chan struct{}) {
	for {
		select {
		case <-bell:
		case <-time.After(100 * time.Millisecond):
			return
		}
	}
}

func TestWatchReportsChanges(t *testing.T) {
	for _, r := range renderings[:2] {
		t.Run(r.name, func(t *testing.T) {
			t.Cleanup(func() { run(t, "nft flush ruleset") })
			fw, err := r.firewall()
			if err != nil {
				t.Fatal(err)
			}
			bell := watched(t, fw)
			r.both(t, "-P FORWARD DROP")
			rings(t, bell)
			sync(t, fw, dualStack())
			rings(t, bell)
			for range 3 {
				quieten(bell)
				run(t, r.deletions(t)[0])
				rings(t, bell)
				sync(t, fw, dualStack())
			}
			quieten(bell)
			run(t, "nft flush ruleset")
			rings(t, bell)
		})
	}
}

// TestWatchSettles does what the agent does: a Sync for every ring. It has to come to rest.
func TestWatchSettles(t *testing.T) {
	t.Cleanup(func() { run(t, "nft flush ruleset") })
	fw := NewNFTables()
	bell := watched(t, fw)
	changes := 0
	for {
		n, err := fw.Sync(t.Context(), dualStack())
		if err != nil {
			t.Fatal(err)
		}
		if changes += n; changes > 1000 {
			t.Fatal("Sync answers its own changes with more of them")
		}
		select {
		case <-bell:
			continue
		case <-time.After(200 * time.Millisecond):
		}
		break
	}
	if changes == 0 {
		t.Error("Sync changed nothing")
	}
}

func TestWatchIgnoresOthers(t *testing.T) {
	t.Cleanup(func() { run(t, "nft flush ruleset") })
	bell := watched(t, NewNFTables())
	run(t, "nft add table inet others")
	run(t, "nft add chain inet others forward { type filter hook forward priority 0 ; }")
	run(t, "nft add rule inet others forward accept")
	run(t, "nft add set inet others s { type ipv4_addr ; }")
	run(t, "nft add element inet others s { 192.0.2.1 }")
	run(t, "nft delete table inet others")
	run(t, "nft add table inet weft") // the kernel reports in order: when this has rung, the others would have
	rings(t, bell)
	select {
	case <-bell:
		t.Error("Watch reports changes of a table in which nothing of ours can be")
	default:
	}
}

func TestWatchLegacyPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fw := &IPTables{legacy: true, interval: 5 * time.Second}
		ctx, cancel := context.WithTimeout(t.Context(), 21*time.Second)
		defer cancel()
		n := 0
		if err := fw.Watch(ctx, func() { n++ }); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Watch: %v, want context.DeadlineExceeded", err)
		}
		if want := 5; n != want {
			t.Errorf("in 21 s Watch called %d times, want %d", n, want)
		}
	})
}
