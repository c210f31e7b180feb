// Package peer makes up the peers of a benchmark: number i always has the same subnet, addresses and lease. It knows
// flannel's form of a lease, and refuses to know who reads it.
package peer

import (
	"fmt"
	"net/netip"
)

// Max is how many peers there can be.
const Max = 120 * 256

// Config is the network config of their cluster. Subnets that nodes choose themselves start behind those of the peers.
const Config = `{"Network": "10.0.0.0/8", "SubnetLen": 24, "SubnetMin": "10.128.0.0", "SubnetMax": "10.255.255.0", "Backend": {"Type": "vxlan"}}`

// Gateway is the first address of the subnet of peer i, which is also that of its vxlan device.
func Gateway(i int) [4]byte { return [4]byte{10, byte(1 + i>>8), byte(i), 0} }

// Public is where peer i receives packets.
func Public(i int) [4]byte { return [4]byte{192, 168, byte(1 + i/250), byte(1 + i%250)} }

// MAC is that of the vxlan device of peer i.
func MAC(i int) [6]byte { return [6]byte{0x0e, 0x57, 0, 0, byte(i >> 8), byte(i)} }

// ByGateway returns the number of the peer whose gateway is a.
func ByGateway(a []byte) (i int, ok bool) {
	if len(a) != 4 || a[0] != 10 || a[1] < 1 || a[1] > 120 || a[3] != 0 {
		return 0, false
	}
	return int(a[1]-1)<<8 | int(a[2]), true
}

// ByMAC returns the number of the peer whose device has the address m.
func ByMAC(m []byte) (i int, ok bool) {
	if len(m) != 6 || m[0] != 0x0e || m[1] != 0x57 || m[2] != 0 || m[3] != 0 {
		return 0, false
	}
	i = int(m[4])<<8 | int(m[5])
	return i, i < Max
}

// Key is the key of the lease of peer i below prefix.
func Key(prefix string, i int) string {
	return fmt.Sprintf("%s/subnets/%s-24", prefix, netip.AddrFrom4(Gateway(i)))
}

// Value is the lease of peer i, as flannel writes it.
func Value(i int) string {
	m := MAC(i)
	return fmt.Sprintf(`{"PublicIP":"%s","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"%02x:%02x:%02x:%02x:%02x:%02x"}}`,
		netip.AddrFrom4(Public(i)), m[0], m[1], m[2], m[3], m[4], m[5])
}
