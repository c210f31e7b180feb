// Bench measures Weft at 1,000 and 5,000 peers: how long weftd takes from its start to a complete kernel, from the
// put of a lease to its route, and from damage to repair; what it uses meanwhile; what of that is different on Kubernetes;
// what the CNI plugin adds to a pod and what pods have of the network with each backend. Everything runs in namespaces of its own, with a real etcd, a real Kubernetes API server and
// the programs as they are built for release.
// What cannot be left out is measured beside it in the same run, so that ratios hold on any machine.
//
// usage: go run ./bench [-peers 1000,5000] [-runs 7] [-only start,repair] [-write Documentation/performance.md] [-weftd FILE]
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// options is the command line, checked.
type options struct {
	peers  []int
	runs   int
	only   []string
	write  string
	dir    string // of the programs that are measured
	inside bool   // in the namespaces already
	keep   bool
	weftd  string // a weftd built otherwise; empty builds one
}

// atMost is how long everything may take together. Some nine minutes are usual, and once ten more to build Kubernetes.
const atMost = 30 * time.Minute

// parts are what -only can name.
var parts = []string{"start", "idle", "latency", "repair", "churn", "kubernetes", "claims", "attach", "backends"}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) > 0 && args[0] == etcdCommand {
		return serveEtcd(ctx, args[1:])
	}
	o, err := parse(args)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, atMost, fmt.Errorf("it took longer than %v", atMost))
	defer cancel()
	if o.inside {
		return measureAll(ctx, o, out)
	}
	return outside(ctx, o, args, out)
}

func parse(args []string) (options, error) {
	var o options
	var peers, only string
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.StringVar(&peers, "peers", "1000,5000", "sizes of the cluster, separated by commas")
	f.IntVar(&o.runs, "runs", 7, "how often a start and a repair are measured; the medians count")
	f.StringVar(&only, "only", "", "measure these alone: "+strings.Join(parts, ","))
	f.StringVar(&o.write, "write", "", "file to put the tables into, between the lines <!-- bench --> and <!-- /bench -->")
	f.BoolVar(&o.keep, "keep", false, "keep the folder with the logs")
	f.StringVar(&o.weftd, "weftd", "", "measure this weftd, and not one built from the tree")
	f.BoolVar(&o.inside, "inside", false, "set by bench itself")
	f.StringVar(&o.dir, "dir", "", "set by bench itself")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	for p := range strings.SplitSeq(peers, ",") {
		n, err := strconv.Atoi(p)
		if err != nil || n < 1 || n > 20000 {
			return o, fmt.Errorf("-peers %s: %q is not a number from 1 to 20000", peers, p)
		}
		o.peers = append(o.peers, n)
	}
	for p := range strings.SplitSeq(only, ",") {
		if p != "" && !slices.Contains(parts, p) {
			return o, fmt.Errorf("-only %s: %q is none of %s", only, p, strings.Join(parts, ", "))
		}
		if p != "" {
			o.only = append(o.only, p)
		}
	}
	if len(o.only) > 0 && o.write != "" {
		return o, fmt.Errorf("-only %s would leave nothing else in the tables of %s: -write takes everything, measured in one run", only, o.write)
	}
	if o.runs < 1 {
		return o, fmt.Errorf("-runs %d: at least 1", o.runs)
	}
	return o, nil
}

// wants tells whether part is to be measured.
func (o options) wants(part string) bool { return len(o.only) == 0 || slices.Contains(o.only, part) }

// sizes are the clusters that any part asks for.
func (o options) sizes() []int {
	for _, part := range []string{"start", "idle", "latency", "repair", "churn"} {
		if o.wants(part) {
			return o.peers
		}
	}
	return nil
}
