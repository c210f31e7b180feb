package kube

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// stream follows the Nodes from where m is; with nil it reads them all first. It returns the mirror that it brought up
// to date, nil where it did not get so far, and why it ended: nil where the API server wanted so.
func (s *Store) stream(ctx context.Context, t *teller, m *mirror) (*mirror, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, filling, err := s.open(ctx, t, &m)
	if err != nil {
		return m, err
	}
	defer w.Stop()
	if m != nil && !t.told {
		if err := t.tell(s, m); err != nil {
			return m, err
		}
	}
	late := time.NewTimer(s.o.RequestTimeout)
	defer late.Stop()
	for {
		var bell, slow = t.file.bell, late.C
		if m == nil {
			bell = nil // nobody has been told anything yet
		} else {
			slow = nil
		}
		select {
		case <-ctx.Done():
			return m, ctx.Err()
		case <-slow:
			return nil, s.outcome(ctx, "read the Nodes", fmt.Errorf("no answer for %s", s.o.RequestTimeout))
		case <-bell:
		case e, ok := <-w.ResultChan():
			if !ok {
				return m, nil
			}
			whole, err := s.take(firstOf(m, filling), e)
			if err != nil {
				return m, s.outcome(ctx, "follow the Nodes", err)
			}
			if m == nil && !whole {
				late.Reset(s.o.RequestTimeout)
				continue
			}
			if m == nil {
				m = s.adopt(t, filling)
			}
		}
		if err := t.tell(s, m); err != nil {
			return m, err
		}
	}
}

// firstOf returns the mirror that is in use, or the one that is being filled.
func firstOf(m, filling *mirror) *mirror {
	if m != nil {
		return m
	}
	return filling
}

// open begins a stream: from where *m is, else with all Nodes, which then go to filling. A server that cannot stream
// them all is asked for a list, and *m is what it says.
func (s *Store) open(ctx context.Context, t *teller, m **mirror) (w watch.Interface, filling *mirror, err error) {
	if *m == nil {
		yes := true
		w, err = s.watch(ctx, metav1.ListOptions{SendInitialEvents: &yes, ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan})
		if err == nil {
			return w, newMirror(s.notes, s.o.Node), nil
		}
		if !apierrors.IsInvalid(err) && !apierrors.IsBadRequest(err) && !apierrors.IsInternalError(err) {
			return nil, nil, s.outcome(ctx, "read the Nodes", err)
		}
		s.log.WithError(err).Debug("the API server does not stream lists, reading them in pages")
		filling, err := s.list(ctx)
		if err != nil {
			return nil, nil, err
		}
		*m = s.adopt(t, filling)
	}
	w, err = s.watch(ctx, metav1.ListOptions{ResourceVersion: (*m).version})
	return w, nil, s.outcome(ctx, "follow the Nodes", err)
}

// watch begins to follow the Nodes, for some minutes: not all agents are to come back at once.
func (s *Store) watch(ctx context.Context, o metav1.ListOptions) (w watch.Interface, err error) {
	seconds := int64(300 + rand.N(300))
	o.TimeoutSeconds = &seconds
	err = s.attempt(func(c *client) (err error) {
		w, err = c.watch(ctx, o)
		return err
	})
	return w, err
}

// list reads all Nodes in pages.
func (s *Store) list(ctx context.Context) (*mirror, error) {
	m := newMirror(s.notes, s.o.Node)
	err := s.request(ctx, "read the Nodes", func(ctx context.Context, c *client) (err error) {
		m.version, err = c.list(ctx, func(nodes []Node) {
			for i := range nodes {
				m.put(&nodes[i])
			}
		})
		return err
	})
	return m, err
}

// adopt makes a mirror that was filled the one that everybody uses. Watch's function is to see all of it.
func (s *Store) adopt(t *teller, m *mirror) *mirror {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mirror, t.told, m.live = m, false, true
	s.arrived()
	return m
}

// take takes an event into m. It tells whether the Nodes that there were when the stream began are complete with it.
func (s *Store) take(m *mirror, e watch.Event) (whole bool, err error) {
	if e.Type == watch.Error {
		return false, apierrors.FromObject(e.Object)
	}
	n, ok := e.Object.(*Node)
	if !ok {
		return false, errors.New("the API server sends something else than Nodes")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch e.Type {
	case watch.Added, watch.Modified:
		m.put(n)
		if n.Name == s.o.Node && m.contest != "" {
			select {
			case s.asked <- struct{}{}:
			default:
			}
		}
	case watch.Deleted:
		m.remove(n.Name)
	case watch.Bookmark:
		whole = n.Annotations[metav1.InitialEventsAnnotationKey] == "true"
	}
	m.version = n.ResourceVersion
	s.arrived()
	s.health.Since, s.health.Err = time.Now(), nil
	return whole, nil
}

// gone tells whether the API server no longer has the version that was asked for.
func gone(err error) bool { return apierrors.IsResourceExpired(err) || apierrors.IsGone(err) }
