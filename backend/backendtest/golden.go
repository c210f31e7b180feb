// Package backendtest runs backends over golden files: txtar archives that hold a config, a node and its peers, and
// the text of all that the backend makes of them. It knows how to write that down, and refuses to know any backend.
package backendtest

import (
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

var update = flag.Bool("update", false, "write the golden files of backends anew")

// Maker is how a test makes the backend of a type, as the agent would.
type Maker func(kind, config string) (backend.Backend, []string, error)

// Golden runs every file testdata/*.txtar of the calling package. A file holds "config" (the Backend object), "node",
// "peers" (one JSON object on each line) and "want". A peer that names another backend type than the config's is
// served by that one with its defaults. With the flag -update, "want" is written anew.
func Golden(t *testing.T, maker Maker) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files in testdata: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { golden(t, maker, file) })
	}
}

func golden(t *testing.T, maker Maker, file string) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	parts := map[string]string{}
	for _, f := range archive.Files {
		parts[f.Name] = string(f.Data)
	}
	got := plan(t, maker, parts)
	if diff := cmp.Diff(parts["want"], got); diff != "" && !*update {
		t.Errorf("what the backend makes of it (-want +got):\n%s", diff)
	}
	if *update {
		last := &archive.Files[len(archive.Files)-1]
		if last.Name != "want" {
			archive.Files = append(archive.Files, txtar.File{Name: "want"})
			last = &archive.Files[len(archive.Files)-1]
		}
		last.Data = []byte(got)
		if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// plan returns all that the backend says of the parts of a golden file, in text.
func plan(t *testing.T, maker Maker, parts map[string]string) string {
	var config struct{ Type string }
	unmarshal(t, parts["config"], &config)
	b, warnings, err := maker(config.Type, parts["config"])
	if err != nil {
		return "config error: " + err.Error() + "\n"
	}
	n, own := node(t, parts["node"])
	var out strings.Builder
	for _, w := range warnings {
		fmt.Fprintf(&out, "warning: %s\n", w)
	}
	if own.Attrs, err = b.Attrs(n); err != nil {
		fmt.Fprintf(&out, "attrs error: %v\n", err)
	}
	writeAttrs(&out, own.Attrs)
	fmt.Fprintf(&out, "mtu %d\nports %v\n\n# base\n", backend.MTU(b, n), b.Ports())
	n.Kept, n.Subnets = own.Attrs, own.Subnets

	var s kernel.State
	err = b.Base(n, own, &s)
	writeState(&out, s, err)
	kind := backend.KindOf(config.Type, b)
	for line := range strings.Lines(parts["peers"]) {
		peer := lease(t, line, kind)
		pb := b
		if peer.Backend != kind {
			if pb, _, err = maker(peer.Backend, "{}"); err != nil {
				t.Fatal(err)
			}
		}
		fmt.Fprintf(&out, "\n# %s %s\n", peer.Backend, peer.Subnets)
		writeState(&out, added(t, pb, n, peer, &s, &err), err)
	}
	return out.String()
}

// added returns what the peer adds to s, and puts it there.
func added(t *testing.T, b backend.Backend, n backend.Node, peer subnet.Lease, s *kernel.State, err *error) kernel.State {
	before := s.String()
	var alone kernel.State
	*err = b.Peer(n, peer, &alone)
	together := b.Peer(n, peer, s)
	if together == nil {
		return alone
	}
	if diff := cmp.Diff(before, s.String()); diff != "" {
		t.Errorf("Peer returned an error and changed the state all the same (-before +after):\n%s", diff)
	}
	*err = together
	return kernel.State{}
}

func writeAttrs(out *strings.Builder, a subnet.Attrs) {
	for _, f := range subnet.Families {
		if a.PublicIP[f].IsValid() || a.Data[f] != "" {
			fmt.Fprintf(out, "attrs %s %s %s %s\n", f, a.Backend, a.PublicIP[f], a.Data[f])
		}
	}
}

func writeState(out *strings.Builder, s kernel.State, err error) {
	out.WriteString(s.String())
	if err != nil {
		fmt.Fprintf(out, "error: %s\n", strings.ReplaceAll(err.Error(), "\n", "\nerror: "))
	}
}

// node reads a backend.Node and its subnets. Of several networks of a family, those after the first are further ones.
func node(t *testing.T, text string) (backend.Node, subnet.Lease) {
	var raw struct {
		Name            string
		Network, Subnet []netip.Prefix
		Uplink          []backend.Uplink
		Works           []kernel.Path
		Kept            struct {
			Backend string
			Data    [2]json.RawMessage
		}
	}
	unmarshal(t, text, &raw)
	n := backend.Node{Name: raw.Name, Kept: subnet.Attrs{Backend: raw.Kept.Backend, Data: data(raw.Kept.Data)},
		WireGuardKey: kernel.Key(sha256.Sum256([]byte(raw.Name)))}
	for _, p := range raw.Network {
		if f := subnet.FamilyOf(p.Addr()); n.Networks[f].Enabled() {
			n.Further[f] = append(n.Further[f], subnet.Network{Prefix: p})
		} else {
			n.Networks[f].Prefix = p
		}
	}
	for _, u := range raw.Uplink {
		if !u.Public.IsValid() {
			u.Public = u.Addr
		}
		n.Uplinks[subnet.FamilyOf(u.Addr)] = u
	}
	for _, p := range raw.Works {
		if n.Works == nil {
			n.Works = map[kernel.Path]bool{}
		}
		n.Works[p] = true
	}
	return n, subnet.Lease{Subnets: subnets(raw.Subnet)}
}

// lease reads the lease of a peer.
func lease(t *testing.T, text, kind string) subnet.Lease {
	raw := struct {
		Node     string
		Subnet   []netip.Prefix
		PublicIP []netip.Addr
		Backend  string
		Data     [2]json.RawMessage
		MTU      int // of its uplink
	}{Backend: kind}
	unmarshal(t, text, &raw)
	l := subnet.Lease{Subnets: subnets(raw.Subnet), Attrs: subnet.Attrs{Node: raw.Node, Backend: raw.Backend, Data: data(raw.Data), MTU: raw.MTU}}
	for _, a := range raw.PublicIP {
		l.PublicIP[subnet.FamilyOf(a)] = a
	}
	return l
}

func subnets(ps []netip.Prefix) (s subnet.Subnets) {
	for _, p := range ps {
		s[subnet.FamilyOf(p.Addr())] = p
	}
	return s
}

func data(raw [2]json.RawMessage) (d [2]string) {
	for f, r := range raw {
		if string(r) != "null" {
			d[f] = string(r)
		}
	}
	return d
}

func unmarshal(t *testing.T, text string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), v); err != nil {
		t.Fatalf("read %.60q: %v", text, err)
	}
}
