package network

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/subnet"
)

var (
	keyed  = `{"Type":"ipsec","PSK":"` + strings.Repeat("0a", 48) + `"}`
	keyed2 = `{"Type":"ipsec","PSK":"` + strings.Repeat("0b", 48) + `"}`
)

// inWords are ways in words: their data, where they have any, and suffixes.
func inWords(list []way) (texts []string) {
	for _, w := range list {
		text := w.String()
		if w.Suffix != "" {
			text += " with suffix " + w.Suffix
		}
		if w.Data[subnet.Inet] != "" {
			text += " with data"
		}
		if w.announced {
			text += " announced"
		}
		texts = append(texts, text)
	}
	return texts
}

func TestConfiguredWayComesFirst(t *testing.T) {
	const first, otherPort = "vxlan (VNI 1 at port 8472)", "vxlan (VNI 1 at port 4789)"
	for _, test := range []struct {
		name   string
		before []string
		config string
		want   []string
		fault  string
	}{
		{"the first ever", nil, vxlan1, []string{first}, ""},
		{"the same", []string{vxlan1}, vxlan1, []string{first + " with data announced"}, ""},
		{"what nobody has to agree to", []string{vxlan1}, `{"Type":"vxlan","MTU":1400,"DirectRouting":true}`, []string{first + " with data announced"}, ""},
		{"another", []string{vxlan1}, direct, []string{"host-gw", first + " with data announced"}, ""},
		{"there and back", []string{direct, vxlan1}, vxlan1, []string{first + " with data announced", "host-gw with data announced"}, ""},
		{"there and back, with a suffix", []string{vxlan1, "b " + vxlanPort}, vxlanPort, []string{otherPort + " with suffix b with data announced", first + " with data announced"}, ""},
		{"the former one has not been announced", []string{"?" + direct, vxlan1}, vxlan1, []string{first + " with data announced", "host-gw with data"}, ""},
		{"the same VNI at another port", []string{vxlan1}, vxlanPort, []string{otherPort + " with suffix b", first + " with data announced"}, ""},
		{"and at a third", []string{"b " + vxlanPort, vxlan1}, vxlanPort2,
			[]string{"vxlan (VNI 1 at port 5000) with suffix c", otherPort + " with suffix b with data announced", first + " with data announced"}, ""},
		{"and at a third, when the first is free again", []string{"b " + vxlanPort}, vxlanPort2, []string{"vxlan (VNI 1 at port 5000)", otherPort + " with suffix b with data announced"}, ""},
		{"two devices at other ports", []string{guarded}, guarded2,
			[]string{"wireguard (a device for each family, at ports 7000 and 7001) with suffix b", byWireGuard + " with data announced"}, ""},
		{"a port in use", []string{vxlan1, guarded}, `{"Type":"wireguard","Mode":"auto"}`, nil,
			"wireguard (one device, at port 51820) needs UDP port 51820, which " + byWireGuard + " has until all nodes have changed; restart weftd on every node"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := pure(t, test.config)
			before := a.waysOf(t, test.before...)
			for i := range before {
				before[i].Data[subnet.Inet] = "{}"
			}
			kept := fmt.Sprint(inWords(before))
			got, err := a.withConfigured(before, a.loop.config)
			if test.fault != "" {
				if err == nil || !strings.Contains(err.Error(), test.fault) {
					t.Errorf("error %v, want %q in it", err, test.fault)
				}
				return
			}
			must(t, err)
			if diff := cmp.Diff(test.want, inWords(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if now := fmt.Sprint(inWords(before)); now != kept {
				t.Errorf("the ways before were %s, and became %s", kept, now)
			}
			if got[0].config != a.loop.config.BackendConfig {
				t.Errorf("the first way has the config %s", got[0].config)
			}
		})
	}
}

// said is what a lease says of the way of a Backend object.
func said(t *testing.T, object string, change func(*subnet.Way)) subnet.Way {
	t.Helper()
	x := wayOf(t, object).Way
	if change != nil {
		change(&x)
	}
	return x
}

// unsaid has a lease say of a way what flanneld does.
func unsaid(x *subnet.Way) { *x = subnet.Way{Backend: x.Backend, Data: x.Data, Silent: true} }

// TestWaysAreMadeAgain is about an agent that starts, and what its lease says.
func TestWaysAreMadeAgain(t *testing.T) {
	const first = "vxlan (VNI 1 at port 8472)"
	suffix := func(x *subnet.Way) { x.Suffix = "b" }
	for _, test := range []struct {
		name   string
		config string
		said   subnet.Way
		want   string // the way, as inWords has it
		device string // what its first device is called
		fault  string
	}{
		{"a former one", direct, said(t, vxlan2, nil), "vxlan (VNI 2 at port 8472)", "flannel.2", ""},
		{"one of defaults", direct, said(t, vxlan1, nil), first, "flannel.1", ""},
		{"with a suffix", direct, said(t, vxlanPort, suffix), "vxlan (VNI 1 at port 4789) with suffix b", "flannel.1b", ""},
		{"of the config", vxlan2, said(t, vxlan2, nil), "vxlan (VNI 2 at port 8472)", "flannel.2", ""},
		{"of flanneld", direct, said(t, vxlan1, unsaid), first, "flannel.1", ""},
		{"of flanneld, with a VNI", direct, said(t, vxlan1, func(x *subnet.Way) {
			unsaid(x)
			x.Data[subnet.Inet] = `{"VNI":7,"VtepMAC":"0e:00:00:00:00:01"}`
		}), "vxlan (VNI 7 at port 8472) with data", "flannel.7", ""},
		{"of flanneld, at the port of the config", vxlanPort, said(t, vxlan1, unsaid), "vxlan (VNI 1 at port 4789)", "flannel.1", ""},
		{"of flanneld, with a key", keyed, said(t, keyed, unsaid), wayOf(t, keyed).Way.Backend + " (" + wayOf(t, keyed).Agreed + ")", "flannel.esp", ""},
		{"with the key of the config", keyed, said(t, keyed, nil), "ipsec (" + wayOf(t, keyed).Agreed + ")", "flannel.esp", ""},
		{"with the key of the config, and a suffix", keyed, said(t, keyed, suffix), "ipsec (" + wayOf(t, keyed).Agreed + ") with suffix b", "flannel.espb", ""},
		{"with another key", keyed2, said(t, keyed, nil), "", "", "the lease does not hold its secrets"},
		{"with a key, of before", vxlan1, said(t, keyed, nil), "", "", "the lease does not hold its secrets"},
		{"commands, of before", vxlan1, said(t, `{"Type":"extension","SubnetAddCommand":"true"}`, nil), "", "", "the lease does not hold its secrets"},
		{"of another version", direct, said(t, vxlan1, func(x *subnet.Way) { x.Agreed = "VNI 1, encrypted" }), "", "", "this version takes it for " + first},
		{"of a kind that is unknown", direct, subnet.Way{Backend: "carrier-pigeon"}, "", "", "carrier-pigeon"},
		{"with a suffix that it cannot have", vxlan1, said(t, direct, suffix), "", "", "cannot have names that end in b"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := pure(t, test.config)
			got, err := a.again(test.said)
			if test.fault != "" {
				if err == nil || !strings.Contains(err.Error(), test.fault) {
					t.Errorf("error %v, want %q in it", err, test.fault)
				}
				return
			}
			must(t, err)
			if text := inWords([]way{got})[0]; text != test.want {
				t.Errorf("it is %s, want %s", text, test.want)
			}
			if names := a.devices(&got, ownLease()); len(names) == 0 || names[0] != "the device "+test.device {
				t.Errorf("it has %q, want the device %s", names, test.device)
			}
		})
	}
}

