package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// attachments is how many pods each benchmark attaches and detaches in turn.
const attachments = 50

// BenchmarkAttach measures what the plugin adds to its delegate: it attaches and detaches pods with the bare delegate
// and with the plugin by turns, so that both meet the same machine, and reports the medians in milliseconds and
// their difference.
func BenchmarkAttach(b *testing.B) {
	for b.Loop() {
		h := newHost(b, envInet)
		bare := h.bareDelegate(b)
		var took [2][2][]time.Duration // by way, by command
		for i := range attachments {
			for way, h := range []*host{bare, h} {
				p := newPod(b, fmt.Sprintf("pod%d-%d", way, i))
				for n, verb := range []string{"ADD", "DEL"} {
					took[way][n] = append(took[way][n], h.time(b, verb, p))
				}
			}
		}
		for n, verb := range []string{"add", "del"} {
			delegate, through := median(took[0][n]), median(took[1][n])
			b.ReportMetric(delegate, "delegate-"+verb+"-ms")
			b.ReportMetric(through, "weft-"+verb+"-ms")
			b.ReportMetric(through-delegate, "added-"+verb+"-ms")
		}
	}
	b.ReportMetric(0, "ns/op") // says nothing here
}

// BenchmarkVersion measures the start of the process, beside that of host-local, and reports the size of the binary.
func BenchmarkVersion(b *testing.B) {
	h := newHost(b, envInet)
	for b.Loop() {
		var took [2][]time.Duration
		for range attachments {
			for way, plugin := range []string{"host-local", "weft"} {
				h.config["type"] = plugin
				took[way] = append(took[way], h.time(b, "VERSION", pod{}))
			}
		}
		b.ReportMetric(median(took[0]), "host-local-ms")
		b.ReportMetric(median(took[1]), "weft-ms")
	}
	info, err := os.Stat(h.path + "/weft")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(info.Size())/1e6, "MB")
	b.ReportMetric(0, "ns/op")
}

// bareDelegate returns a node like h whose network config calls the delegate directly, as the plugin would.
func (h *host) bareDelegate(b *testing.B) *host {
	b.Helper()
	text, err := json.Marshal(h.config)
	if err != nil {
		b.Fatal(err)
	}
	c, err := parseConf(text)
	if err != nil {
		b.Fatal(err)
	}
	d, err := c.delegate(mustEnv(b, envInet))
	if err != nil {
		b.Fatal(err)
	}
	bare := newHost(b, envInet)
	text = encode(d.conf)
	if err := json.Unmarshal([]byte(strings.ReplaceAll(string(text), h.dir, bare.dir)), &bare.config); err != nil {
		b.Fatal(err)
	}
	return bare
}

// time returns how long a call of the plugin takes, from the start of its process to its end.
func (h *host) time(b *testing.B, verb string, p pod) time.Duration {
	b.Helper()
	cmd := h.command(b, h.config["type"].(string), verb, p)
	var took time.Duration
	h.ns.Do(b, func() {
		start := time.Now()
		out, err := cmd.Output()
		took = time.Since(start)
		if err != nil {
			b.Fatalf("%s: %v: %s", verb, err, explain(out, err))
		}
	})
	return took
}

// explain returns what a failed process printed.
func explain(out []byte, err error) []byte {
	if exit, ok := err.(*exec.ExitError); ok {
		return append(out, exit.Stderr...)
	}
	return out
}

// median returns the median of times, in milliseconds.
func median(times []time.Duration) float64 {
	slices.Sort(times)
	return float64(times[len(times)/2]) / float64(time.Millisecond)
}
