package ipsec

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	govici "github.com/strongswan/govici/vici"

	"github.com/weft-network/weft/network/kernel"
)

func association() kernel.Association {
	return kernel.Association{Link: "flannel.esp", ID: 87, Own: netip.MustParsePrefix("10.5.1.0/24"), Peer: netip.MustParsePrefix("10.5.2.0/24"),
		Local: addr("192.0.2.%d", 1), Remote: addr("192.0.2.%d", 2), Self: addr("192.0.2.%d", 1), Proposal: "aes128gcm16", PSK: psk}
}

// TestNameTellsAllThatCharonIsTold holds that what differs has another name, and that the name does not show the key.
func TestNameTellsAllThatCharonIsTold(t *testing.T) {
	names := map[string]string{}
	for what, change := range map[string]func(*kernel.Association){
		"nothing": func(*kernel.Association) {}, "link": func(a *kernel.Association) { a.Link = "flannel.espb" },
		"id": func(a *kernel.Association) { a.ID++ }, "own": func(a *kernel.Association) { a.Own = a.Peer },
		"peer": func(a *kernel.Association) { a.Peer = a.Own }, "local": func(a *kernel.Association) { a.Local = a.Remote },
		"remote": func(a *kernel.Association) { a.Remote = addr("192.0.2.%d", 3) }, "self": func(a *kernel.Association) { a.Self = a.Remote },
		"encap": func(a *kernel.Association) { a.Encap = true }, "proposal": func(a *kernel.Association) { a.Proposal += "-x25519" },
		"key": func(a *kernel.Association) { a.PSK += "x" },
	} {
		a := association()
		change(&a)
		name := nameOf(a)
		if other, ok := names[name]; ok || strings.Contains(name, psk[:8]) || !strings.HasPrefix(name, a.Link+"#") {
			t.Errorf("with another %s the name is %q, as with another %s", what, name, other)
		}
		names[name] = what
	}
}

// section makes what charon answers of maps.
func section(t testing.TB, values map[string]any) *govici.Message {
	t.Helper()
	m, err := message(values)
	must(t, err)
	return m
}

