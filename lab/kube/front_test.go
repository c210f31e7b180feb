package kube

import (
	"io"
	"net"
	"sync"
	"testing"
)

// front stands between agents and the API server: a TCP proxy whose line can be cut while the API server itself goes on.
type front struct {
	t    testing.TB
	addr string

	mu       sync.Mutex
	listener net.Listener // nil while the line is cut
	conns    map[net.Conn]bool
	tasks    sync.WaitGroup
}

// newFront puts a front before the API server. It ends with the test.
func newFront(t testing.TB) *front {
	t.Helper()
	f := &front{t: t, addr: "127.0.0.1:0", conns: map[net.Conn]bool{}}
	f.join()
	t.Cleanup(func() {
		f.cut()
		f.tasks.Wait()
	})
	return f
}

func (f *front) url() string { return "https://" + f.addr }

// cut ends all connections and refuses new ones.
func (f *front) cut() {
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

// join lets connections through again.
func (f *front) join() {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	l, err := net.Listen("tcp", f.addr)
	if err != nil {
		f.t.Fatal(err)
	}
	f.listener, f.addr = l, l.Addr().String()
	f.tasks.Go(func() { f.accept(l) })
}

func (f *front) accept(l net.Listener) {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", APIAddress)
		if err != nil {
			_ = client.Close()
			continue
		}
		f.mu.Lock()
		if f.listener != l {
			_ = client.Close()
			_ = server.Close()
		} else {
			f.conns[client], f.conns[server] = true, true
		}
		f.mu.Unlock()
		f.tasks.Go(func() { f.pump(client, server) })
		f.tasks.Go(func() { f.pump(server, client) })
	}
}

func (f *front) pump(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	_ = to.Close()
	_ = from.Close()
	f.mu.Lock()
	delete(f.conns, from)
	f.mu.Unlock()
}
