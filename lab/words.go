package lab

import (
	"strings"

	"github.com/weft-network/weft/subnet"
)

// familyNames is "IPv4 and IPv6", or what there is of it.
func familyNames(families []subnet.Family) string {
	var names []string
	for _, f := range families {
		names = append(names, f.String())
	}
	return strings.Join(names, " and ")
}
