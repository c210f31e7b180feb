package ipsec

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"syscall"

	govici "github.com/strongswan/govici/vici"

	"github.com/weft-network/weft/network/kernel"
)

// vici is a conversation with charon. The error of whatever charon is asked for is errAbsent when it breaks the conversation off: it does so
// only because it ends.
type vici struct{ session *govici.Session }

// Close ends the conversation.
func (v vici) Close() error { return v.session.Close() }

// request asks charon for something.
func (v vici) request(command string, m *govici.Message) error {
	_, err := v.session.CommandRequest(command, m)
	return broken(err)
}

// list asks charon for all of a kind, and calls each with them.
func (v vici) list(command, event string, each func(name string, m *govici.Message)) error {
	messages, err := v.session.StreamedCommandRequest(command, event, nil)
	for _, m := range messages {
		for _, name := range m.Keys() {
			if section, ok := m.Get(name).(*govici.Message); ok {
				each(name, section)
			}
		}
	}
	return broken(err)
}

// broken adds errAbsent to an error that says that the other side has gone.
func broken(err error) error {
	for _, gone := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, gone) {
			return fmt.Errorf("%w: %w", errAbsent, err)
		}
	}
	return err
}

// child is the name that the only child of each connection has.
const child = "pods"

// nameOf is the name of a's connection: the device, and a hash of all that charon is told, so that one which charon knows already is
// recognised by it.
func nameOf(a kernel.Association) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s", a, string(a.PSK)))
	return a.Link + "#" + hex.EncodeToString(sum[:8])
}

// connection is what charon was told of.
type connection struct {
	name string
	ok   bool // it is one of ours
	kernel.Association
}

// connections returns what charon was told of.
func (v vici) connections() ([]connection, error) {
	var all []connection
	err := v.list("list-conns", "list-conn", func(name string, m *govici.Message) { all = append(all, parseConnection(name, m)) })
	if err != nil {
		return nil, fmt.Errorf("list the connections of charon: %w", err)
	}
	return all, nil
}

// parseConnection reads what charon tells of a connection.
func parseConnection(name string, m *govici.Message) connection {
	c := connection{name: name}
	link, _, ok := strings.Cut(name, "#")
	children, _ := m.Get("children").(*govici.Message)
	if !ok || children == nil {
		return c
	}
	ts, _ := children.Get(child).(*govici.Message)
	if ts == nil {
		return c
	}
	var errs [4]error
	c.Own, errs[0] = netip.ParsePrefix(first(ts, "local-ts"))
	c.Peer, errs[1] = netip.ParsePrefix(first(ts, "remote-ts"))
	c.Local, errs[2] = netip.ParseAddr(first(m, "local_addrs"))
	c.Remote, errs[3] = netip.ParseAddr(first(m, "remote_addrs"))
	c.Link, c.ok = link, errors.Join(errs[:]...) == nil
	return c
}

