package etcd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/weft-network/weft/subnet"
)

// wire is the value of a key, field by field as flannel writes it: PublicIP is always there and "0.0.0.0" where there
// is none, PublicIPv6 is null where there is none, the others are left out where they are empty. Node, UplinkMTU and Ways are
// Weft's own; flannel ignores them.
type wire struct {
	PublicIP     string
	PublicIPv6   *string
	BackendType  string          `json:",omitempty"`
	BackendData  json.RawMessage `json:",omitempty"`
	BackendData6 json.RawMessage `json:"BackendV6Data,omitempty"`
	Node         string          `json:",omitempty"`
	UplinkMTU    json.RawMessage `json:",omitempty"` // a number; anything else is passed over
	Ways         json.RawMessage `json:",omitempty"`
}

// encodeValue returns what is stored for a.
func encodeValue(a subnet.Attrs) (string, error) {
	w := wire{
		PublicIP:     netip.IPv4Unspecified().String(),
		BackendType:  a.Backend,
		BackendData:  json.RawMessage(a.Data[subnet.Inet]),
		BackendData6: json.RawMessage(a.Data[subnet.Inet6]),
		Node:         a.Node,
		Ways:         json.RawMessage(a.Ways),
	}
	if ip := a.PublicIP[subnet.Inet]; ip.IsValid() {
		w.PublicIP = ip.String()
	}
	if ip := a.PublicIP[subnet.Inet6]; ip.IsValid() {
		text := ip.String()
		w.PublicIPv6 = &text
	}
	if a.MTU != 0 {
		w.UplinkMTU = strconv.AppendInt(nil, int64(a.MTU), 10)
	}
	text, err := json.Marshal(w)
	if err != nil {
		return "", fmt.Errorf("write the lease of node %q as JSON: %w", a.Node, err)
	}
	return string(text), nil
}

// decoder turns values into attributes. It remembers the few strings that nearly all leases share.
type decoder struct {
	shared map[string]string
}

func newDecoder() *decoder { return &decoder{shared: map[string]string{}} }

// value is the inverse of encodeValue. An object of any form that flannel would read is read; "" and null stand for no
// attributes at all.
func (d *decoder) value(text []byte) (subnet.Attrs, error) {
	if f, ok := scan(text); ok {
		return d.attrs(f)
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return subnet.Attrs{}, nil
	}
	var w wire
	if err := json.Unmarshal(text, &w); err != nil {
		return subnet.Attrs{}, fmt.Errorf("the value is not the JSON of a lease: %w", err)
	}
	return d.attrs(w.fields())
}

// fields returns w as scan would.
func (w wire) fields() fields {
	f := fields{[]byte(w.PublicIP), nil, []byte(w.BackendType), w.BackendData, w.BackendData6, []byte(w.Node), w.UplinkMTU, w.Ways}
	if w.PublicIPv6 != nil {
		f[publicIPv6] = []byte(*w.PublicIPv6)
	}
	return f
}

// attrs checks the fields of a value.
func (d *decoder) attrs(f fields) (subnet.Attrs, error) {
	a := subnet.Attrs{Node: string(f[node]), Backend: d.share(f[backendType]), MTU: subnet.ParseMTU(string(f[uplinkMTU]))}
	for family, key := range [2]int{publicIP, publicIPv6} {
		ip, err := parsePublic(subnet.Family(family), f[key])
		if err != nil {
			return subnet.Attrs{}, fmt.Errorf("%s: %w", fieldNames[key], err)
		}
		a.PublicIP[family] = ip
	}
	for family, key := range [2]int{backendData, backendData6} {
		data, err := compact(f[key])
		if err != nil {
			return subnet.Attrs{}, fmt.Errorf("%s: %w", fieldNames[key], err)
		}
		a.Data[family] = data
	}
	var err error
	if a.Ways, err = subnet.CompactWays(f[ways]); err != nil {
		return subnet.Attrs{}, fmt.Errorf("%s: %w", fieldNames[ways], err)
	}
	return a, nil
}

// share returns text as a string, the same one each time.
func (d *decoder) share(text []byte) string {
	if s, ok := d.shared[string(text)]; ok {
		return s
	}
	s := string(text)
	if len(d.shared) < 64 {
		d.shared[s] = s
	}
	return s
}

// parsePublic reads an address; the unspecified one, which flannel writes for none, is none.
func parsePublic(f subnet.Family, text []byte) (netip.Addr, error) {
	if len(text) == 0 {
		return netip.Addr{}, nil
	}
	ip, err := netip.ParseAddr(string(text))
	if err == nil && f == subnet.Inet {
		ip = ip.Unmap()
	}
	if err != nil || ip.Zone() != "" || subnet.FamilyOf(ip) != f {
		return netip.Addr{}, fmt.Errorf("%q is not an %s address", text, f)
	}
	if ip.IsUnspecified() {
		return netip.Addr{}, nil
	}
	return ip, nil
}

// compact returns a piece of valid JSON without white space; null is nothing.
func compact(text []byte) (string, error) {
	if len(text) == 0 || string(text) == "null" {
		return "", nil
	}
	if !bytes.ContainsAny(text, " \t\r\n") {
		return string(text), nil
	}
	var buf bytes.Buffer
	if err := json.Compact(&buf, text); err != nil {
		return "", err
	}
	return buf.String(), nil
}
