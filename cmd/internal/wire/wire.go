// Package wire chooses implementations: it is the one place where the word of a config becomes a value of a package.
// It knows which implementations there are, and refuses to know what they do.
package wire

import (
	"fmt"
	"strings"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/backend/alloc"
	"github.com/weft-network/weft/backend/auto"
	"github.com/weft-network/weft/backend/extension"
	"github.com/weft-network/weft/backend/hostgw"
	"github.com/weft-network/weft/backend/ipip"
	"github.com/weft-network/weft/backend/ipsec"
	"github.com/weft-network/weft/backend/udp"
	"github.com/weft-network/weft/backend/vxlan"
	"github.com/weft-network/weft/backend/wireguard"
	"github.com/weft-network/weft/subnet"
)

// Backend returns the backend of type kind with config, the Backend object of net-conf.json ("" or "{}" for its
// defaults), and warnings about keys that have no meaning. The error joins all mistakes in config, or names the
// types that there are.
func Backend(kind, config string) (backend.Backend, []string, error) {
	switch kind {
	case vxlan.Kind:
		return vxlan.New(config)
	case hostgw.Kind:
		return hostgw.New(config)
	case auto.Kind:
		return auto.New(config)
	case ipip.Kind:
		return ipip.New(config)
	case udp.Kind:
		return udp.New(config)
	case alloc.Kind:
		return alloc.New(config)
	case wireguard.Kind:
		return wireguard.New(config)
	case ipsec.Kind:
		return ipsec.New(config)
	case extension.Kind:
		return extension.New(config)
	}
	hint := ""
	if n := subnet.Nearest(kind, kinds()); n != "" {
		hint = fmt.Sprintf("; did you mean %s?", n)
	}
	return nil, nil, fmt.Errorf("Backend.Type: %.40q is not a backend that this version has (%s)%s",
		kind, strings.Join(kinds(), ", "), hint)
}

// kinds are the types of all backends.
func kinds() []string {
	return []string{
		vxlan.Kind,
		hostgw.Kind,
		ipip.Kind,
		udp.Kind,
		alloc.Kind,
		wireguard.Kind,
		ipsec.Kind,
		extension.Kind,
		auto.Kind,
	}
}
