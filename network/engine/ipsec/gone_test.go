package ipsec

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/network/kernel"
)

// standIn is a charon that agrees to everything and ends where it is told to, in the middle of a conversation.
type standIn struct {
	dir   string // with the file "end", which says where
	l     net.Listener
	conns []string // what it was told of
}

// What VICI calls the kinds of packets.
const (
	request = iota
	response
	_
	register
	unregister
	confirm
	_
	event
)

func (c *standIn) serve() (err error) {
	c.l, err = net.Listen("unix", filepath.Join(filepath.Dir(os.Getenv("STRONGSWAN_CONF")), "charon.vici"))
	if err != nil {
		return err
	}
	for {
		conn, err := c.l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		} else if err != nil {
			return err
		}
		go c.converse(conn)
	}
}

// converse answers until the other side goes. There is one that asks at a time, as with the engine.
func (c *standIn) converse(conn net.Conn) {
	defer conn.Close()
	for {
		var size uint32
		if binary.Read(conn, binary.BigEndian, &size) != nil {
			return
		}
		c.end("anything") // with a packet that nobody reads: the other side is reset
		packet := make([]byte, size)
		if _, err := io.ReadFull(conn, packet); err != nil {
			return
		}
		name, body := short(packet[1:])
		c.end(name)
		if packet[0] != request {
			send(conn, confirm)
			continue
		}
		c.obey(conn, name, body)
		send(conn, response, "\x03\x07success\x00\x03yes")
	}
}

