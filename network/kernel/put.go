package kernel

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

const (
	create  = unix.NLM_F_CREATE | unix.NLM_F_EXCL
	replace = unix.NLM_F_CREATE | unix.NLM_F_REPLACE
)

// putRoutes makes routes, and replaces those of our own and flannel's that are in the way. It never replaces blindly: the
// kernel would let a route of an administrator or a routing daemon go without a word.
func (a *applier) putRoutes(c Change) error {
	var exist []Route
	var hidden Set[RouteKey, Route]
	err := a.makeRoutes(c.Put.Routes, func(r Route, err error) bool {
		switch {
		case errors.Is(err, unix.EEXIST):
			exist = append(exist, r)
		case errors.Is(err, unix.EINVAL) && r.hasGatewayInside():
			hidden.Add(r)
		default:
			return false
		}
		return true
	})
	if err != nil {
		return err
	}
	if len(hidden) > 0 {
		forget, err := a.showGateways(hidden)
		defer forget()
		if err != nil {
			return err
		}
		err = a.makeRoutes(hidden, func(r Route, err error) bool {
			if errors.Is(err, unix.EEXIST) {
				exist = append(exist, r)
				return true
			}
			return false
		})
		if err != nil {
			return err
		}
	}
	return a.replaceRoutes(exist)
}

// makeRoutes makes routes that are not there.
func (a *applier) makeRoutes(set Set[RouteKey, Route], rescue func(Route, error) bool) error {
	return put(a, set, func(r Route) string { return r.Link }, func(w *writer, r Route, index int) {
		encodeRoute(w, unix.RTM_NEWROUTE, create, a.mark.Protocol(), r, index)
	}, rescue)
}

// hasGatewayInside tells whether the gateway of an IPv6 route lies in its own destination. The kernel refuses such a route,
// though it says that the gateway is on the link, while another one leads there by another device (ip6_route_check_nh_onlink).
func (r Route) hasGatewayInside() bool {
	return r.OnLink && r.Via.Is6() && r.Dst.Contains(r.Via)
}

// showGateways makes routes to the gateways of other routes, so that the kernel takes these in the place of what is there. forget
// takes them away again.
func (a *applier) showGateways(routes Set[RouteKey, Route]) (forget func(), err error) {
	var hosts Set[RouteKey, Route]
	for _, r := range routes {
		hosts.Add(Route{Dst: netip.PrefixFrom(r.Via, r.Via.BitLen()), Metric: 1, Link: r.Link})
	}
	err = a.makeRoutes(hosts, func(_ Route, err error) bool { return errors.Is(err, unix.EEXIST) }) // left by one that was killed
	return func() {
		_ = drop(a, hosts, func(r Route) string { return r.Link }, func(w *writer, r Route, index int) {
			encodeRoute(w, unix.RTM_DELROUTE, 0, a.mark.Protocol(), r, index)
		})
	}, err
}

// replaceRoutes puts routes in the place of those of our own and flannel's under the same keys.
func (a *applier) replaceRoutes(exist []Route) error {
	if len(exist) == 0 {
		return nil
	}
	if err := a.lookAtAll(); err != nil {
		return err
	}
	have, err := a.listRoutes(a.ctx, a.replaceable(exist), a.all, families(exist)...)
	if err != nil {
		return err
	}
	var again Set[RouteKey, Route]
	for _, r := range exist {
		if _, ok := have[r.Key()]; ok {
			again.Add(r)
		} else {
			a.failed(false, r, errOther)
		}
	}
	return put(a, again, func(r Route) string { return r.Link }, func(w *writer, r Route, index int) {
		encodeRoute(w, unix.RTM_NEWROUTE, replace, a.mark.Protocol(), r, index)
	}, nil)
}

var errOther = fmt.Errorf("%w: there is another route to the same destination with the same metric, which is not ours; "+
	"remove it or give it another metric", unix.EEXIST)

// replaceable returns the scope in which flannel's routes to the destinations of these are ours.
func (a *applier) replaceable(routes []Route) Scope {
	s := Scope{Networks: make([]Subnetwork, len(routes)), mark: a.mark}
	for i, r := range routes {
		s.Networks[i] = Subnetwork{r.Dst, r.Dst.Bits()}
	}
	return s
}

// families returns the families of the routes.
func families(routes []Route) []uint8 {
	var list []uint8
	for _, r := range routes {
		if f := familyOf(r.Dst.Addr()); !slices.Contains(list, f) {
			list = append(list, f)
		}
	}
	return list
}

// put sends one request for each object of set. on tells the name of its device, if it has one. rescue is asked about each failure
// first, and returns true for those that it takes care of.
func put[K comparable, V interface {
	Object[K]
	fmt.Stringer
}](a *applier, set Set[K, V], on func(V) string, encode func(w *writer, v V, index int), rescue func(V, error) bool) error {
	list := make([]V, 0, len(set))
	for _, v := range set {
		if name := on(v); name != "" && a.index[name] == 0 {
			a.failed(false, v, errNoDevice(name))
			continue
		}
		list = append(list, v)
	}
	return a.socket.write(len(list), func(w *writer, i int) {
		encode(w, list[i], a.index[on(list[i])])
	}, func(i int, err error) {
		if rescue == nil || !rescue(list[i], err) {
			a.failed(false, list[i], err)
		}
	})
}

// drop is put for requests that take something away.
func drop[K comparable, V interface {
	Object[K]
	fmt.Stringer
}](a *applier, set Set[K, V], on func(V) string, encode func(w *writer, v V, index int)) error {
	list := make([]V, 0, len(set))
	for _, v := range set {
		if name := on(v); name == "" || a.index[name] != 0 {
			list = append(list, v)
		}
	}
	return a.socket.write(len(list), func(w *writer, i int) {
		encode(w, list[i], a.index[on(list[i])])
	}, func(i int, err error) {
		if !isGone(err) {
			a.failed(true, list[i], err)
		}
	})
}

// sorted returns the objects of set in the order of their text, which is the same every time.
func sorted[K comparable, V interface {
	Object[K]
	fmt.Stringer
}](set Set[K, V]) []V {
	return slices.SortedFunc(maps.Values(set), func(x, y V) int { return cmp.Compare(x.String(), y.String()) })
}
