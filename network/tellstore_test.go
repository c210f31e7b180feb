package network

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"

	"github.com/weft-network/weft/subnet"
	"github.com/weft-network/weft/subnet/memory"
)

// told is a store that keeps what it is told of the node, when it can be reached.
type told struct {
	subnet.Store

	mu   sync.Mutex
	away bool
	now  string
	asks int // how often it was told anything
}

func (s *told) Report(_ context.Context, ready bool, why string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asks++
	if s.away {
		return errors.New("the store is away")
	}
	s.now = fmt.Sprint(ready, " ", why)
	return nil
}

// setAway says whether the store can be reached, and returns how often it was told anything until now.
func (s *told) setAway(away bool) (asks int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = away
	return s.asks
}

// last is what the store was told last.
func (s *told) last() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func TestStoreIsToldWhetherNodeIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &told{Store: memory.New().Store()}
		log := logrus.New()
		log.SetOutput(io.Discard)
		a := &Agent{o: Options{Store: store, Log: log}, tell: newBell()}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- a.tellStore(ctx) }()
		is := func(when, want string) {
			t.Helper()
			synctest.Wait()
			if diff := cmp.Diff(want, store.last()); diff != "" {
				t.Errorf("%s the store was told (-want +got):\n%s", when, diff)
			}
		}

		time.Sleep(reportAfter)
		is("a node that is about to start", "")
		time.Sleep(2 * reportEvery)
		is("a node that does not get on", "false the store has not given a lease yet")

		a.claims.got(0, subnet.Lease{Subnets: subnet.Subnets{netip.MustParsePrefix("10.5.1.0/24")}}, nil)
		a.report.firewall(log, FirewallStatus{InStep: true})
		a.report.programmed(true)
		a.report.becomeReady(1450)
		a.tell.ring()
		is("a node that is ready", "true ")

		a.report.step(log, errors.New("kernel: no buffer space"))
		time.Sleep(2 * reportEvery)
		is("a node that fails for a moment", "true ")
		time.Sleep(reportAfter)
		is("a node that fails", "false kernel: no buffer space")

		before := store.setAway(true)
		time.Sleep(10 * time.Minute)
		if n := store.setAway(false) - before; n < 10 || n > 40 {
			t.Errorf("a store that is away was told %d times in ten minutes, want a few", n)
		}
		a.report.step(log, nil)
		a.report.programmed(true)
		time.Sleep(time.Minute)
		is("a node that has recovered", "true ")
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("returned %v", err)
		}
	})
}

// warned is a store that is told what an operator should put right.
type warned struct {
	told
	warnings []string
}

func (s *warned) Warn(_ context.Context, reason, sentence string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.away {
		s.warnings = append(s.warnings, reason+": "+sentence)
	}
	return !s.away
}

func TestStoreIsToldOfRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &warned{told: told{Store: memory.New().Store()}}
		log := logrus.New()
		log.SetOutput(io.Discard)
		a := &Agent{o: Options{Store: store, Log: log}, tell: newBell()}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- a.tellStore(ctx) }()
		refuse := func(text string) string {
			a.report.refused(log, errors.New(text))
			return "ConfigRefused: the network config in the store is refused, the last good one stays in force: " + text
		}
		one := refuse("one mistake")
		time.Sleep(time.Minute)
		store.setAway(true)
		two := refuse("two mistakes")
		time.Sleep(time.Minute)
		store.setAway(false)
		time.Sleep(time.Minute)
		a.report.refused(log, nil)
		time.Sleep(time.Minute)
		refuse("one mistake")
		time.Sleep(time.Minute)
		a.report.warn(log, movedSubject, []string{"other subnets"})
		time.Sleep(time.Minute)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("returned %v", err)
		}
		if diff := cmp.Diff([]string{one, two, one, "SubnetsChanged: other subnets"}, store.warnings); diff != "" {
			t.Errorf("the store was warned (-want +got):\n%s", diff)
		}
	})
}
