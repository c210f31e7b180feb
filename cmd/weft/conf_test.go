package main

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

func TestParseConfFillsIn(t *testing.T) {
	c, err := parseConf([]byte(`{"name":"cbr0","type":"weft","unknown":{"key":1}}`))
	if err != nil {
		t.Fatal(err)
	}
	want := conf{CNIVersion: "0.1.0", Name: "cbr0", Type: "weft", SubnetFile: "/run/flannel/subnet.env", DataDir: "/var/lib/cni/flannel"}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := c.wait(); got != 10*time.Second {
		t.Errorf("ADD waits for %v, want 10s", got)
	}
}

// TestIsNetwork holds that the plugin takes the names that weftd takes.
func TestIsNetwork(t *testing.T) {
	for _, name := range []string{"blue", "b2", "storage", "storages", "Blue", "2b", "b.1", "b-v6", "ä", "flannel", "subnet", "ipsec", "subnets"} {
		if got, err := isNetwork(name), (kernel.Mark{Name: name, Number: 1}).Check(); got != (err == nil) {
			t.Errorf("%q: %t for the plugin, and for weftd: %v", name, got, err)
		}
	}
}

// TestNetworkFillsIn holds that the name of a network stands for its files and its bridge, unless these are given.
func TestNetworkFillsIn(t *testing.T) {
	for conf, want := range map[string][2]string{
		`{"name":"x"}`:                  {"/run/flannel/subnet.env", ""},
		`{"name":"x","network":"blue"}`: {"/run/flannel/blue.env", `"cni-blue"`},
		`{"name":"x","network":"blue","subnetFile":"/x.env"}`:     {"/x.env", `"cni-blue"`},
		`{"name":"x","network":"blue","delegate":{"bridge":"b"}}`: {"/run/flannel/blue.env", `"b"`},
		`{"name":"x","network":"blue","delegate":{"type":"ptp"}}`: {"/run/flannel/blue.env", ""},
	} {
		c, err := parseConf([]byte(conf))
		if err != nil {
			t.Fatal(err)
		}
		d, err := c.delegate(mustEnv(t, envBoth))
		if err != nil {
			t.Fatal(err)
		}
		if got := [2]string{c.SubnetFile, string(d.conf["bridge"])}; got != want {
			t.Errorf("%s: subnet file and bridge %q, want %q", conf, got, want)
		}
	}
}

