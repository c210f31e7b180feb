package subnet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
)

// rawFurther mirrors an entry of Networks: the keys by which the config describes its first networks.
type rawFurther struct {
	Network       *string `want:"an IPv4 network as a string, such as \"10.6.0.0/16\""`
	SubnetLen     *int    `want:"a whole number, such as 24"`
	SubnetMin     *string `want:"an IPv4 address as a string, such as \"10.6.1.0\""`
	SubnetMax     *string `want:"an IPv4 address as a string, such as \"10.6.255.0\""`
	IPv6Network   *string `want:"an IPv6 network as a string, such as \"fd00:6::/56\""`
	IPv6SubnetLen *int    `want:"a whole number, such as 64"`
	IPv6SubnetMin *string `want:"an IPv6 address as a string, such as \"fd00:6:0:1::\""`
	IPv6SubnetMax *string `want:"an IPv6 address as a string, such as \"fd00:6:0:ff::\""`
}

// further checks the networks that come after the first ones.
func (p *parser) further(r raw, first [2]Network) (all [2][]Network) {
	if r.Networks == nil {
		return all
	}
	type given struct {
		key    string
		prefix netip.Prefix
	}
	var before [2][]given
	for f, own := range r.families() {
		if first[f].Enabled() {
			before[f] = append(before[f], given{own.network, first[f].Prefix})
		}
	}
	for i, text := range *r.Networks {
		where := fmt.Sprintf("Networks[%d]", i)
		entry, ok := p.entry(where, text)
		if !ok {
			continue
		}
		for f, own := range entry.families(r, where+".", first) {
			n := p.furtherNetwork(own)
			if !n.Enabled() {
				continue
			}
			for _, b := range before[f] {
				if b.prefix.Overlaps(n.Prefix) {
					p.mistake(own.network, n.Prefix.String(), "want a network that does not overlap %s, which is %s", b.key, b.prefix)
				}
			}
			before[f] = append(before[f], given{own.network, n.Prefix})
			all[f] = append(all[f], n)
		}
	}
	return all
}

// entry decodes one entry of Networks.
func (p *parser) entry(where string, text json.RawMessage) (r rawFurther, ok bool) {
	dec := json.NewDecoder(bytes.NewReader(text))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		p.mistake(where, text, "want an object, such as {\"Network\": \"10.6.0.0/16\"}")
		return r, false
	}
	mistakes := len(p.mistakes)
	if err := p.keys(dec, where+".", reflect.ValueOf(&r).Elem()); err != nil {
		p.mistakes = append(p.mistakes, err)
	}
	if len(p.mistakes) == mistakes && r.Network == nil && r.IPv6Network == nil {
		p.mistake(where, text, "want Network, IPv6Network, or both in it")
	}
	return r, true
}

// families are what an entry says of each family. What holds for the first network of a family holds for it too, where
// it does not say otherwise.
func (r rawFurther) families(config raw, where string, first [2]Network) [2]rawNetwork {
	config.Network, config.SubnetLen, config.SubnetMin, config.SubnetMax = r.Network, r.SubnetLen, r.SubnetMin, r.SubnetMax
	config.IPv6Network, config.IPv6SubnetLen, config.IPv6SubnetMin, config.IPv6SubnetMax = r.IPv6Network, r.IPv6SubnetLen, r.IPv6SubnetMin, r.IPv6SubnetMax
	both := config.families()
	for f := range both {
		own := &both[f]
		for _, key := range []*string{&own.network, &own.subnetLen, &own.subnetMin, &own.subnetMax} {
			*key = where + *key
		}
		if first[f].Enabled() {
			own.usual = first[f].SubnetLen
		}
	}
	return both
}

// furtherNetwork checks what an entry says of one family, which may be nothing.
func (p *parser) furtherNetwork(r rawNetwork) Network {
	if r.prefix != nil && *r.prefix != "" {
		return p.network(r)
	}
	for _, orphan := range []struct {
		key   string
		given bool
	}{{r.subnetLen, r.length != nil}, {r.subnetMin, r.first != nil}, {r.subnetMax, r.last != nil}} {
		if orphan.given && !p.wrong[r.network] {
			p.warn("%s: not used, because there is no %s", orphan.key, r.network)
		}
	}
	return Network{}
}
