package backend

import "github.com/weft-network/weft/subnet"

// Carrier is a Backend whose outer packets have an IP protocol of their own rather than a UDP port.
type Carrier interface {
	// Protocol returns the number of that protocol in packets of family f.
	Protocol(f subnet.Family) uint8
}
