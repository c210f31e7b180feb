package kube

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/weft-network/weft/subnet"
)

// contestName is the annotation by which an agent asks whether another one is at work for the same Node, as on cloned
// machines: a word of its own, to which the other adds contestHeld.
const (
	contestName = "weft-contest"
	contestHeld = " held"
)

// settle tells whether the announcement that a Node carries is this agent's to change. It is, unless it is about another
// address, this Store did not write it, and an agent that watches answers for it. The question takes a while, and is
// asked only where somebody may be about to answer it.
func (s *Store) settle(ctx context.Context, n *Node, want subnet.Attrs) (*Node, error) {
	have, err := s.notes.lease(n)
	s.mu.Lock()
	mine := have == s.held
	s.mu.Unlock()
	if err != nil || mine || have.PublicIP == want.PublicIP {
		return n, nil
	}
	word := rand.Text()
	n, err = s.annotate(ctx, map[string]*string{s.notes.key(contestName): &word})
	if err != nil {
		return nil, err
	}
	late := time.NewTimer(s.o.ContestTime)
	defer late.Stop()
	again := time.NewTicker(max(s.o.ContestTime/20, 20*time.Millisecond))
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-late.C:
			return n, nil // which still has the question: it goes with what is written next
		case <-again.C:
		}
		if n, err = s.node(ctx); err != nil {
			return nil, err
		}
		if n.Annotations[s.notes.key(contestName)] == word+contestHeld {
			_, err := s.annotate(ctx, map[string]*string{s.notes.key(contestName): nil})
			if err != nil {
				return nil, err
			}
			return nil, fmt.Errorf("%w: an agent at %s holds %s as Node %s; give this machine another host name, and let its kubelet join under it",
				subnet.ErrIdentityInUse, have.Addresses(), have.Subnets, have.Node)
		}
	}
}

// hear takes note of what the own Node says about a question of another agent.
func (s *Store) hear(contest string) {
	if contest == "" {
		return
	}
	select {
	case s.asked <- struct{}{}:
	default:
	}
}

// answer answers for what this Store has claimed when another agent asks, until ctx ends.
func (s *Store) answer(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.asked:
		}
		s.mu.Lock()
		word, claimed := "", s.held != (subnet.Lease{})
		if s.mirror != nil {
			word = s.mirror.contest
		}
		s.mu.Unlock()
		if !claimed || word == "" || strings.HasSuffix(word, contestHeld) {
			continue
		}
		held := word + contestHeld
		if _, err := s.annotate(ctx, map[string]*string{s.notes.key(contestName): &held}); err != nil && ctx.Err() == nil {
			s.log.WithError(err).Warn("another agent asked whether this one holds the Node, and could not be answered")
		}
	}
}

// annotate changes annotations of the own Node, and returns it as it is then. A nil value removes one.
func (s *Store) annotate(ctx context.Context, changes map[string]*string) (*Node, error) {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": changes}})
	if err != nil {
		return nil, fmt.Errorf("writing the annotations of Node %s: %w", s.o.Node, err)
	}
	var n *Node
	err = s.request(ctx, "annotate Node "+s.o.Node, func(ctx context.Context, c *client) (err error) {
		n, err = c.patch(ctx, s.o.Node, types.MergePatchType, patch)
		return err
	})
	if refusal(err) {
		return nil, fmt.Errorf("Node %s was deleted while it was annotated", s.o.Node)
	}
	return n, err
}
