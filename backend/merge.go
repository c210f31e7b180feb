package backend

import (
	"errors"
	"fmt"
	"slices"

	"github.com/weft-network/weft/network/kernel"
)

// Merge adds all of more to s, or nothing: where s holds another object under the key of one of more's, it changes
// nothing and the error names both. Its cost depends on more alone.
func Merge(s *kernel.State, more kernel.State) error {
	for _, clash := range []error{
		clash(s.Links, more.Links), clash(s.Addrs, more.Addrs), clash(s.Routes, more.Routes),
		clash(s.Neighbours, more.Neighbours), clash(s.Forwards, more.Forwards), clash(s.Sysctls, more.Sysctls),
		clash(s.WireGuardPeers, more.WireGuardPeers),
		clash(s.Datagrams, more.Datagrams), clash(s.Associations, more.Associations), clash(s.Commands, more.Commands),
		clash(s.Probes, more.Probes),
	} {
		if clash != nil {
			return clash
		}
	}
	add(&s.Links, more.Links)
	add(&s.Addrs, more.Addrs)
	add(&s.Routes, more.Routes)
	add(&s.Neighbours, more.Neighbours)
	add(&s.Forwards, more.Forwards)
	add(&s.Sysctls, more.Sysctls)
	add(&s.WireGuardPeers, more.WireGuardPeers)
	add(&s.Datagrams, more.Datagrams)
	add(&s.Associations, more.Associations)
	add(&s.Commands, more.Commands)
	add(&s.Probes, more.Probes)
	return nil
}

func clash[K comparable, V kernel.Object[K]](s, more kernel.Set[K, V]) error {
	var texts []string
	for k, v := range more {
		if h, ok := s[k]; ok && h != v {
			texts = append(texts, fmt.Sprintf("%q is in the way of %q", fmt.Sprint(h), fmt.Sprint(v)))
		}
	}
	return FirstOf(texts)
}

// FirstOf is an error with the text that comes first in the alphabet, nil if there is none. What a map yields has no order, and of
// the same faults always the same has to be named: another text is another warning.
func FirstOf(texts []string) error {
	if len(texts) == 0 {
		return nil
	}
	return errors.New(slices.Min(texts))
}

func add[K comparable, V kernel.Object[K]](s *kernel.Set[K, V], more kernel.Set[K, V]) {
	for _, v := range more {
		s.Add(v)
	}
}
