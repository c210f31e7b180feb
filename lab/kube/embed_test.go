package kube

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/subnet"
)

// testEmbedding builds the example of a distribution that carries Weft, and runs it twice on a Node.
func testEmbedding(k *cluster) {
	bin := k.program("./Documentation/examples/embed")
	uplink(k.t, "eth7", "192.168.0.2/24")
	k.SetConfig(single)
	k.peerNode()
	k.makeNode("node-1", "10.5.0.64/26")
	k.internal("node-1", "192.168.0.2")
	dir := k.t.TempDir()

	e := k.embed(bin, dir)
	k.until("readiness", func() bool { return e.get("/readyz") == "ok\n" })
	k.until("the condition", func() bool { return strings.HasPrefix(k.condition("node-1"), "False FlannelIsUp") })
	if env, err := subnet.ReadEnv(filepath.Join(dir, "subnet.env")); err != nil || env.Leased().String() != "10.5.0.64/26" {
		k.t.Errorf("subnet.env: %+v, %v", env, err)
	}
	if got := k.node("node-1").Metadata.Annotations[prefix+"public-ip"]; got != "192.168.0.2" {
		k.t.Errorf("announced is %q, the InternalIP is 192.168.0.2", got)
	}
	if diff := cmp.Diff("10.5.3.0/24", k.peers()); diff != "" {
		k.t.Errorf("routes to peers (-want +got):\n%s", diff)
	}
	e.end()
	if diff := cmp.Diff("10.5.3.0/24", k.peers()); diff != "" {
		k.t.Errorf("routes to peers after the end (-want +got):\n%s", diff)
	}

	before := k.node("node-1")
	e = k.embed(bin, dir)
	k.until("readiness of a second run", func() bool { return e.get("/readyz") == "ok\n" })
	changes := regexp.MustCompile(`(?m)^weft_kernel_changes_total\{.*\} (.*)$`).FindAllStringSubmatch(e.get("/metrics"), -1)
	for _, m := range changes {
		if m[1] != "0" {
			k.t.Errorf("the second run changed the kernel: %s", m[0])
		}
	}
	if len(changes) == 0 {
		k.t.Error("the second run counts no changes")
	}
	e.end()
	if diff := cmp.Diff(before, k.node("node-1")); diff != "" {
		k.t.Errorf("the second run changed the Node:\n%s", diff)
	}
}

// testBeats lets a peer's kubelet report again and again, which no pass over the kernel comes of.
func testBeats(k *cluster) {
	uplink(k.t, "eth7", "192.168.0.2/24")
	k.SetConfig(single)
	k.peerNode()
	k.makeNode("node-1", "10.5.0.64/26")
	k.internal("node-1", "192.168.0.2")
	e := k.embed(k.program("./Documentation/examples/embed"), k.t.TempDir())
	const pass, answer = "weft_last_pass_timestamp_seconds", "weft_store_last_answer_timestamp_seconds"
	now := func() float64 { return float64(time.Now().UnixMilli()) / 1000 }
	k.until("rest", func() bool {
		return e.get("/readyz") == "ok\n" && strings.HasPrefix(k.condition("node-1"), "False") && now()-e.metric(pass) > 2
	})
	before := e.metric(pass)
	for range 60 {
		k.heartbeat("node-2")
	}
	last := now()
	k.heartbeat("node-2")
	k.until("the last heartbeat", func() bool { return e.metric(answer) > last })
	if after := e.metric(pass); after != before {
		k.t.Errorf("heartbeats led to a pass at %.3f; the one before was at %.3f", after, before)
	}
	k.annotate("node-2", object{prefix + "backend-data": `{"VNI":1,"VtepMAC":"0e:00:00:00:00:03"}`})
	k.until("a pass for a change", func() bool { return e.metric(pass) > before })
	e.end()
}

