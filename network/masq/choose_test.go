package masq

import (
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"

	"github.com/weft-network/weft/network/kernel/kerneltest"
)

func quiet() logrus.FieldLogger {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return log
}

func TestChoose(t *testing.T) {
	tests := []struct {
		name     string
		prefer   string
		commands []string
		want     string // type, name and reason, or the beginning of the error
	}{
		{"nothing there", Auto, nil, "nftables, default"},
		{"asked for nftables", NFTablesByName, []string{"iptables-legacy -P FORWARD DROP"}, "nftables, asked for"},
		{"asked for iptables", IPTablesByName, nil, "iptables (iptables), asked for"},
		{"iptables preferred", PreferIPTables, nil, "iptables (iptables), asked for"},
		{"Docker on iptables-nft", Auto, []string{"iptables-nft -P FORWARD DROP"}, "nftables, default"},
		{"legacy in use", Auto, []string{"iptables-legacy -A FORWARD -p tcp -j DROP"}, "nftables, default"},
		{"Docker on iptables-legacy", Auto, []string{"iptables-legacy -P FORWARD DROP"},
			"iptables (iptables-legacy), the FORWARD chain of iptables-legacy drops IPv4 packets that nobody accepted"},
		{"the same, for IPv6", Auto, []string{"ip6tables-legacy -A FORWARD -j REJECT"},
			"iptables (iptables-legacy), the FORWARD chain of iptables-legacy drops IPv6 packets that nobody accepted"},
		{"the same, with ours in place", Auto, []string{
			"iptables-legacy -P FORWARD DROP", "iptables-legacy -N WEFT-FWD", "iptables-legacy -A FORWARD -j WEFT-FWD"},
			"iptables (iptables-legacy), the FORWARD chain of iptables-legacy drops IPv4 packets that nobody accepted"},
		{"a word", "ipfw", nil, `error: firewall "ipfw" is not known; it is auto, nftables or iptables`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			kerneltest.NewNS(t).Do(t, func() {
				for _, command := range test.commands {
					run(t, command)
				}
				if diff := cmp.Diff(test.want, choose(t, test.prefer)); diff != "" {
					t.Errorf("Choose (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// choose returns the choice in words.
func choose(t *testing.T, prefer string) string {
	c, err := Choose(t.Context(), "", prefer, time.Second, quiet())
	if err != nil {
		return "error: " + err.Error()
	}
	if f, ok := c.Firewall.(*IPTables); ok {
		return c.Name + " (" + f.command + "), " + c.Reason
	}
	return c.Name + ", " + c.Reason
}

func TestChooseWithoutTools(t *testing.T) {
	kerneltest.NewNS(t).Do(t, func() {
		run(t, "iptables-legacy -P FORWARD DROP")
		path := os.Getenv("PATH")
		t.Setenv("PATH", t.TempDir())
		auto, asked, preferred := choose(t, Auto), choose(t, IPTablesByName), choose(t, PreferIPTables)
		t.Setenv("PATH", path)
		if want := "nftables, default"; auto != want {
			t.Errorf("without tools: %s, want %s", auto, want)
		}
		if want := "nftables, iptables does not work here: "; !strings.HasPrefix(preferred, want) {
			t.Errorf("iptables preferred, without tools: %s, want %s...", preferred, want)
		}
		if !strings.Contains(asked, "executable file not found") {
			t.Errorf("asked for iptables without tools: %s, want an error that says so", asked)
		}
	})
}

func TestBefore(t *testing.T) {
	tests := []struct {
		release string
		want    bool
	}{
		{"3.10.0-1160.el7.x86_64", true},
		{"4.18.0-553.el8_10.x86_64", true},
		{"5.1.21", true},
		{"5.2.0", false},
		{"5.15.0-100-generic", false},
		{"6.18-rc1", false},
		{"", false},
		{"what?", false},
	}
	for _, test := range tests {
		if got := before(test.release, 5, 2); got != test.want {
			t.Errorf("before(%q, 5, 2) = %v, want %v", test.release, got, test.want)
		}
	}
}
