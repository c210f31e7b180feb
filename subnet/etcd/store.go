package etcd

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weft-network/weft/subnet"
)

// Store is a subnet.Store on etcd v3. At most one Watch runs at a time; everything else may be called at any time by
// anybody. Close ends it.
type Store struct {
	o    Options
	log  logrus.FieldLogger
	tls  *secured // nil where no endpoint wants TLS
	stop context.CancelFunc
	ctx  context.Context // of the client, until Close

	claims sync.Mutex // one Claim at a time

	dial   sync.Mutex       // guards client; the first use of it may wait for etcd
	client *clientv3.Client // made when it is first needed

	mu      sync.Mutex       // guards what follows
	mirror  *mirror          // nil while no Watch runs
	own     holding          // what the last Claim got; zero if nothing
	claimed uint64           // how many claims have succeeded
	spare   clientv3.LeaseID // granted by a Claim that then got no subnet
	spared  time.Time        // when that was
	refused refusal          // the last answer of another node that is alive
	health  subnet.Health

	kick   chan struct{} // the keeper looks at own again
	relist chan struct{} // Watch reads everything again
	moved  chan struct{} // the mirror is another one, or at another revision
}

// holding is the key that this node has, as far as the store knows.
type holding struct {
	key      string
	lease    clientv3.LeaseID // 0 if the key is a reservation
	created  int64
	modified int64
	value    subnet.Lease
	claim    uint64 // the claim that it comes from, counted by claimed
}

// newer tells whether h was written after m was read, and m has not caught up. A picture that was read later is right
// even where its revision is lower, as it is after a restore from a backup.
func (h holding) newer(m *mirror) bool {
	return h.key != "" && h.claim > m.claims && h.modified > m.revision
}

// New returns a store for o. It does not wait for etcd, which may be away; the error is about o itself, and says all
// that is wrong with it.
func New(o Options) (*Store, error) {
	o, err := o.checked()
	if err != nil {
		return nil, err
	}
	s := &Store{o: o, log: o.Logger, kick: make(chan struct{}, 1), relist: make(chan struct{}, 1), moved: make(chan struct{}, 1)}
	if o.secure() {
		s.tls = newSecured(o)
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s, nil
}

// Close ends the connection. What was claimed stays claimed, until its etcd lease runs out.
func (s *Store) Close() error {
	s.stop()
	s.dial.Lock()
	defer s.dial.Unlock()
	if s.client == nil {
		return nil
	}
	err := s.client.Close()
	s.client = nil
	if err != nil && !errors.Is(err, context.Canceled) {
		return s.explain("close the connection", err)
	}
	return nil
}

// Health tells how the connection to etcd is.
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
func (s *Store) request(ctx context.Context, what string, do func(context.Context, *clientv3.Client) error) error {
	client, err := s.connect()
	if err == nil {
		rctx, cancel := context.WithTimeout(ctx, s.o.RequestTimeout)
		defer cancel()
		err = do(rctx, client)
	}
	if err == nil {
		s.answered(nil)
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	err = s.explain(what, err)
	s.answered(err)
	return err
}

// nudge fills a channel that says "look again", unless it is full already.
func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
