package udp

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/sirupsen/logrus"

	"github.com/weft-network/weft/network/engine/child"
	"github.com/weft-network/weft/network/kernel"
)

// Move is the process that moves packets. It answers Engines at l, which it closes, and ends with nil when it has nothing to move any
// more: after it was told, or when its devices are gone. It also ends with ctx.
func Move(ctx context.Context, l net.Listener, log logrus.FieldLogger) error {
	m := &mover{log: log, tunnels: map[string]*tunnel{}, sockets: map[netip.AddrPort]*socket{}}
	return m.server.Run(ctx, l, m)
}

// mover is the state of the process.
type mover struct {
	log    logrus.FieldLogger
	server child.Server

	mu      sync.Mutex
	kept    kernel.Set[kernel.DatagramKey, kernel.Datagram]
	tunnels map[string]*tunnel
	sockets map[netip.AddrPort]*socket
	closed  bool
}

// Answer does what a request asks for.
func (m *mover) Answer(text json.RawMessage) any {
	var q request
	if err := json.Unmarshal(text, &q); err != nil {
		return response{Version: version, Errors: []string{fmt.Sprintf("read the request: %v", err)}}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	r := response{Version: version}
	switch q.Op {
	case opPut:
		r.Errors = m.put(q.Datagrams)
	case opDrop:
		m.drop(q.Datagrams)
		if len(m.kept) == 0 {
			defer m.server.End()
		}
	case opEnd:
		m.drop(sorted(m.kept))
		defer m.server.End()
	case opList:
	case opCount:
		return response{Version: version, Dropped: m.dropped()}
	default:
		r.Errors = []string{fmt.Sprintf("the request %.20q is not known", q.Op)}
	}
	r.Datagrams = sorted(m.kept)
	return r
}

// put makes devices and sockets ready for the datagrams, and the tables of the devices anew.
func (m *mover) put(all []kernel.Datagram) (failed []string) {
	if m.closed {
		return []string{"the process is ending"}
	}
	links := map[string]bool{}
	for _, d := range all {
		if err := m.prepare(d); err != nil {
			if text := err.Error(); len(failed) == 0 || failed[len(failed)-1] != text { // one port in use fails all of its peers
				failed = append(failed, text)
			}
			continue
		}
		m.kept.Add(d)
		links[d.Link] = true
	}
	m.settle(links)
	return failed
}

func (m *mover) prepare(d kernel.Datagram) error {
	if !d.Local.IsValid() || !d.Subnet.IsValid() || d.Subnet != d.Subnet.Masked() {
		return fmt.Errorf("%q makes no sense", d)
	}
	t, err := m.tunnel(d.Link, d.Subnet.Addr().Is6())
	if err != nil {
		return err
	}
	return m.socket(d.Local, t)
}

// tunnel opens the device if that was not done before.
func (m *mover) tunnel(name string, inet6 bool) (*tunnel, error) {
	if t, ok := m.tunnels[name]; ok {
		if t.inet6 != inet6 {
			return nil, fmt.Errorf("%s carries packets of the other family", name)
		}
		return t, nil
	}
	t, err := openTunnel(name, inet6)
	if err != nil {
		return nil, err
	}
	m.tunnels[name] = t
	m.server.Go(func() { m.lost(t, t.outbound()) })
	return t, nil
}

// socket opens the socket at local if that was not done before.
func (m *mover) socket(local netip.AddrPort, t *tunnel) error {
	if s, ok := m.sockets[local]; ok {
		if s.tunnel != t {
			return fmt.Errorf("UDP port %d at %s is that of %s already", local.Port(), local.Addr(), s.tunnel.name)
		}
		return nil
	}
	s, err := openSocket(local, t)
	if err != nil {
		return err
	}
	m.sockets[local] = s
	m.server.Go(func() { m.lostSocket(s, s.inbound()) })
	return nil
}

// drop forgets the datagrams, then closes what none of the others needs.
func (m *mover) drop(all []kernel.Datagram) {
	links := map[string]bool{}
	for _, d := range all {
		delete(m.kept, d.Key())
		links[d.Link] = true
	}
	m.settle(links)
}

// settle makes the tables of some devices anew and closes what is not needed any more.
func (m *mover) settle(links map[string]bool) {
	for name := range links {
		if t, ok := m.tunnels[name]; ok {
			t.table.Store(newTable(name, m.kept, m.sockets))
		}
	}
	devices, locals := map[string]bool{}, map[netip.AddrPort]bool{}
	for _, d := range m.kept {
		devices[d.Link], locals[d.Local] = true, true
	}
	for local, s := range m.sockets {
		if !locals[local] {
			delete(m.sockets, local)
			s.conn.Close()
		}
	}
	for name, t := range m.tunnels {
		if !devices[name] {
			delete(m.tunnels, name)
			t.device.Close()
		}
	}
}

// lost forgets a device that has gone, and ends the process if it was the last one.
func (m *mover) lost(t *tunnel, err error) {
	m.forget(func(d kernel.Datagram) bool { return m.tunnels[d.Link] == t }, t.name, err)
}

// lostSocket forgets a socket that does not work any more.
func (m *mover) lostSocket(s *socket, err error) {
	m.forget(func(d kernel.Datagram) bool { return m.sockets[d.Local] == s }, s.conn.LocalAddr().String(), err)
}

// forget drops the datagrams that which tells, and lets the agent know. There are none where the mover itself closed
// what they need.
func (m *mover) forget(which func(kernel.Datagram) bool, what string, err error) {
	m.mu.Lock()
	var gone []kernel.Datagram
	for _, d := range m.kept {
		if which(d) {
			gone = append(gone, d)
		}
	}
	m.drop(gone)
	m.mu.Unlock()
	if len(gone) > 0 {
		m.log.WithError(err).WithField("lost", what).Info("what packets were moved by has gone")
		m.server.Changed()
	}
}

// IsEmpty tells whether there is nothing to move.
func (m *mover) IsEmpty() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.kept) == 0
}

// Close closes all devices and sockets.
func (m *mover) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.drop(sorted(m.kept))
	for _, t := range m.tunnels {
		t.device.Close()
	}
	for _, s := range m.sockets {
		s.conn.Close()
	}
}
