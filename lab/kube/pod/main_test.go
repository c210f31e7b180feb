package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// servers answer on loopback until the test ends.
func servers(t *testing.T, log *bytes.Buffer) map[string]string {
	t.Helper()
	web := httptest.NewServer(handler("me", log))
	packets, err := listen("0")
	if err != nil {
		t.Fatal(err)
	}
	var g errgroup.Group
	g.Go(func() error { return echo(packets, "me") })
	t.Cleanup(func() {
		web.Close()
		packets.Close()
		_ = g.Wait() // the error is that it was closed
	})
	return map[string]string{"tcp": web.Listener.Addr().String(), "udp": fmt.Sprint("127.0.0.2:", packets.LocalAddr().(*net.UDPAddr).Port)}
}

func TestAsk(t *testing.T) {
	var log bytes.Buffer
	for network, address := range servers(t, &log) {
		for _, size := range []string{"0", "255", "256", "65000"} {
			t.Run(network+" "+size, func(t *testing.T) {
				var out strings.Builder
				if err := run(t.Context(), []string{"ask", "-bytes", size, "-from", "127.0.0.3", network, address}, &out); err != nil {
					t.Fatal(err)
				}
				words := strings.Fields(out.String())
				if len(words) != 4 || words[0] != "me" || words[1] != words[2] || !strings.HasPrefix(words[1], "127.0.0.3:") {
					t.Errorf("said %q", out.String())
				}
			})
		}
	}
	if !strings.Contains(log.String(), " POST / 127.0.0.3:") {
		t.Errorf("the server wrote down %q", log.String())
	}
}

func TestGet(t *testing.T) {
	var log bytes.Buffer
	at := servers(t, &log)
	var out strings.Builder
	if err := run(t.Context(), []string{"get", "http://" + at["tcp"] + "/path"}, &out); err != nil || !strings.HasPrefix(out.String(), "me 127.0.0.1:") {
		t.Errorf("get: %q, %v", out.String(), err)
	}
	if !strings.Contains(log.String(), " GET /path 127.0.0.1:") {
		t.Errorf("the server wrote down %q", log.String())
	}
}

func TestMTU(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), []string{"mtu", "lo"}, &out); err != nil || out.String() != "65536\n" {
		t.Errorf("said %q, %v", out.String(), err)
	}
}

func TestMistakes(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", "usage: pod pause"},
		{"serve 1 2", "usage: pod pause"},
		{"ask udp", "usage: pod pause"},
		{"ask -nonsense udp 127.0.0.1:1", "usage: pod pause"},
		{"ask -from nowhere udp 127.0.0.1:1", `-from "nowhere" is no address`},
		{"ask udp 127.0.0.1:1", "ask 127.0.0.1:1 over udp: "},
		{"ask tcp 127.0.0.1:1", "connection refused"},
		{"get http://127.0.0.1:1", "connection refused"},
		{"mtu nothing", "look for nothing: "},
		{"api", "token"},
	} {
		t.Run(c.args, func(t *testing.T) {
			err := run(t.Context(), strings.Fields(c.args), &strings.Builder{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func TestPause(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var g errgroup.Group
	g.Go(func() error { return pause(ctx) })
	cancel()
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

// pinged has packets answered as a server decides, from the first one, which is 1, on.
func pinged(t *testing.T, p pinger, answers func(packet int, end context.CancelFunc) bool) (string, error) {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var g errgroup.Group
	g.Go(func() error {
		buf := make([]byte, biggest)
		for packet := 1; ; packet++ {
			n, from, err := server.ReadFrom(buf)
			if err != nil {
				return nil // the test is over
			}
			if !answers(packet, cancel) {
				continue
			}
			if _, err = server.WriteTo(buf[:n], from); err != nil {
				return err
			}
		}
	})
	var out strings.Builder
	failed := p.ping(ctx, server.LocalAddr().String(), &out)
	server.Close()
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	return out.String(), failed
}

func TestPing(t *testing.T) {
	for _, c := range []struct {
		name    string
		p       pinger
		answers func(packet int, end context.CancelFunc) bool
		want    string
		fails   bool
	}{
		{"all but the second", pinger{10 * time.Millisecond, 2 * time.Second, 100, 100 * time.Millisecond}, func(packet int, end context.CancelFunc) bool {
			if packet == 5 {
				end()
			}
			return packet != 2
		}, " sent, 1 lost\n", true},
		{"the last after the end", pinger{5 * time.Millisecond, time.Millisecond, 100, time.Minute}, func(packet int, end context.CancelFunc) bool {
			if packet == 120 {
				end()
			}
			return true
		}, " sent, 0 lost\n", false},
		{"none for a while", pinger{time.Millisecond, 20 * time.Millisecond, 3, 20 * time.Millisecond}, func(packet int, end context.CancelFunc) bool {
			if packet == 6 {
				end()
			}
			return false
		}, " sent, ", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			said, err := pinged(t, c.p, c.answers)
			if !strings.Contains(said, c.want) || (err != nil) != c.fails {
				t.Errorf("said %q, %v", said, err)
			}
		})
	}
}
