// Command pod is what runs in the lab's pods: it waits, serves, asks, or pings.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
)

const usage = `usage: pod pause                 wait
       pod serve [PORT]          say over HTTP and UDP who asked, at port 80 unless told otherwise
       pod get URL               ask over HTTP
       pod ask [-bytes N] [-from ADDRESS] [-patience 5s] tcp|udp ADDRESS:PORT
                                 ask with N bytes that have to come back: who answers, who is seen there, who asks
       pod ping ADDRESS:PORT     ask over UDP every 10 ms until SIGINT or SIGTERM, and tell how many answers were lost
       pod mtu DEVICE            the MTU of a network device
       pod api                   ask the API server for its version, by its Service`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	switch {
	case len(args) == 1 && args[0] == "pause":
		return pause(ctx)
	case len(args) == 1 && args[0] == "serve":
		return serve(ctx, "80", out)
	case len(args) == 2 && args[0] == "serve":
		return serve(ctx, args[1], out)
	case len(args) == 2 && args[0] == "get":
		return get(ctx, args[1], out)
	case len(args) > 0 && args[0] == "ask":
		return ask(ctx, args[1:], out)
	case len(args) == 2 && args[0] == "mtu":
		return mtu(args[1], out)
	case len(args) == 1 && args[0] == "api":
		return api(ctx, out)
	case len(args) == 2 && args[0] == "ping":
		return usual().ping(ctx, args[1], out)
	}
	return errors.New(usage)
}

// pause waits, and reaps: it is pid 1 of pods whose containers share one.
func pause(ctx context.Context) error {
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-children:
		}
		for pid := 1; pid > 0; {
			pid, _ = syscall.Wait4(-1, nil, syscall.WNOHANG, nil) // that there is none, is told by the error
		}
	}
}

// mtu looks for a device in the network namespace. The files below /sys may be of another one.
func mtu(name string, out io.Writer) error {
	device, err := net.InterfaceByName(name)
	if err != nil {
		return fmt.Errorf("look for %s: %w", name, err)
	}
	_, err = fmt.Fprintln(out, device.MTU)
	return err
}

// get asks once.
func get(ctx context.Context, url string, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, err = io.Copy(out, answer.Body)
	return err
}
