package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/network"
	"github.com/weft-network/weft/network/kernel"
)

func TestNetworksAreParsed(t *testing.T) {
	blue := member{kernel.Mark{Name: "blue", Number: 1}, "/coreos.com/network-blue", "/run/flannel/blue.env", "/var/lib/weft/blue", "/run/weft/blue", network.UplinkRules{}}
	red := member{kernel.Mark{Name: "red", Number: 3}, "/r", "/run/r.env", "/var/lib/weft/red", "/run/weft/red", network.UplinkRules{Ifaces: []string{"eth1", "eth2"}}}
	for _, c := range []struct {
		name string
		args []string
		env  map[string]string
		want []member
	}{
		{"none", nil, nil, nil},
		{"one", []string{"--network=blue=1"}, nil, []member{blue}},
		{"all keys, and two", []string{"--network", "blue=1", "-network=red=3,etcd-prefix=/r,subnet-file=/run/r.env,iface=eth1,iface=eth2"}, nil, []member{blue, red}},
		{"in the environment", nil, map[string]string{"WEFTD_NETWORK": "blue=1  red=3,etcd-prefix=/r,subnet-file=/run/r.env,iface=eth1,iface=eth2"}, []member{blue, red}},
		{"beside others of the first network's", []string{"--network=blue=1", "--etcd-prefix=/x/", "--subnet-file=/s/subnet.env", "--state-dir=", "--socket=/t/w.sock", "--iface=eth7"}, nil,
			[]member{{blue.mark, "/x-blue", "/s/blue.env", "", "/t/blue", network.UplinkRules{Ifaces: []string{"eth7"}}}}},
		{"with Kubernetes", []string{"--network=blue=1", "--kube-subnet-mgr", "--etcd-endpoints=http://10.0.0.1:2379"}, nil, []member{blue}},
		{"with Kubernetes, at the first network's prefix", []string{"--network=blue=1,etcd-prefix=/coreos.com/network", "--kube-subnet-mgr"},
			map[string]string{"WEFTD_ETCD_ENDPOINTS": "http://10.0.0.1:2379"},
			[]member{{blue.mark, "/coreos.com/network", blue.subnetFile, blue.stateDir, blue.runDir, network.UplinkRules{}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, err := parse(c.args, environ(c.env))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, o.members, cmp.AllowUnexported(member{}), cmp.Comparer(func(a, b network.UplinkRules) bool {
				return strings.Join(a.Ifaces, ",") == strings.Join(b.Ifaces, ",") && a.CanReach == b.CanReach && a.Public == b.Public
			})); d != "" {
				t.Errorf("networks (-want +got):\n%s", d)
			}
		})
	}
}

func TestMistakesInNetworksAreNamed(t *testing.T) {
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"--network=blue"}, []string{`--network "blue": "blue" is not a name and a number, such as blue=1`}},
		{[]string{"--network=blue=x"}, []string{"such as blue=1"}},
		{[]string{"--network=blue=0"}, []string{"number 0 is not between 1 and 8"}},
		{[]string{"--network=blue=9"}, []string{"number 9 is not between 1 and 8"}},
		{[]string{"--network=backups7=1"}, []string{`name "backups7" is not 1 to 7 lower-case letters and digits, a letter first`}},
		{[]string{"--network=flannel=1"}, []string{"is what devices of the first network begin with"}},
		{[]string{"--network==0"}, []string{"a name and a number such as blue=1"}},
		{[]string{"--network=ipsec=1"}, []string{`--network "ipsec=1": name "ipsec" would give the network files of the first one`}},
		{[]string{"--network=blue=1,prefix=/b,etcd-prefix"}, []string{`key "prefix" is not known; there are etcd-prefix, subnet-file and iface`, `"etcd-prefix" is not a key with a value`}},
		{[]string{"--network=blue=1", "--network=blue=2"}, []string{"the name blue is there twice", "network blue has the subnet-file /run/flannel/blue.env too", "in each other's way"}},
		{[]string{"--network=blue=1", "--network=red=1"}, []string{`--network "red=1": network blue has the number 1 too`}},
		{[]string{"--network=blue=1,subnet-file=/run/flannel/./subnet.env"}, []string{"the first network has the subnet-file /run/flannel/./subnet.env too"}},
		{[]string{"--network=blue=1,etcd-prefix=/coreos.com/network/"}, []string{"the etcd-prefix /coreos.com/network/ and that of the first network, /coreos.com/network, are in each other's way"}},
		{[]string{"--network=blue=1,etcd-prefix=/coreos.com/network/subnets/b"}, []string{"in each other's way"}},
		{[]string{"--network=blue=1,etcd-prefix=/b", "--network=red=2,etcd-prefix=b"}, []string{"that of network blue, /b, are in each other's way"}},
		{[]string{"--network=blue=1", "--kube-subnet-mgr"}, []string{"the pod CIDRs of Nodes are the first network's; say with --etcd-endpoints where it is"}},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			_, err := parse(c.args, environ(nil))
			for _, w := range c.want {
				if err == nil || !strings.Contains(err.Error(), w) {
					t.Errorf("error %v does not say %q", err, w)
				}
			}
		})
	}
}

// Keys of one network may be beside and above those of another, where no one reads them for its own.
func TestPrefixesMayBeBesideEachOther(t *testing.T) {
	for _, prefix := range []string{"/coreos.com/network/blue", "/coreos.com", "/coreos.com/networks", "/coreos.com/network-2"} {
		if _, err := parse([]string{"--network=blue=1,etcd-prefix=" + prefix}, environ(nil)); err != nil {
			t.Errorf("%s: %v", prefix, err)
		}
	}
}

func FuzzNetwork(f *testing.F) {
	for _, s := range []string{"blue=1", "blue=1,etcd-prefix=/b", "=", "a=8,iface=x,iface=", ",", "flannel=1", "b=256"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		first := options{etcdPrefix: "/p", subnetFile: "/s/subnet.env", stateDir: "/l", socket: "/r/w.sock"}.first()
		m, err := first.parse(s)
		if err == nil && (m.mark.Check() != nil || m.mark.Name == "" || m.etcdPrefix == "" || m.subnetFile == "" || m.runDir == first.runDir) {
			t.Errorf("%q is taken for %+v", s, m)
		}
	})
}
