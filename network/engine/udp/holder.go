package udp

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// holder says who has a UDP port, in words that end a sentence.
func holder(local netip.AddrPort) string {
	inodes := portInodes(local.Port())
	if len(inodes) == 0 {
		return "the kernel itself, as by a vxlan or WireGuard device (ip -d link)"
	}
	fds, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		fds = nil // the pattern is right
	}
	for _, fd := range fds {
		target, err := os.Readlink(fd)
		if err != nil {
			continue // of a process that has ended, or that we may not look into
		}
		for _, inode := range inodes {
			if target == "socket:["+inode+"]" {
				return process(strings.Split(fd, "/")[2])
			}
		}
	}
	return fmt.Sprintf("a process that cannot be seen from here (ss -ulpn sport = :%d tells)", local.Port())
}

// process returns the name and number of a process.
func process(pid string) string {
	name, err := os.ReadFile("/proc/" + pid + "/comm")
	if err != nil {
		return "process " + pid
	}
	return fmt.Sprintf("%s (process %s)", bytes.TrimSpace(name), pid)
}

// portInodes returns the inodes of processes' UDP sockets at port, in this network namespace.
func portInodes(port uint16) (inodes []string) {
	for _, file := range []string{"udp", "udp6"} {
		for _, s := range parseSockets(readProc(file)) {
			if s.port == port && s.inode != "0" {
				inodes = append(inodes, s.inode)
			}
		}
	}
	return inodes
}

// listed is a UDP socket as the kernel lists it.
type listed struct {
	port  uint16
	inode string // "0" for the kernel's own
	drops uint64 // datagrams that its queue had no room for
}

// parseSockets reads a table of /proc/net. A line is "sl local_address rem_address st queues tr:tm retrnsmt uid timeout inode ref pointer drops".
func parseSockets(text string) (list []listed) {
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 10 {
			continue
		}
		_, hex, ok := strings.Cut(words[1], ":")
		port, err := strconv.ParseUint(hex, 16, 16)
		if !ok || err != nil {
			continue
		}
		s := listed{port: uint16(port), inode: words[9]}
		if len(words) > 12 {
			s.drops, _ = strconv.ParseUint(words[12], 10, 64) // none of which is known
		}
		list = append(list, s)
	}
	return list
}
