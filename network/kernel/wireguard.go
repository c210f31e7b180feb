package kernel

import (
	"fmt"
	"io"
)

// WireGuard are the properties of a WireGuard device.
type WireGuard struct {
	PrivateKey Key
	Port       uint16 // UDP port in host order, never 0
	Mark       uint32 // of the outer packets; 0 for none
}

// Key is a secret of WireGuard. It can be compared and shows itself to nobody: its text is the same for every key.
type Key [32]byte

// String returns a text that says nothing about the key.
func (Key) String() string { return "(secret)" }

// Format writes what String returns, whatever the verb.
func (k Key) Format(f fmt.State, _ rune) { io.WriteString(f, k.String()) }

// MarshalText returns what String returns.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }
