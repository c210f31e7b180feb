package lab

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/subnet"
)

func TestOptionsCheck(t *testing.T) {
	for _, c := range []struct {
		name string
		opts Options
		want []string // parts of the error; none: no error
	}{
		{"zero", Options{}, nil},
		{"largest", Options{Nodes: 100, Pods: 100, Racks: 9, Members: 9, MTU: 65535, Families: subnet.Families[:]}, nil},
		{"no pods", Options{Pods: -1}, nil},
		{"all wrong", Options{Nodes: -1, Pods: 101, Racks: 10, Members: 10, MTU: 1000, Config: "{"}, []string{
			"nodes: -1 is not between 1 and 100", "pods on each node: 101", "racks: 10", "members of etcd: 10",
			"MTU of the underlay: 1000 is not between 1280 and 65535", `network config: "{" is not JSON`,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.opts.Check()
			if (err == nil) != (len(c.want) == 0) {
				t.Fatalf("error %v, want %q", err, c.want)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
		})
	}
}

// TestNetConf reads the lab's own configs as weftd does.
func TestNetConf(t *testing.T) {
	for _, families := range []string{"ipv4", "ipv6", "dual"} {
		opts := Options{Families: parsedFamilies(t, families)}.complete()
		config, warnings, err := subnet.Parse(opts.Config)
		if err != nil || len(warnings) > 0 {
			t.Errorf("%s: %v %v", families, err, warnings)
		}
		want := [2]bool{}
		for _, f := range opts.Families {
			want[f] = true
		}
		got := [2]bool{config.Networks[0].Enabled(), config.Networks[1].Enabled()}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: families (-want +got):\n%s", families, diff)
		}
	}
}

func TestParseFlags(t *testing.T) {
	if _, err := ParseFamilies("both"); err == nil {
		t.Error(`families "both" are taken`)
	}
	for _, c := range []struct{ in, want string }{
		{"host-gw", `{"Type":"host-gw"}`},
		{` {"Type":"vxlan","VNI":7}`, ` {"Type":"vxlan","VNI":7}`},
		{"{vxlan}", ""},
	} {
		got, err := ParseBackend(c.in)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("ParseBackend(%q) = %q, %v, want %q", c.in, got, err, c.want)
		}
	}
}

// TestAddresses looks for hosts that would share an address.
func TestAddresses(t *testing.T) {
	seen := map[netip.Addr]bool{}
	for _, f := range subnet.Families {
		for rack := range maxRacks {
			for number := 1; number < 255; number++ {
				p := hostPrefix(f, rack, number)
				if seen[p.Addr()] || p.Masked() != rackNetwork(f, rack) {
					t.Fatalf("%s rack %d number %d is %s", f, rack, number, p)
				}
				seen[p.Addr()] = true
			}
		}
	}
	if nodeNumber+maxNodes > memberNumber {
		t.Errorf("node %d has the number of a member of etcd", maxNodes)
	}
}

func TestPodSuffix(t *testing.T) {
	for i, want := range map[int]string{0: "a", 25: "z", 26: "aa", 27: "ab", 52: "ba", 701: "zz"} {
		if got := podSuffix(i); got != want {
			t.Errorf("podSuffix(%d) = %q, want %q", i, got, want)
		}
	}
}

func TestListingMissing(t *testing.T) {
	a, b := Listing{"x", "x", "y", "z"}, Listing{"x", "z", "w"}
	if diff := cmp.Diff(Listing{"x", "y"}, a.Missing(b)); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(Listing{"w"}, b.Missing(a)); diff != "" {
		t.Errorf("added (-want +got):\n%s", diff)
	}
}

// TestBinaries writes and reads what the first process inside is told.
func TestBinaries(t *testing.T) {
	want := Binaries{Dir: "/a b", CNI: "/c:d", Upgrade: ""}
	got, err := parseBinaries(want.String())
	if err != nil || got != want {
		t.Errorf("parseBinaries(%q) = %v, %v", want.String(), got, err)
	}
	if _, err := parseBinaries("/a"); err == nil {
		t.Error("parseBinaries of one directory: no error")
	}
	if _, err := FindBinaries(); err == nil || !strings.Contains(err.Error(), "make build") {
		t.Errorf("FindBinaries where there are none: %v", err)
	}
}
