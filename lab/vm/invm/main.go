// Command invm runs a command in a Debian kernel, as package vm does it:
//
//	go run ./lab/vm/invm [-kernel 6.1] [-f FILE[:PLACE]]... [-p PACKAGE]... -- 'uname -r; wg show'
//
// With -exec it is what go test starts test binaries with, and takes the testdata beside them along:
//
//	CGO_ENABLED=0 go test -exec 'go run github.com/weft-network/weft/lab/vm/invm -exec' ./backend/wireguard
//
// Its exit status is the command's; 124 says that the time was over, 125 that there is no status.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/weft-network/weft/lab/vm"
)

// Exit statuses beside those of the command.
const (
	usage   = 2
	timeout = 124
	failed  = 125
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	opts, limit, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		fmt.Fprintln(stderr, "invm:", err)
		return usage
	}
	opts.Output = stdout
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	status, err := vm.Run(ctx, opts)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		fmt.Fprintf(stderr, "invm: the command had not ended after %s\n", limit)
		return timeout
	case err != nil:
		fmt.Fprintln(stderr, "invm:", err)
		return failed
	}
	return status
}

// parse reads the command line.
func parse(args []string, stderr io.Writer) (opts vm.Options, limit time.Duration, err error) {
	flags := flag.NewFlagSet("invm", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&opts.Kernel, "kernel", vm.Kernels()[0], "series of the Debian kernel: "+strings.Join(vm.Kernels(), " or "))
	flags.IntVar(&opts.Memory, "memory", 512, "memory of the machine, MiB")
	flags.IntVar(&opts.CPUs, "cpus", 1, "processors of the machine")
	flags.StringVar(&opts.Out, "out", "", "folder that receives what the command leaves in /out")
	flags.DurationVar(&limit, "timeout", 5*time.Minute, "how long the command may need")
	isTest := flags.Bool("exec", false, "the command is a test binary, as go test -exec gives it")
	flags.Func("f", "file or folder for the machine, FILE or FILE:PLACE (may be repeated)", func(s string) error {
		from, to, _ := strings.Cut(s, ":")
		opts.Files = append(opts.Files, vm.File{From: from, To: to})
		return nil
	})
	flags.Func("p", "Debian package for the machine (may be repeated)", func(s string) error {
		opts.Packages = append(opts.Packages, s)
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return opts, 0, err
	}
	rest := flags.Args()
	if len(rest) == 0 {
		return opts, 0, errors.New("no command; see invm -h")
	}
	opts.Command = strings.Join(rest, " ")
	if *isTest {
		opts.Files = append(opts.Files, testFiles(rest[0])...)
		opts.Command = vm.Quote(append([]string{"./" + filepath.Base(rest[0])}, rest[1:]...)...)
	}
	return opts, limit, nil
}

// testFiles are the test binary and, where there is one, the testdata in the current folder, which is the package's.
func testFiles(binary string) []vm.File {
	files := []vm.File{{From: binary}}
	if _, err := os.Stat("testdata"); err == nil {
		files = append(files, vm.File{From: "testdata"})
	}
	return files
}
