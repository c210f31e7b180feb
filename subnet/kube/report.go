package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
)

// The conditions that Weft reads, and writes the first of. The scheduler keeps pods off a node whose network is
// unavailable, and nobody else takes the condition back.
const (
	conditionNetwork = "NetworkUnavailable"
	conditionReady   = "Ready"
)

// maxMessage is how much of a reason is put into a condition.
const maxMessage = 1000

// Report implements subnet.Reporter: it keeps the condition NetworkUnavailable of the Node, as flanneld does when all
// is well, and takes that back when it is not.
func (s *Store) Report(ctx context.Context, ready bool, why string) error {
	if !s.o.KeepCondition {
		return nil
	}
	have, err := s.conditionNow(ctx)
	if err != nil {
		return err
	}
	want := judgement(ready, why)
	if want.says(have) {
		return nil
	}
	now := time.Now().UTC().Format(time.RFC3339)
	body := map[string]string{"type": want.Type, "status": want.Status, "reason": want.Reason, "message": want.Message, "lastHeartbeatTime": now}
	if have.Status != want.Status {
		body["lastTransitionTime"] = now
	}
	// Of a strategic merge patch, the API server merges the conditions by their type.
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"conditions": []any{body}}})
	if err != nil {
		return fmt.Errorf("writing the condition of Node %s: %w", s.o.Node, err)
	}
	err = s.request(ctx, "set the condition of Node "+s.o.Node, func(ctx context.Context, c *client) error {
		_, err := c.patch(ctx, s.o.Node, types.StrategicMergePatchType, patch, "status")
		return err
	})
	if apierrors.IsNotFound(err) {
		return nil // where there is no Node, there is nothing to say
	}
	if err == nil {
		s.log.WithField("reason", want.Reason).Infof("condition %s is now %s", want.Type, want.Status)
	}
	return err
}

// judgement is the condition that tells what Report is told.
func judgement(ready bool, why string) NodeCondition {
	if ready {
		return NodeCondition{conditionNetwork, "False", "FlannelIsUp", "weftd has connected this node to its peers"}
	}
	if r := []rune(why); len(r) > maxMessage {
		why = string(r[:maxMessage]) + "..."
	}
	return NodeCondition{conditionNetwork, "True", "WeftIsNotReady", why}
}

// says tells whether have tells the same. That all is well may be in another's words.
func (c NodeCondition) says(have NodeCondition) bool {
	if c.Status == "False" {
		have.Message = c.Message
	}
	return c == have
}

// conditionNow is the condition as it was seen last.
func (s *Store) conditionNow(ctx context.Context) (NodeCondition, error) {
	s.mu.Lock()
	m := s.mirror
	if m != nil {
		c := m.condition
		s.mu.Unlock()
		return c, nil
	}
	s.mu.Unlock()
	var have NodeCondition
	err := s.request(ctx, "read Node "+s.o.Node, func(ctx context.Context, c *client) error {
		n, err := c.get(ctx, s.o.Node)
		if err != nil {
			return err
		}
		have = n.condition(conditionNetwork)
		return nil
	})
	if apierrors.IsNotFound(err) {
		return NodeCondition{}, nil
	}
	return have, err
}

// keys lists the keys of a map in order.
func keys(m map[string]*string) []string { return slices.Sorted(maps.Keys(m)) }
