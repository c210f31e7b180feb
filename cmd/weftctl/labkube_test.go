package main

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/spf13/pflag"

	"github.com/weft-network/weft/lab/kube"
	"github.com/weft-network/weft/subnet"
)

func TestKubeShape(t *testing.T) {
	for _, c := range []struct {
		name string
		args string
		want kube.Setup
		errs []string
	}{
		{"nothing", "", kube.Setup{Nodes: 2, Families: []subnet.Family{subnet.Inet}, Proxy: "nftables"}, nil},
		{"everything", "--nodes=5 --pods=1 --families=dual --proxy=iptables", kube.Setup{Nodes: 5, Families: subnet.Families[:], Proxy: "iptables"}, nil},
		{"no kube-proxy", "--proxy=none --families=ipv6", kube.Setup{Nodes: 2, Families: []subnet.Family{subnet.Inet6}}, nil},
		{"several mistakes", "--nodes=0 --pods=27 --families=x --proxy=ipvs", kube.Setup{}, []string{
			"nodes: 0 is not between 1 and 20", "pods: 27 is not between 1 and 26", `families "x"`, `proxy "ipvs": must be nftables, iptables or none`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var shape kubeShape
			flags := pflag.NewFlagSet("", pflag.ContinueOnError)
			shape.register(flags)
			if err := flags.Parse(strings.Fields(c.args)); err != nil {
				t.Fatal(err)
			}
			got, err := shape.setup()
			for _, want := range c.errs {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want %q", err, want)
				}
			}
			if len(c.errs) > 0 {
				return
			}
			if diff := cmp.Diff(c.want, got, cmpopts.IgnoreFields(kube.Setup{}, "Progress")); diff != "" || err != nil {
				t.Errorf("setup (-want +got):\n%s%v", diff, err)
			}
		})
	}
}

func TestLeadingName(t *testing.T) {
	for _, c := range []struct {
		args string
		name string
		rest string
		err  string
	}{
		{"", "weft", "", ""},
		{"get pods -n x --name=y", "weft", "get pods -n x --name=y", ""},
		{"-n x get pods", "weft", "-n x get pods", ""},
		{"--name=a get pods", "a", "get pods", ""},
		{"--name a get pods", "a", "get pods", ""},
		{"--name", "", "", "--name needs the name of a cluster"},
	} {
		t.Run(c.args, func(t *testing.T) {
			name, rest, err := leadingName(strings.Fields(c.args))
			if got := strings.Join(rest, " "); name != c.name || got != c.rest || (err != nil) != (c.err != "") || err != nil && err.Error() != c.err {
				t.Errorf("%q, %q, %v, want %q, %q, %q", name, got, err, c.name, c.rest, c.err)
			}
		})
	}
}

// TestLabKubeCommands looks at what is said without a cluster, and without the sources that one is built from.
func TestLabKubeCommands(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"lab kube", 0, "weftctl lab kube demo"},
		{"lab kube up --proxy=ipvs", 2, "must be nftables, iptables or none"},
		{"lab kube up extra", 2, "unknown command"},
		{"lab kube status --name no-such", 2, `no cluster called "no-such" runs`},
		{"lab kube kubectl --name no-such get pods", 2, `no cluster called "no-such" runs`},
		{"lab kube exec node1", 2, "at least 2 arg"},
		{"lab kube machine nonsense", 2, "read the config of the machine"},
	} {
		t.Run(c.args, func(t *testing.T) {
			var out strings.Builder
			err := run(context.Background(), strings.Fields(c.args), func(string) string { return "" }, &out, &out)
			if code := exitCode(err); code != c.code || !strings.Contains(out.String(), c.want) {
				t.Errorf("status %d, want %d and %q:\n%s", code, c.code, c.want, out.String())
			}
		})
	}
	shape := kubeShape{clone: t.TempDir()}
	if _, err := shape.root(); err == nil || !strings.Contains(err.Error(), "or say --root") {
		t.Errorf("a clone that is none: %v", err)
	}
	shape.clone = "../.."
	if _, err := shape.root(); err != nil {
		t.Errorf("a clone: %v", err)
	}
}
