package wireguard

import (
	"encoding/json"
	"fmt"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/subnet"
)

// name names the devices. They end in a suffix where others are there beside them for a while.
func (b *Backend) name(suffix string) {
	b.devices = [2]string{subnet.Inet: "flannel-wg" + suffix, subnet.Inet6: "flannel-wg-v6" + suffix}
	if b.mode != separate {
		b.devices[subnet.Inet6] = b.devices[subnet.Inet]
	}
}

// Renamed returns b with a suffix at the end of its devices' names.
func (b Backend) Renamed(suffix string) backend.Backend {
	b.name(suffix)
	return b
}

// Beside returns b at the two ports after those of the config, or at one where there is one device.
func (b Backend) Beside() backend.Backend {
	const last = 1<<16 - 1
	low, high := min(b.ports[0], b.ports[1]), max(b.ports[0], b.ports[1])
	switch {
	case high <= last-2:
		b.ports = [2]uint16{high + 1, high + 2}
	case low > 2:
		b.ports = [2]uint16{low - 2, low - 1}
	default:
		b.ports = [2]uint16{defaultPort, defaultPort + 1}
	}
	if b.mode != separate {
		b.ports[subnet.Inet6] = b.ports[subnet.Inet]
	}
	return b
}

// Agreed names what all nodes must have in common to reach each other. A preshared key can be changed in place: it takes part
// when two nodes agree on new keys, which is minutes after they have agreed on the last.
func (b Backend) Agreed() string {
	if b.mode == separate {
		return fmt.Sprintf("a device for each family, at ports %d and %d", b.ports[subnet.Inet], b.ports[subnet.Inet6])
	}
	return fmt.Sprintf("one device, at port %d", b.ports[subnet.Inet])
}

// Fits tells whether data can be read: they tell a node's own port, and of the modes nothing.
func (Backend) Fits(data [2]string) bool {
	for _, text := range data {
		if text == "" {
			continue
		}
		if _, err := parse(text); err != nil {
			return false
		}
	}
	return true
}

// Like returns a config with the ports that data tell. One port for both families is that of one device.
func (Backend) Like(data [2]string) string {
	var like struct {
		ListenPort   uint16 `json:",omitempty"`
		ListenPortV6 uint16 `json:",omitempty"`
		Mode         mode   `json:",omitempty"`
	}
	var ports [2]uint16
	for f, text := range data {
		if c, err := parse(text); err == nil {
			ports[f] = c.port
		}
	}
	like.ListenPort, like.ListenPortV6 = ports[subnet.Inet], ports[subnet.Inet6]
	if like.ListenPort == like.ListenPortV6 && like.ListenPort != 0 {
		like.ListenPortV6, like.Mode = 0, auto
	}
	text, err := json.Marshal(like)
	if err != nil {
		return "{}" // cannot be: numbers and a text
	}
	return string(text)
}

// Encrypts is true.
func (Backend) Encrypts() bool { return true }

// NeedsKey is true.
func (Backend) NeedsKey() bool { return true }
