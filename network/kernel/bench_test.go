package kernel_test

import (
	"fmt"
	"testing"

	"github.com/weft-network/weft/network/kernel"
)

func BenchmarkApply(b *testing.B) {
	for _, peers := range []int{1000, 5000} {
		b.Run(fmt.Sprint(peers), func(b *testing.B) {
			want := overlay(false, peers)
			for b.Loop() {
				b.StopTimer()
				h := newHost(b)
				base := overlay(false, 0)
				if err := h.Apply(b.Context(), kernel.Change{Put: base}); err != nil {
					b.Fatal(err)
				}
				c := kernel.Diff(base, want)
				b.StartTimer()
				if err := h.Apply(b.Context(), c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkList(b *testing.B) {
	for _, peers := range []int{1000, 5000} {
		b.Run(fmt.Sprint(peers), func(b *testing.B) {
			h, want := newHost(b), overlay(false, peers)
			if err := h.Apply(b.Context(), kernel.Change{Put: want}); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if c := kernel.Diff(h.list(b), want); !c.IsEmpty() {
					b.Fatal(c.Put.Len(), c.Drop.Len())
				}
			}
		})
	}
}
