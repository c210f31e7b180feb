package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	for _, test := range []struct {
		name string
		args []string
		want options
		err  string // part of the error
	}{
		{"defaults", nil, options{peers: []int{1000, 5000}, runs: 7}, ""},
		{"some", []string{"-peers", "10", "-runs", "1", "-only", "start,idle"}, options{peers: []int{10}, runs: 1, only: []string{"start", "idle"}}, ""},
		{"all, written down", []string{"-write", "f"}, options{peers: []int{1000, 5000}, runs: 7, write: "f"}, ""},
		{"some, written down", []string{"-only", "start", "-write", "f"}, options{}, "would leave nothing else in the tables of f"},
		{"no number", []string{"-peers", "10,x"}, options{}, `"x" is not a number from 1 to 20000`},
		{"too many", []string{"-peers", "20001"}, options{}, `"20001" is not a number from 1 to 20000`},
		{"no run", []string{"-runs", "0"}, options{}, "at least 1"},
		{"no such part", []string{"-only", "stop"}, options{}, `"stop" is none of start, idle`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := parse(test.args)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("error is %v, want %q in it", err, test.err)
				}
				return
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(options{})); err != nil || diff != "" {
				t.Errorf("options (-want +got), error %v:\n%s", err, diff)
			}
		})
	}
}

func TestReport(t *testing.T) {
	r := newReport(io.Discard, []int{1000, 5000})
	r.add(1000, "a", "floor", "40 ms", "")
	r.addGoal(1000, "b", "start", "60 ms", "at most 2 x floor", true)
	r.add(5000, "a", "floor", "200 ms", "")
	r.addGoal(5000, "b", "start", "500 ms", "at most 2 x floor", false)
	r.addGoal(all, "h", "claims", "1000 ms", "no two the same", true)
	r.damaged = 1000
	r.addDamage("a route deleted", []time.Duration{3 * time.Millisecond, time.Millisecond, 2 * time.Millisecond}, 1)
	r.addDamage("rules flushed", []time.Duration{120 * time.Millisecond}, 0)

	dir := t.TempDir()
	tables, doc := filepath.Join(dir, "tables"), filepath.Join(dir, "doc.md")
	if err := r.write(tables); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(doc, []byte("before\n<!-- bench -->\nold\n<!-- /bench -->\nafter\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := replaceBetween(doc, tables); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, _ := strings.Cut(string(text), "Measured")
	_, got, _ := strings.Cut(rest, "\n\n")
	want := `| | | 1,000 peers | 5,000 peers | goal |
|---|---|---|---|---|
| a | floor | 40 ms | 200 ms |  |
| b | start | 60 ms | 500 ms **missed** | at most 2 x floor |
| h | claims | 1000 ms | - | no two the same |

Repair at 1,000 peers; the goal is 100 ms for each:

| damage | until all is back, median | slowest | entries written |
|---|---|---|---|
| a route deleted | 2.00 ms | 3.00 ms | 1 |
| rules flushed | 120 ms | 120 ms **missed** | - |

<!-- /bench -->
after
`
	if diff := cmp.Diff(want, got); diff != "" || head != "before\n<!-- bench -->\n\n" {
		t.Errorf("the document begins %q and goes on (-want +got):\n%s", head, diff)
	}
	if len(r.missed) != 2 {
		t.Errorf("missed goals: %q, want 2", r.missed)
	}
}

func TestReplaceBetweenNeedsTheMarks(t *testing.T) {
	file := filepath.Join(t.TempDir(), "doc.md")
	if err := os.WriteFile(file, []byte("nothing\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := replaceBetween(file, file); err == nil {
		t.Error("no error for a document without marks")
	}
}

func TestCounts(t *testing.T) {
	before := counts{"watch nodes": 1}
	after := counts{"watch nodes": 1, "patch nodes/status": 3, "get nodes": 6, "create events": 4}
	got := []string{after.since(before).per(3), before.since(before).per(1), after.per(1)}
	want := []string{"1.3 create events, 2 get nodes, 1 patch nodes/status", "none", "4 create events, 6 get nodes, 3 patch nodes/status, 1 watch nodes"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestRequestsAreCounted reads an audit log as an API server writes it, the last line not yet whole.
func TestRequestsAreCounted(t *testing.T) {
	n := &nodes{dir: t.TempDir()}
	log := `{"auditID":"a","stage":"ResponseStarted","verb":"watch","user":{"username":"weft"},"objectRef":{"resource":"nodes"}}
{"auditID":"a","stage":"ResponseComplete","verb":"watch","user":{"username":"weft"},"objectRef":{"resource":"nodes"}}
{"auditID":"b","stage":"ResponseComplete","verb":"patch","user":{"username":"weft"},"objectRef":{"resource":"nodes","subresource":"status"}}
{"auditID":"c","stage":"ResponseComplete","verb":"get","user":{"username":"informer"},"objectRef":{"resource":"nodes"}}
{"auditID":"d","stage":"ResponseComp`
	if err := os.WriteFile(n.file("audit.log"), []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := n.requests("weft")
	if diff := cmp.Diff(counts{"watch nodes": 1, "patch nodes/status": 1}, got); err != nil || diff != "" {
		t.Errorf("error %v, -want +got:\n%s", err, diff)
	}
}

func TestQuantile(t *testing.T) {
	values := []time.Duration{5, 1, 4, 2, 3}
	for q, want := range map[float64]time.Duration{0: 1, 0.5: 3, 0.99: 5, 1: 5} {
		if got := quantile(values, q); got != want {
			t.Errorf("quantile %v is %d, want %d", q, got, want)
		}
	}
	if quantile(nil, 0.5) != 0 {
		t.Error("no values have a median")
	}
}

func TestParseSpeeds(t *testing.T) {
	got := parseSpeeds(`goos: linux
BenchmarkBackends/vxlan-2         	       1	5123456789 ns/op	        12.50 bare-Gbit/s	         6.250 pods-Gbit/s	         0.5000 stream-ratio
BenchmarkBackends/host-gw         	       1	5123456789 ns/op	         0.9000 stream-ratio
BenchmarkOther-2 1 5 ns/op
PASS
`)
	want := []backendSpeed{
		{"vxlan", map[string]float64{"ns/op": 5123456789, "bare-Gbit/s": 12.5, "pods-Gbit/s": 6.25, "stream-ratio": 0.5}},
		{"host-gw", map[string]float64{"ns/op": 5123456789, "stream-ratio": 0.9}},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(backendSpeed{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
