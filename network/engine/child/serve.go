package child

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// longest is the size of the longest request, in bytes: it holds some ten thousand peers.
const longest = 1 << 26

// idle is how long the process stays without anything to keep after it was started.
const idle = 30 * time.Second

// Keeper is what the process keeps for the agent. Its methods may be called at the same time, Answer for one request after the other.
type Keeper interface {
	Answer(request json.RawMessage) any // returns what a request is answered with
	IsEmpty() bool                      // tells whether nothing is kept
	Close()                             // ends what goes on by Go, and keeps nothing from then on
}

// Server is the process's own side. The zero Server is ready for use.
type Server struct {
	keeper Keeper
	end    context.CancelFunc
	group  errgroup.Group // all goroutines; Run waits for it

	mu       sync.Mutex
	watchers map[net.Conn]bool
}

// Run is the process: it answers requests at l, which it closes, and ends with nil when k keeps nothing any more, or with ctx or End. It
// also ends when k has kept nothing for a while after the start. The error is what was wrong with l. It is called once.
func (s *Server) Run(ctx context.Context, l net.Listener, k Keeper) error {
	ctx, s.end = context.WithCancel(ctx)
	defer s.end()
	s.keeper = k
	s.group.Go(func() error {
		defer s.end()
		return s.serve(ctx, l, k.Answer)
	})
	unused := time.AfterFunc(idle, s.endIfEmpty)
	defer unused.Stop()
	<-ctx.Done()
	k.Close()
	return s.group.Wait()
}

// Go runs f, for which Run waits. Close of the Keeper must end it.
func (s *Server) Go(f func()) {
	s.group.Go(func() error {
		f()
		return nil
	})
}

// End has Run end.
func (s *Server) End() { s.end() }

func (s *Server) endIfEmpty() {
	if s.keeper.IsEmpty() {
		s.end()
	}
}

// serve answers every request at l with what answer returns for it, one at a time, until ctx ends. It closes l, and returns nil or
// what was wrong with l.
func (s *Server) serve(ctx context.Context, l net.Listener, answer func(request json.RawMessage) any) error {
	var g errgroup.Group
	var one sync.Mutex
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for {
		conn, err := l.Accept()
		if err != nil {
			errWait := g.Wait()
			if ctx.Err() != nil {
				return nil
			}
			return errors.Join(fmt.Errorf("accept a connection: %w", err), errWait)
		}
		g.Go(func() error {
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			s.converse(conn, func(request json.RawMessage) any {
				one.Lock()
				defer one.Unlock()
				return answer(request)
			})
			return nil
		})
	}
}

// converse answers requests until the other side has gone.
func (s *Server) converse(conn net.Conn, answer func(json.RawMessage) any) {
	lines := bufio.NewScanner(conn)
	lines.Buffer(nil, longest)
	out := json.NewEncoder(conn)
	for lines.Scan() {
		if lines.Text()+"\n" == watchLine {
			s.watch(conn, true)
			defer s.watch(conn, false)
			continue
		}
		if err := out.Encode(answer(lines.Bytes())); err != nil {
			return // the other side has gone
		}
	}
}

func (s *Server) watch(conn net.Conn, is bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watchers == nil {
		s.watchers = map[net.Conn]bool{}
	}
	if is {
		s.watchers[conn] = true
	} else {
		delete(s.watchers, conn)
	}
}

// Changed tells all who watch that what the process keeps has changed by itself, and has Run end if nothing is left.
func (s *Server) Changed() {
	s.mu.Lock()
	for conn := range s.watchers {
		conn.Write([]byte("\"changed\"\n")) // one that has gone need not know
	}
	s.mu.Unlock()
	s.endIfEmpty()
}
