package lab

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/subnet"
)

// storeFault is one way for etcd to fail.
type storeFault struct {
	name string
	do   func(*testing.T, *Lab, *traffic)
}

func storeFaultList() []storeFault {
	return []storeFault{
		{"killed and restarted", etcdKilled},
		{"lease revoked", leaseRevoked},
		{"data wiped", etcdWiped},
		{"compacted while disconnected", etcdCompacted},
		{"slow", etcdSlow},
		{"config broken and mended", configBroken},
		{"garbage among the peers", peersGarbage},
	}
}

// storeFaults lets etcd fail under traffic. The traffic must not notice, the kernel stays as it is throughout, and
// afterwards the nodes follow etcd again.
func storeFaults(t *testing.T, l *Lab, faults []storeFault) {
	for _, f := range faults {
		t.Run("store/"+f.name, func(t *testing.T) {
			tr := startTrafficEvery(t, l, 50*time.Millisecond, l.Nodes...) // for long, and nothing may happen to it
			before := nodeListings(t, l)
			f.do(t, l, tr)
			checkFollows(t, l)
			tr.check(t)
			if diff := cmp.Diff(before, nodeListings(t, l)); diff != "" {
				t.Errorf("the kernels hold something else afterwards (-before +after):\n%s", diff)
			}
		})
	}
}

func etcdKilled(t *testing.T, l *Lab, tr *traffic) {
	must(t, l.Etcd.Stop())
	eventually(t, "the nodes to notice", func() error { return storeIs(t, l, false) })
	tr.flow(t, 100)
	must(t, l.Etcd.Start(within(t, patience)))
}

// etcdCompacted keeps node1 away from etcd while a peer leaves, another comes, and the history of it is forgotten.
func etcdCompacted(t *testing.T, l *Lab, tr *traffic) {
	ctx := within(t, patience)
	putPeer(t, l, 250)
	eventually(t, "the peer that will leave", func() error { return hasPeer(t, l.Nodes[0], 250) })
	must(t, l.Etcd.Stop())
	block(t, l.Etcd.members[0].Host, l.Nodes[0])
	must(t, l.Etcd.Start(ctx))
	dropPeer(t, l, 250)
	putPeer(t, l, 251)
	must(t, l.Etcd.Compact(ctx))
	tr.flow(t, 50)
	if err := hasPeer(t, l.Nodes[0], 251); err == nil {
		t.Error("node1 knows what happened while it was kept away from etcd")
	}
	must(t, l.Etcd.members[0].flushRuleset())
	eventually(t, "node1 to catch up", func() error {
		if hasPeer(t, l.Nodes[0], 250) == nil {
			return fmt.Errorf("the peer that left is still there")
		}
		return hasPeer(t, l.Nodes[0], 251)
	})
	dropPeer(t, l, 251)
	eventually(t, "the peer to leave", func() error { return lacksPeer(t, l, 251) })
}

// leaseRevoked takes node1's lease away; it gets the same one again.
func leaseRevoked(t *testing.T, l *Lab, tr *traffic) {
	before := leaseOf(t, l, "node1")
	if _, err := l.Etcd.Client.Revoke(within(t, patience), before.Lease); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the lease to be claimed again", func() error { return claimedAgain(t, l, before) })
	tr.flow(t, 50)
}

func claimedAgain(t *testing.T, l *Lab, before Entry) error {
	entries, err := l.Etcd.Subnets(within(t, patience))
	if err != nil {
		return err
	}
	i := slices.IndexFunc(entries, func(e Entry) bool { return e.Key == before.Key })
	if i < 0 {
		return fmt.Errorf("%s is not among %v", before.Key, entries)
	}
	if entries[i].Value != before.Value || entries[i].Lease == 0 {
		return fmt.Errorf("%s holds %v, want %s", before.Key, entries[i], before.Value)
	}
	return nil
}

func etcdWiped(t *testing.T, l *Lab, tr *traffic) {
	var before []Entry
	for _, n := range l.Nodes {
		before = append(before, leaseOf(t, l, n.Name))
	}
	must(t, l.Etcd.Wipe(within(t, patience), l.opts.Config))
	for _, e := range before {
		eventually(t, "the leases to be claimed again", func() error { return claimedAgain(t, l, e) })
	}
	tr.flow(t, 50)
}

func etcdSlow(t *testing.T, l *Lab, tr *traffic) {
	must(t, l.Etcd.Pause(within(t, patience)))
	tr.flow(t, 300)
	must(t, l.Etcd.Resume())
}

