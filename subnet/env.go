package subnet

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Env is what subnet.env tells the CNI plugin, or Docker, of this node's lease. Two of them are compared with ==.
type Env struct {
	Networks   [2]netip.Prefix // the cluster's networks, the first of each family; zero where it is off
	Further    string          // its further networks, of both families, separated by commas
	Subnets    [2]netip.Prefix // this node's subnets as FirstHost gives them: address of the bridge, and length
	MTU        int             // of pods, bytes
	Masquerade bool            // the agent masquerades what leaves the cluster, so that the bridge must not
}

// The keys of subnet.env, per family and in the order of the file.
var (
	networkKeys = [2]string{"FLANNEL_NETWORK", "FLANNEL_IPV6_NETWORK"}
	subnetKeys  = [2]string{"FLANNEL_SUBNET", "FLANNEL_IPV6_SUBNET"}
)

const (
	mtuKey     = "FLANNEL_MTU"
	masqKey    = "FLANNEL_IPMASQ"
	furtherKey = "WEFT_NETWORKS" // flannel's own plugin, which knows one network of each family, passes over it
)

// FirstHost returns the first address after that of the network p, with the length of p: 10.5.72.1/24 for 10.5.72.0/24.
func FirstHost(p netip.Prefix) netip.Prefix {
	return netip.PrefixFrom(p.Masked().Addr().Next(), p.Bits())
}

// Leased returns the subnets that e was written for, for Want.Previous.
func (e Env) Leased() Subnets {
	var s Subnets
	for f, p := range e.Subnets {
		s[f] = p.Masked()
	}
	return s
}

// All are the cluster's networks: the first ones, and then the further ones.
func (e Env) All() []netip.Prefix {
	var all []netip.Prefix
	for _, p := range e.Networks {
		if p.IsValid() {
			all = append(all, p.Masked())
		}
	}
	further, _ := envFurther(e.Further) // what ParseEnv refuses is in no Env
	return append(all, further...)
}

// String returns the text of the file.
func (e Env) String() string {
	var b strings.Builder
	for _, f := range Families {
		if e.Networks[f].IsValid() {
			fmt.Fprintf(&b, "%s=%s\n%s=%s\n", networkKeys[f], e.Networks[f], subnetKeys[f], e.Subnets[f])
		}
	}
	fmt.Fprintf(&b, "%s=%d\n%s=%t\n", mtuKey, e.MTU, masqKey, e.Masquerade)
	if e.Further != "" {
		fmt.Fprintf(&b, "%s=%s\n", furtherKey, e.Further)
	}
	return b.String()
}

// ReadEnv reads subnet.env. The error wraps fs.ErrNotExist where there is no file, and names the file in any case.
func ReadEnv(path string) (Env, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Env{}, fmt.Errorf("reading the node's subnet: %w", err)
	}
	e, err := ParseEnv(string(text))
	if err != nil {
		return Env{}, fmt.Errorf("reading the node's subnet: %s: %w", path, err)
	}
	return e, nil
}

// WriteEnv writes subnet.env as WriteFile does, readable for everyone.
func WriteEnv(path string, e Env) (changed bool, err error) {
	return WriteFile(path, []byte(e.String()), 0o644)
}

