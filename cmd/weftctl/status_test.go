package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"golang.org/x/tools/txtar"

	"github.com/weft-network/weft/network"
)

var update = flag.Bool("update", false, "write the golden files")

// TestStatusText compares what is printed for each testdata/status/*.txt: a status in JSON and the text for it.
func TestStatusText(t *testing.T) {
	now := time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC)
	forEachArchive(t, "testdata/status/*.txt", func(t *testing.T, in string) string {
		var s network.Status
		if err := json.Unmarshal([]byte(in), &s); err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		if err := printStatus(&out, s, now); err != nil {
			t.Fatal(err)
		}
		return out.String()
	})
}

// forEachArchive calls f with the file "in" of each archive, and compares the result with the file "want".
func forEachArchive(t *testing.T, pattern string, f func(t *testing.T, in string) string) {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: %d files, %v", pattern, len(paths), err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			archive, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			files := map[string]string{}
			for _, file := range archive.Files {
				files[file.Name] = string(file.Data)
			}
			got := f(t, files["in"])
			if *update {
				archive.Files = []txtar.File{{Name: "in", Data: []byte(files["in"])}, {Name: "want", Data: []byte(got)}}
				if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(files["want"], got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// agent serves answer as a weftd would, on a unix socket and on a TCP address.
func agent(t *testing.T, status int, answer string) (socket, tcp string) {
	t.Helper()
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/status" {
			status = http.StatusNotFound
		}
		w.WriteHeader(status)
		w.Write([]byte(answer))
	})
	socket = filepath.Join(t.TempDir(), "weftd.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	onSocket := &httptest.Server{Listener: l, Config: &http.Server{Handler: handler}}
	onSocket.Start()
	t.Cleanup(onSocket.Close)
	onTCP := httptest.NewServer(handler)
	t.Cleanup(onTCP.Close)
	return socket, onTCP.Listener.Addr().String()
}

func TestStatusExitCode(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int
		answer string
		code   int
		stderr string
	}{
		{"ready", 200, `{"node":"a","ready":true}`, 0, ""},
		{"not ready", 200, `{"node":"a","ready":false,"waiting":["etcd does not answer"]}`, 1, ""},
		{"all networks ready", 200, `{"node":"a","ready":true,"networks":[{"node":"a","network":"blue","ready":true}]}`, 0, ""},
		{"one network not ready", 200, `{"node":"a","ready":true,"networks":[{"node":"a","network":"blue","ready":false}]}`, 1, ""},
		{"not a weftd", 404, `not found`, 2, `it answered "404 Not Found"; is that the address of a weftd?`},
		{"not JSON", 200, `<html>`, 2, "is not a status of weftd"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			socket, tcp := agent(t, tt.status, tt.answer)
			for _, args := range [][]string{{"--socket", socket}, {"--address", tcp}, {"-o", "json", "--socket", socket}} {
				_, stderr, code := weftctl(t, append([]string{"status"}, args...)...)
				if code != tt.code || !strings.Contains(stderr, tt.stderr) {
					t.Errorf("%v: exit %d, want %d; stderr %q, want %q in it", args, code, tt.code, stderr, tt.stderr)
				}
			}
		})
	}
}

func TestStatusJSONIsWhatTheAgentSaid(t *testing.T) {
	answer := `{"node":"a","ready":true,"newer":"than this weftctl"}` + "\n"
	socket, _ := agent(t, 200, answer)
	stdout, stderr, _ := weftctlIn(t, map[string]string{"WEFTD_SOCKET": socket}, "status", "-o", "json")
	if diff := cmp.Diff(answer, stdout); diff != "" || stderr != "" {
		t.Errorf("-want +got:\n%s%s", diff, stderr)
	}
}

func TestStatusOfNobody(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	l.Close()
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"no socket", []string{"--socket", dir + "/none.sock"}, "systemctl start weftd"},
		{"nobody listens", []string{"--address", closed}, "systemctl start weftd"},
		{"not an address", []string{"--address", "nonsense"}, "ask weftd at nonsense: dial tcp: address nonsense: missing port"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, stderr, code := weftctl(t, append([]string{"status"}, tt.args...)...)
			if code != 2 || !strings.Contains(stderr, tt.want) {
				t.Errorf("exit %d, want 2; stderr %q, want %q in it", code, stderr, tt.want)
			}
		})
	}
}

func TestRemedy(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("dial: %w", unix.ENOENT), "start it"},
		{fmt.Errorf("dial: %w", unix.ECONNREFUSED), "start it"},
		{fmt.Errorf("dial: %w", unix.EACCES), "run weftctl as root"},
		{fmt.Errorf("read: %w", context.DeadlineExceeded), "does not answer"},
		{unix.ENETUNREACH, ""},
	} {
		if got := remedy(tt.err); (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("remedy(%v) = %q, want %q in it", tt.err, got, tt.want)
		}
	}
}

func TestRoughly(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second:                      "no time",
		1234567 * time.Nanosecond:         "1ms",
		59*time.Second + 900*1000000:      "59s",
		61 * time.Second:                  "1m1s",
		23*time.Hour + 59*time.Minute + 9: "23h59m",
	} {
		if got := roughly(d); got != want {
			t.Errorf("roughly(%v) = %q, want %q", d, got, want)
		}
	}
}
