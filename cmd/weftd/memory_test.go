package main

import (
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

func TestGarbageGathersAtTheStart(t *testing.T) {
	before := debug.SetGCPercent(100)
	t.Cleanup(func() { debug.SetGCPercent(before) })
	percent := func() int {
		p := debug.SetGCPercent(100)
		debug.SetGCPercent(p)
		return p
	}
	t.Run("by itself", func(t *testing.T) {
		t.Setenv("GOGC", "")
		collectLate()
		if got := percent(); got != garbageAtStart {
			t.Errorf("%d percent at the start, want %d", got, garbageAtStart)
		}
		settle()
		if got := percent(); got < garbageSettled || got == garbageAtStart {
			t.Errorf("%d percent when settled", got)
		}
	})
	t.Run("the environment decides", func(t *testing.T) {
		t.Setenv("GOGC", "70")
		debug.SetGCPercent(70) // what the runtime makes of the environment before main
		collectLate()
		settle()
		if got := percent(); got != 70 {
			t.Errorf("%d percent, want 70", got)
		}
	})
}

func TestGarbagePercent(t *testing.T) {
	for inUse, want := range map[uint64]int{0: 25, 1 << 20: 700, 4 << 20: 100, 7 << 20: 25, 8 << 20: 25, 80 << 20: 25} {
		if got := garbagePercent(inUse); got != want {
			t.Errorf("%d percent beside %d bytes, want %d", got, inUse, want)
		}
	}
}

func TestUnchanged(t *testing.T) {
	const smaps = `00400000-00a28000 r-xp 00000000 fe:00 77 /usr/bin/weftd
Size:               6304 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
00a28000-01129000 r--p 00628000 fe:00 77 /usr/bin/weftd
Anonymous:             4 kB
01129000-0119c000 rw-p 00d29000 fe:00 77 /usr/bin/weftd
Anonymous:             0 kB
0119c000-031e2000 rw-p 00000000 00:00 0
Anonymous:           124 kB
7f0000000000-7f0000001000 r--p 00000000 fe:00 78 /usr/lib/libc.so
Anonymous:             0 kB
7f0000002000-7f0000003000 r--p 00d9c000 fe:00 77 /usr/bin/weftd
Anonymous:             0 kB
`
	want := []mapping{{0x400000, 0xa28000}, {0x7f0000002000, 0x7f0000003000}}
	if got := unchanged(strings.NewReader(smaps), "/usr/bin/weftd"); !slices.Equal(got, want) {
		t.Errorf("mappings %x, want %x", got, want)
	}
	if got := unchanged(strings.NewReader("garbage\n-\n"), "/usr/bin/weftd"); got != nil {
		t.Errorf("mappings %x out of garbage", got)
	}
}

func TestProgramRunsOnWhenForgotten(t *testing.T) {
	for range 3 {
		forgetProgram()
	}
}
