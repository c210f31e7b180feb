package main

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// How large the heap may grow before garbage is collected. A start makes much of it within a fraction of a second, and
// should not stop to collect; afterwards there is hardly any, and memory counts. A heap below smallHeap is let alone,
// so that a repair at once of all that there is need not wait for the collector.
const (
	garbageAtStart = 200     // percent of what is in use
	garbageSettled = 25      // percent of what is in use
	smallHeap      = 8 << 20 // bytes
)

// collectLate is called first. It does nothing where the environment variable GOGC decides.
func collectLate() { setGarbage(garbageAtStart) }

// settleAfter is how long after the node is connected its start is over: by then the leases are saved too.
const settleAfter = 10 * time.Second

// settleLater settles some time after ready is closed. Its error is ctx's.
func settleLater(ctx context.Context, ready <-chan struct{}) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-ready:
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(settleAfter):
	}
	settle()
	return nil
}

// settle gives back to the kernel what only the start needed.
func settle() {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	setGarbage(garbagePercent(m.HeapAlloc))
	releaseProgram()
}

// releaseProgram lets the kernel reclaim the pages of the program that only the start needed, its initialisation above
// all. What runs afterwards comes back from the file as it is used. It changes nothing where the kernel does not know
// MADV_PAGEOUT (before 5.4), or weftd may not write to its file.
func releaseProgram() {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	self, err := procfs.Self()
	if err != nil {
		return
	}
	maps, err := self.ProcMaps()
	if err != nil {
		return
	}
	for _, m := range maps {
		if m.Pathname == exe && !m.Perms.Write {
			unix.Syscall(unix.SYS_MADVISE, m.StartAddr, m.EndAddr-m.StartAddr, unix.MADV_PAGEOUT)
		}
	}
}

// garbagePercent is how much garbage may gather beside inUse bytes, in percent of them.
func garbagePercent(inUse uint64) int {
	if inUse == 0 || inUse >= smallHeap {
		return garbageSettled
	}
	return max(garbageSettled, int(100*(smallHeap-inUse)/inUse))
}

func setGarbage(percent int) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
}
