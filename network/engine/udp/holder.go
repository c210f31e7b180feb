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
	for _, file := range []string{"/proc/thread-self/net/udp", "/proc/thread-self/net/udp6"} {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // a kernel without the family
		}
		inodes = append(inodes, parseInodes(string(text), port)...)
	}
	return inodes
}

// parseInodes reads a table of /proc/net. A line is "sl local_address rem_address st queues tr:tm retrnsmt uid timeout inode ...".
func parseInodes(text string, port uint16) (inodes []string) {
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 10 {
			continue
		}
		_, hex, ok := strings.Cut(words[1], ":")
		if n, err := strconv.ParseUint(hex, 16, 16); ok && err == nil && uint16(n) == port && words[9] != "0" {
			inodes = append(inodes, words[9])
		}
	}
	return inodes
}
