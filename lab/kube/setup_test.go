package kube

import (
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/subnet"
)

func TestManifest(t *testing.T) {
	for _, c := range []struct {
		name      string
		setup     Setup
		want, not []string
	}{
		{"IPv4", Setup{Families: []subnet.Family{subnet.Inet}, Proxy: "nftables"},
			[]string{`    {"Backend": {"Type": "vxlan"}, "Network": "10.244.0.0/16"}`, "kind: DaemonSet", `"name": "cbr0"`}, []string{"--kube-api-url"}},
		{"dual-stack", Setup{Families: subnet.Families[:], Proxy: "iptables"},
			[]string{`"Network": "10.244.0.0/16", "EnableIPv6": true, "IPv6Network": "fd00:10:244::/56"`}, []string{"EnableIPv4"}},
		{"IPv6", Setup{Families: []subnet.Family{subnet.Inet6}, Proxy: "nftables"},
			[]string{`"EnableIPv4": false, "EnableIPv6": true, "IPv6Network": "fd00:10:244::/56"`}, []string{`"Network"`}},
		{"without kube-proxy", Setup{Families: []subnet.Family{subnet.Inet}},
			[]string{"            - --kube-subnet-mgr\n            - --kube-api-url=https://172.30.0.1:6443\n"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			cluster := &Cluster{o: c.setup}
			got, err := cluster.Manifest("../..")
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range c.want {
				if !strings.Contains(got, text) {
					t.Errorf("there is no %q", text)
				}
			}
			for _, text := range c.not {
				if strings.Contains(got, text) {
					t.Errorf("there is %q", text)
				}
			}
		})
	}
	if _, err := WithNetConf("kind: Namespace", "{}"); err == nil || !strings.Contains(err.Error(), "no net-conf.json") {
		t.Errorf("a manifest without a network config: %v", err)
	}
	if _, err := Manifest("/nowhere"); err == nil || !strings.Contains(err.Error(), "read the manifest") {
		t.Errorf("no manifest: %v", err)
	}
}

func TestParseReply(t *testing.T) {
	for _, c := range []struct {
		text string
		want reply
		err  string
	}{
		{"b 10.0.0.1:80 10.0.0.2:81 1.5ms\n", reply{"b", netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), 1500 * time.Microsecond}, ""},
		{"b [::ffff:10.0.0.1]:80 [fd00::1]:81 2s", reply{"b", netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1"), 2 * time.Second}, ""},
		{"", reply{}, `"" has 0 words in place of 4`},
		{"b x 10.0.0.2:81 1s", reply{}, "read a reply: "},
		{"b 10.0.0.2:81 10.0.0.2:81 soon", reply{}, `invalid duration "soon"`},
	} {
		t.Run(c.text, func(t *testing.T) {
			got, err := parseReply(c.text)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("error %v, want %q", err, c.err)
				}
				return
			}
			if got != c.want || err != nil {
				t.Errorf("%+v, %v, want %+v", got, err, c.want)
			}
		})
	}
}

func FuzzParseReply(f *testing.F) {
	f.Add("b 10.0.0.1:80 10.0.0.2:81 1.5ms\n")
	f.Add("b [::1]:80 [fd00::1%eth0]:81 -1h")
	f.Fuzz(func(t *testing.T, text string) {
		if a, err := parseReply(text); err == nil && (a.name == "" || !a.seen.IsValid() || !a.own.IsValid()) {
			t.Errorf("%q: %+v", text, a)
		}
	})
}

func TestPodObject(t *testing.T) {
	p := Pod{Name: "p", Node: &Node{object: "n"}, Command: []string{"serve", "81"}, Labels: map[string]string{"role": "r"}, HostPort: 8080, Probed: true}
	text, err := json.Marshal(p.object())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"nodeName":"n"`, `"args":["serve","81"]`, `"app":"p"`, `"role":"r"`, `"hostPort":8080`, `"path":"/ready"`, `"path":"/alive"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("there is no %s in %s", want, text)
		}
	}
}

func TestLAN(t *testing.T) {
	for _, c := range []struct {
		f      subnet.Family
		number int
		want   string
	}{{subnet.Inet, controlNumber, "172.30.0.1"}, {subnet.Inet, nodeNumber + 1, "172.30.0.12"}, {subnet.Inet6, nodeNumber, "fd30::b"}} {
		if got := lanAddr(c.f, c.number).String(); got != c.want {
			t.Errorf("%s %d is %s, want %s", c.f, c.number, got, c.want)
		}
	}
	for _, f := range subnet.Families {
		if netip.PrefixFrom(lanAddr(f, 1), lanBits(f)).Masked().Contains(Outside()[f]) {
			t.Errorf("%s is not outside", Outside()[f])
		}
	}
}

func TestPatiently(t *testing.T) {
	for _, c := range []struct {
		name string
		took time.Duration
		want []string
	}{
		{"at once", 0, nil},
		{"a moment", 20 * time.Second, []string{"building"}},
		{"some minutes", 150 * time.Second, []string{"building", "  at work for 1 min", "  at work for 2 min"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var said []string
				failure := errors.New("it failed")
				err := patiently(func(what string) { said = append(said, what) }, "building", func() error {
					<-time.After(c.took)
					return failure
				})
				if diff := cmp.Diff(c.want, said); diff != "" || !errors.Is(err, failure) {
					t.Errorf("said (-want +got):\n%s%v", diff, err)
				}
			})
		})
	}
}

func TestHint(t *testing.T) {
	if got := hint("E1 Failed to start cAdvisor err=\"inotify_init: too many open files\""); !strings.Contains(got, "sysctl fs.inotify") {
		t.Errorf("hint %q", got)
	}
	if got := hint("too many open files"); got != "" {
		t.Errorf("hint %q", got)
	}
}

// TestWorkspace leaves a folder behind as a killed process does, beside one that is in use.
func TestWorkspace(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	used, remove, err := Workspace()
	if err != nil {
		t.Fatal(err)
	}
	left, err := os.MkdirTemp("", workspacePrefix)
	if err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]bool{used: false, left: true} {
		if got, err := sweepFolder(dir); got != want || err != nil {
			t.Errorf("%s is swept: %v, %v", dir, got, err)
		}
		if _, err := os.Stat(dir); (err != nil) != want {
			t.Errorf("%s after it was swept: %v", dir, err)
		}
	}
	if _, err := lockFolder(used); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("a folder that is in use is locked again: %v", err)
	}
	if err := remove(); err != nil {
		t.Error(err)
	}
	if swept, err := sweepFolder(used); swept || err != nil {
		t.Errorf("a folder that is gone is swept: %v, %v", swept, err)
	}
}

func TestExecMistakes(t *testing.T) {
	c := &Cluster{}
	if _, err := c.Node("nowhere"); err == nil || err.Error() != `there is no node "nowhere"` {
		t.Errorf("no such node: %v", err)
	}
	m := &machine{name: "n"}
	if err := m.Do(func() error { return nil }); err == nil || err.Error() != "machine n is switched off" {
		t.Errorf("a machine that is off: %v", err)
	}
}