// metric is the value of a metric without labels; 0 while it cannot be had.
func (e *embedded) metric(name string) float64 {
	m := regexp.MustCompile(`(?m)^` + name + ` (.*)$`).FindStringSubmatch(e.get("/metrics"))
	if m == nil {
		return 0
	}
	v, err := strconv.ParseFloat(m[1], 64)
	must(e.k.t, err)
	return v
}

// testClosed holds that a store which is closed keeps no goroutine and no connection.
func testClosed(k *cluster) {
	k.SetConfig(single)
	k.makeNode("node-1", "10.5.0.64/26")
	count := func() (goroutines, files int) {
		open, err := os.ReadDir("/proc/self/fd")
		must(k.t, err)
		return runtime.NumGoroutine(), len(open)
	}
	lap := func() {
		s := k.store("node-1")
		ctx, cancel := context.WithCancel(k.t.Context())
		defer cancel()
		err := s.Watch(ctx, func(subnet.Snapshot) bool {
			cancel() // it has all that it will ever have
			return true
		})
		if !errors.Is(err, context.Canceled) {
			k.t.Errorf("Watch: %v", err)
		}
		must(k.t, s.Close())
	}
	lap() // what the libraries make once
	k.c.http.CloseIdleConnections()
	goroutines, files := count()
	for range 5 {
		lap()
	}
	const soon = 30 * time.Second // connections that nobody uses are closed after 90 s anyway
	began := time.Now()
	k.until("the end of all goroutines and files", func() bool {
		runtime.GC() // which closes what is no longer used
		g, f := count()
		if time.Since(began) > soon {
			k.t.Fatalf("%d goroutines became %d, %d files %d", goroutines, g, files, f)
		}
		return g <= goroutines && f <= files
	})
}

// embedded is a program that carries Weft.
type embedded struct {
	k    *cluster
	cmd  *exec.Cmd
	addr string // of its handler
	log  *bytes.Buffer
}

// embed starts the example for node-1. It is killed at the end of the test.
func (k *cluster) embed(bin, dir string) *embedded {
	k.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(k.t, err)
	e := &embedded{k: k, addr: l.Addr().String(), log: &bytes.Buffer{}}
	must(k.t, l.Close())
	e.cmd = exec.CommandContext(k.t.Context(), bin, "-node-name=node-1", "-kubeconfig="+k.kubeconfig(), "-net-config="+k.configPath(),
		"-run-dir="+dir, "-state-dir="+dir, "-listen="+e.addr)
	e.cmd.Stdout, e.cmd.Stderr = e.log, e.log
	must(k.t, e.cmd.Start())
	k.t.Cleanup(func() {
		_ = e.cmd.Process.Kill() // it may have ended
		_ = e.cmd.Wait()
		if k.t.Failed() {
			k.t.Logf("embed:\n%s", e.log)
		}
		sweep()
	})
	return e
}

// get is what the handler answers; "" while it cannot be reached.
func (e *embedded) get(path string) string {
	resp, err := http.Get("http://" + e.addr + path)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(e.k.t, err)
	return string(text)
}

// end asks the program to end, as systemd does, which has to be a success.
func (e *embedded) end() {
	e.k.t.Helper()
	must(e.k.t, e.cmd.Process.Signal(syscall.SIGTERM))
	if err := e.cmd.Wait(); err != nil {
		e.k.t.Errorf("after SIGTERM: %v\n%s", err, e.log)
	}
}

// peerNode makes a Node that has announced itself.
func (k *cluster) peerNode() {
	k.t.Helper()
	k.Store("node-2")
	k.annotate("node-2", object{prefix + "kube-subnet-manager": "true", prefix + "backend-type": "vxlan", prefix + "public-ip": "192.168.0.99",
		prefix + "backend-data": `{"VNI":1,"VtepMAC":"0e:00:00:00:00:02"}`})
}

// internal gives a Node an InternalIP, as its kubelet does.
func (k *cluster) internal(node, address string) {
	k.t.Helper()
	k.do("PATCH", fmt.Sprintf("/api/v1/nodes/%s/status", node), object{"status": object{"addresses": []object{{"type": "InternalIP", "address": address}}}})
}
