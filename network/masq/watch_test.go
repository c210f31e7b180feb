package masq

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// follow runs watch until the test ends, in the namespace of the test process, in which only tests of this file work, and
// returns when it has begun.
func follow(t *testing.T, watch func(context.Context) error, begun <-chan string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var g errgroup.Group
	g.Go(func() error { return watch(ctx) })
	t.Cleanup(func() {
		cancel()
		if err := g.Wait(); !errors.Is(err, context.Canceled) {
			t.Errorf("watching ends with %v, want context.Canceled", err)
		}
		run(t, "nft flush ruleset")
	})
	next(t, begun)
}

// next waits for what is reported next.
func next(t *testing.T, reports <-chan string) string {
	t.Helper()
	select {
	case table := <-reports:
		return table
	case <-time.After(10 * time.Second):
		t.Fatal("nothing is reported")
		return ""
	}
}

// since returns for which tables changes were reported since the last time. The kernel reports in order, so a table that is
// made for the purpose tells when everything before has been reported.
func since(t *testing.T, reports <-chan string) map[string]bool {
	t.Helper()
	run(t, "nft add table ip marker")
	run(t, "nft delete table ip marker")
	tables := map[string]bool{}
	for left := 2; left > 0; {
		if table := next(t, reports); table != "marker" {
			tables[table] = true
		} else {
			left--
		}
	}
	return tables
}

func TestWatchTables(t *testing.T) {
	for _, r := range renderings[:2] {
		t.Run(r.name, func(t *testing.T) {
			reports := make(chan string, 1000)
			follow(t, func(ctx context.Context) error {
				return watchTables(ctx, func(table string) { reports <- table })
			}, reports)
			fw, err := r.firewall()
			if err != nil {
				t.Fatal(err)
			}
			own := map[string]string{"nftables": "weft", "iptables-nft": "nat"}[r.name]
			for _, disturb := range []func(){
				func() { r.both(t, "-P FORWARD DROP") },
				func() { run(t, r.deletions(t)[0]) },
				func() { run(t, r.deletions(t)[3]) },
				func() { run(t, "nft flush ruleset") },
			} {
				disturb()
				if tables := since(t, reports); !tables[own] && !tables["filter"] {
					t.Errorf("a change was reported for %v, want %s or filter", tables, own)
				}
				if n, err := fw.Sync(t.Context(), dualStack()); n == 0 || err != nil {
					t.Errorf("Sync changed %d, %v", n, err)
				}
				if tables := since(t, reports); !tables[own] && !tables["filter"] {
					t.Errorf("Sync was reported for %v, want %s or filter", tables, own)
				}
				if n, err := fw.Sync(t.Context(), dualStack()); n != 0 || err != nil {
					t.Errorf("second Sync changed %d, %v", n, err)
				}
				if tables := since(t, reports); len(tables) > 0 {
					t.Errorf("a Sync with nothing to change was reported for %v", tables)
				}
			}
		})
	}
}

func TestWatchIgnoresOthers(t *testing.T) {
	rings := make(chan string, 1000)
	follow(t, func(ctx context.Context) error {
		return NewNFTables("").Watch(ctx, func() { rings <- "" })
	}, rings)
	run(t, "nft add table inet others")
	run(t, "nft add chain inet others forward { type filter hook forward priority 0 ; }")
	run(t, "nft add rule inet others forward accept")
	run(t, "nft add set inet others s { type ipv4_addr ; }")
	run(t, "nft add element inet others s { 192.0.2.1 }")
	run(t, "nft delete table inet others")
	run(t, "nft add table inet weft") // when this is reported, all the others would have been
	next(t, rings)
	if n := len(rings); n > 0 {
		t.Errorf("Watch called %d times too often, for a table in which nothing of ours can be", n)
	}
}

func TestWatchLegacyPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fw := &IPTables{legacy: true, interval: 5 * time.Second}
		ctx, cancel := context.WithTimeout(t.Context(), 21*time.Second)
		defer cancel()
		n := 0
		if err := fw.Watch(ctx, func() { n++ }); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Watch: %v, want context.DeadlineExceeded", err)
		}
		if want := 5; n != want {
			t.Errorf("in 21 s Watch called %d times, want %d", n, want)
		}
	})
}

func TestTableOf(t *testing.T) {
	const newRule, newGen = unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWRULE, unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWGEN
	header := []byte{unix.NFPROTO_INET, 0, 0, 0}
	named := append(slices.Clone(header), 9, 0, unix.NFTA_RULE_TABLE, 0, 'w', 'e', 'f', 't', 0, 0, 0, 0)
	tests := []struct {
		name  string
		kind  netlink.HeaderType
		data  []byte
		table string
		ok    bool
	}{
		{"a rule", newRule, named, "weft", true},
		{"the end of a transaction", newGen, named, "", false},
		{"conntrack", unix.NFNL_SUBSYS_CTNETLINK << 8, named, "", false},
		{"no name", newRule, header, anyTable, true},
		{"torn", newRule, named[:10], anyTable, true},
		{"shorter than its header", newRule, header[:2], "", false},
		{"empty", newRule, nil, "", false},
	}
	for _, test := range tests {
		table, ok := tableOf(netlink.Message{Header: netlink.Header{Type: test.kind}, Data: test.data})
		if table != test.table || ok != test.ok {
			t.Errorf("%s: tableOf() = %q, %v; want %q, %v", test.name, table, ok, test.table, test.ok)
		}
	}
}
