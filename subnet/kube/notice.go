package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
)

// The Events of Nodes are in this namespace: an Event needs one, and a Node has none.
const eventNamespace = "default"

const (
	noticeAgain = 30 * time.Minute // a Warning that stays is told again: the API server forgets an Event after an hour
	noticeFails = 5 * time.Minute  // how long nothing is told after it could not be
	noticesKept = 32               // how many Events are remembered, to be counted up
)

// notice is what an Event says. Its reason and its words tell it from others.
type notice struct{ kind, reason, message string }

// notices tells the cluster, with Events about the own Node, when and why the node is not connected, and when it is again.
// Nothing depends on them: they are not in Health, and a failure is a warning.
type notices struct {
	mu      sync.Mutex // one at a time
	said    notice     // what was told last
	at      time.Time  // when, and when it could not be told
	owed    bool       // the node has become connected, and nobody was told
	fault   string     // why the last one could not be told, as it was logged
	sent    map[notice]event
	allowed *rate.Limiter
}

// event is an Event that can be counted up.
type event struct {
	name  string
	count int
}

func newNotices() *notices {
	return &notices{sent: map[notice]event{}, allowed: rate.NewLimiter(rate.Every(time.Minute), 10)}
}

// due tells whether n is to be told now. That the node is connected is news only after it was not. Of what changes too
// fast, the last is told, when it may be.
func (l *notices) due(n notice, became bool, now time.Time) bool {
	l.owed = l.owed || became
	if n.kind == "Normal" && l.said.kind != "Warning" && !l.owed {
		return false
	}
	if l.fault != "" && now.Sub(l.at) < noticeFails {
		return false
	}
	if n == l.said && now.Sub(l.at) < noticeAgain {
		return false
	}
	return l.allowed.AllowN(now, 1)
}

// notify tells what is new. became says that the node was not connected until now.
func (s *Store) notify(ctx context.Context, ready bool, why string, became bool) {
	n := notice{"Warning", "NetworkUnavailable", shortened(why)}
	if ready {
		n = notice{"Normal", "NetworkReady", connected}
	}
	l := s.notices
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if !l.due(n, became, now) {
		return
	}
	if s.tell(ctx, n, now) {
		l.said, l.at, l.owed = n, now, false
	}
}

// Warn implements subnet.Warner with an Event about the own Node, within the same limit.
func (s *Store) Warn(ctx context.Context, reason, sentence string) bool {
	l := s.notices
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if l.fault != "" && now.Sub(l.at) < noticeFails || !l.allowed.AllowN(now, 1) {
		return false
	}
	return s.tell(ctx, notice{"Warning", reason, shortened(sentence)}, now)
}

// tell sends an Event. That it could not be sent is logged once, and remembered.
func (s *Store) tell(ctx context.Context, n notice, now time.Time) bool {
	l := s.notices
	err := s.send(ctx, n, now)
	if ctx.Err() != nil {
		return false
	}
	if err == nil {
		l.fault = ""
		return true
	}
	l.at = now
	if apierrors.IsForbidden(err) {
		err = fmt.Errorf("%w: weftd must be allowed to create and patch events in the namespace %s", err, eventNamespace)
	}
	if l.fault != err.Error() {
		l.fault = err.Error()
		s.log.WithError(err).Warn("no Event can tell what happens to this node; nothing else depends on it")
	}
	return false
}

// send makes an Event, or counts up the one that says the same.
func (s *Store) send(ctx context.Context, n notice, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, s.o.RequestTimeout)
	defer cancel()
	e, again := s.notices.sent[n]
	e.count++
	err := s.attempt(func(c *client) (err error) {
		if again {
			err = c.countEvent(ctx, e, now)
		}
		if !again || apierrors.IsNotFound(err) { // the API server has forgotten it
			e = event{eventName(s.o.Node, now), 1}
			err = c.makeEvent(ctx, e.name, s.o.Node, n, now)
		}
		return err
	})
	if err != nil {
		return err
	}
	if len(s.notices.sent) >= noticesKept {
		clear(s.notices.sent)
	}
	s.notices.sent[n] = e
	return nil
}

// eventName is a name that no other Event has.
func eventName(node string, now time.Time) string {
	const longest = 253 - len(".0123456789abcdef")
	return fmt.Sprintf("%s.%016x", strings.TrimRight(node[:min(len(node), longest)], ".-"), now.UnixNano())
}

// makeEvent makes an Event of the kind that `kubectl describe node` lists: about the Node by its name, which stands for
// its UID too, as in the kubelet's. client-go's recorder would do it with the types of the whole API, and a queue and a
// cache of its own: a weftd of 33 MB in place of 19, for two requests.
func (c *client) makeEvent(ctx context.Context, name, node string, n notice, now time.Time) error {
	when := now.UTC().Format(time.RFC3339)
	body, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Event", "metadata": map[string]string{"name": name, "namespace": eventNamespace},
		"involvedObject": map[string]string{"apiVersion": "v1", "kind": "Node", "name": node, "uid": node},
		"type":           n.kind, "reason": n.reason, "message": n.message,
		"source":         map[string]string{"component": "weftd", "host": node},
		"firstTimestamp": when, "lastTimestamp": when, "count": 1,
	})
	if err != nil {
		return fmt.Errorf("writing an Event: %w", err)
	}
	return c.Post().Namespace(eventNamespace).Resource("events").SetHeader("Content-Type", "application/json").MaxRetries(0).Body(body).Do(ctx).Error()
}

// countEvent says that it happened again.
func (c *client) countEvent(ctx context.Context, e event, now time.Time) error {
	body := fmt.Appendf(nil, `{"count":%d,"lastTimestamp":%q}`, e.count, now.UTC().Format(time.RFC3339))
	return c.Patch(types.MergePatchType).Namespace(eventNamespace).Resource("events").Name(e.name).MaxRetries(0).Body(body).Do(ctx).Error()
}
