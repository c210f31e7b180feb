package network

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// Backend objects of the tests below.
const (
	vxlan1     = `{"Type":"vxlan"}`
	vxlan2     = `{"Type":"vxlan","VNI":2}`
	vxlanPort  = `{"Type":"vxlan","Port":4789}`
	vxlanPort2 = `{"Type":"vxlan","Port":5000}`
	direct     = `{"Type":"host-gw"}`
	guarded    = `{"Type":"wireguard"}`
	guarded2   = `{"Type":"wireguard","ListenPort":7000,"ListenPortV6":7001}`
)

// pure is the agent of node n1 under a Backend object, with no kernel and no task that runs.
func pure(t *testing.T, object string) *Agent {
	t.Helper()
	a := &Agent{o: Options{Node: "n1", Backend: backends, WayGrace: time.Minute, Log: testLog(t)}, look: newBell(), later: make(chan time.Duration, 1)}
	var err error
	a.loop.config, _, err = subnet.Parse(backendConfig(object))
	must(t, err)
	a.loop.uplinks[subnet.Inet] = uplinkAt("192.0.2.1")
	a.loop.secret.key = kernel.Key{1: 1}
	a.picture.load(subnet.Saved{Own: ownLease()})
	return a
}

func ownLease() subnet.Lease {
	return subnet.Lease{Subnets: subnet.Subnets{netip.MustParsePrefix("10.5.1.0/24")}, Attrs: subnet.Attrs{Node: "n1"}}
}

func uplinkAt(addr string) backend.Uplink {
	a := netip.MustParseAddr(addr)
	return backend.Uplink{Link: "eth0", MTU: 1500, Addr: a, Public: a, OnLink: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}
}

// wayOf is an announced way of a Backend object.
func wayOf(t *testing.T, object string) way {
	t.Helper()
	c, _, err := subnet.Parse(backendConfig(object))
	must(t, err)
	b, _, err := backends(c.Backend, c.BackendConfig)
	must(t, err)
	w := newWay(c.Backend, c.BackendConfig, b)
	w.announced, w.ready = true, true
	return w
}

// waysOf makes ways of Backend objects. An object that begins with a letter and a space is of a way whose devices have that suffix; one that begins
// with a question mark is not announced yet.
func (a *Agent) waysOf(t *testing.T, objects ...string) (list []way) {
	t.Helper()
	for _, o := range objects {
		text, unknown := strings.CutPrefix(o, "?")
		suffix, object, ok := strings.Cut(text, " ")
		if !ok {
			suffix, object = "", text
		}
		w := wayOf(t, object)
		w.Suffix, w.announced = suffix, !unknown
		var err error
		w.b, err = renamed(w.b, suffix)
		must(t, err)
		w.node = a.nodeOf(&w, ownLease())
		list = append(list, w)
	}
	return list
}

// planOf is the plan of an agent that takes part by these ways.
func (a *Agent) planOf(t *testing.T, objects ...string) plan {
	t.Helper()
	return plan{node: a.node(subnet.Attrs{}), own: ownLease(), config: a.loop.config, ways: a.waysOf(t, objects...), implied: a.implied,
		contact: map[kernel.WireGuardPeerKey]bool{}}
}

// peerBy is the lease of node n2 that says these Backend objects. One after a minus sign the peer is leaving; "silent" in front leaves out
// what flanneld does not say.
func peerBy(t *testing.T, objects ...string) subnet.Lease {
	t.Helper()
	told := objects[0] != "silent"
	if !told {
		objects = objects[1:]
	}
	l := subnet.Lease{Subnets: subnet.Subnets{netip.MustParsePrefix("10.5.2.0/24")}}
	n := backend.Node{Name: "n2", Uplinks: [2]backend.Uplink{uplinkAt("192.0.2.2")}, WireGuardKey: kernel.Key{1: 2}}
	n.Networks[subnet.Inet].Prefix = netip.MustParsePrefix("10.5.0.0/16")
	var list []subnet.Way
	for _, o := range objects {
		object, leaving := strings.CutPrefix(o, "-")
		w := wayOf(t, object)
		attrs, err := w.b.Attrs(n)
		must(t, err)
		w.Data, w.Leaving = attrs.Data, leaving
		l.PublicIP = attrs.PublicIP
		list = append(list, w.Way)
	}
	must(t, l.SetWays(list, told))
	if told {
		l.Node = "n2"
	}
	return l
}

