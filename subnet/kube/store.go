package kube

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/weft-network/weft/subnet"
)

// Store is a subnet.Store on the Nodes of a Kubernetes cluster. At most one Watch and one Report run at a time; everything else may
// be called at any time by anybody. Close ends it.
type Store struct {
	reader
	o   Options
	log logrus.FieldLogger

	dial   sync.Mutex // guards what follows
	client *client    // made when it is first needed: what it needs may not be there yet
	stale  bool       // client is to be made again
	closed bool

	claims   sync.Mutex // one Claim at a time
	unproven uint64     // version at which Claim announced what somebody may have announced before; 0: none

	worded  time.Time // when Report wrote the condition last
	notices *notices  // what Report tells with Events

	mu     sync.Mutex   // guards what follows
	mirror *mirror      // what is known of the Nodes; nil unless Watch keeps it true
	held   subnet.Lease // what the last Claim got; zero if nothing
	health subnet.Health
	// Claim waits on seen, where it does, until the mirror is at version awaited.
	awaited uint64
	seen    chan<- *mirror

	asked chan struct{} // another agent asks whether this one is alive
}

var (
	_ subnet.Reporter = (*Store)(nil)
	_ subnet.Warner   = (*Store)(nil)
)

// New returns a store for o. It does not wait for the API, which may be away; the error is about o itself, and says all
// that is wrong with it.
func New(o Options) (*Store, error) {
	o, err := o.checked()
	if err != nil {
		return nil, err
	}
	return &Store{o: o, log: o.Logger, reader: reader{annotations{o.Prefix}, o.Node}, notices: newNotices(), asked: make(chan struct{}, 1)}, nil
}

// Close ends the connection. What was claimed stays claimed.
func (s *Store) Close() error {
	s.dial.Lock()
	defer s.dial.Unlock()
	if s.client != nil {
		s.client.close()
	}
	s.client, s.closed = nil, true
	return nil
}

// connect returns the client, which it makes when it is first needed.
func (s *Store) connect() (*client, error) {
	s.dial.Lock()
	defer s.dial.Unlock()
	if s.closed {
		return nil, errors.New("the store is closed")
	}
	if s.client != nil && !s.stale {
		return s.client, nil
	}
	c, err := newClient(s.o)
	if err != nil {
		return nil, err
	}
	if s.client != nil {
		s.client.close()
	}
	s.client, s.stale = c, false
	return c, nil
}

// made returns the client, or nil.
func (s *Store) made() *client {
	s.dial.Lock()
	defer s.dial.Unlock()
	return s.client
}

// Health tells how the connection to the API is. What a Node announces does not expire.
func (s *Store) Health() subnet.Health {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.health
}

// answered notes the outcome of a request.
func (s *Store) answered(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.health.Note(err, time.Now())
}

// request runs one request with the time that it may take, and notes and explains how it went. what says what is
// attempted.
func (s *Store) request(ctx context.Context, what string, do func(context.Context, *client) error) error {
	rctx, cancel := context.WithTimeout(ctx, s.o.RequestTimeout)
	defer cancel()
	return s.outcome(ctx, what, s.attempt(func(c *client) error { return do(rctx, c) }))
}

// attempt does a request. Credentials that are refused, and a server that is not trusted, are given a second chance with
// what stands in the files now: they are renewed behind the agent's back.
func (s *Store) attempt(do func(*client) error) error {
	for again := false; ; again = true {
		c, err := s.connect()
		if err == nil {
			err = do(c)
		}
		if !apierrors.IsUnauthorized(err) && !untrusted(err) {
			return err
		}
		s.forget()
		if again {
			return err
		}
	}
}

// outcome notes and explains how a request went.
func (s *Store) outcome(ctx context.Context, what string, err error) error {
	if err == nil || refusal(err) {
		s.answered(nil)
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	err = s.explain(what, err)
	s.answered(err)
	return err
}

// forget has the client made again, with the credentials that there are then.
func (s *Store) forget() {
	s.dial.Lock()
	defer s.dial.Unlock()
	s.stale = true
}
