package wireguard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"

	"github.com/weft-network/weft/network/engine/child"
	"github.com/weft-network/weft/network/engine/tundevice"
	"github.com/weft-network/weft/network/kernel"
)

// Serve is the process that encrypts packets. It answers Engines at l, which it closes, and ends with nil when it has no device any more:
// after it was told, or when they are gone. It also ends with ctx.
func Serve(ctx context.Context, l net.Listener, log logrus.FieldLogger) error {
	s := &server{log: log, devices: map[string]*served{}}
	return s.socket.Run(ctx, l, s)
}

// server is the state of the process.
type server struct {
	log    logrus.FieldLogger
	socket child.Server

	mu      sync.Mutex
	devices map[string]*served
	closed  bool
}

// served is a device that is served.
type served struct {
	config deviceConfig
	device *device.Device
	tun    *link
}

// link is a TUN device that can be told that its MTU is another one.
type link struct {
	tun.Device
	events chan tun.Event

	mu     sync.Mutex
	closed bool
}

// Events returns what the user of the device is told.
func (l *link) Events() <-chan tun.Event { return l.events }

// Close closes the device and ends the events.
func (l *link) Close() error {
	l.mu.Lock()
	if !l.closed {
		close(l.events)
	}
	l.closed = true
	l.mu.Unlock()
	return l.Device.Close()
}

// resized tells the user of the device that its MTU may be another one.
func (l *link) resized() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	select {
	case l.events <- tun.EventMTUUpdate:
	default: // it has to look anyway
	}
}

// Answer does what a request asks for.
func (s *server) Answer(text json.RawMessage) any {
	var q request
	if err := json.Unmarshal(text, &q); err != nil {
		return response{Version: version, Errors: []string{fmt.Sprintf("read the request: %v", err)}}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	switch q.Op {
	case opPut:
		errs = s.put(q)
	case opDrop:
		errs = s.configure(s.present(q.Peers), func(p peer, _ *peer) string { return p.remove() })
	case opRedirect:
		errs = s.configure(s.present(q.Peers), func(p peer, _ *peer) string { return p.redirect() })
	case opEnd:
		defer s.socket.End()
	case opList:
	default:
		errs = append(errs, fmt.Errorf("the request %.20q is not known", q.Op))
	}
	r := response{Version: version}
	for _, name := range slices.Sorted(maps.Keys(s.devices)) {
		d := s.devices[name]
		peers, err := d.peers()
		errs = append(errs, err)
		r.Devices, r.Peers = append(r.Devices, d.config), append(r.Peers, peers...)
	}
	for _, err := range errs {
		if err != nil {
			r.Errors = append(r.Errors, err.Error())
		}
	}
	return r
}

func (s *server) put(q request) (errs []error) {
	if s.closed {
		return []error{errors.New("the process is ending")}
	}
	for _, c := range q.Devices {
		if err := s.putDevice(c); err != nil {
			errs = append(errs, fmt.Errorf("WireGuard device %s: %w", c.Name, explain(err, c.Port)))
		}
	}
	errs = append(errs, s.configure(q.Peers, peer.update)...)
	return append(errs, s.configure(q.Peers, peer.shrink)...)
}

// putDevice makes the device, or changes it in place.
func (s *server) putDevice(c deviceConfig) error {
	if d, ok := s.devices[c.Name]; ok {
		d.tun.resized()
		if err := d.device.IpcSet(c.update(d.config)); err != nil {
			return err
		}
		d.config = c
		return nil
	}
	t, err := tundevice.Open(c.Name)
	if err != nil {
		return err
	}
	d := &served{config: c, tun: &link{Device: t, events: make(chan tun.Event, 8)}}
	d.device = device.NewDevice(d.tun, conn.NewDefaultBind(), &device.Logger{Verbosef: device.DiscardLogf, Errorf: s.log.Debugf})
	err = d.device.IpcSet(c.update(deviceConfig{}))
	if err == nil {
		err = d.device.Up()
	}
	if err != nil {
		d.device.Close()
		return err
	}
	s.devices[c.Name] = d
	s.socket.Go(func() {
		<-d.device.Wait()
		s.lost(d)
	})
	return nil
}

// explain says what would help against an error from setting up a device.
func explain(err error, port uint16) error {
	if !errors.Is(err, unix.EADDRINUSE) {
		return err
	}
	return fmt.Errorf("%w: another program on this host has UDP port %d, and ss -lunp shows which; stop it, or give the "+
		"backend another port", err, port)
}

// configure changes peers in the way that change says, of which the argument is the peer as it is; nil where there is none.
func (s *server) configure(list []peer, change func(want peer, have *peer) string) (errs []error) {
	now := map[string]map[key]*peer{}
	for _, p := range list {
		d, ok := s.devices[p.Link]
		if !ok {
			errs = append(errs, fmt.Errorf("peer %s: WireGuard device %s is not there", kernel.PublicKey(p.PublicKey), p.Link))
			continue
		}
		if now[p.Link] == nil {
			have, err := d.peers()
			if err != nil {
				errs = append(errs, err)
			}
			now[p.Link] = map[key]*peer{}
			for i := range have {
				now[p.Link][have[i].PublicKey] = &have[i]
			}
		}
		if err := d.device.IpcSet(change(p, now[p.Link][p.PublicKey])); err != nil {
			errs = append(errs, fmt.Errorf("peer %s of %s: %w", kernel.PublicKey(p.PublicKey), p.Link, err))
		}
	}
	return errs
}

// present are those of list whose devices are there.
func (s *server) present(list []peer) []peer {
	return slices.DeleteFunc(list, func(p peer) bool { return s.devices[p.Link] == nil })
}

// peers are the peers that the device has.
func (d *served) peers() ([]peer, error) {
	text, err := d.device.IpcGet()
	if err != nil {
		return nil, fmt.Errorf("read WireGuard device %s: %w", d.config.Name, err)
	}
	return parsePeers(d.config.Name, text)
}

// lost forgets a device that has gone, and ends the process if it was the last one.
func (s *server) lost(d *served) {
	s.mu.Lock()
	if s.devices[d.config.Name] == d {
		delete(s.devices, d.config.Name)
	}
	s.mu.Unlock()
	s.log.WithField("device", d.config.Name).Info("a device that packets were encrypted for has gone")
	s.socket.Changed()
}

// IsEmpty tells whether there is no device.
func (s *server) IsEmpty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.devices) == 0
}

// Close closes all devices.
func (s *server) Close() {
	s.mu.Lock()
	s.closed = true
	all := slices.Collect(maps.Values(s.devices))
	s.mu.Unlock()
	for _, d := range all {
		d.device.Close()
	}
}