// answer has the peer's WireGuard devices answer those of p.
func (p plan) answer(t *testing.T, l subnet.Lease) {
	t.Helper()
	list, err := p.common(&l)
	must(t, err)
	for _, m := range list {
		var s kernel.State
		must(t, m.b.Peer(m.node, m.lease(l), &s))
		for k := range s.WireGuardPeers {
			p.contact[k] = true
		}
	}
}

// devicesOf names the devices of the routes of s, and those of its other entries.
func devicesOf(s kernel.State) string {
	routes, entries := map[string]bool{}, map[string]bool{}
	for _, x := range s.Routes {
		routes[x.Link] = true
	}
	for k := range s.Neighbours {
		entries[k.Link] = true
	}
	for k := range s.WireGuardPeers {
		entries[k.Link] = true
	}
	return fmt.Sprint(slices.Sorted(maps.Keys(routes)), " ", slices.Sorted(maps.Keys(entries)))
}

func TestPeerIsServedBy(t *testing.T) {
	const first, second, otherPort = "vxlan (VNI 1 at port 8472)", "vxlan (VNI 2 at port 8472)", "vxlan (VNI 1 at port 4789)"
	far := func(l *subnet.Lease) { l.PublicIP[subnet.Inet] = netip.MustParseAddr("198.51.100.2") }
	for _, test := range []struct {
		name      string
		ours      []string
		theirs    []string
		change    func(*subnet.Lease)
		answered  bool
		want      string // the way, the devices of routes, those of other entries
		hindrance string
		fault     string
	}{
		{"the newest of two", []string{vxlan2, vxlan1}, []string{vxlan2, vxlan1}, nil, false, second + " [flannel.2] [flannel.1 flannel.2]", "", ""},
		{"the newest of ours, whatever is the peer's", []string{vxlan2, vxlan1}, []string{vxlan1, vxlan2}, nil, false, second + " [flannel.2] [flannel.1 flannel.2]", "", ""},
		{"a peer without the new one", []string{vxlan2, vxlan1}, []string{vxlan1}, nil, false, first + " [flannel.1] [flannel.1]", "", ""},
		{"a peer without the old one", []string{vxlan2, vxlan1}, []string{vxlan2}, nil, false, second + " [flannel.2] [flannel.2]", "", ""},
		{"a peer with one that nobody else has", []string{vxlan2, vxlan1}, []string{direct, vxlan1}, nil, false, first + " [flannel.1] [flannel.1]", "", ""},
		{"one that is not announced yet", []string{"?" + vxlan2, vxlan1}, []string{vxlan2, vxlan1}, nil, false, first + " [flannel.1] [flannel.1 flannel.2]", "", ""},
		{"one that is not announced yet, and nothing else", []string{"?" + vxlan2, vxlan1}, []string{vxlan2}, nil, false, second + " [flannel.2] [flannel.2]", "", ""},
		{"one that the peer is leaving is used by those who have no other", []string{vxlan1}, []string{vxlan2, "-" + vxlan1}, nil, false, first + " [flannel.1] [flannel.1]", "", ""},
		{"another port is another way", []string{"b " + vxlanPort, vxlan1}, []string{vxlanPort, vxlan1}, nil, false, otherPort + " [flannel.1b] [flannel.1 flannel.1b]", "", ""},
		{"flanneld, by its VNI at the usual port", []string{"b " + vxlanPort, vxlan1}, []string{"silent", vxlan1}, nil, false, first + " [flannel.1] [flannel.1]", "", ""},
		{"flanneld, by its VNI at the only port", []string{vxlanPort}, []string{"silent", vxlan1}, nil, false, otherPort + " [flannel.1] [flannel.1]", "", ""},
		{"flanneld, by its VNI at the newest port", []string{vxlanPort, "b " + vxlanPort2}, []string{"silent", vxlan1}, nil, false, otherPort + " [flannel.1] [flannel.1]", "", ""},
		{"flanneld, with the VNI of before", []string{vxlan2, vxlan1}, []string{"silent", vxlan1}, nil, false, first + " [flannel.1] [flannel.1]", "", ""},
		{"flanneld, with another VNI", []string{vxlan2}, []string{"silent", vxlan1}, nil, false, "", "", "it is reached by vxlan, which this node cannot serve"},
		{"flanneld, of another kind", []string{direct}, []string{"silent", vxlan1}, nil, false, "", "", "it is reached by vxlan, which this node cannot serve"},
		{"nothing in common", []string{vxlan2, direct}, []string{vxlanPort, vxlan1}, nil, false, "", "", "it is reached by " + otherPort + " or " + first + ", which this node cannot serve"},
		{"the newest cannot reach it", []string{direct, vxlan1}, []string{direct, vxlan1}, far, false, first + " [flannel.1] [flannel.1]", "is behind a router", ""},
		{"nothing can reach it", []string{direct}, []string{direct}, far, false, "", "", "is behind a router"},
		{"encrypted and not answered yet", []string{guarded, vxlan1}, []string{guarded, vxlan1}, nil, false, first + " [flannel.1] [flannel-wg flannel.1]", "has not answered yet", ""},
		{"encrypted and answered", []string{guarded, vxlan1}, []string{guarded, vxlan1}, nil, true, byWireGuard + " [flannel-wg] [flannel-wg flannel.1]", "", ""},
		{"encrypted, nothing else, and not answered yet", []string{guarded, vxlan1}, []string{guarded}, nil, false, byWireGuard + " [flannel-wg] [flannel-wg]", "", ""},
		{"encrypted and not answered yet, and the old one cannot reach it", []string{guarded, direct}, []string{guarded, direct}, far, false, byWireGuard + " [flannel-wg] [flannel-wg]", "", ""},
		{"encrypted twice, neither answered", []string{"b " + guarded2, guarded}, []string{guarded2, guarded}, nil, false, byWireGuard + " [flannel-wg] [flannel-wg flannel-wgb]", "has not answered yet", ""},
		{"it claims what is ours", []string{vxlan1}, []string{vxlan1}, func(l *subnet.Lease) { l.Subnets[subnet.Inet] = netip.MustParsePrefix("10.5.0.0/20") }, false, "", "", "overlaps this node's 10.5.1.0/24"},
		{"its ways cannot be read", []string{vxlan1}, []string{vxlan1}, func(l *subnet.Lease) { l.Ways = "[" }, false, "", "", "not a JSON list"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := pure(t, vxlan1).planOf(t, test.ours...)
			l := peerBy(t, test.theirs...)
			if test.change != nil {
				test.change(&l)
			}
			if test.answered {
				p.answer(t, l)
			}
			var s kernel.State
			by, hindrance, err := p.serve(l, &s)
			if test.fault != "" {
				if err == nil || !strings.Contains(err.Error(), test.fault) || s.Len() != 0 {
					t.Errorf("error %v with\n%s, want %q and nothing", err, s, test.fault)
				}
				return
			}
			must(t, err)
			if diff := cmp.Diff(test.want, by.String()+" "+devicesOf(s)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if (hindrance == nil) != (test.hindrance == "") || hindrance != nil && !strings.Contains(hindrance.Error(), test.hindrance) {
				t.Errorf("hindrance %v, want %q", hindrance, test.hindrance)
			}
		})
	}
}

