package main

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/network"
)

// rotating is a weftd that answers an order with a status and a text, and tells then one rotation after the other.
func rotating(t *testing.T, status int, text string, told ...*network.RotationStatus) (socket string, orders *[]string) {
	t.Helper()
	socket, orders = filepath.Join(t.TempDir(), "weftd.sock"), new([]string)
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /wireguard/rotate", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		*orders = append(*orders, r.URL.Query().Get("network")+string(body))
		w.WriteHeader(status)
		io.WriteString(w, text)
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		s := network.Status{Rotation: told[0], Networks: []network.Status{{Network: "blue"}}}
		told = append(told[1:], told[0])
		json.NewEncoder(w).Encode(s)
	})
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: mux}}
	s.Start()
	t.Cleanup(s.Close)
	return socket, orders
}

func TestRotate(t *testing.T) {
	moving := &network.RotationStatus{Stage: "moving", PublicKey: "KEY=", Peers: 2, Missing: []string{"n2: it has no second device yet"}}
	returning := &network.RotationStatus{Stage: "returning", PublicKey: "KEY=", Peers: 2}
	for _, tt := range []struct {
		name   string
		args   []string
		status int
		text   string
		told   []*network.RotationStatus
		order  string
		stdout string
		stderr string // a part of it
		code   int
	}{
		{"to the end", nil, 204, "", []*network.RotationStatus{moving, moving, returning, nil}, `{"force":false,"abort":false}`,
			"peers go over to the new key KEY=: 1 of 2 have followed; missing: n2: it has no second device yet\n" +
				"the new key KEY= is in force, peers come back to the usual ports: 2 of 2 have followed\ndone\n", "", 0},
		{"in the background", []string{"--background", "--force"}, 204, "", nil, `{"force":true,"abort":false}`, "", "", 0},
		{"given up", []string{"--abort"}, 204, "", []*network.RotationStatus{nil}, `{"force":false,"abort":true}`, "done\n", "", 0},
		{"of another network", []string{"--network", "blue"}, 204, "", []*network.RotationStatus{moving}, `blue{"force":false,"abort":false}`, "done\n", "", 0},
		{"refused", nil, 409, "the backend is vxlan\x1b[2J\n", nil, `{"force":false,"abort":false}`, "refused: the backend is vxlan\ufffd[2J\n", "", 1},
		{"an old weftd", nil, 404, "", nil, `{"force":false,"abort":false}`, "", "it is older than this weftctl", 2},
		{"a fault", nil, 500, "", nil, `{"force":false,"abort":false}`, "", "500 Internal Server Error", 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			socket, orders := rotating(t, tt.status, tt.text, tt.told...)
			stdout, stderr, code := weftctl(t, append([]string{"wireguard", "rotate", "--socket", socket}, tt.args...)...)
			if code != tt.code || !strings.Contains(stderr, tt.stderr) {
				t.Errorf("exit %d, want %d; stderr %q", code, tt.code, stderr)
			}
			if diff := cmp.Diff(tt.stdout, stdout); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if diff := cmp.Diff([]string{tt.order}, *orders); diff != "" {
				t.Errorf("orders, -want +got:\n%s", diff)
			}
		})
	}
	_, stderr, code := weftctl(t, "wireguard", "rotate", "--socket", t.TempDir()+"/none.sock")
	if code != 2 || !strings.Contains(stderr, "systemctl start weftd") {
		t.Errorf("without weftd: exit %d, stderr %q", code, stderr)
	}
}

func TestRotationText(t *testing.T) {
	for want, r := range map[string]network.RotationStatus{
		"waiting for the change of another node's key to end: 0 of 0 have followed":                    {Stage: "waiting"},
		"given up, peers come back to the old key: 1 of 5 have followed; missing: a; b; c; and 1 more": {Stage: "undoing", Peers: 5, Missing: []string{"a", "b", "c", "d"}},
		"newer than this weftctl: 0 of 1 have followed; missing: n\ufffd2":                             {Stage: "newer than this weftctl", Peers: 1, Missing: []string{"n\x1b2"}},
	} {
		if got := rotationText(r); got != want {
			t.Errorf("%+v is %q, want %q", r, got, want)
		}
	}
}
