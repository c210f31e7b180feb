package network

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// besideOf is a way for changes of keys beside the default of WireGuard.
func (a *Agent) besideOf(t *testing.T, mark string) way {
	t.Helper()
	w := beside("wireguard", wayOf(t, guarded).b.(backend.Rotating))
	var err error
	w.Suffix, w.Rotation, w.announced, w.ready = "b", mark, true, true
	w.b, err = renamed(w.b, "b")
	must(t, err)
	w.node = a.nodeOf(&w, ownLease())
	return w
}

// besidePeer is the lease of n2 that has such a way too, with this mark, and follows these keys.
func besidePeer(t *testing.T, mark, follows string) subnet.Lease {
	t.Helper()
	l := peerBy(t, guarded)
	first := wayOf(t, guarded)
	first.Data = l.Data
	second := beside("wireguard", first.b.(backend.Rotating))
	second.Rotation, second.Follows = mark, follows
	second.Data[subnet.Inet] = strings.Replace(l.Data[subnet.Inet], "51820", "51822", 1)
	must(t, l.SetWays([]subnet.Way{first.Way, second.Way}, true))
	return l
}

const atOtherPorts = "wireguard (a device for each family, at ports 51822 and 51823)"

// TestPeerIsReachedBesideWhileKeysChange holds by which way a peer is reached, and which devices know it.
func TestPeerIsReachedBesideWhileKeysChange(t *testing.T) {
	for _, test := range []struct {
		name        string
		own, theirs string
		silent      bool // the peer has not answered yet
		parted      bool
		by, devices string
	}{
		{"neither changes its key", subnet.Along, subnet.Along, false, false, byWireGuard, "flannel-wg"},
		{"this node does", subnet.Away, subnet.Along, false, false, atOtherPorts, "flannel-wg flannel-wgb"},
		{"the peer does", subnet.Along, subnet.Away, false, false, atOtherPorts, "flannel-wg flannel-wgb"},
		{"both do", subnet.Away, subnet.Away, false, false, atOtherPorts, "flannel-wg flannel-wgb"},
		{"this node is done before the peer", subnet.Back, subnet.Away, false, false, atOtherPorts, "flannel-wg flannel-wgb"},
		{"back again", subnet.Back, subnet.Along, false, false, byWireGuard, "flannel-wg flannel-wgb"},
		{"the peer is back again", subnet.Along, subnet.Back, false, false, byWireGuard, "flannel-wg flannel-wgb"},
		{"no answer yet", subnet.Away, subnet.Along, true, false, byWireGuard, "flannel-wg flannel-wgb"},
		{"nobody uses the old key", subnet.Away, subnet.Along, false, true, atOtherPorts, "flannel-wgb"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := pure(t, guarded)
			a.rotations.is = rotation{stage: moving, key: kernel.Key{1: 7}}
			p := a.planOf(t, guarded)
			p.ways, p.parted = append(p.ways, a.besideOf(t, test.own)), test.parted
			x := besidePeer(t, test.theirs, "")
			if !test.silent {
				p.answer(t, x)
			}
			var s kernel.State
			by, _, err := p.serve(x, &s)
			must(t, err)
			devices := map[string]bool{}
			for k := range s.WireGuardPeers {
				devices[k.Link] = true
			}
			got := []string{}
			for _, name := range []string{"flannel-wg", "flannel-wgb"} {
				if devices[name] {
					got = append(got, name)
				}
			}
			if by.String() != test.by || strings.Join(got, " ") != test.devices {
				t.Errorf("reached by %s, known to %q; want %s, %s", by, got, test.by, test.devices)
			}
		})
	}
}

