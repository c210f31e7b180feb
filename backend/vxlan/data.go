package vxlan

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// vtep is what a node announces of its device of one family: BackendData in a lease.
type vtep struct {
	vni int // 0 where it is not said, as by flannel before 0.14
	mac kernel.MAC
}

// data returns the announcement byte for byte as flannel writes it. It has 16 bits for the VNI there and cannot
// read more, so that a larger one is cut; see vtep.speaks.
func (b Backend) data(mac kernel.MAC) string {
	return fmt.Sprintf(`{"VNI":%d,"VtepMAC":%q}`, uint16(b.vni), mac)
}

// parse reads an announcement. The error names the field and its value, and says what would be right.
func parse(data string) (vtep, error) {
	v, ok := scan(data)
	if !ok {
		return parseJSON(data)
	}
	if err := v.check(); err != nil {
		return vtep{}, err
	}
	return v, nil
}

// scan reads an announcement in the very form in which flannel and Weft write it, which is that of every peer but a
// strange one: a start reads thousands, and a general reader is most of what a plan costs.
func scan(data string) (v vtep, ok bool) {
	rest, ok := strings.CutPrefix(data, `{"VNI":`)
	if !ok {
		return v, false
	}
	number, rest, ok := strings.Cut(rest, `,"VtepMAC":"`)
	if !ok || len(number) == 0 || len(number) > 8 || number[0] == '0' {
		return v, false
	}
	for _, c := range []byte(number) {
		if c < '0' || c > '9' {
			return v, false
		}
		v.vni = v.vni*10 + int(c-'0')
	}
	if len(rest) != len(`0e:2a:33:44:55:66"}`) || rest[17:] != `"}` {
		return v, false
	}
	for i := range v.mac {
		high, low := hex(rest[3*i]), hex(rest[3*i+1])
		if high|low > 15 || i > 0 && rest[3*i-1] != ':' {
			return v, false
		}
		v.mac[i] = high<<4 | low
	}
	return v, true
}

// hex returns the value of a hexadecimal digit, or 255.
func hex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}

// parseJSON reads an announcement in any form.
func parseJSON(data string) (vtep, error) {
	if data == "" {
		return vtep{}, errors.New(`BackendData is missing: {"VNI":1,"VtepMAC":"0e:..."} is needed`)
	}
	var raw struct {
		VNI     *int
		VtepMAC string
	}
	if err := json.Unmarshal([]byte(data), &raw); err != nil {
		return vtep{}, fmt.Errorf(`BackendData %.80q is not like {"VNI":1,"VtepMAC":"0e:..."}: %w`, data, err)
	}
	var v vtep
	if raw.VNI != nil {
		v.vni = *raw.VNI
	}
	hw, err := net.ParseMAC(raw.VtepMAC)
	if err != nil || len(hw) != len(v.mac) {
		return vtep{}, fmt.Errorf("VtepMAC %.40q is not a MAC address like 0e:2a:33:44:55:66", raw.VtepMAC)
	}
	copy(v.mac[:], hw)
	if err := v.check(); err != nil {
		return vtep{}, err
	}
	return v, nil
}

// check tells whether v can be.
func (v vtep) check() error {
	if v.vni < 0 || v.vni >= 1<<24 {
		return fmt.Errorf("VNI %d is not a number from 1 to %d", v.vni, 1<<24-1)
	}
	if v.mac == (kernel.MAC{}) || v.mac[0]&multicast != 0 {
		return fmt.Errorf("VtepMAC %s is not the unicast address of a device", v.mac)
	}
	return nil
}

// speaks tells whether v is of the overlay vni. What flannel left out, or cut to 16 bits, does not tell otherwise.
func (v vtep) speaks(vni int) bool {
	return v.vni == 0 || v.vni == vni || v.vni == int(uint16(vni))
}

// Bits of the first byte of a MAC address.
const (
	multicast = 0x01
	local     = 0x02 // given by software, not by the maker
)

// mac is the address of n's device of family f: what the lease says already, so that peers need not learn another
// one; else one that follows from the node's identity, so that it survives the loss of everything on the node.
func (b Backend) mac(n *backend.Node, f subnet.Family) kernel.MAC {
	if n.Kept.Backend == Kind && n.Kept.Data[f] != "" {
		if v, err := parse(n.Kept.Data[f]); err == nil {
			return v.mac
		}
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "weft vxlan %d %s %s", b.vni, f, n.Name))
	mac := kernel.MAC(sum[:6])
	mac[0] = mac[0]&^multicast | local
	return mac
}
