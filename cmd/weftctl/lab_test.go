package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/spf13/pflag"

	"github.com/weft-network/weft/lab"
	"github.com/weft-network/weft/subnet"
)

func TestLabShape(t *testing.T) {
	file := filepath.Join(t.TempDir(), "net-conf.json")
	if err := os.WriteFile(file, []byte(`{"Network":"10.1.0.0/16"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args string
		want lab.Options
		err  string
	}{
		{"nothing", "", lab.Options{
			Nodes: 3, Pods: 2, Racks: 1, Members: 1, MTU: 1500, DropForward: true,
			Families: []subnet.Family{subnet.Inet}, Backend: `{"Type":"vxlan"}`,
		}, ""},
		{"everything", "--nodes=5 --pods=0 --families=dual --backend=host-gw --config=" + file +
			" --racks=2 --etcd-members=3 --mtu=9000 --drop-forward=false --weftd-flag=--a=b --weftd-flag=-c", lab.Options{
			Nodes: 5, Pods: -1, Racks: 2, Members: 3, MTU: 9000, Flags: []string{"--a=b", "-c"},
			Families: subnet.Families[:], Backend: `{"Type":"host-gw"}`, Config: `{"Network":"10.1.0.0/16"}`,
		}, ""},
		{"several mistakes", "--families=x --backend={ --config=/nowhere", lab.Options{}, "x"},
		{"out of range", "--nodes=1000", lab.Options{}, "nodes: 1000 is not between 1 and 100"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var shape labShape
			flags := pflag.NewFlagSet("", pflag.ContinueOnError)
			shape.register(flags)
			if err := flags.Parse(strings.Fields(c.args)); err != nil {
				t.Fatal(err)
			}
			got, err := shape.options()
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("error %v, want %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("options (-want +got):\n%s", diff)
			}
		})
	}
}

// TestLabCommands looks at what is said without a lab, and without the binaries that a lab needs.
func TestLabCommands(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"lab", 0, "weftctl lab demo"},
		{"lab demo", 2, "run `make build`"},
		{"lab up", 2, "run `make build`"},
		{"lab up extra", 2, "unknown command"},
		{"lab break", 0, "nft flush ruleset"},
		{"lab status --name no-such-lab", 2, `no lab called "no-such-lab" runs`},
		{"lab exec --name no-such-lab node1 -- true", 2, `no lab called "no-such-lab" runs`},
		{"lab exec node1", 2, "at least 2 arg"},
		{"lab member nonsense", 2, "read the config of the member"},
	} {
		t.Run(c.args, func(t *testing.T) {
			var out strings.Builder
			err := run(context.Background(), strings.Fields(c.args), func(string) string { return "" }, &out, &out)
			if code := exitCode(err); code != c.code || !strings.Contains(out.String(), c.want) {
				t.Errorf("status %d, want %d and %q:\n%s", code, c.code, c.want, out.String())
			}
		})
	}
	if code := exitCode(exitStatus(42)); code != 42 {
		t.Errorf("a command that ended with 42 makes status %d", code)
	}
}