// ParseEnv reads the text of subnet.env, in any order of lines. Comments, empty lines and keys that mean nothing to
// it are passed over; as in a shell, the last of two lines with the same key counts. The error joins all mistakes.
func ParseEnv(text string) (Env, error) {
	values, mistakes := envValues(text)
	var e Env
	further, err := envFurther(values[furtherKey])
	if err != nil {
		mistakes = append(mistakes, err)
	}
	e.Further = Prefixes(further)
	for _, f := range Families {
		var err error
		e.Networks[f], e.Subnets[f], err = envFamily(values, f, further)
		if err != nil {
			mistakes = append(mistakes, err)
		}
	}
	if len(mistakes) == 0 && e.Leased().IsZero() {
		mistakes = append(mistakes, fmt.Errorf("%s and %s are missing: want one of them or both", subnetKeys[Inet], subnetKeys[Inet6]))
	}
	if value, ok := values[mtuKey]; !ok {
		mistakes = append(mistakes, fmt.Errorf("%s is missing", mtuKey))
	} else if mtu, err := strconv.Atoi(value); err != nil || mtu < minMTU || mtu > maxMTU {
		mistakes = append(mistakes, fmt.Errorf("%s: %q: want %d to %d", mtuKey, shorten(value), minMTU, maxMTU))
	} else {
		e.MTU = mtu
	}
	switch value, ok := values[masqKey]; {
	case !ok:
		mistakes = append(mistakes, fmt.Errorf("%s is missing", masqKey))
	case value != "true" && value != "false":
		mistakes = append(mistakes, fmt.Errorf("%s: %q: want true or false", masqKey, shorten(value)))
	default:
		e.Masquerade = value == "true"
	}
	if len(mistakes) > 0 {
		return Env{}, errors.Join(mistakes...)
	}
	return e, nil
}

// The MTUs that IPv4 allows, and the greatest that a device can have.
const (
	minMTU = 68
	maxMTU = 65536
)

// envValues splits lines of KEY=VALUE.
func envValues(text string) (map[string]string, []error) {
	values := map[string]string{}
	var mistakes []error
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			mistakes = append(mistakes, fmt.Errorf("line %d: %q: want KEY=VALUE", i+1, shorten(line)))
			continue
		}
		values[key] = value
	}
	return values, mistakes
}

// Prefixes writes a list of prefixes as Env.Further holds it.
func Prefixes(list []netip.Prefix) string {
	var words []string
	for _, p := range list {
		words = append(words, p.Masked().String())
	}
	return strings.Join(words, ",")
}

// envFurther reads the list of further networks; "" is none.
func envFurther(text string) (list []netip.Prefix, err error) {
	if text == "" {
		return nil, nil
	}
	for _, word := range strings.Split(text, ",") {
		p, err := netip.ParsePrefix(word)
		if err != nil || p.Addr().Is4In6() {
			return nil, fmt.Errorf("%s: %q: want networks, separated by commas", furtherKey, shorten(text))
		}
		list = append(list, p.Masked())
	}
	return list, nil
}

// envFamily reads what the file says of one family: network and subnet, or neither. The subnet lies in that network, or
// in one of the further ones.
func envFamily(values map[string]string, f Family, further []netip.Prefix) (network, sub netip.Prefix, err error) {
	networkText, hasNetwork := values[networkKeys[f]]
	subnetText, hasSubnet := values[subnetKeys[f]]
	switch {
	case !hasNetwork && !hasSubnet:
		return netip.Prefix{}, netip.Prefix{}, nil
	case !hasSubnet:
		return netip.Prefix{}, netip.Prefix{}, fmt.Errorf("%s is missing beside %s", subnetKeys[f], networkKeys[f])
	case !hasNetwork:
		return netip.Prefix{}, netip.Prefix{}, fmt.Errorf("%s is missing beside %s", networkKeys[f], subnetKeys[f])
	}
	network, networkErr := envPrefix(networkKeys[f], networkText, f)
	sub, subnetErr := envPrefix(subnetKeys[f], subnetText, f)
	if err := errors.Join(networkErr, subnetErr); err != nil {
		return netip.Prefix{}, netip.Prefix{}, err
	}
	network = network.Masked()
	if !slices.ContainsFunc(append(further, network), func(n netip.Prefix) bool { return sub.Bits() >= n.Bits() && n.Contains(sub.Addr()) }) {
		return netip.Prefix{}, netip.Prefix{}, fmt.Errorf("%s: %s: want a subnet of %s %s, or of one of %s", subnetKeys[f], sub, networkKeys[f], network, furtherKey)
	}
	return network, sub, nil
}

func envPrefix(key, text string, f Family) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil || FamilyOf(p.Addr()) != f || p.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("%s: %q: want an %s address with length", key, shorten(text), f)
	}
	return p, nil
}