// TestWhoIsBehind holds why a change of the key does not go on.
func TestWhoIsBehind(t *testing.T) {
	key := kernel.Key{1: 7}
	public := publicOf(key).String()
	for _, test := range []struct {
		name    string
		stage   stage
		peer    subnet.Lease
		answers bool
		want    string
	}{
		{"has gone over", moving, besidePeer(t, subnet.Along, "x "+public), true, ""},
		{"has not been reached", moving, besidePeer(t, subnet.Along, public), false, "n2: it has not answered by its second device; UDP port 51822 or 51823 must be open between the nodes"},
		{"has not gone over", moving, besidePeer(t, subnet.Along, "x"), true, "n2: it has not gone over to the new key yet"},
		{"has no second device", moving, peerBy(t, guarded), true, "n2: it has no second device yet; does weftd run there?"},
		{"flanneld", moving, peerBy(t, "silent", guarded), true, "10.5.2.0/24: it runs flanneld, which knows one key of a node at a time"},
		{"is back", returning, besidePeer(t, subnet.Along, ""), true, ""},
		{"has nothing left", returning, peerBy(t, guarded), true, ""},
		{"has not come back", returning, besidePeer(t, subnet.Along, public), true, "n2: it has not come back to the usual ports yet"},
		{"has not answered", returning, besidePeer(t, subnet.Along, ""), false, "n2: it has not answered at the usual ports yet"},
		{"changes its own key", returning, besidePeer(t, subnet.Away, public), true, ""},
		{"has not come back after it was given up", undoing, besidePeer(t, subnet.Along, public), true, "n2: it has not come back to the usual ports yet"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := pure(t, guarded)
			a.rotations.is = rotation{stage: test.stage, key: key}
			p := a.planOf(t, guarded)
			p.ways = append(p.ways, a.besideOf(t, a.rotations.is.mark()))
			if test.answers {
				p.answer(t, test.peer)
			}
			a.loop.plan = p
			a.picture.load(subnet.Saved{Own: ownLease(), Peers: []subnet.Lease{test.peer}})
			u := a.usage(time.Now())
			if got := strings.Join(u.turning.missing, "; "); got != test.want || u.turning.peers != 1 {
				t.Errorf("missing %q of %d, want %q of 1", got, u.turning.peers, test.want)
			}
		})
	}
}

func TestWhoIsLeftBehind(t *testing.T) {
	now := time.Now()
	for _, test := range []struct {
		name   string
		forced time.Time
		node   string
		want   bool
	}{
		{"not asked for", time.Time{}, "", false},
		{"flanneld", now, "", true},
		{"has some time", now.Add(-leaveAfter), "n2", false},
		{"had it", now.Add(-leaveAfter - time.Second), "n2", true},
	} {
		r := rotation{stage: moving, forced: test.forced}
		if got := r.leaves(subnet.Lease{Attrs: subnet.Attrs{Node: test.node}}, now); got != test.want {
			t.Errorf("%s: left behind: %t", test.name, got)
		}
	}
}

// TestRotationIsKept holds what an agent finds that is started in the middle.
func TestRotationIsKept(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state", "wireguard.key.rotation")
	var none rotations
	must(t, none.load(file))
	if none.now() != (rotation{}) || none.status() != nil {
		t.Error("there is a rotation where none was kept")
	}
	key, err := makeKey()
	must(t, err)
	for _, r := range []rotation{{stage: moving, key: key}, {stage: returning, key: key, forced: time.Unix(1000, 0).UTC()}, {stage: undoing, key: key}} {
		must(t, none.set(r))
		info, err := os.Stat(file)
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("mode %s", info.Mode())
		}
		var again rotations
		must(t, again.load(file))
		if again.now() != r {
			t.Errorf("stage %s is found as stage %s, forced %s as %s", r.stage, again.now().stage, r.forced, again.now().forced)
		}
	}
	must(t, none.set(rotation{}))
	if _, err := os.Stat(file); !os.IsNotExist(err) || none.status() != nil {
		t.Errorf("it is there after its end: %v", err)
	}
}

