package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/weft-network/weft/lab/kube"
)

// outside builds the programs, measures them inside of new namespaces, and writes down what came out.
func outside(ctx context.Context, o options, args []string, out io.Writer) error {
	dir, err := os.MkdirTemp("", "weft-bench-")
	if err != nil {
		return err
	}
	if o.keep {
		fmt.Fprintln(out, "logs and programs are in", dir)
	} else {
		defer os.RemoveAll(dir)
	}
	if err := build(ctx, o, dir); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	if o.wants("backends") {
		if err := buildLab(ctx, dir); err != nil {
			return err
		}
		fmt.Fprintln(out, "measuring backends in a virtual machine, which takes some minutes")
		if err := measureGuest(ctx, dir); err != nil {
			return fmt.Errorf("measure backends in a virtual machine: %w", err)
		}
	}
	c := exec.CommandContext(ctx, "/proc/self/exe", append([]string{"-inside", "-dir", dir}, args...)...)
	c.Stdout, c.Stderr = out, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	if os.Getuid() != 0 {
		c.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		c.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		c.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	if err := c.Run(); err != nil {
		return fmt.Errorf("measure in namespaces of its own: %w", err)
	}
	if o.write == "" {
		return nil
	}
	return replaceBetween(o.write, filepath.Join(dir, reportFile))
}

// build makes the programs as a release has them, and the plugin's own benchmark.
func build(ctx context.Context, o options, dir string) error {
	if o.wants("kubernetes") {
		if _, err := kube.Binaries(ctx, kubeSources); err != nil {
			return err
		}
	}
	programs := []string{"build", "-trimpath", "-tags", "grpcnotrace", "-ldflags", "-s -w", "-o", dir + "/", "./bench/floor", "./bench/informer"}
	if o.weftd == "" {
		programs = append(programs, "./cmd/weftd")
	} else if err := copyProgram(filepath.Join(dir, "weftd"), o.weftd); err != nil {
		return err
	}
	commands := [][]string{programs}
	if o.wants("attach") {
		commands = append(commands, []string{"test", "-c", "-o", filepath.Join(dir, attachTest), "./cmd/weft"})
	}
	if o.wants("backends") {
		commands = append(commands, []string{"test", "-c", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(dir, labTest), "./lab"})
	}
	for _, words := range commands {
		c := exec.CommandContext(ctx, "go", words...)
		c.Env = append(os.Environ(), "CGO_ENABLED=0")
		c.Stdout, c.Stderr = os.Stderr, os.Stderr
		if err := c.Run(); err != nil {
			return fmt.Errorf("go %s: %w", words[0], err)
		}
	}
	return nil
}

func copyProgram(to, from string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o755)
}
