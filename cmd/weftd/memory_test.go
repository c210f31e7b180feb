package main

import (
	"runtime/debug"
	"testing"
)

func TestGarbageGathersAtTheStartAlone(t *testing.T) {
	before := debug.SetGCPercent(100)
	t.Cleanup(func() { debug.SetGCPercent(before) })
	percent := func() int {
		p := debug.SetGCPercent(100)
		debug.SetGCPercent(p)
		return p
	}
	for _, test := range []struct {
		name, env      string
		start, settled int
	}{
		{"by itself", "", garbageAtStart, garbageSettled},
		{"the environment decides", "70", 70, 70},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("GOGC", test.env)
			debug.SetGCPercent(70) // what the runtime makes of the environment before main
			collectLate()
			if got := percent(); got != test.start {
				t.Errorf("%d percent at the start, want %d", got, test.start)
			}
			settle()
			if got := percent(); got != test.settled {
				t.Errorf("%d percent when settled, want %d", got, test.settled)
			}
		})
	}
}
