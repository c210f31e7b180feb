package etcdtest

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// Front stands between clients and a member: a TCP proxy whose line can be cut and made slow while etcd itself goes
// on.
type Front struct {
	target string
	addr   string
	scheme string
	delay  time.Duration

	mu       sync.Mutex
	t        testing.TB
	listener net.Listener // nil while the line is cut
	conns    map[net.Conn]bool
	tasks    sync.WaitGroup
}

// NewFront puts a Front before member i of c. It ends with the test.
func (c *Cluster) NewFront(t testing.TB, i int) *Front {
	t.Helper()
	scheme, target, _ := strings.Cut(c.members[i].client, "://")
	f := &Front{t: t, target: target, scheme: scheme, addr: "127.0.0.1:0", conns: map[net.Conn]bool{}}
	f.Join()
	t.Cleanup(func() {
		f.Cut()
		f.tasks.Wait()
	})
	return f
}

// Endpoint is the URL that clients use.
func (f *Front) Endpoint() string { return f.scheme + "://" + f.addr }

// Cut ends all connections and refuses new ones.
func (f *Front) Cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.listener == nil {
		return
	}
	_ = f.listener.Close()
	f.listener = nil
	for c := range f.conns {
		_ = c.Close()
	}
	clear(f.conns)
}

// Join ends what Cut began.
func (f *Front) Join() {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.listener != nil {
		return
	}
	l, err := net.Listen("tcp", f.addr)
	if err != nil {
		f.t.Fatalf("listen before etcd: %v", err)
	}
	f.listener, f.addr = l, l.Addr().String()
	f.tasks.Go(func() { f.accept(l) })
}

// Slow delays everything that etcd says from the next connection on.
func (f *Front) Slow(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.delay = d
}

func (f *Front) accept(l net.Listener) {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", f.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		f.mu.Lock()
		cut, delay := f.listener != l, f.delay
		f.conns[client], f.conns[server] = true, true
		f.mu.Unlock()
		if cut {
			_, _ = client.Close(), server.Close()
			return
		}
		f.tasks.Go(func() { pump(server, client, 0) })
		f.tasks.Go(func() { pump(client, server, delay) })
	}
}

// pump copies until one side ends, then ends both.
func pump(to, from net.Conn, delay time.Duration) {
	defer to.Close()
	defer from.Close()
	if delay == 0 {
		_, _ = io.Copy(to, from)
		return
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			<-time.After(delay)
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