func TestParseConnection(t *testing.T) {
	told := func(name string, values map[string]any) map[string]any {
		return map[string]any{"local_addrs": []string{"192.0.2.1"}, "remote_addrs": []string{"192.0.2.2"}, "version": "IKEv2",
			"children": map[string]any{name: values}}
	}
	good := map[string]any{"mode": "TUNNEL", "local-ts": []string{"10.5.1.0/24"}, "remote-ts": []string{"10.5.2.0/24"}}
	for _, test := range []struct {
		name, connection string
		values           map[string]any
		want             bool
	}{
		{"ours", "flannel.esp#0123", told(child, good), true},
		{"of another name", "office", told(child, good), false},
		{"another child", "flannel.esp#0123", told("net", good), false},
		{"no children", "flannel.esp#0123", map[string]any{"version": "IKEv2"}, false},
		{"no addresses", "flannel.esp#0123", map[string]any{"children": map[string]any{child: good}}, false},
		{"any address", "flannel.esp#0123", map[string]any{"local_addrs": []string{"%any"}, "remote_addrs": []string{"%any"},
			"children": map[string]any{child: good}}, false},
		{"dynamic subnet", "flannel.esp#0123", told(child, map[string]any{"local-ts": []string{"dynamic"}, "remote-ts": []string{"10.5.2.0/24"}}), false},
		{"list where a text is", "flannel.esp#0123", told(child, map[string]any{"local-ts": "10.5.1.0/24", "remote-ts": "10.5.2.0/24"}), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := parseConnection(test.connection, section(t, test.values))
			if got.ok != test.want || got.name != test.connection {
				t.Fatalf("got %+v", got)
			}
			want := association()
			want.ID, want.Self, want.Proposal, want.PSK = 0, netip.Addr{}, "", ""
			if diff := cmp.Diff(want, got.Association, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" && test.want {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func FuzzParseConnection(f *testing.F) {
	f.Add("flannel.esp#1", "192.0.2.1", "10.5.2.0/24")
	f.Add("#", "%any", "dynamic")
	f.Add("a", "fe80::1%eth0", "::/0")
	f.Fuzz(func(t *testing.T, name, address, ts string) {
		m := section(t, map[string]any{"local_addrs": []string{address}, "remote_addrs": []string{address},
			"children": map[string]any{child: map[string]any{"local-ts": []string{ts}, "remote-ts": []string{ts}}}})
		if c := parseConnection(name, m); c.ok && (!c.Peer.IsValid() || !c.Remote.IsValid() || !strings.Contains(name, "#")) {
			t.Errorf("taken for ours: %+v", c)
		}
	})
}

func TestInstalled(t *testing.T) {
	for _, test := range []struct {
		name   string
		states []string
		want   bool
	}{
		{"none", nil, false}, {"one", []string{"INSTALLED"}, true}, {"being replaced", []string{"REKEYING"}, true},
		{"not yet", []string{"CREATED"}, false}, {"one of two", []string{"DELETING", "INSTALLED"}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			children := map[string]any{}
			for i, s := range test.states {
				children["pods-"+string(rune('1'+i))] = map[string]any{"name": child, "state": s}
			}
			if _, got := installed(section(t, children)); got != test.want {
				t.Errorf("got %v", got)
			}
		})
	}
	if _, ok := installed(nil); ok {
		t.Error("no children are taken for one")
	}
}

func TestInstalledSPIs(t *testing.T) {
	children := map[string]any{
		"pods-1": map[string]any{"state": "REKEYED", "spi-in": "c0000001", "spi-out": "c0000002"}, // about to go
		"pods-2": map[string]any{"state": "INSTALLED", "spi-in": "c0000003", "spi-out": "0a000004"},
		"pods-3": map[string]any{"state": "INSTALLED", "spi-in": "none"},
	}
	got, ok := installed(section(t, children))
	slices.Sort(got)
	if diff := cmp.Diff([]uint32{0x0a000004, 0xc0000003}, got); diff != "" || !ok {
		t.Errorf("%t (-want +got):\n%s", ok, diff)
	}
}

// TestLacks holds what is missed in the kernel: without keys no more than what asks for them.
func TestLacks(t *testing.T) {
	a := association()
	spis := []uint32{1, 2}
	for _, test := range []struct {
		name  string
		lose  func(*kernel.IPsecState)
		keyed bool
		want  bool
	}{
		{"nothing", func(*kernel.IPsecState) {}, true, false},
		{"nothing, without keys", func(*kernel.IPsecState) {}, false, false},
		{"an SPI", func(s *kernel.IPsecState) { delete(s.SPIs, 2) }, true, true},
		{"the policy out", func(s *kernel.IPsecState) { delete(s.Policies, a.Policy(kernel.Out)) }, true, true},
		{"the policy out, without keys", func(s *kernel.IPsecState) { delete(s.Policies, a.Policy(kernel.Out)) }, false, true},
		{"the policy in", func(s *kernel.IPsecState) { delete(s.Policies, a.Policy(kernel.In)) }, true, true},
		{"the policy forward", func(s *kernel.IPsecState) { delete(s.Policies, a.Policy(kernel.Through)) }, true, true},
		{"the policy forward, without keys", func(s *kernel.IPsecState) { delete(s.Policies, a.Policy(kernel.Through)) }, false, false},
		{"all", func(s *kernel.IPsecState) { *s = kernel.IPsecState{} }, false, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			held := kernel.IPsecState{SPIs: map[uint32]bool{1: true, 2: true, 3: true}, Policies: map[kernel.Policy]bool{}}
			for _, dir := range []kernel.Direction{kernel.In, kernel.Out, kernel.Through} {
				held.Policies[a.Policy(dir)] = true
			}
			test.lose(&held)
			keys := spis
			if !test.keyed {
				keys = nil
			}
			if got := lacks(held, a, keys, test.keyed); got != test.want {
				t.Errorf("something is missed: %t, want %t", got, test.want)
			}
		})
	}
}

// TestMends holds that nothing is made again that is there one moment later, and not all the time what is always missing.
func TestMends(t *testing.T) {
	var rounds []int
	for r := range 200 {
		if mends(r) {
			rounds = append(rounds, r)
		}
	}
	if diff := cmp.Diff([]int{2, 4, 8, 16, 32, 64, 128, 192}, rounds); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestDue holds that one side begins, that the other does when nothing comes of it, and that both give no peer up.
func TestDue(t *testing.T) {
	tries := func(a kernel.Association) (rounds []int) {
		for r := 1; r <= 260; r++ {
			if due(a, r) {
				rounds = append(rounds, r)
			}
		}
		return rounds
	}
	a := association()
	if diff := cmp.Diff([]int{1, 2, 4, 8, 16, 24, 32, 40, 48, 56, 64, 128, 192, 256}, tries(a)); diff != "" {
		t.Errorf("the node that begins (-want +got):\n%s", diff)
	}
	a.Self, a.Remote = a.Remote, a.Self
	if diff := cmp.Diff([]int{5, 6, 8, 12, 20, 28, 36, 44, 52, 60, 68, 132, 196, 260}, tries(a)); diff != "" {
		t.Errorf("the other (-want +got):\n%s", diff)
	}
}

func TestCharonIsMissing(t *testing.T) {
	_, err := find([]string{"no-such-charon", filepath.Join(t.TempDir(), "charon")})
	if err == nil || !strings.Contains(err.Error(), "apt-get install charon-systemd libstrongswan-standard-plugins") {
		t.Errorf("error is %v, want one that names the packages", err)
	}
	path := filepath.Join(t.TempDir(), "charon")
	must(t, os.WriteFile(path, []byte("#!/bin/sh\n"), 0o700))
	if got, err := find([]string{"no-such-charon", path}); err != nil || got != path {
		t.Errorf("found %q, %v", got, err)
	}
}

// TestWithoutCharon holds that a node that has no association neither needs charon nor starts it.
func TestWithoutCharon(t *testing.T) {
	e := New(Options{Dir: filepath.Join(t.TempDir(), "ipsec")})
	var s kernel.State
	must(t, e.List(t.Context(), &s))
	must(t, e.Put(t.Context(), s))
	must(t, e.Drop(t.Context(), s))
	s.Associations.Add(association())
	must(t, e.Drop(t.Context(), s))
	if _, err := os.Stat(e.charon.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the engine has made its folder: %v", err)
	}
	if _, err := e.charon.speak(); !errors.Is(err, errAbsent) {
		t.Errorf("error is %v", err)
	}
}

// TestCharonThatEnds holds that one which does not start is told with what it said.
func TestCharonThatEnds(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "charon-systemd")
	must(t, os.WriteFile(program, []byte("#!/bin/sh\necho there is no such library >&2\nexit 1\n"), 0o700))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	e := New(Options{Dir: filepath.Join(dir, "ipsec")})
	var s kernel.State
	s.Associations.Add(association())
	err := e.Put(t.Context(), s)
	if err == nil || !strings.Contains(err.Error(), "there is no such library") {
		t.Errorf("error is %v", err)
	}
}

func TestNote(t *testing.T) {
	e := New(Options{Dir: t.TempDir()})
	a := association()
	e.wanted[nameOf(a)] = a
	must(t, e.note())
	if info, err := os.Stat(e.charon.noted()); err != nil || info.Mode() != 0o600 {
		t.Errorf("the note is %v, %v: there are secrets in it", info, err)
	}
	again := New(Options{Dir: e.charon.dir})
	again.remember()
	if got := again.wanted[nameOf(a)]; got != a || len(again.wanted) != 1 {
		t.Errorf("remembered %v", again.wanted)
	}
	must(t, os.WriteFile(e.charon.noted(), []byte(`[{"Link":`), 0o600))
	third := New(Options{Dir: e.charon.dir})
	if third.remember(); len(third.wanted) != 0 {
		t.Errorf("remembered %v of a damaged note", third.wanted)
	}
}

func FuzzParseNote(f *testing.F) {
	for _, seed := range []string{"", "[]", `[{"Link":"flannel.esp","Own":"10.5.1.0/24"}]`, `[null]`, `{"a":1}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for name, a := range parseNote(data) {
			if name != nameOf(a) || !a.Peer.IsValid() {
				t.Errorf("%q is %v", name, a)
			}
		}
	})
}
