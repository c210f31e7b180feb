// Package vm runs a command in another Linux kernel than this machine's: a Debian kernel in an emulated machine, which
// needs neither root nor hardware support, and is gone when the command ends. It knows where kernels and programs come
// from, how to boot them and how to bring a command's output, exit status and files back. What the command does is not
// its business.
package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Kernels are the series of Debian kernels that a guest can have, newest first.
func Kernels() []string { return []string{"6.12", "6.1"} }

// Options say what runs, and in what. The zero value but for Command is a guest with the newest kernel.
type Options struct {
	Command  string    // for the guest's /bin/sh, as root in /root, with nothing to read; Quote makes one of arguments
	Kernel   string    // one of Kernels; "": the newest
	Packages []string  // Debian packages that the guest has beside Packages(), without recommended ones
	Files    []File    // what the guest gets from this machine
	Env      []string  // further variables of the command, as NAME=value
	Memory   int       // of the guest, MiB, in which all its files are as well; 0: 512
	CPUs     int       // of the guest; 0: one, which is the quickest unless the command has much to do at a time
	Output   io.Writer // what the command writes, and the kernel where it panics; nil: nobody reads it
	Out      string    // folder that receives what the command leaves in /out; "": thrown away
}

// File is a file or a folder that travels into the guest.
type File struct {
	From string // on this machine; a link is followed if it is From itself
	To   string // in the guest, absolute; "": /root and the last part of From
}

// The names by which a command can tell that it runs in a guest.
const (
	InsideEnv = "WEFT_VM"        // is 1
	KernelEnv = "WEFT_VM_KERNEL" // is the Kernel of the options
)

// ErrNoStatus says that the guest ended, but not because the command did: its kernel panicked, or had too little memory.
var ErrNoStatus = errors.New("the guest ended before its command did: its kernel panicked, or needs more memory")

// Run runs the command in a guest of its own and returns the command's exit status. An error says that there is none:
// it is the context's where that ended, in which case the guest is stopped. Any number of guests run side by side.
func Run(ctx context.Context, opts Options) (status int, err error) {
	opts, err = opts.complete()
	if err != nil {
		return 0, err
	}
	if err := missing(); err != nil {
		return 0, err
	}
	kernel, programs, err := guestParts(ctx, opts.Kernel, append(Packages(), opts.Packages...))
	if err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "weft-vm-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	guest := machine{dir: dir, kernel: filepath.Join(kernel, kernelFile), memory: opts.Memory, cpus: opts.CPUs, output: opts.Output}
	if err := guest.pack([]string{filepath.Join(programs, archiveFile), filepath.Join(kernel, archiveFile)}, opts); err != nil {
		return 0, fmt.Errorf("files for a virtual machine: %w", err)
	}
	if err := guest.boot(ctx); err != nil {
		return 0, fmt.Errorf("virtual machine with kernel %s: %w", opts.Kernel, err)
	}
	return guest.result(opts.Out)
}

// Quote makes a Command of arguments, which the shell does not read anything into.
func Quote(args ...string) string {
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
	}
	return strings.Join(quoted, " ")
}

// complete fills in what was left open, and says what is wrong.
func (o Options) complete() (Options, error) {
	if o.Command == "" {
		return o, errors.New("virtual machine: no command to run")
	}
	if o.Kernel == "" {
		o.Kernel = Kernels()[0]
	}
	if !slices.Contains(Kernels(), o.Kernel) {
		return o, fmt.Errorf("kernel %q for a virtual machine: it must be one of %s", o.Kernel, strings.Join(Kernels(), ", "))
	}
	if o.Memory == 0 {
		o.Memory = 512
	}
	if o.CPUs == 0 {
		o.CPUs = 1
	}
	if o.Output == nil {
		o.Output = io.Discard
	}
	files := make([]File, len(o.Files))
	for i, f := range o.Files {
		if f.To == "" {
			f.To = "/root/" + filepath.Base(f.From)
		}
		if !filepath.IsAbs(f.To) {
			return o, fmt.Errorf("file %s for a virtual machine: its place in the guest, %q, must be absolute", f.From, f.To)
		}
		files[i] = f
	}
	o.Files = files
	return o, nil
}