// first returns the first word of a list; "" where there is none.
func first(m *govici.Message, key string) string {
	list, _ := m.Get(key).([]string)
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

// load tells charon of an association. What it traps are packets for which there are no keys yet: it asks the peer for some.
func (v vici) load(name string, a kernel.Association) error {
	remote := a.Remote.String()
	secret, err := message(map[string]any{"id": name, "type": "IKE", "data": string(a.PSK), "owners": []string{a.Self.String(), remote}})
	if err != nil {
		return err
	}
	if err := v.request("load-shared", secret); err != nil {
		return fmt.Errorf("tell charon the key: %w", err)
	}
	id := strconv.FormatUint(uint64(a.ID), 10)
	conn, err := message(map[string]any{name: map[string]any{
		"version": "2", "local_addrs": []string{a.Local.String()}, "remote_addrs": []string{remote},
		// The second is what flannel's charon takes.
		"proposals": []string{"aes256-sha256-ecp256", "aes256-sha256-modp4096"},
		"encap":     yes(a.Encap), "mobike": "no", "unique": "replace", "keyingtries": "1", "dpd_delay": "10s",
		"if_id_in": id, "if_id_out": id,
		"local":  map[string]any{"auth": "psk", "id": a.Self.String()},
		"remote": map[string]any{"auth": "psk", "id": remote},
		"children": map[string]any{child: map[string]any{
			"mode": "tunnel", "local_ts": []string{a.Own.String()}, "remote_ts": []string{a.Peer.String()},
			"esp_proposals": []string{a.Proposal}, "start_action": "trap", "dpd_action": "trap", "close_action": "trap", "rekey_time": "1h",
		}},
	}})
	if err != nil {
		return err
	}
	if err := v.request("load-conn", conn); err != nil {
		return fmt.Errorf("tell charon of the connection: %w", err)
	}
	return nil
}

// message makes a message of texts, lists and further maps.
func message(values map[string]any) (*govici.Message, error) {
	m := govici.NewMessage()
	for k, v := range values {
		if section, ok := v.(map[string]any); ok {
			sub, err := message(section)
			if err != nil {
				return nil, err
			}
			v = sub
		}
		if err := m.Set(k, v); err != nil {
			return nil, fmt.Errorf("write %q for charon: %w", k, err)
		}
	}
	return m, nil
}

func yes(is bool) string {
	if is {
		return "yes"
	}
	return "no"
}

// unload has charon forget a connection and its key. Keys for packets that were agreed on stay.
func (v vici) unload(name string) error {
	return errors.Join(v.command("unload-conn", map[string]any{"name": name}), v.command("unload-shared", map[string]any{"id": name}))
}

// terminate has charon give up the keys for packets of a connection. None is a success.
func (v vici) terminate(name string) error { return v.end(name, "-1") }

// end waits for the peer's answer for as long; -1 is not at all.
func (v vici) end(name, milliseconds string) error {
	err := v.command("terminate", map[string]any{"ike": name, "force": "yes", "timeout": milliseconds})
	if err != nil && strings.Contains(err.Error(), "no matching SAs") {
		return nil
	}
	return err
}

// abandon has charon give up the keys of a connection, and tell the peer, before it returns, unless the peer is away. None is a success.
func (v vici) abandon(name string) error { return v.end(name, "500") }

// initiate has charon ask the peer for keys, and does not wait for it.
func (v vici) initiate(name string) error {
	return v.command("initiate", map[string]any{"ike": name, "child": child, "timeout": "-1"})
}

func (v vici) command(command string, values map[string]any) error {
	m, err := message(values)
	if err != nil {
		return err
	}
	if err := v.request(command, m); err != nil {
		return fmt.Errorf("%s of charon: %w", command, err)
	}
	return nil
}

// associated tells the connections that have keys for packets, with the SPIs by which the kernel knows those that are in use, and the connections
// that are at it.
func (v vici) associated() (keyed map[string][]uint32, busy map[string]bool, err error) {
	keyed, busy = map[string][]uint32{}, map[string]bool{}
	err = v.list("list-sas", "list-sa", func(name string, sa *govici.Message) {
		children, _ := sa.Get("child-sas").(*govici.Message)
		if spis, ok := installed(children); ok {
			keyed[name] = append(keyed[name], spis...)
		} else if state, _ := sa.Get("state").(string); state == "CONNECTING" || state == "CREATED" {
			busy[name] = true
		}
	})
	if err != nil {
		return nil, nil, fmt.Errorf("list the keys of charon: %w", err)
	}
	return keyed, busy, nil
}

// installed tells whether one of the children is in the kernel, and the SPIs of those that are there to stay.
func installed(children *govici.Message) (spis []uint32, ok bool) {
	if children == nil {
		return nil, false
	}
	spis = []uint32{}
	for _, name := range children.Keys() {
		c, isChild := children.Get(name).(*govici.Message)
		if !isChild {
			continue
		}
		switch state, _ := c.Get("state").(string); state {
		case "INSTALLED":
			ok = true
			for _, key := range []string{"spi-in", "spi-out"} {
				text, _ := c.Get(key).(string)
				if spi, err := strconv.ParseUint(text, 16, 32); err == nil {
					spis = append(spis, uint32(spi))
				}
			}
		case "REKEYING", "REKEYED":
			ok = true
		}
	}
	return spis, ok
}
