package subnet_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/weft-network/weft/subnet"
)

func free(subnet.Family, netip.Prefix) bool { return false }

// odd are networks whose sizes have different divisors, and one that nobody can walk through.
var odd = []string{
	`{"Network": "10.5.0.0/16"}`,
	`{"Network": "10.5.0.0/16", "SubnetMin": "10.5.0.0"}`,
	`{"Network": "10.5.0.0/16", "SubnetMin": "10.5.9.0", "SubnetMax": "10.5.9.0"}`,
	`{"Network": "10.5.0.0/16", "SubnetMin": "10.5.9.0", "SubnetMax": "10.5.10.0"}`,
	`{"Network": "10.5.0.0/16", "SubnetMin": "10.5.1.0", "SubnetMax": "10.5.210.0"}`,
	`{"Network": "10.5.0.0/20", "SubnetLen": 30}`,
	`{"Network": "10.5.0.0/22", "EnableIPv6": true, "IPv6Network": "fd00:5::/56"}`,
	`{"EnableIPv4": false, "EnableIPv6": true, "IPv6Network": "fd00:5::/60"}`,
	`{"EnableIPv4": false, "EnableIPv6": true, "IPv6Network": "fc00::/7", "IPv6SubnetLen": 120}`,
}

func TestPick(t *testing.T) {
	c := parse(t, dual)
	usual, err := subnet.Pick(c, "node-1", subnet.Subnets{}, free)
	if err != nil || !c.Holds(usual) {
		t.Fatalf("Pick returned %s, %v", usual, err)
	}
	previous := subnets("10.5.42.0/24", "fd00:5:0:42::/64")
	for _, tt := range []struct {
		name     string
		previous subnet.Subnets
		taken    subnet.Subnets
		want     subnet.Subnets
	}{
		{"nothing before", subnet.Subnets{}, subnet.Subnets{}, usual},
		{"previous is free", previous, subnet.Subnets{}, previous},
		{"previous is taken in one family", previous, subnets("10.5.42.0/24"), subnet.Subnets{usual[subnet.Inet], previous[subnet.Inet6]}},
		{"previous is taken in both", previous, previous, usual},
		{"previous is a part", subnets("fd00:5:0:42::/64"), subnet.Subnets{}, subnet.Subnets{usual[subnet.Inet], previous[subnet.Inet6]}},
		{"previous is outside", subnets("10.6.42.0/24", "fd00:5:0:42::/65"), subnet.Subnets{}, usual},
		{"a smaller one lies in it", previous, subnets("10.5.42.128/25"), subnet.Subnets{usual[subnet.Inet], previous[subnet.Inet6]}},
		{"it lies in a larger one", previous, subnets("10.5.40.0/21"), subnet.Subnets{usual[subnet.Inet], previous[subnet.Inet6]}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := subnet.Pick(c, "node-1", tt.previous, c.Taken(slices.Values([]subnet.Subnets{tt.taken})))
			if err != nil || got != tt.want {
				t.Errorf("Pick returned %s, %v: want %s", got, err, tt.want)
			}
		})
	}
}

// TestPickLastFree takes everything but one subnet, which has to be found, and then that one too.
func TestPickLastFree(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, text := range odd {
		c := parse(t, text)
		f := subnet.Inet
		if !c.Networks[f].Enabled() {
			f = subnet.Inet6
		}
		n := c.Networks[f]
		if n.Size() > 1<<20 {
			continue
		}
		for range 20 {
			left := n.At(random.Uint64N(n.Size()))
			node := fmt.Sprint("node-", random.Uint32())
			asked := map[netip.Prefix]bool{}
			got, err := subnet.Pick(c, node, subnet.Subnets{}, func(g subnet.Family, p netip.Prefix) bool {
				if g == f && asked[p] {
					t.Errorf("%s: %s is asked for twice", n, p)
				}
				asked[p] = true
				return g == f && p != left
			})
			if err != nil || got[f] != left {
				t.Errorf("%s: Pick returned %s, %v: want %s", n, got, err, left)
			}
		}
		_, err := subnet.Pick(c, "node", subnet.Subnets{}, func(g subnet.Family, _ netip.Prefix) bool { return g == f })
		if !errors.Is(err, subnet.ErrExhausted) || !strings.Contains(err.Error(), n.Prefix.String()) || !strings.Contains(err.Error(), fmt.Sprint(n.Size())) {
			t.Errorf("%s: Pick returned %v: want ErrExhausted with the network and %d", n, err, n.Size())
		}
	}
}

// TestPickFills lets nodes come one after the other until nothing is left.
func TestPickFills(t *testing.T) {
	for _, text := range odd {
		c := parse(t, text)
		var held []subnet.Subnets
		for number := 0; number < 2000; number++ {
			s, err := subnet.Pick(c, fmt.Sprint("node-", number), subnet.Subnets{}, c.Taken(slices.Values(held)))
			if errors.Is(err, subnet.ErrExhausted) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if !c.Holds(s) || slices.ContainsFunc(held, s.Overlaps) {
				t.Fatalf("%v: node %d got %s, which is not held or taken", c.Networks, number, s)
			}
			held = append(held, s)
			if len(held) >= 300 {
				break
			}
		}
		least := uint64(300)
		for _, n := range c.Networks {
			if n.Enabled() {
				least = min(least, n.Size())
			}
		}
		if uint64(len(held)) != least {
			t.Errorf("%v: %d nodes got a subnet: want %d", c.Networks, len(held), least)
		}
	}
}

// TestPickTogether lets a thousand nodes start at once: none sees the others, and those that met try again. It
// compares the number of meetings with what chance allows: of 1000 in 4095 places about 888 are different.
func TestPickTogether(t *testing.T) {
	c := parse(t, `{"Network": "10.0.0.0/12"}`)
	for _, name := range []string{"node-%d", "ip-10-0-%d", "%032x", "worker%d.example.org"} {
		places := map[netip.Prefix]bool{}
		for number := range 1000 {
			s, err := subnet.Pick(c, fmt.Sprintf(name, number), subnet.Subnets{}, free)
			if err != nil {
				t.Fatal(err)
			}
			places[s[subnet.Inet]] = true
		}
		if len(places) < 850 {
			t.Errorf("1000 nodes named %s chose %d different subnets", name, len(places))
		}
	}
}

// TestPickSpreads looks at where nodes go that have met: not to the same place again.
func TestPickSpreads(t *testing.T) {
	c := parse(t, `{"Network": "10.0.0.0/12"}`)
	second := map[netip.Prefix]int{}
	for number := range 200 {
		asked := 0
		s, err := subnet.Pick(c, fmt.Sprint("node-", number), subnet.Subnets{}, func(subnet.Family, netip.Prefix) bool {
			asked++
			return asked < 50
		})
		if err != nil {
			t.Fatal(err)
		}
		second[s[subnet.Inet]]++
	}
	if len(second) < 185 {
		t.Errorf("200 nodes that had met 49 times chose %d different subnets", len(second))
	}
}

// TestPickIsStable holds the choice to what earlier versions chose: another one would move nodes at an upgrade.
func TestPickIsStable(t *testing.T) {
	c := parse(t, `{"Network": "10.5.0.0/16", "EnableIPv6": true, "IPv6Network": "fd00:5::/56"}`)
	got, err := subnet.Pick(c, "node-1", subnet.Subnets{}, free)
	if want := subnets("10.5.72.0/24", "fd00:5:0:6b::/64"); err != nil || got != want {
		t.Errorf("Pick returned %s, %v: want %s", got, err, want)
	}
}
