package udp

import (
	"errors"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/network/kernel"
)

// Why packets are dropped.
const (
	noSubnet    = "no_subnet"    // nobody has the destination's subnet
	noHops      = "no_hops"      // the packet has no hops left
	tooBig      = "too_big"      // it does not fit into a datagram
	notSent     = "not_sent"     // the kernel did not send the datagram
	notPacket   = "not_a_packet" // what arrived is none, or is of the other family
	deviceQueue = "device_queue" // the device's queue was full, or nobody read it
	socketQueue = "socket_queue" // datagrams arrived faster than they were read
)

// drops counts the packets of a device that were dropped.
type drops struct {
	noSubnet, noHops, tooBig, notSent, notPacket atomic.Uint64
}

// unsent counts a datagram that could not be sent.
func (d *drops) unsent(err error) {
	if errors.Is(err, unix.EMSGSIZE) {
		d.tooBig.Add(1)
	} else {
		d.notSent.Add(1)
	}
}

// dropped lists what was counted of every device, and what the kernel has counted of their queues.
func (m *mover) dropped() (list []kernel.Dropped) {
	device := parseDevices(readProc("dev"))
	socket := m.socketDrops()
	for name, t := range m.tunnels {
		for _, x := range []struct {
			reason string
			n      uint64
		}{
			{noSubnet, t.drops.noSubnet.Load()}, {noHops, t.drops.noHops.Load()}, {tooBig, t.drops.tooBig.Load()}, {notSent, t.drops.notSent.Load()},
			{notPacket, t.drops.notPacket.Load()}, {deviceQueue, device[name]}, {socketQueue, socket[t]},
		} {
			list = append(list, kernel.Dropped{Link: name, Reason: x.reason, Packets: x.n})
		}
	}
	slices.SortStableFunc(list, func(a, b kernel.Dropped) int { return strings.Compare(a.Link, b.Link) })
	return list
}

// socketDrops is what the queues of the open sockets had no room for, by the device that the datagrams were for.
func (m *mover) socketDrops() map[*tunnel]uint64 {
	counted := map[string]uint64{}
	for _, file := range []string{"udp", "udp6"} {
		for _, s := range parseSockets(readProc(file)) {
			counted[s.inode] = s.drops
		}
	}
	found := map[*tunnel]uint64{}
	for _, s := range m.sockets {
		found[s.tunnel] += counted[inode(s.conn)]
	}
	return found
}

// readProc returns a table of this network namespace; nothing where the kernel has none of that name.
func readProc(name string) string {
	text, err := os.ReadFile("/proc/thread-self/net/" + name)
	if err != nil {
		return ""
	}
	return string(text)
}

// parseDevices reads how many packets devices had no room for, as /proc/net/dev tells it: "name: 8 numbers of what came, 8 of what
// left", of which the fourth are what was dropped.
func parseDevices(text string) map[string]uint64 {
	found := map[string]uint64{}
	for line := range strings.Lines(text) {
		name, rest, ok := strings.Cut(line, ":")
		words := strings.Fields(rest)
		if !ok || len(words) < 12 {
			continue
		}
		if n, err := strconv.ParseUint(words[11], 10, 64); err == nil {
			found[strings.TrimSpace(name)] = n
		}
	}
	return found
}

// inode is the number by which the kernel's tables know a socket.
func inode(conn *net.UDPConn) string {
	raw, err := conn.SyscallConn()
	if err != nil {
		return ""
	}
	var stat unix.Stat_t
	if raw.Control(func(fd uintptr) { err = unix.Fstat(int(fd), &stat) }) != nil || err != nil {
		return ""
	}
	return strconv.FormatUint(stat.Ino, 10)
}
