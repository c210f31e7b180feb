package kube

import "github.com/weft-network/weft/subnet"

// ParseLease reads the lease that a Node carries in annotations under a prefix, as a Store does. The zero Lease says that it
// carries none. It is for whoever has the Node and no Store.
func ParseLease(prefix string, n *Node) (subnet.Lease, error) {
	l, err := annotations{prefix}.lease(n)
	if err == errNoLease {
		return subnet.Lease{}, nil
	}
	return l, err
}

// FormatLease returns the annotations that a Store puts on the Node of l.
func FormatLease(prefix string, l subnet.Lease) map[string]string {
	m := map[string]string{}
	for name, value := range (annotations{prefix}).encode(l.Attrs) {
		if value != nil {
			m[name] = *value
		}
	}
	return m
}