func TestRotationStatus(t *testing.T) {
	r := rotations{file: filepath.Join(t.TempDir(), "r")}
	must(t, r.set(rotation{stage: moving, key: kernel.Key{1: 7}}))
	want := &RotationStatus{Stage: "waiting", PublicKey: publicOf(kernel.Key{1: 7}).String(), Missing: []string{}}
	if diff := cmp.Diff(want, r.status()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	r.tell(turning{peers: 2, missing: []string{"n2: why"}, awaited: 1})
	want.Stage, want.Peers, want.Missing = "moving", 2, []string{"n2: why"}
	if diff := cmp.Diff(want, r.status()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestKeyOfARotation holds which key a node starts with.
func TestKeyOfARotation(t *testing.T) {
	old, next := clamped(kernel.Key{1: 1}), clamped(kernel.Key{1: 2})
	for s, want := range map[stage]kernel.Key{moving: old, returning: next, undoing: old} {
		a := &Agent{o: Options{Log: testLog(t), KeyFile: filepath.Join(t.TempDir(), "wireguard.key")}}
		must(t, os.WriteFile(a.o.KeyFile, []byte(base64.StdEncoding.EncodeToString(old[:])), 0o600))
		r := rotations{file: a.o.KeyFile + ".rotation"}
		must(t, r.set(rotation{stage: s, key: next}))
		must(t, a.findKey(t.Context()))
		if a.loop.secret.key != want {
			t.Errorf("%s: another key", s)
		}
		if a.writeKey(); s == returning {
			if got, err := readKey(a.o.KeyFile); err != nil || got != next {
				t.Errorf("%s: the new key is not in the file, %v", s, err)
			}
		}
	}
}

func TestRotateIsRefused(t *testing.T) {
	flannel := peerBy(t, "silent", guarded)
	for _, test := range []struct {
		name, config string
		more         []string // ways beside
		peer         subnet.Lease
		o            RotateOptions
		stage        stage
		change       func(*Agent)
		want         string
	}{
		{"another backend", vxlan1, nil, subnet.Lease{}, RotateOptions{}, "", nil, "the backend is vxlan (VNI 1 at port 8472), which has no private key for WireGuard"},
		{"the backend changes", guarded, []string{vxlan1}, subnet.Lease{}, RotateOptions{}, "", nil, "vxlan (VNI 1 at port 8472) is still in place beside wireguard"},
		{"no state", guarded, nil, subnet.Lease{}, RotateOptions{}, "", func(a *Agent) { a.o.KeyFile = "" }, "--state-dir"},
		{"not connected", guarded, nil, subnet.Lease{}, RotateOptions{}, "", func(a *Agent) { a.report.ready = false }, "not connected yet"},
		{"flanneld", guarded, nil, flannel, RotateOptions{}, "", nil, "peers run flanneld, which knows one key of a node at a time, and would lose packets: 192.0.2.2; --force"},
		{"nothing to give up", guarded, nil, subnet.Lease{}, RotateOptions{Abort: true}, "", nil, "no change of the private key under way"},
		{"too late to give up", guarded, nil, subnet.Lease{}, RotateOptions{Abort: true}, returning, nil, "in force already"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := pure(t, test.config)
			a.o.KeyFile = filepath.Join(t.TempDir(), "wireguard.key")
			a.rotations.file = a.o.KeyFile + ".rotation"
			a.rotations.is.stage = test.stage
			a.report.ready = true
			a.report.plan = a.planOf(t, append([]string{test.config}, test.more...)...)
			a.picture.load(subnet.Saved{Own: ownLease(), Peers: []subnet.Lease{test.peer}})
			if test.change != nil {
				test.change(a)
			}
			err := a.Rotate(test.o)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q in it", err, test.want)
			}
			if _, err := os.Stat(a.rotations.file); err == nil {
				t.Error("a rotation was begun")
			}
		})
	}
}

func FuzzParseRotation(f *testing.F) {
	key := base64.StdEncoding.EncodeToString(append([]byte{8}, make([]byte, 31)...))
	for _, seed := range []string{"", "{}", "null", `{"Stage":"moving","PrivateKey":"` + key + `"}`, `{"Stage":"returning","PrivateKey":"` + key + `","Forced":"2026-01-02T03:04:05Z"}`,
		`{"Stage":"","PrivateKey":"` + key + `"}`, `{"Stage":"moving","PrivateKey":"AAAA"}`, "\x00"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := parseRotation("file", text)
		if err == nil && (r.stage == noRotation || r.key == kernel.Key{}) {
			t.Errorf("%q is stage %q with a key: %t", text, r.stage, r.key != kernel.Key{})
		}
		if err != nil && len(text) > 60 && strings.Contains(err.Error(), string(text[40:60])) {
			t.Errorf("the error shows what was read: %v", err)
		}
	})
}