// badConfs are network configs that do not do, with the code of the error and what it must name.
var badConfs = []struct {
	name, conf string
	code       uint
	want       []string
}{
	{"empty", ``, types.ErrDecodingFailure, []string{"not JSON"}},
	{"garbage", `{"name":"x",`, types.ErrDecodingFailure, []string{"not JSON"}},
	{"no object", `[]`, types.ErrInvalidNetworkConfig, []string{"array"}},
	{"no name", `{"type":"weft"}`, types.ErrInvalidNetworkConfig, []string{`"name" is missing`}},
	{"subnetFile", `{"name":"x","subnetFile":7}`, types.ErrInvalidNetworkConfig, []string{`"subnetFile"`, "number"}},
	{"network", `{"name":"x","network":"Blue"}`, types.ErrInvalidNetworkConfig, []string{`"network" is "Blue"`, "1 to 7 lower-case letters"}},
	{"network too long", `{"name":"x","network":"backups7"}`, types.ErrInvalidNetworkConfig, []string{`"network" is "backups7"`}},
	{"network elsewhere", `{"name":"x","network":"../x"}`, types.ErrInvalidNetworkConfig, []string{`"network" is "../x"`}},
	{"network of flannel", `{"name":"x","network":"flannel"}`, types.ErrInvalidNetworkConfig, []string{`"network" is "flannel"`}},
	{"network that begins with a digit", `{"name":"x","network":"7a"}`, types.ErrInvalidNetworkConfig, []string{`"network" is "7a"`, "a letter first"}},
	{"network with the first one's file", `{"name":"x","network":"subnet"}`, types.ErrInvalidNetworkConfig, []string{`"network" is "subnet"`}},
	{"network a number", `{"name":"x","network":2}`, types.ErrInvalidNetworkConfig, []string{`"network"`, "number"}},
	{"dataDir", `{"name":"x","dataDir":{}}`, types.ErrInvalidNetworkConfig, []string{`"dataDir"`, "object"}},
	{"wait too long", `{"name":"x","subnetFileWait":91}`, types.ErrInvalidNetworkConfig, []string{`"subnetFileWait" is 91`, "0 to 90"}},
	{"wait negative", `{"name":"x","subnetFileWait":-1}`, types.ErrInvalidNetworkConfig, []string{`"subnetFileWait" is -1`, "0 to 90"}},
	{"wait in words", `{"name":"x","subnetFileWait":"10s"}`, types.ErrInvalidNetworkConfig, []string{`"subnetFileWait"`, "string"}},
	{"delegate", `{"name":"x","delegate":"bridge"}`, types.ErrInvalidNetworkConfig, []string{`"delegate"`, "string"}},
	{"delegate.type", `{"name":"x","delegate":{"type":1}}`, types.ErrInvalidNetworkConfig, []string{`"delegate.type" is 1`}},
	{"delegate.type null", `{"name":"x","delegate":{"type":null}}`, types.ErrInvalidNetworkConfig, []string{`"delegate.type" is null`}},
	{"delegate.type empty", `{"name":"x","delegate":{"type":""}}`, types.ErrInvalidNetworkConfig, []string{`"delegate.type"`}},
	{"delegate.type a path", `{"name":"x","delegate":{"type":"../x"}}`, types.ErrInvalidNetworkConfig, []string{`"delegate.type" is "../x"`}},
	{"delegate.type itself", `{"name":"x","delegate":{"type":"weft"}}`, types.ErrInvalidNetworkConfig, []string{`"delegate.type" is "weft"`, "again and again"}},
	{"delegate.type its other self", `{"name":"x","type":"weft","delegate":{"type":"flannel"}}`, types.ErrInvalidNetworkConfig, []string{`"delegate.type" is "flannel"`}},
	{"delegate.name", `{"name":"x","delegate":{"name":"y"}}`, types.ErrInvalidNetworkConfig, []string{`"delegate.name" must not be given`}},
	{"delegate.ipam", `{"name":"x","delegate":{"ipam":{}}}`, types.ErrInvalidNetworkConfig, []string{`"delegate.ipam" must not be given`, `belong into "ipam"`}},
	{"ipam", `{"name":"x","ipam":"host-local"}`, types.ErrInvalidNetworkConfig, []string{`"ipam"`, "string"}},
	{"ipam.routes", `{"name":"x","ipam":{"routes":{}}}`, types.ErrInvalidNetworkConfig, []string{`"ipam.routes" is {}`}},
	{"ipam.routes[1]", `{"name":"x","ipam":{"routes":[{"dst":"10.0.0.0/8"},{"dst":"10.0.0.0/33"}]}}`, types.ErrInvalidNetworkConfig, []string{`"ipam.routes[1]" is {"dst":"10.0.0.0/33"}`}},
	{"ipam.routes without dst", `{"name":"x","ipam":{"routes":[{}]}}`, types.ErrInvalidNetworkConfig, []string{`"ipam.routes[0]" is {}`}},
	{"cniVersion", `{"name":"x","cniVersion":1}`, types.ErrInvalidNetworkConfig, []string{`"cniVersion"`, "number"}},
	{"valid attachments", `{"name":"x","cni.dev/valid-attachments":{}}`, types.ErrInvalidNetworkConfig, []string{`"cni.dev/valid-attachments"`, "object"}},
}

