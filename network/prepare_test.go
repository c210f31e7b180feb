package network

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/backend/extension"
	engine "github.com/weft-network/weft/network/engine/extension"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// withCommands makes the bed's agents run commands, which find the folder of the bed in DIR.
func (b *bed) withCommands() {
	runs := engine.New(engine.Options{File: filepath.Join(b.dir, "extension.json"), Env: []string{"PATH=" + os.Getenv("PATH"), "DIR=" + b.dir}, Log: b.o.Log})
	b.o.Engines, b.o.Prepare = []Engine{runs}, runs.Prepare
	b.o.Backend = func(kind, config string) (backend.Backend, []string, error) {
		if kind != extension.Kind {
			return nil, nil, fmt.Errorf("backend %q is unknown", kind)
		}
		return extension.New(config)
	}
}

// commands is a config in which every command leaves a line in the file "trace".
const commands = `{"Network":"10.5.0.0/16","IPv6Network":"fd00:5::/48","EnableIPv6":true,"Backend":{"Type":"extension",
	"PreStartupCommand":"echo pre >>$DIR/trace; echo our key",
	"PostStartupCommand":"echo post $NETWORK $IPV6_NETWORK $SUBNET $IPV6_SUBNET $PUBLIC_IP $PUBLIC_IPV6 >>$DIR/trace",
	"SubnetAddCommand":"read key; echo add $SUBNET $IPV6_SUBNET $PUBLIC_IP $PUBLIC_IPV6 $key >>$DIR/trace; ip link add p$(echo $SUBNET | tr -d ./) type veth",
	"SubnetRemoveCommand":"read key; echo remove $SUBNET $key >>$DIR/trace; ip link del p$(echo $SUBNET | tr -d ./)"}}`

// extended is the peer n with what its own preparation has said.
func (b *bed) extended(n int) subnet.Lease {
	l := b.peer(n)
	l.Backend, l.Data = extension.Kind, [2]string{fmt.Sprintf(`"key of %d"`, n)}
	b.cluster.Put(l)
	return l
}

func (b *bed) wantTrace(a *Agent, lines ...string) {
	b.t.Helper()
	want := strings.Join(lines, "\n") + "\n"
	var got string
	until(b.t, a, "the commands "+want, func(Status) bool {
		data, _ := os.ReadFile(filepath.Join(b.dir, "trace"))
		got = string(data)
		return len(got) >= len(want)
	})
	if diff := cmp.Diff(want, got); diff != "" {
		b.t.Errorf("commands that were run (-want +got):\n%s", diff)
	}
}

func TestAgentRunsCommands(t *testing.T) {
	b := newBed(t, commands)
	b.withCommands()
	b.extended(2)
	a, stop := b.run()
	s := until(t, a, "ready", ready)
	own := strings.Join(s.Lease.Subnets, " ")
	start := []string{"pre", "post 10.5.0.0/16 fd00:5::/48 " + own + " 192.0.2.1 2001:db8::1"}
	all := append(start, "add 10.5.2.0/24 fd00:5:0:2::/64 192.0.2.2 2001:db8::2 key of 2")
	b.wantTrace(a, all...)
	if held := a.claims.lease(); held.Data != [2]string{`"our key"`} || s.MTU != 1500 {
		t.Errorf("announced data %q and MTU %d", held.Data, s.MTU)
	}
	b.link("p1052024") // the commands work in the agent's namespace
	three := b.extended(3)
	all = append(all, "add 10.5.3.0/24 fd00:5:0:3::/64 192.0.2.3 2001:db8::3 key of 3")
	b.wantTrace(a, all...)
	b.cluster.Remove(three.Subnets)
	all = append(all, "remove 10.5.3.0/24 key of 3")
	b.wantTrace(a, all...)
	until(t, a, "four commands done", func(s Status) bool { return s.Kernel.Changes["command"] == 4 })
	stop()

	b.withCommands()
	again, _ := b.run()
	until(t, again, "the startup again", func(s Status) bool { return s.Kernel.Error != "" })
	all = append(all, start...)
	all = append(all, "add 10.5.2.0/24 fd00:5:0:2::/64 192.0.2.2 2001:db8::2 key of 2", // fails: the device is there
		"remove 10.5.2.0/24 key of 2", "add 10.5.2.0/24 fd00:5:0:2::/64 192.0.2.2 2001:db8::2 key of 2")
	b.wantTrace(again, all...)
	until(t, again, "ready again", ready)
}

func TestAgentWaitsForThePreparation(t *testing.T) {
	b := newBed(t, `{"Network":"10.5.0.0/16","Backend":{"Type":"extension","PreStartupCommand":"cat $DIR/key"}}`)
	b.withCommands()
	a, _ := b.run()
	s := until(t, a, "waiting for the command", func(s Status) bool { return strings.Contains(strings.Join(s.Waiting, ";"), "cat: ") })
	if s.Lease != nil {
		t.Errorf("the lease %v was taken without its data", s.Lease)
	}
	must(t, os.WriteFile(filepath.Join(b.dir, "key"), []byte("k\n"), 0o600))
	until(t, a, "ready", ready)
	if held := a.claims.lease(); held.Data != [2]string{`"k"`} {
		t.Errorf("announced data %q", held.Data)
	}
}

func TestAgentThatRunsNoCommands(t *testing.T) {
	b := newBed(t, commands)
	b.withCommands()
	b.o.Prepare = nil
	a, _ := b.run()
	until(t, a, "the reason", func(s Status) bool { return strings.Contains(strings.Join(s.Waiting, ";"), "this agent runs none") })
}

func TestPreparationIsRunOncePerCommand(t *testing.T) {
	b := newBed(t, `{"Network":"10.5.0.0/16","Backend":{"Type":"extension","PreStartupCommand":"echo a"}}`)
	b.withCommands()
	ran := 0
	b.o.Prepare = func(_ context.Context, c kernel.Command) (string, error) {
		ran++
		return c.Run, nil
	}
	a, _ := b.run()
	until(t, a, "ready", ready)
	b.extended(2)
	until(t, a, "a peer", func(s Status) bool { return len(s.Peers) == 1 })
	b.cluster.SetConfig(`{"Network":"10.5.0.0/16","Backend":{"Type":"extension","PreStartupCommand":"echo b"}}`)
	until(t, a, "another preparation", func(Status) bool { return a.claims.lease().Data == [2]string{`"echo b"`} })
	if a.look.ring(); ran != 2 {
		t.Errorf("%d preparations for two commands", ran)
	}
}
