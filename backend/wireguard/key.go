package wireguard

import (
	"crypto/ecdh"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/network/kernel"
)

var errNoKey = errors.New("the node has no private key for WireGuard")

// PublicKey returns the public half of a private key. The zero key is none, and an error.
func PublicKey(private kernel.Key) (kernel.PublicKey, error) {
	if private == (kernel.Key{}) {
		return kernel.PublicKey{}, errNoKey
	}
	key, err := ecdh.X25519().NewPrivateKey(private[:])
	if err != nil {
		return kernel.PublicKey{}, fmt.Errorf("the node's private key for WireGuard: %w", err)
	}
	return kernel.PublicKey(key.PublicKey().Bytes()), nil
}

// contact is what a node announces of its device of one family: BackendData in a lease.
type contact struct {
	key      kernel.PublicKey
	port     uint16     // 0 where it is not said, as by flannel before 0.27: the same as on this node
	internal netip.Addr // where those behind the same address translation reach the node; invalid where that is its public address
}

// wire is the announcement in JSON, byte for byte as flannel writes it where there is nothing more to say.
type wire struct {
	PublicKey string
	Port      uint16
	Internal  netip.Addr `json:",omitzero"`
}

// announce returns what peers must know of this node.
func announce(key kernel.PublicKey, port uint16, u backend.Uplink) string {
	w := wire{PublicKey: key.String(), Port: port}
	if u.Addr != u.Public {
		w.Internal = u.Addr
	}
	text, err := json.Marshal(w)
	if err != nil {
		return "" // cannot be: a text, a number and an address
	}
	return string(text)
}

// parse reads an announcement. The error names the field and its value, and says what would be right.
func parse(data string) (contact, error) {
	if data == "" {
		return contact{}, errors.New(`BackendData is missing: {"PublicKey":"...","Port":51820} is needed`)
	}
	var w wire
	if err := json.Unmarshal([]byte(data), &w); err != nil {
		return contact{}, fmt.Errorf(`BackendData %.80q is not like {"PublicKey":"...","Port":51820}: %w`, data, err)
	}
	raw, err := base64.StdEncoding.DecodeString(w.PublicKey)
	if err != nil || len(raw) != len(kernel.PublicKey{}) {
		return contact{}, fmt.Errorf("PublicKey %.60q is not a key of 32 bytes in base64", w.PublicKey)
	}
	c := contact{key: kernel.PublicKey(raw), port: w.Port, internal: w.Internal.Unmap()}
	if c.key == (kernel.PublicKey{}) {
		return contact{}, fmt.Errorf("PublicKey %s is no key", c.key)
	}
	return c, nil
}
