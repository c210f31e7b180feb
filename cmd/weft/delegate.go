package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/weft-network/weft/subnet"
)

// anyRange is the range of addresses in the config of a delegate whose real ranges are not known any more. It is only
// ever used to release addresses, which host-local finds by container and not by range, but not without a range.
var anyRange = netip.MustParsePrefix("192.0.2.0/24")

// delegate is the plugin that does the work, and its config.
type delegate struct {
	kind string // name of the plugin's binary
	conf object
}

// ipamRange is a range of addresses as host-local takes it.
type ipamRange struct {
	Subnet netip.Prefix `json:"subnet"`
}

// delegate returns the delegate with the config that belongs to the subnets of env. It is pure: the same config and
// env make the same delegate. Its error is a *types.Error.
func (c conf) delegate(env subnet.Env) (delegate, error) {
	d := delegate{kind: "bridge", conf: object{}}
	for key, value := range c.Delegate {
		d.conf[key] = value
	}
	if err := c.checkDelegate(&d); err != nil {
		return delegate{}, err
	}
	if isSet(c.RuntimeConfig) {
		d.conf["runtimeConfig"] = c.RuntimeConfig
	}
	d.conf.set("type", d.kind)
	d.conf.set("name", c.Name)
	d.conf.set("cniVersion", c.CNIVersion)
	d.conf.setUnlessGiven("ipMasq", !env.Masquerade)
	if env.MTU > 0 {
		d.conf.setUnlessGiven("mtu", env.MTU)
	}
	if d.kind == "bridge" {
		if c.Network != "" {
			d.conf.setUnlessGiven("bridge", "cni-"+c.Network)
		}
		d.conf.setUnlessGiven("isGateway", true)
	}
	ipam, err := c.ipam(env)
	if err != nil {
		return delegate{}, err
	}
	d.conf.set("ipam", ipam)
	return d, nil
}

// checkDelegate says what is wrong with the delegate as the user wrote it, and takes its type from there.
func (c conf) checkDelegate(d *delegate) error {
	for _, key := range []string{"name", "ipam"} {
		if _, given := d.conf[key]; given {
			return invalid("delegate."+key, "must not be given: it is filled in (keys for the delegate's ipam belong into %q beside \"delegate\")", "ipam")
		}
	}
	kind, given := d.conf["type"]
	if !given {
		return nil
	}
	if err := json.Unmarshal(kind, &d.kind); err != nil || !isSet(kind) || d.kind == "" || strings.ContainsRune(d.kind, '/') {
		return invalid("delegate.type", "is %s, but must be the name of a plugin, such as \"bridge\"", kind)
	}
	if d.kind == c.Type || d.kind == "weft" || d.kind == "flannel" {
		return invalid("delegate.type", "is %q, which would call this plugin again and again; name the plugin that does the work, such as \"bridge\"", d.kind)
	}
	return nil
}

// ipam returns the delegate's ipam: the user's keys, a range for each subnet of env, and a route to each network after
// the user's routes.
func (c conf) ipam(env subnet.Env) (object, error) {
	ipam := object{}
	for key, value := range c.IPAM {
		ipam[key] = value
	}
	ipam.setUnlessGiven("type", "host-local")

	var routes []json.RawMessage
	if given, ok := ipam["routes"]; ok {
		if err := json.Unmarshal(given, &routes); err != nil {
			return nil, invalid("ipam.routes", "is %s, but must be a list of routes, such as [{\"dst\":\"192.168.0.0/16\"}]", given)
		}
	}
	given, err := destinations(routes)
	if err != nil {
		return nil, err
	}
	ranges := [][]ipamRange{}
	for f := range subnet.Families {
		if p := env.Subnets[f]; p.IsValid() {
			ranges = append(ranges, []ipamRange{{Subnet: p.Masked()}})
		}
	}
	for _, p := range env.All() {
		if !slices.Contains(given, p) {
			routes = append(routes, encode(struct {
				Dst netip.Prefix `json:"dst"`
			}{p}))
		}
	}
	if len(ranges) == 0 {
		ranges = append(ranges, []ipamRange{{Subnet: anyRange}})
	}
	ipam.set("ranges", ranges)
	if routes != nil {
		ipam.set("routes", routes)
	}
	return ipam, nil
}

// destinations are where the user's routes lead.
func destinations(routes []json.RawMessage) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for i, raw := range routes {
		var route struct {
			Dst netip.Prefix `json:"dst"`
		}
		if err := json.Unmarshal(raw, &route); err != nil || !route.Dst.IsValid() {
			return nil, invalid(fmt.Sprintf("ipam.routes[%d]", i), "is %s, but must be a route, such as {\"dst\":\"192.168.0.0/16\"}", raw)
		}
		all = append(all, route.Dst.Masked())
	}
	return all, nil
}

// set gives key a value.
func (o object) set(key string, value any) { o[key] = encode(value) }

// setUnlessGiven gives key a value where it has none.
func (o object) setUnlessGiven(key string, value any) {
	if _, given := o[key]; !given {
		o.set(key, value)
	}
}

// text returns the string under key, "" where there is none.
func (o object) text(key string) string {
	var s string
	_ = json.Unmarshal(o[key], &s) // what is no string counts as none
	return s
}

// encode returns the JSON of a value of this package's own types, none of which can fail to have one: raw messages in
// them come out of a JSON text that was read without an error.
func encode(value any) json.RawMessage {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return text
}

// invalid is the error of a network config in which key has a value that does not do.
func invalid(key, format string, args ...any) error {
	return types.NewError(types.ErrInvalidNetworkConfig, fmt.Sprintf("network config: key %q %s", key, fmt.Sprintf(format, args...)), "")
}