// obey does what charon does at a command, and notes it in the file "commands".
func (c *standIn) obey(conn net.Conn, command, body string) {
	if f, err := os.OpenFile(filepath.Join(c.dir, "commands"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err == nil {
		fmt.Fprintln(f, command)
		f.Close()
	}
	switch command {
	case "load-conn":
		c.conns = append(c.conns, body)
	case "unload-conn":
		_, name := short([]byte(body[1:])) // behind the key "name", with its length in two bytes
		c.conns = slices.DeleteFunc(c.conns, func(told string) bool { return strings.Contains(told, name[2:]) })
	case "list-conns":
		asked := strings.NewReplacer("local_ts", "local-ts", "remote_ts", "remote-ts")
		for _, told := range c.conns {
			send(conn, event, text("list-conn"), asked.Replace(told))
		}
	}
}

// end ends the program where it was told to.
func (c *standIn) end(where string) {
	file := filepath.Join(c.dir, "end")
	data, _ := os.ReadFile(file)
	if first, rest, _ := strings.Cut(string(data), "\n"); first == where {
		os.WriteFile(file, []byte(rest), 0o600)
		c.l.Close()
		select {} // the program ends now
	}
}

// short reads a text that its length precedes.
func short(data []byte) (head, rest string) {
	n := int(data[0]) + 1
	return string(data[1:n]), string(data[n:])
}

func text(s string) string { return string(byte(len(s))) + s }

func send(w io.Writer, kind byte, parts ...string) {
	packet := string(kind) + strings.Join(parts, "")
	fmt.Fprintf(w, "%s%s", binary.BigEndian.AppendUint32(nil, uint32(len(packet))), packet)
}

// withStandIn returns an engine whose charon is a standIn. ends has the next ones end in the middle of the commands of these names.
func withStandIn(t *testing.T) (e *Engine, ends func(commands ...string)) {
	t.Helper()
	dir := t.TempDir()
	self, err := os.Executable()
	must(t, err)
	script := fmt.Sprintf("#!/bin/sh\necho >> %s/starts\nexec %s charon %[1]s\n", dir, self)
	must(t, os.WriteFile(filepath.Join(dir, "charon-systemd"), []byte(script), 0o700))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	e = New(Options{Dir: filepath.Join(dir, "ipsec")})
	t.Cleanup(func() { must(t, e.charon.stop(context.Background())) })
	return e, func(commands ...string) {
		t.Helper()
		must(t, os.WriteFile(filepath.Join(dir, "end"), []byte(strings.Join(commands, "\n")), 0o600))
	}
}

// starts counts how often charon was started.
func starts(t *testing.T, e *Engine) int {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(e.charon.dir, "../starts"))
	must(t, err)
	return len(data)
}

// listed are the associations that the engine keeps.
func listed(t *testing.T, e *Engine) kernel.Set[kernel.AssociationKey, kernel.Association] {
	t.Helper()
	var s kernel.State
	must(t, e.List(t.Context(), &s))
	return s.Associations
}

// TestPutBringsCharonBack holds that a charon that goes away while it is told of peers is one that was not there.
func TestPutBringsCharonBack(t *testing.T) {
	for _, where := range []string{"anything", "list-conn", "list-conns", "load-shared", "load-conn", "initiate"} {
		t.Run(where, func(t *testing.T) {
			e, ends := withStandIn(t)
			var other, s kernel.State
			first, second := association(), association()
			first.Peer, second.ID = first.Own, 88
			other.Associations.Add(first)
			must(t, e.Put(t.Context(), other))
			ends(where)
			s.Associations.Add(second)
			must(t, e.Put(t.Context(), s))
			if diff := cmp.Diff(s.Associations, listed(t, e), cmp.Comparer(func(a, b kernel.Association) bool { return a == b })); diff != "" {
				t.Errorf("the new charon knows (-want +got):\n%s", diff)
			}
			if n := starts(t, e); n != 2 {
				t.Errorf("charon was started %d times, want 2", n)
			}
		})
	}
}

// TestCharonThatEndsAlways holds that Put gives up, and says of which peer charon was told last.
func TestCharonThatEndsAlways(t *testing.T) {
	e, ends := withStandIn(t)
	ends("load-conn", "load-conn", "load-conn", "load-conn")
	var s kernel.State
	s.Associations.Add(association())
	err := e.Put(t.Context(), s)
	if err == nil || !strings.Contains(err.Error(), "3 times") || !strings.Contains(err.Error(), "10.5.2.0/24") {
		t.Errorf("error is %v", err)
	}
	ends()
	must(t, e.Put(t.Context(), s))
}

// TestListWhileCharonEnds holds that there is nothing then, and that it is no failure.
func TestListWhileCharonEnds(t *testing.T) {
	for _, where := range []string{"anything", "list-conn", "list-conns"} {
		t.Run(where, func(t *testing.T) {
			e, ends := withStandIn(t)
			var s kernel.State
			s.Associations.Add(association())
			must(t, e.Put(t.Context(), s))
			if len(listed(t, e)) != 1 {
				t.Fatal("what was put is not listed")
			}
			ends(where)
			if all := listed(t, e); len(all) != 0 {
				t.Errorf("charon has gone, and there are %v", all)
			}
			must(t, e.Put(t.Context(), s))
			if len(listed(t, e)) != 1 || starts(t, e) != 2 {
				t.Errorf("charon was started %d times and knows %v", starts(t, e), listed(t, e))
			}
		})
	}
}

// TestDropWhileCharonEnds holds that what charon takes with it need not be dropped any more.
func TestDropWhileCharonEnds(t *testing.T) {
	for _, where := range []string{"anything", "list-conns", "unload-conn", "unload-shared", "terminate"} {
		t.Run(where, func(t *testing.T) {
			e, ends := withStandIn(t)
			var s kernel.State
			s.Associations.Add(association())
			must(t, e.Put(t.Context(), s))
			ends(where)
			must(t, e.Drop(t.Context(), s))
			if all := listed(t, e); len(all) != 0 || starts(t, e) != 1 {
				t.Errorf("charon was started %d times and knows %v", starts(t, e), all)
			}
		})
	}
}

// TestLookMakesAgain holds what charon is asked for when the kernel lacks the policies that it was told to make, as is so with a stand-in,
// which makes none: nothing at first, then all anew, and not each time from then on.
func TestLookMakesAgain(t *testing.T) {
	e, _ := withStandIn(t)
	defer e.close()
	var s kernel.State
	s.Associations.Add(association())
	must(t, e.Put(t.Context(), s))
	noted := filepath.Join(e.charon.dir, "../commands")
	anew := "unload-conn unload-shared terminate load-shared load-conn initiate"
	for round, want := range []bool{false, true, false, true, false, false, false, true} {
		must(t, os.WriteFile(noted, nil, 0o600))
		must(t, e.look(t.Context()))
		data, err := os.ReadFile(noted)
		must(t, err)
		commands := strings.Join(strings.Fields(string(data)), " ")
		if strings.Contains(commands, anew) != want || strings.Contains(commands, "terminate") != want {
			t.Errorf("round %d asked for %s, want all anew: %t", round+1, commands, want)
		}
	}
	if len(listed(t, e)) != 1 || starts(t, e) != 1 {
		t.Errorf("charon was started %d times and knows %v", starts(t, e), listed(t, e))
	}
	must(t, e.Drop(t.Context(), s))
	must(t, os.WriteFile(noted, nil, 0o600))
	must(t, e.look(t.Context()))
	if data, err := os.ReadFile(noted); err != nil || len(data) != 0 || len(e.patients) != 0 {
		t.Errorf("without an association charon was asked for %s: %v", data, err)
	}
}
