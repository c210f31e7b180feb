package child

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"

	"golang.org/x/sync/errgroup"
)

// longest is the size of the longest request, in bytes: it holds some ten thousand peers.
const longest = 1 << 26

// Server is the process's own side. The zero Server is ready for use.
type Server struct {
	mu       sync.Mutex
	watchers map[net.Conn]bool
}

// Serve answers every request at l with what answer returns for it, one at a time, until ctx ends. It closes l, and returns nil or
// what was wrong with l.
func (s *Server) Serve(ctx context.Context, l net.Listener, answer func(request json.RawMessage) any) error {
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

// Changed tells all who watch that what the process keeps has changed by itself.
func (s *Server) Changed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.watchers {
		conn.Write([]byte("\"changed\"\n")) // one that has gone need not know
	}
}