func TestBadConf(t *testing.T) {
	for _, tt := range badConfs {
		t.Run(tt.name, func(t *testing.T) {
			c, err := parseConf([]byte(tt.conf))
			if err == nil {
				_, err = c.delegate(mustEnv(t, envBoth))
			}
			if codeOf(err) != tt.code {
				t.Fatalf("error %v, want code %d", err, tt.code)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q, want %q in it", err, want)
				}
			}
		})
	}
}

// A config that does not do changes nothing: no record, no bridge, no address.
func TestBadConfChangesNothing(t *testing.T) {
	h := newHost(t, envBoth)
	p := newPod(t, "one")
	for _, verb := range []string{"ADD", "STATUS", "GC"} {
		h.config["cni.dev/valid-attachments"] = []any{}
		h.config["delegate"] = map[string]any{"ipam": 1}
		if _, err := h.call(t, verb, p); codeOf(err) != types.ErrInvalidNetworkConfig {
			t.Errorf("%s: error %v, want code %d", verb, err, types.ErrInvalidNetworkConfig)
		}
	}
	h.config["cniVersion"] = "7.0.0"
	if _, err := h.call(t, "ADD", p); codeOf(err) != types.ErrIncompatibleCNIVersion {
		t.Errorf("ADD in an unknown version: error %v, want code %d", err, types.ErrIncompatibleCNIVersion)
	}
	if _, err := h.call(t, "ADD", pod{}); codeOf(err) != types.ErrInvalidEnvironmentVariables {
		t.Errorf("ADD of nothing: error %v, want code %d", err, types.ErrInvalidEnvironmentVariables)
	}
	if left := append(h.reserved(t), append(h.records(t), addrs(t, h.ns, "cni0")...)...); len(left) > 0 {
		t.Errorf("changed: %q", left)
	}
}

// Whatever a runtime sends, there is a config for the delegate or an error with a code, and an error of the waiting
// for the subnet ends.
func FuzzConf(f *testing.F) {
	for _, tt := range badConfs {
		f.Add([]byte(tt.conf), envBoth)
	}
	f.Add([]byte(`{"cniVersion":"1.1.0","name":"cbr0","type":"weft","delegate":{"hairpinMode":true,"isDefaultGateway":true}}`), envInet)
	f.Add([]byte(`{"name":"x","ipam":{"routes":[{"dst":"10.5.0.0/16","gw":"10.5.0.1"}],"ranges":null},"runtimeConfig":{"ips":[]}}`), envInet6)
	f.Fuzz(func(t *testing.T, stdin []byte, envText string) {
		c, err := parseConf(stdin)
		if err != nil {
			if codeOf(err) == 0 {
				t.Fatalf("error without a code: %v", err)
			}
			return
		}
		c.SubnetFile, c.SubnetFileWait = "/nowhere", new(int)
		if _, err := c.waitForEnv(context.Background()); codeOf(err) != types.ErrTryAgainLater {
			t.Fatalf("error %v, want code %d", err, types.ErrTryAgainLater)
		}
		env, _ := subnet.ParseEnv(envText) // the zero Env is what DEL makes do with
		d, err := c.delegate(env)
		if err != nil {
			if codeOf(err) != types.ErrInvalidNetworkConfig {
				t.Fatalf("error %v, want code %d", err, types.ErrInvalidNetworkConfig)
			}
			return
		}
		var told struct {
			Name, Type string
			IPAM       struct{ Ranges [][]ipamRange }
		}
		if err := json.Unmarshal(encode(d.conf), &told); err != nil {
			var wrong *json.UnmarshalTypeError
			if !errors.As(err, &wrong) {
				t.Fatalf("the delegate is told what is no JSON: %v", err)
			}
			return // two spellings of one key, such as "TYPE": the delegate will refuse it
		}
		if len(d.conf["ipam"]) == 0 || d.kind == "" {
			t.Fatalf("the delegate is told %s", encode(d.conf))
		}
		bridgeName(d)
	})
}
