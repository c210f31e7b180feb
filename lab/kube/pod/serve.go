package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// serve says "NAME ADDRESS:PORT" to whoever asks, the name being its host's, the address the asker's. Over HTTP what was sent
// follows; over UDP it comes first. Requests over HTTP are written down.
func serve(ctx context.Context, port string, log io.Writer) error {
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	packets, err := listen(port)
	if err != nil {
		return err
	}
	web := &http.Server{Addr: ":" + port, ReadHeaderTimeout: limit, Handler: handler(name, log)}
	stop := context.AfterFunc(ctx, func() { web.Close(); packets.Close() })
	defer stop()
	g := errgroup.Group{}
	g.Go(web.ListenAndServe)
	g.Go(func() error { return echo(packets, name) })
	if err := g.Wait(); ctx.Err() == nil {
		return err
	}
	return nil
}

// handler answers over HTTP.
func handler(name string, log io.Writer) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(log, time.Now().UTC().Format(time.RFC3339), r.Method, r.URL.Path, r.RemoteAddr)
		load, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		fmt.Fprintf(w, "%s %s\n%s", name, r.RemoteAddr, load)
	}
}

// biggest is the size of the largest UDP packet; a packet from roomy on is answered by one of its own size, so that the way
// back is as wide as the way there.
const (
	biggest = 1 << 16
	roomy   = 256
)

// listen listens for packets to all addresses of this host, and is told to which one each was sent.
func listen(port string) (*net.UDPConn, error) {
	socket, err := net.ListenPacket("udp", ":"+port)
	if err != nil {
		return nil, err
	}
	conn := socket.(*net.UDPConn)
	raw, err := conn.SyscallConn()
	if err == nil {
		var set error
		// A socket for both families says it of both in IPv6's way.
		err = raw.Control(func(fd uintptr) { set = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1) })
		err = errors.Join(err, set)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen for packets: %w", err), conn.Close())
	}
	return conn, nil
}

// echo answers over UDP until the socket is closed: from the address, and by the device, that was asked.
func echo(packets *net.UDPConn, name string) error {
	buf, where := make([]byte, biggest), make([]byte, 128)
	for {
		n, wheres, _, from, err := packets.ReadMsgUDPAddrPort(buf, where)
		if err != nil {
			return err
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		line := "\n" + name + " " + from.String()
		end := n + len(line)
		if n >= roomy {
			end = n
		}
		copy(buf[end-len(line):end], line)
		if _, _, err := packets.WriteMsgUDPAddrPort(buf[:end], where[:wheres], from); err != nil {
			fmt.Fprintln(os.Stderr, "answering", from, err)
		}
	}
}
