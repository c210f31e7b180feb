package network

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sirupsen/logrus"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// nonZero writes counts by kind as "route 2, neigh 1".
func nonZero(counts map[string]int) string {
	var words []string
	for _, kind := range slices.Sorted(maps.Keys(counts)) {
		if counts[kind] > 0 {
			words = append(words, fmt.Sprintf("%s %d", kind, counts[kind]))
		}
	}
	return strings.Join(words, ", ")
}

// lines are the objects of a state in the words of ip and bridge.
func lines(s kernel.State) []string {
	return strings.FieldsFunc(s.String(), func(r rune) bool { return r == '\n' })
}

// leaseFields are a lease for the log.
func leaseFields(l subnet.Lease) logrus.Fields {
	return logrus.Fields{"subnets": l.Subnets.String(), "public": strings.Join(addrs(l), ","), "backend": l.Backend}
}

// uplinkFields are an uplink for the log.
func uplinkFields(f subnet.Family, u backend.Uplink) logrus.Fields {
	return logrus.Fields{"family": f.String(), "link": u.Link, "mtu": u.MTU, "address": u.Addr.String(), "public": u.Public.String(), "reason": u.Reason}
}

// addrs are the public addresses of a lease.
func addrs(l subnet.Lease) []string {
	list := []string{}
	for _, a := range l.PublicIP {
		if a.IsValid() {
			list = append(list, a.String())
		}
	}
	return list
}

// prefixes are the subnets of a lease.
func prefixes(s subnet.Subnets) []string {
	list := []string{}
	for _, p := range s {
		if p.IsValid() {
			list = append(list, p.String())
		}
	}
	return list
}

// texts is err as a list of warnings: empty where there is none.
func texts(err error) []string {
	if err == nil {
		return nil
	}
	return []string{err.Error()}
}
