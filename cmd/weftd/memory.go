package main

import (
	"bufio"
	"context"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

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
	forgetProgram()
}

// forgetProgram takes the pages of the program itself out of the process's memory. The start has touched most of them
// and what runs afterwards needs a few, which come back from the page cache as they are used. It does nothing where it
// cannot tell which pages can be read again from the file.
func forgetProgram() {
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return
	}
	defer f.Close()
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	for _, m := range unchanged(f, exe) {
		unix.Syscall(unix.SYS_MADVISE, m.from, m.to-m.from, unix.MADV_DONTNEED) // without it nothing is lost but memory
	}
}

// mapping is a part of a file in the process's memory.
type mapping struct{ from, to uintptr }

// unchanged returns the mappings of file that are read only and of which no page was ever written to, as relocations
// do: these pages are as they are in the file.
func unchanged(smaps io.Reader, file string) (all []mapping) {
	var current *mapping
	for lines := bufio.NewScanner(smaps); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) >= 2 && fields[0] == "Anonymous:" {
			if current != nil && fields[1] == "0" {
				all = append(all, *current)
			}
			continue
		}
		if len(fields) > 0 && strings.HasSuffix(fields[0], ":") {
			continue // another property
		}
		current = nil
		if len(fields) < 6 || strings.Join(fields[5:], " ") != file || strings.Contains(fields[1], "w") {
			continue
		}
		from, to, _ := strings.Cut(fields[0], "-")
		a, err := strconv.ParseUint(from, 16, strconv.IntSize)
		b, err2 := strconv.ParseUint(to, 16, strconv.IntSize)
		if err == nil && err2 == nil && a < b {
			current = &mapping{uintptr(a), uintptr(b)}
		}
	}
	return all
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
