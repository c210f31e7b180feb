package subnet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// DefaultBackend is the backend type of a config that names none.
const DefaultBackend = "vxlan"

// raw mirrors net-conf.json. A nil field was not in the file, or null. The tag says what would be right.
type raw struct {
	Network        *string            `want:"an IPv4 network as a string, such as \"10.5.0.0/16\""`
	SubnetLen      *int               `want:"a whole number, such as 24"`
	SubnetMin      *string            `want:"an IPv4 address as a string, such as \"10.5.1.0\""`
	SubnetMax      *string            `want:"an IPv4 address as a string, such as \"10.5.255.0\""`
	IPv6Network    *string            `want:"an IPv6 network as a string, such as \"fd00:5::/56\""`
	IPv6SubnetLen  *int               `want:"a whole number, such as 64"`
	IPv6SubnetMin  *string            `want:"an IPv6 address as a string, such as \"fd00:5:0:1::\""`
	IPv6SubnetMax  *string            `want:"an IPv6 address as a string, such as \"fd00:5:0:ff::\""`
	EnableIPv4     *bool              `want:"true or false"`
	EnableIPv6     *bool              `want:"true or false"`
	EnableNFTables *bool              `want:"true or false"`
	MasqueradeIPv4 *bool              `want:"true or false"`
	MasqueradeIPv6 *bool              `want:"true or false"`
	NoMasquerade   *[]string          `want:"a list of networks, such as [\"192.0.2.0/24\"]"`
	Networks       *[]json.RawMessage `want:"a list of further networks, such as [{\"Network\": \"10.6.0.0/16\"}]"`
	Backend        *json.RawMessage   `want:"an object, such as {\"Type\": \"vxlan\"}"`
}

// Parse reads and checks a network config, net-conf.json, and fills the defaults in. Keys are matched without regard
// to case. The error joins all mistakes that there are, each with its key, the value and what would be right. The
// warnings are sentences about what is accepted but surely not meant, such as unknown keys; they come with an error too.
func Parse(text string) (Config, []string, error) {
	var r raw
	p := parser{}
	if err := p.object(text, &r); err != nil {
		return Config{}, nil, err
	}
	c := Config{
		NFTables:   r.EnableNFTables,
		Masquerade: [2]*bool{r.MasqueradeIPv4, r.MasqueradeIPv6},
	}
	c.Networks = p.networks(r)
	c.Further = p.further(r, c.Networks)
	c.NoMasquerade = p.noMasquerade(r, c)
	c.Backend, c.BackendConfig = p.backend(r)
	if len(p.mistakes) > 0 {
		return Config{}, p.warnings, errors.Join(p.mistakes...)
	}
	return c, p.warnings, nil
}

// parser collects what is wrong on the way.
type parser struct {
	mistakes []error
	warnings []string
	wrong    map[string]bool // keys that have a mistake already: what depends on them is not judged
}

// mistake notes that the value of key, nil where there is none, is not what it should be.
func (p *parser) mistake(key string, value any, format string, args ...any) {
	shown := fmt.Sprint(value)
	switch v := value.(type) {
	case nil:
		shown = "missing"
	case string:
		shown = fmt.Sprintf("%q", v)
	case json.RawMessage:
		shown = string(v)
	}
	p.mistakes = append(p.mistakes, fmt.Errorf("%s: %s: %s", key, shorten(shown), fmt.Sprintf(format, args...)))
	if p.wrong == nil {
		p.wrong = map[string]bool{}
	}
	p.wrong[key] = true
}

func (p *parser) warn(format string, args ...any) {
	p.warnings = append(p.warnings, fmt.Sprintf(format, args...))
}

// shorten keeps a value that is quoted in a message readable.
func shorten(s string) string {
	const most = 100
	r := []rune(s)
	if len(r) <= most {
		return s
	}
	return string(r[:most]) + "..."
}

// noMasquerade reads the list of destinations that see pods' own addresses.
func (p *parser) noMasquerade(r raw, c Config) []netip.Prefix {
	if r.NoMasquerade == nil {
		return nil
	}
	var list []netip.Prefix
	for _, s := range *r.NoMasquerade {
		d, err := netip.ParsePrefix(s)
		if err != nil || d.Addr().Is4In6() {
			p.mistake("NoMasquerade", s, "want a network such as \"192.0.2.0/24\" or \"2001:db8::/32\"")
			continue
		}
		d = d.Masked()
		for _, n := range c.All(FamilyOf(d.Addr())) {
			if n.Prefix.Bits() <= d.Bits() && n.Prefix.Overlaps(d) {
				p.warn("NoMasquerade: %s lies in the cluster's own network %s, where nothing is masqueraded anyway", d, n.Prefix)
			}
		}
		list = append(list, d)
	}
	return list
}

// backend reads as much of the Backend object as concerns everyone: its type.
func (p *parser) backend(r raw) (kind, object string) {
	if r.Backend == nil {
		return DefaultBackend, "{}"
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, *r.Backend); err != nil || compact.Bytes()[0] != '{' {
		p.mistake("Backend", *r.Backend, "want an object, such as {\"Type\": \"vxlan\"}")
		return "", ""
	}
	var b struct{ Type *string }
	if err := json.Unmarshal(compact.Bytes(), &b); err != nil {
		p.mistake("Backend.Type", json.RawMessage(compact.Bytes()), "want the name of a backend as a string, such as \"vxlan\"")
		return "", ""
	}
	if b.Type == nil || *b.Type == "" {
		p.warn("Backend: no Type is given; %q is used", DefaultBackend)
		return DefaultBackend, compact.String()
	}
	return strings.ToLower(*b.Type), compact.String()
}
