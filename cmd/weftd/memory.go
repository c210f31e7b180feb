package main

import (
	"os"
	"runtime/debug"
)

// How much garbage may gather before it is collected, in percent of what is in use. A start makes much of it within
// a fraction of a second, and should not stop to collect; afterwards there is hardly any, and memory counts.
const (
	garbageAtStart = 200
	garbageSettled = 25
)

// collectLate is called first. It does nothing where the environment variable GOGC decides.
func collectLate() { setGarbage(garbageAtStart) }

// settle is called when the node is connected: what only the start needed goes back to the kernel.
func settle() {
	setGarbage(garbageSettled)
	debug.FreeOSMemory()
}

func setGarbage(percent int) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
}