// TestFormerWays holds what of a lease a restart warns of.
func TestFormerWays(t *testing.T) {
	for _, test := range []struct {
		name   string
		config string
		said   []string // Backend objects; "silent" as in peerBy
		want   []string
		warn   string
	}{
		{"two", direct, []string{direct, vxlan1}, []string{"host-gw announced", "vxlan (VNI 1 at port 8472) announced"}, ""},
		{"the config has another key", keyed2, []string{keyed, vxlan1}, []string{"vxlan (VNI 1 at port 8472) announced"},
			"this node cannot serve peers that reach it by ipsec (" + wayOf(t, keyed).Agreed + ") only: the lease does not hold its secrets"},
		{"a change to a key", keyed, []string{keyed, vxlan1}, []string{"ipsec (" + wayOf(t, keyed).Agreed + ") announced", "vxlan (VNI 1 at port 8472) announced"}, ""},
		{"flanneld's with a key", keyed, []string{"silent", keyed}, []string{"ipsec (" + wayOf(t, keyed).Agreed + ") announced"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := pure(t, test.config)
			own := peerBy(t, test.said...)
			got := a.formerWays(own)
			for i := range got {
				got[i].Data = [2]string{}
			}
			if diff := cmp.Diff(test.want, inWords(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.warn, strings.Join(a.report.about(formerSubject), "\n")); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
}

// TestFormerWaysWarning holds that the warning ends with the last peer that needed the way.
func TestFormerWaysWarning(t *testing.T) {
	a := pure(t, keyed2)
	a.formerWays(peerBy(t, keyed, vxlan1))
	for _, failed := range []map[subnet.Subnets]error{{ownLease().Subnets: errors.New("it is reached by ipsec")}, nil} {
		a.report.peersFailed(a.o.Log, failed)
		if got := a.report.about(formerSubject); (len(got) > 0) != (len(failed) > 0) {
			t.Errorf("%d peers cannot be served, and the warnings are %q", len(failed), got)
		}
	}
}
