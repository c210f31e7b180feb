package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sirupsen/logrus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
)

// The conditions that Weft reads, and writes the first of. The scheduler keeps pods off a node whose network is
// unavailable, and nobody else takes the condition back.
const (
	conditionNetwork = "NetworkUnavailable"
	conditionReady   = "Ready"
)

// maxMessage is how much of a reason is put into a condition and an Event.
const maxMessage = 1000

// connected is what is said of a node that is ready.
const connected = "weftd has connected this node to its peers"

// wordsEvery is how often other words for the same condition are written: each write is read by all agents.
const wordsEvery = 10 * time.Second

// Report implements subnet.Reporter: it keeps the condition NetworkUnavailable of the Node, as flanneld does when all
// is well, and takes that back when it is not. Events about the Node tell the same. These are told of a Node that does
// not exist too, where the condition is left alone, and where the rights to write it are missing; that they cannot be told
// is no error.
func (s *Store) Report(ctx context.Context, ready bool, why string) error {
	became, err := s.keepCondition(ctx, judgement(ready, why))
	if err == nil || apierrors.IsForbidden(err) {
		s.notify(ctx, ready, why, became && ready)
	}
	return err
}

// keepCondition writes the condition if it says something else. It tells whether the status became another one.
func (s *Store) keepCondition(ctx context.Context, want NodeCondition) (became bool, err error) {
	if !s.o.KeepCondition {
		return false, nil
	}
	have, err := s.conditionNow(ctx)
	if err != nil || want.says(have) {
		return false, err
	}
	at := time.Now()
	if have.Status == want.Status && at.Sub(s.worded) < wordsEvery {
		return false, nil
	}
	now := at.UTC().Format(time.RFC3339)
	body := map[string]string{"type": want.Type, "status": want.Status, "reason": want.Reason, "message": want.Message, "lastHeartbeatTime": now}
	if have.Status != want.Status {
		body["lastTransitionTime"] = now
	}
	// Of a strategic merge patch, the API server merges the conditions by their type.
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"conditions": []any{body}}})
	if err != nil {
		return false, fmt.Errorf("writing the condition of Node %s: %w", s.o.Node, err)
	}
	err = s.request(ctx, "set the condition of Node "+s.o.Node, func(ctx context.Context, c *client) error {
		_, err := c.patch(ctx, s.o.Node, types.StrategicMergePatchType, patch, "status")
		return err
	})
	if apierrors.IsNotFound(err) {
		return false, nil // where there is no Node, there is nothing to say
	}
	if err != nil {
		return false, err
	}
	s.worded = at
	s.log.WithFields(logrus.Fields{"condition": want.Type, "status": want.Status, "reason": want.Reason, "because": want.Message}).Info("condition of the Node set")
	return have.Status != want.Status, nil
}

// judgement is the condition that tells what Report is told.
func judgement(ready bool, why string) NodeCondition {
	if ready {
		return NodeCondition{conditionNetwork, "False", "FlannelIsUp", connected}
	}
	return NodeCondition{conditionNetwork, "True", "WeftIsNotReady", shortened(why)}
}

// shortened is as much of a reason as others are told.
func shortened(why string) string {
	if r := []rune(why); len(r) > maxMessage {
		return string(r[:maxMessage]) + "..."
	}
	return why
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
