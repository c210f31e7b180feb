package rtnl

import (
	"encoding/binary"
	"fmt"
	"net"

	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/bench/peer"
)

const (
	create    = unix.NLM_F_CREATE | unix.NLM_F_REPLACE
	protocol  = 87 // what Weft marks its routes with
	permanent = 0x80
	vxlanPort = 8472
)

// Write makes all entries of the peers from to to-1 on the vxlan device with the number link, in batches: routes, neighbours,
// forwarding entries.
func (c *Conn) Write(link, from, to int) error { return c.each(true, Kinds, link, from, to) }

// Remove takes them away.
func (c *Conn) Remove(link, from, to int) error { return c.each(false, Kinds, link, from, to) }

// RemoveKind takes away the entries of one kind.
func (c *Conn) RemoveKind(k Kind, link, from, to int) error {
	return c.each(false, []Kind{k}, link, from, to)
}

func (c *Conn) each(add bool, kinds []Kind, link, from, to int) error {
	for _, k := range kinds {
		for i := from; i < to; i++ {
			switch k {
			case Route:
				c.route(add, link, i)
			case Neighbour:
				gateway, mac := peer.Gateway(i), peer.MAC(i)
				c.neighbour(add, unix.AF_INET, 0, link, gateway, mac)
			case Forward:
				public, mac := peer.Public(i), peer.MAC(i)
				c.neighbour(add, unix.AF_BRIDGE, unix.NTF_SELF, link, public, mac)
			}
			if err := c.flushFull(); err != nil {
				return err
			}
		}
	}
	return c.flush()
}

func (c *Conn) route(add bool, link, i int) {
	gateway := peer.Gateway(i)
	fixed := []byte{unix.AF_INET, 24, 0, 0, unix.RT_TABLE_MAIN, protocol, unix.RT_SCOPE_UNIVERSE, unix.RTN_UNICAST, 0, 0, 0, 0}
	binary.NativeEndian.PutUint32(fixed[8:], unix.RTNH_F_ONLINK)
	if add {
		c.begin(unix.RTM_NEWROUTE, create, fixed...)
	} else {
		c.begin(unix.RTM_DELROUTE, 0, fixed...)
	}
	c.attr(unix.RTA_DST, gateway[:]...)
	c.attr(unix.RTA_GATEWAY, gateway[:]...)
	c.attr(unix.RTA_OIF, number(link)...)
	c.end()
}

func (c *Conn) neighbour(add bool, family, flags byte, link int, dst [4]byte, mac [6]byte) {
	fixed := []byte{family, 0, 0, 0, 0, 0, 0, 0, permanent, 0, flags, 0}
	copy(fixed[4:], number(link))
	if add {
		c.begin(unix.RTM_NEWNEIGH, create, fixed...)
	} else {
		c.begin(unix.RTM_DELNEIGH, 0, fixed...)
	}
	c.attr(unix.NDA_DST, dst[:]...)
	c.attr(unix.NDA_LLADDR, mac[:]...)
	c.end()
}

// AddVeth makes a pair of devices, up, with an address on the first.
func (c *Conn) AddVeth(name, other string, address [4]byte, bits byte) error {
	c.begin(unix.RTM_NEWLINK, create, make([]byte, unix.SizeofIfInfomsg)...)
	c.attr(unix.IFLA_IFNAME, text(name)...)
	c.nest(unix.IFLA_LINKINFO, func() {
		c.attr(unix.IFLA_INFO_KIND, text("veth")...)
		c.nest(unix.IFLA_INFO_DATA, func() {
			const vethPeer = 1 // VETH_INFO_PEER
			c.nest(vethPeer, func() {
				c.out = append(c.out, make([]byte, unix.SizeofIfInfomsg)...)
				c.attr(unix.IFLA_IFNAME, text(other)...)
			})
		})
	})
	c.end()
	if err := c.flush(); err != nil {
		return fmt.Errorf("make the pair %s and %s: %w", name, other, err)
	}
	for _, n := range []string{name, other, "lo"} {
		if err := c.SetUp(n, true); err != nil {
			return err
		}
	}
	return c.AddAddress(name, address, bits)
}

// AddVXLAN makes the vxlan device that entries are written to, with its uplink below, and returns its number.
func (c *Conn) AddVXLAN(name, uplink string, local [4]byte) (int, error) {
	under, err := net.InterfaceByName(uplink)
	if err != nil {
		return 0, err
	}
	c.begin(unix.RTM_NEWLINK, create, make([]byte, unix.SizeofIfInfomsg)...)
	c.attr(unix.IFLA_IFNAME, text(name)...)
	c.attr(unix.IFLA_MTU, number(1450)...)
	c.nest(unix.IFLA_LINKINFO, func() {
		c.attr(unix.IFLA_INFO_KIND, text("vxlan")...)
		c.nest(unix.IFLA_INFO_DATA, func() {
			c.attr(unix.IFLA_VXLAN_ID, number(1)...)
			c.attr(unix.IFLA_VXLAN_LINK, number(under.Index)...)
			c.attr(unix.IFLA_VXLAN_LOCAL, local[:]...)
			c.attr(unix.IFLA_VXLAN_LEARNING, 0)
			c.attr(unix.IFLA_VXLAN_PORT, vxlanPort>>8, vxlanPort&0xff)
		})
	})
	c.end()
	if err := c.flush(); err != nil {
		return 0, fmt.Errorf("make %s: %w", name, err)
	}
	if err := c.SetUp(name, true); err != nil {
		return 0, err
	}
	made, err := net.InterfaceByName(name)
	if err != nil {
		return 0, err
	}
	return made.Index, nil
}

// AddAddress puts an address on a device.
func (c *Conn) AddAddress(name string, address [4]byte, bits byte) error {
	return c.address(unix.RTM_NEWADDR, create, name, address, bits)
}

// RemoveAddress takes an address from a device.
func (c *Conn) RemoveAddress(name string, address [4]byte, bits byte) error {
	return c.address(unix.RTM_DELADDR, 0, name, address, bits)
}

func (c *Conn) address(kind int, flags uint16, name string, address [4]byte, bits byte) error {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return err
	}
	c.begin(kind, flags, append([]byte{unix.AF_INET, bits, 0, 0}, number(link.Index)...)...)
	c.attr(unix.IFA_LOCAL, address[:]...)
	c.attr(unix.IFA_ADDRESS, address[:]...)
	c.end()
	if err := c.flush(); err != nil {
		return fmt.Errorf("change the addresses of %s: %w", name, err)
	}
	return nil
}

// SetUp sets a device up or down.
func (c *Conn) SetUp(name string, up bool) error {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return err
	}
	fixed := make([]byte, unix.SizeofIfInfomsg)
	copy(fixed[4:], number(link.Index))
	if up {
		copy(fixed[8:], number(unix.IFF_UP))
	}
	copy(fixed[12:], number(unix.IFF_UP)) // which flags are meant
	c.begin(unix.RTM_NEWLINK, 0, fixed...)
	c.end()
	if err := c.flush(); err != nil {
		return fmt.Errorf("set %s up or down: %w", name, err)
	}
	return nil
}

// RemoveLink takes a device away; one that is not there is no error.
func (c *Conn) RemoveLink(name string) error {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return nil
	}
	fixed := make([]byte, unix.SizeofIfInfomsg)
	copy(fixed[4:], number(link.Index))
	c.begin(unix.RTM_DELLINK, 0, fixed...)
	c.end()
	if err := c.flush(); err != nil {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	return nil
}

func number(n int) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(n)) }

func text(s string) []byte { return append([]byte(s), 0) }
