package lab

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"

	"golang.org/x/sync/errgroup"
)

// setUplinkMTU gives both ends of the node's uplink another MTU, as somebody would who changes the network: what is sent
// becomes larger last and smaller first. The router takes whatever comes.
func (n *Node) setUplinkMTU(mtu int) error {
	set := func(h *Host, device string, mtu int) error {
		link, err := h.nl.LinkByName(device)
		if err != nil {
			return fmt.Errorf("find %s on %s: %w", device, h.Name, err)
		}
		if link.Attrs().MTU == mtu {
			return nil
		}
		if err := h.nl.LinkSetMTU(link, mtu); err != nil {
			return fmt.Errorf("set the MTU of %s on %s: %w", device, h.Name, err)
		}
		return nil
	}
	u := n.lab.underlay
	for rack := range n.lab.opts.Racks {
		port := fmt.Sprint("router", rack)
		if err := set(u.switches, port, 9000); err != nil {
			return err
		}
		if err := set(u.router, rackName(rack), 9000); err != nil {
			return err
		}
	}
	before, err := n.mtu(uplink)
	if err != nil {
		return err
	}
	if mtu > before {
		if err := set(u.switches, n.Name, mtu); err != nil {
			return err
		}
		return set(n.Host, uplink, mtu)
	}
	if err := set(n.Host, uplink, mtu); err != nil {
		return err
	}
	return set(u.switches, n.Name, mtu)
}

// exchangeSize is enough for segments of any size, many times over.
const exchangeSize = 1 << 18

// exchange sends data to a pod, which sends it back.
func (h *Host) exchange(ctx context.Context, to *Pod, dst netip.Addr) error {
	if err := to.answer(); err != nil {
		return err
	}
	conn, _, err := call(ctx, h, dst)
	if err != nil {
		return err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	data := bytes.Repeat([]byte("0123456789abcdef"), exchangeSize/16)
	var g errgroup.Group
	g.Go(func() error {
		if _, err := conn.Write(data); err != nil {
			return err
		}
		return conn.(*net.TCPConn).CloseWrite()
	})
	got, err := io.ReadAll(conn)
	if sent := g.Wait(); sent != nil {
		return fmt.Errorf("after %d bytes came back: %w", len(got), sent)
	}
	if err != nil || !bytes.Equal(got, data) {
		return fmt.Errorf("%d of %d bytes came back: %w", len(got), len(data), err)
	}
	return nil
}

// learns sends a packet of the given size, and says whether the host has been told since that it is too large.
func (h *Host) learns(dst netip.Addr, size int) error {
	e, err := newEchoSocket(h, dst, size)
	if err != nil {
		return err
	}
	defer e.close()
	_ = e.send(1) // refused already, where it is known
	routes, err := h.nl.RouteGet(dst.AsSlice())
	if err != nil {
		return fmt.Errorf("look up the route to %s on %s: %w", dst, h.Name, err)
	}
	for _, r := range routes {
		if r.MTU > 0 && r.MTU < size {
			return nil
		}
	}
	return fmt.Errorf("%s takes packets of %d bytes to %s for possible: %v", h.Name, size, dst, routes)
}