func TestWaysOfStrangers(t *testing.T) {
	for _, test := range []struct {
		name   string
		config string
		peer   subnet.Way
		want   string // the way, its suffix and its config
		fault  string
	}{
		{"another VNI", vxlan1, subnet.Way{Backend: "vxlan", Agreed: "VNI 5 at port 8472", Config: `{"VNI":5}`}, `vxlan (VNI 5 at port 8472) "" {"VNI":5}`, ""},
		{"the same VNI at another port", vxlan1, subnet.Way{Backend: "vxlan", Agreed: "VNI 1 at port 4789", Config: `{"Port":4789}`}, `vxlan (VNI 1 at port 4789) "b" {"Port":4789}`, ""},
		{"flanneld's VNI", vxlan1, subnet.Way{Backend: "vxlan", Silent: true, Data: [2]string{`{"VNI":7,"VtepMAC":"0e:00:00:00:00:01"}`}}, `vxlan (VNI 7 at port 8472) "" {"VNI":7}`, ""},
		{"an encrypted one", direct, subnet.Way{Backend: "wireguard", Agreed: "one device, at port 7000", Config: `{"Mode":"auto","ListenPort":7000}`},
			`wireguard (one device, at port 7000) "" {"ListenPort":7000,"Mode":"auto"}`, ""},
		{"an encrypted one beside another", guarded, subnet.Way{Backend: "wireguard", Agreed: "one device, at port 7000", Config: `{"Mode":"auto","ListenPort":7000}`},
			`wireguard (one device, at port 7000) "b" {"ListenPort":7000,"Mode":"auto"}`, ""},
		{"an encrypted one at the same port", guarded, subnet.Way{Backend: "wireguard", Agreed: "one device, at port 51820", Config: `{"Mode":"auto"}`}, "", "needs UDP port 51820"},
		{"one in plain text where the config encrypts", guarded, subnet.Way{Backend: "vxlan", Agreed: "VNI 1 at port 8472"}, "", "vxlan (VNI 1 at port 8472) does not encrypt"},
		{"flanneld where the config encrypts", guarded, subnet.Way{Backend: "host-gw", Silent: true}, "", "host-gw does not encrypt"},
		{"one with secrets", vxlan1, subnet.Way{Backend: "wireguard", Agreed: "one device, at port 51820", Config: `{"Mode":"auto"}`, Partial: true}, "", "cannot make wireguard (one device, at port 51820)"},
		{"what its config does not say", vxlan1, subnet.Way{Backend: "vxlan", Agreed: "VNI 9 at port 8472"}, "", "cannot make vxlan (VNI 9 at port 8472)"},
		{"commands", vxlan1, subnet.Way{Backend: "extension", Config: `{"SubnetAddCommand":"reboot"}`}, `extension "" `, ""},
		{"a config that is wrong", vxlan1, subnet.Way{Backend: "vxlan", Config: `{"VNI":-1}`}, "", "VNI"},
		{"a kind that is unknown", vxlan1, subnet.Way{Backend: "carrier-pigeon", Silent: true}, "", "carrier-pigeon"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := pure(t, test.config)
			a.loop.choices.ways = a.waysOf(t, test.config)
			got, err := a.guest(test.peer)
			if test.fault != "" {
				if err == nil || !strings.Contains(err.Error(), test.fault) {
					t.Errorf("error %v, want %q in it", err, test.fault)
				}
				return
			}
			must(t, err)
			if diff := cmp.Diff(test.want, got.String()+" "+strconv.Quote(got.Suffix)+" "+got.config); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got.Silent != test.peer.Silent || got.announced != test.peer.Silent {
				t.Errorf("silent %t, announced %t; the peer is silent: %t", got.Silent, got.announced, test.peer.Silent)
			}
		})
	}
}
