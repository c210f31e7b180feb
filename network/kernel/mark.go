package kernel

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Mark tells the objects of one network from those of the others on the same node. The zero Mark is that of the first
// network, whose names are flannel's.
type Mark struct {
	Name   string // its devices' names begin with it; "" is flannel
	Number uint8  // its routes have the protocol RouteProtocol + Number; 0 is that of the first network alone
}

const (
	firstName = "flannel"

	// markNameMax is the length of a Mark's name, that of "flannel": whatever a backend calls its devices, the kernel takes the name.
	markNameMax = len(firstName)
	// markNumberMax is the largest number of a Mark. The protocols from 88 to 95 are nobody else's; 99 is OpenR's.
	markNumberMax = 8
)

// firstFiles are the names of files and folders that the first network has where another would have its own: subnet.env, and
// the folder of charon's sockets.
var firstFiles = []string{"subnet", "ipsec"}

// Check tells why m cannot be the mark of a network. The zero Mark can. The CNI plugin has the same rules for its key network.
func (m Mark) Check() error {
	if m == (Mark{}) {
		return nil
	}
	var errs []error
	name := func(r rune) bool { return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' }
	if m.Name == "" || len(m.Name) > markNameMax || strings.TrimFunc(m.Name, name) != "" || m.Name[0] <= '9' {
		errs = append(errs, fmt.Errorf("name %q is not 1 to %d lower-case letters and digits, a letter first", m.Name, markNameMax))
	}
	if m.Name == firstName {
		errs = append(errs, fmt.Errorf("name %q is what devices of the first network begin with", m.Name))
	}
	if slices.Contains(firstFiles, m.Name) {
		errs = append(errs, fmt.Errorf("name %q would give the network files of the first one; choose another", m.Name))
	}
	if m.Number < 1 || m.Number > markNumberMax {
		errs = append(errs, fmt.Errorf("number %d is not between 1 and %d", m.Number, markNumberMax))
	}
	return errors.Join(errs...)
}

// Protocol is what the routes of the network are marked with.
func (m Mark) Protocol() uint8 { return RouteProtocol + m.Number }

// Device is the name of the network's device that the first network would call so, such as blue.1 for flannel.1. A name
// that is not one of the first network's stays as it is.
func (m Mark) Device(name string) string {
	rest, ok := strings.CutPrefix(name, firstName)
	if m.Name == "" || !ok {
		return name
	}
	if strings.HasPrefix(rest, "0") { // blue0 may be anybody's; after a name there is always a dot or a dash
		rest = "." + rest
	}
	return m.Name + rest
}

// inFirst is the name that the first network would give to a device of m's; ok tells whether name may be one.
func (m Mark) inFirst(name string) (first string, ok bool) {
	if m.Name == "" {
		return name, true
	}
	rest, ok := strings.CutPrefix(name, m.Name)
	if !ok || rest == "" || rest[0] != '.' && rest[0] != '-' {
		return "", false
	}
	if strings.HasPrefix(rest, ".0") {
		rest = rest[1:]
	}
	return firstName + rest, true
}

// Owns tells whether the network would give a device this name and kind.
func (m Mark) Owns(name, kind string) bool {
	k := kindNamed(kind)
	first, ok := m.inFirst(name)
	return ok && k != nil && k.isName(first)
}

// markedRoute is a route in words, with the protocol of its network.
type markedRoute struct {
	Route
	mark Mark
}

// String returns the route as "ip route add" takes it.
func (r markedRoute) String() string { return r.mark.Words(r.Route.String()) }

// Words returns text, of States of m's, with the protocol that their routes have in the kernel.
func (m Mark) Words(text string) string {
	if m.Number == 0 {
		return text
	}
	return strings.ReplaceAll(text, protoWord(RouteProtocol), protoWord(m.Protocol()))
}

func protoWord(protocol uint8) string { return fmt.Sprintf(" proto %d", protocol) }
