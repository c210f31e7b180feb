package main

import (
	"bytes"
	"context"
	"net"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
)

// servers answer at two addresses of loopback until the test ends.
func servers(t *testing.T, log *bytes.Buffer) map[string]string {
	t.Helper()
	web := httptest.NewServer(handler("me", log))
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
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
	return map[string]string{"tcp": web.Listener.Addr().String(), "udp": packets.LocalAddr().String()}
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
				if len(words) != 3 || words[0] != "me" || words[1] != words[2] || !strings.HasPrefix(words[1], "127.0.0.3:") {
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

// TestPing has a server that answers all packets but the second.
func TestPing(t *testing.T) {
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
			if packet != 2 {
				_, err = server.WriteTo(buf[:n], from)
			}
			if packet == 5 {
				cancel()
			}
			if err != nil {
				return err
			}
		}
	})
	var out strings.Builder
	err = run(ctx, []string{"ping", server.LocalAddr().String()}, &out)
	server.Close()
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	if err == nil || err.Error() != "the first that was lost is number 2" || !strings.Contains(out.String(), " sent, 1 lost\n") {
		t.Errorf("said %q, %v", out.String(), err)
	}
}
