package main

import (
	"runtime/debug"
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

func TestProgramRunsOnWhenReleased(t *testing.T) {
	for range 3 {
		releaseProgram()
	}
}
