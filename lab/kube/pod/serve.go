package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
)

// serve says "NAME ADDRESS:PORT" to whoever asks, the name being its host's, the address the asker's. Over HTTP what was sent
// follows; over UDP it comes first. Requests over HTTP are written down.
func serve(ctx context.Context, port string, log io.Writer) error {
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	packets, err := net.ListenPacket("udp", ":"+port)
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

// echo answers over UDP until the socket is closed.
func echo(packets net.PacketConn, name string) error {
	buf := make([]byte, biggest)
	for {
		n, from, err := packets.ReadFrom(buf)
		if err != nil {
			return err
		}
		line := "\n" + name + " " + from.String()
		end := n + len(line)
		if n >= roomy {
			end = n
		}
		copy(buf[end-len(line):end], line)
		if _, err := packets.WriteTo(buf[:end], from); err != nil {
			fmt.Fprintln(os.Stderr, "answering", from, err)
		}
	}
}
