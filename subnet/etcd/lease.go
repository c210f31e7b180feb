package etcd

import (
	"fmt"

	"github.com/weft-network/weft/subnet"
)

// ParseLease reads a lease from etcd as a Store does: name is what the key has behind the prefix and "subnets/". It is for
// whoever has the texts and no Store.
func ParseLease(name string, value []byte) (subnet.Lease, error) {
	subnets, err := parseKey(name)
	if err != nil {
		return subnet.Lease{}, fmt.Errorf("key: %w", err)
	}
	attrs, err := newDecoder().value(value)
	if err != nil {
		return subnet.Lease{}, fmt.Errorf("value of key %s: %w", name, err)
	}
	return subnet.Lease{Subnets: subnets, Attrs: attrs}, nil
}

// FormatLease is the inverse of ParseLease: what a Store writes for l.
func FormatLease(l subnet.Lease) (name, value string, err error) {
	value, err = encodeValue(l.Attrs)
	return formatKey(l.Subnets), value, err
}
