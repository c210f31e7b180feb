package masq

import "testing"

// BenchmarkSyncUnchanged is what a look at rules in order costs.
func BenchmarkSyncUnchanged(b *testing.B) {
	n := NewNFTables("")
	c := dualStack()
	for b.Loop() {
		if _, err := n.Sync(b.Context(), c); err != nil {
			b.Fatal(err)
		}
	}
}