func configBroken(t *testing.T, l *Lab, tr *traffic) {
	ctx := within(t, patience)
	usual := map[*Node]int{} // warnings that are no complaints about the config
	for _, n := range l.Nodes {
		usual[n] = len(nodeStatus(t, n).Warnings)
	}
	for _, text := range []string{`{"Network": "10.244.0.0/16", `, `{"Network": "10.9.0.0/33"}`, ``} {
		must(t, l.Etcd.PutConfig(ctx, text))
		eventually(t, "the nodes to complain", func() error {
			for _, n := range l.Nodes {
				s := nodeStatus(t, n)
				if len(s.Warnings) <= usual[n] || s.Config != l.opts.Config {
					return fmt.Errorf("%s has no warning about %q, or took it: %+v", n.Name, text, s)
				}
			}
			return nil
		})
		tr.flow(t, 20)
	}
	must(t, l.Etcd.PutConfig(ctx, l.opts.Config))
	eventually(t, "the complaints to end", func() error {
		for _, n := range l.Nodes {
			if s := nodeStatus(t, n); len(s.Warnings) > usual[n] {
				return fmt.Errorf("%s warns: %s", n.Name, s.Warnings)
			}
		}
		return nil
	})
}

// peersGarbage puts keys and values that nobody can read beside the good ones.
func peersGarbage(t *testing.T, l *Lab, tr *traffic) {
	ctx := within(t, patience)
	garbage := map[string]string{
		"/subnets/nonsense":        "{}",
		"/subnets/10.244.240.0-24": `{"PublicIP":`,
		"/subnets/10.244.241.0-24": fmt.Sprintf(`{"PublicIP":"127.0.0.1","BackendType":%q,"BackendData":{"VNI":-1,"VtepMAC":"zz"}}`, backendType(l)),
	}
	for key, value := range garbage {
		if _, err := l.Etcd.Client.Put(ctx, Prefix+key, value); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the nodes to name what they cannot read", func() error {
		for _, n := range l.Nodes {
			if err := namesGarbage(t, n); err != nil {
				return err
			}
		}
		return nil
	})
	tr.flow(t, 20)
	for key := range garbage {
		if _, err := l.Etcd.Client.Delete(ctx, Prefix+key); err != nil {
			t.Fatal(err)
		}
	}
}

func namesGarbage(t *testing.T, n *Node) error {
	s := nodeStatus(t, n)
	said := strings.Join(s.Store.Faults, "\n")
	for _, p := range s.Peers {
		said += "\n" + strings.Join(p.Subnets, " ") + " " + p.Error
	}
	for _, key := range []string{"nonsense", "10.244.240.0", "10.244.241.0"} {
		if !strings.Contains(said, key) {
			return fmt.Errorf("%s says nothing of %s: %s", n.Name, key, said)
		}
	}
	return nil
}

// TestLeaderLost kills the leader of three members of etcd under traffic.
func TestLeaderLost(t *testing.T) {
	t.Parallel()
	runLab(t, Options{Pods: 1, Members: 3}, func(l *Lab) {
		ctx := within(t, patience)
		tr := startTraffic(t, l, l.Nodes...)
		before := nodeListings(t, l)
		for range 2 {
			leader, err := l.Etcd.Leader(ctx)
			if err != nil {
				t.Fatal(err)
			}
			must(t, l.Etcd.StopMember(leader))
			eventually(t, "another leader", func() error {
				now, err := l.Etcd.Leader(ctx)
				if err == nil && now == leader {
					return fmt.Errorf("%s still leads", leader)
				}
				return err
			})
			checkFollows(t, l)
			must(t, l.Etcd.Start(ctx))
		}
		if diff := cmp.Diff(before, nodeListings(t, l)); diff != "" {
			t.Errorf("the kernels hold something else afterwards (-before +after):\n%s", diff)
		}
		tr.check(t)
	})
}

// TestBootWithoutStore boots a node, empty as after a power cut, while etcd is away: it reaches its peers as it last knew them.
func TestBootWithoutStore(t *testing.T) {
	t.Parallel()
	runLab(t, Options{Pods: 1, Families: subnet.Families[:]}, func(l *Lab) {
		n := l.Nodes[0]
		before := listing(t, n.Host)
		eventually(t, "the snapshot to be on disk", func() error { return savedAll(n) })
		must(t, n.Kill())
		must(t, l.Etcd.Stop())
		must(t, n.deleteEverything())
		if _, err := n.Run("/bin/rm", "-rf", "/run/flannel", "/run/weft"); err != nil {
			t.Fatal(err)
		}
		must(t, n.Start())
		if err := n.Holds(within(t, patience), before); err != nil {
			t.Fatal(err)
		}
		checkMatrix(t, l)
		must(t, l.Etcd.Start(within(t, patience)))
		checkFollows(t, l)
		if diff := cmp.Diff(before, listing(t, n.Host)); diff != "" {
			t.Errorf("the kernel holds something else afterwards (-before +after):\n%s", diff)
		}
	})
}

// savedAll tells whether a node has all leases on disk.
func savedAll(n *Node) error {
	return n.Do(func() error {
		text, err := os.ReadFile("/var/lib/weft/leases.json")
		for _, other := range n.lab.Nodes {
			if err == nil && !strings.Contains(string(text), other.Addrs[0].String()) {
				err = fmt.Errorf("%s is not in %s", other.Name, text)
			}
		}
		return err
	})
}
