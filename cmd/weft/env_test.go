package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/google/go-cmp/cmp"
)

func TestWaitForEnv(t *testing.T) {
	tests := []struct {
		name    string
		before  string        // subnet.env at first, "" for none
		after   time.Duration // when it is written; 0 for never
		waiting string
		wait    int
		took    time.Duration
		want    string // of the error; "" for none
	}{
		{"there", envBoth, 0, "", 10, 0, ""},
		{"there, no wait", envBoth, 0, "", 0, 0, ""},
		{"there while weftd waits for something", envBoth, 0, "for peers", 10, 0, ""},
		{"appears", "", 3 * time.Second, "", 10, 3 * time.Second, ""},
		{"is mended", "FLANNEL_MTU=", 3 * time.Second, "", 10, 3 * time.Second, ""},
		{"comes too late", "", 3 * time.Second, "", 2, 2 * time.Second, "after 2s of waiting; DIR/subnet.env does not exist; weftd writes it: see whether it runs"},
		{"never appears", "", 0, "", 10, 10 * time.Second, `does not exist; weftd writes it: see whether it runs and what it says with "weftctl status", "journalctl -u weftd", or in Kubernetes "kubectl -n weft-system logs`},
		{"weftd waits", "", 0, "the etcd at http://10.0.0.1:2379 does not answer\n", 10, 10 * time.Second, "does not exist; weftd is waiting: the etcd at http://10.0.0.1:2379 does not answer"},
		{"weftd says too much", "", 0, strings.Repeat("é\x00\xff ", 1000), 0, 0, "weftd is waiting: é"},
		{"no wait", "", 0, "", 0, 0, "after 0s of waiting"},
		{"damaged", "FLANNEL_SUBNET=10.5.72.1/240\n", 0, "", 10, 10 * time.Second, "DIR/subnet.env cannot be used: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "subnet.env")
			write := func(name, text string) {
				if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
					t.Error(err)
				}
			}
			if tt.before != "" {
				write(file, tt.before)
			}
			if tt.waiting != "" {
				write(file+".waiting", tt.waiting)
			}
			synctest.Test(t, func(t *testing.T) {
				if tt.after > 0 {
					time.AfterFunc(tt.after-lookAgain/2, func() { write(file, envBoth) })
				}
				start := time.Now()
				got, err := conf{SubnetFile: file, SubnetFileWait: &tt.wait}.waitForEnv(context.Background())
				if took := time.Since(start); took != tt.took {
					t.Errorf("took %v, want %v", took, tt.took)
				}
				if tt.want == "" {
					if diff := cmp.Diff(mustEnv(t, envBoth).String(), got.String()); diff != "" || err != nil {
						t.Errorf("error %v, env (-want +got):\n%s", err, diff)
					}
					return
				}
				want := strings.ReplaceAll(tt.want, "DIR", filepath.Dir(file))
				if codeOf(err) != types.ErrTryAgainLater || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want code %d and %q", err, types.ErrTryAgainLater, want)
				}
				if err != nil && len(err.Error()) > 2000 {
					t.Errorf("an error of %d bytes", len(err.Error()))
				}
			})
		})
	}
}

// A pod that is created before weftd is ready is attached as soon as it is.
func TestAttachWhenSubnetAppears(t *testing.T) {
	h := newHost(t, "")
	h.config["subnetFileWait"] = 60
	p := newPod(t, "one")
	cmd := h.command(t, "weft", "ADD", p)
	h.ns.Do(t, func() {
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
	})
	h.write(t, "subnet.env", envInet)
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"10.5.72.2/24"}, addrs(t, p.ns, "eth0")); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
}
