package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/weft-network/weft/lab/vm"
)

// The lab's own benchmark, built outside, with the programs that its nodes run.
const (
	labTest     = "lab.test"
	labPrograms = "programs"
)

// guestSpeeds is the file with what the benchmark says in a virtual machine, which is started outside.
const guestSpeeds = "guest.txt"

var labBenchmark = []string{"-test.run", "^$", "-test.bench", "^BenchmarkBackends$", "-test.benchtime", "1x"}

// backends takes what the lab's own benchmark says: what pods of two nodes have of the network between these, with each
// backend. Backends whose devices this machine's kernel may lack are measured in a virtual machine.
func (b *bench) backends(ctx context.Context) error {
	c := exec.CommandContext(ctx, filepath.Join(b.dir, labTest), labBenchmark...)
	c.Dir = "lab"
	c.Env = append(os.Environ(), "WEFT_LAB_BUILT="+filepath.Join(b.dir, labPrograms))
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		return fmt.Errorf("run the lab's benchmark: %w: %s", err, out)
	}
	guest, err := os.ReadFile(filepath.Join(b.dir, guestSpeeds))
	if err != nil {
		return err
	}
	here, there := parseSpeeds(string(out)), parseSpeeds(string(guest))
	if len(here) == 0 || len(there) == 0 {
		return fmt.Errorf("the lab's benchmark says nothing: %s%s", out, guest)
	}
	for _, s := range here {
		v := s.values
		b.report.add(all, "", s.backend+": TCP stream between pods of two nodes",
			fmt.Sprintf("%.2f of the nodes' own (%.1f of %.1f Gbit/s)", v["stream-ratio"], v["pods-Gbit/s"], v["bare-Gbit/s"]), "")
		b.report.add(all, "", s.backend+": round trip between pods of two nodes",
			fmt.Sprintf("%.2f x the nodes' own (%.0f and %.0f µs)", v["trip-ratio"], v["pods-us"], v["bare-us"]), "")
	}
	for _, s := range there { // a guest's time is made of instructions: Gbit/s would mislead
		name := s.backend + " in a virtual machine with Debian's " + vm.Kernels()[0]
		b.report.add(all, "", name+": TCP stream", fmt.Sprintf("%.2f of the nodes' own", s.values["stream-ratio"]), "")
		b.report.add(all, "", name+": round trip", fmt.Sprintf("%.2f x the nodes' own", s.values["trip-ratio"]), "")
	}
	return nil
}

// buildLab makes the programs of the lab's nodes.
func buildLab(ctx context.Context, dir string) error {
	programs := filepath.Join(dir, labPrograms)
	if err := os.Mkdir(programs, 0o755); err != nil {
		return err
	}
	c := exec.CommandContext(ctx, filepath.Join(dir, labTest))
	c.Dir = "lab"
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "WEFT_LAB_BUILD="+programs)
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("build the programs of the lab's nodes: %w: %s", err, out)
	}
	return nil
}

// measureGuest runs the lab's benchmark in a virtual machine.
func measureGuest(ctx context.Context, dir string) (err error) {
	out, err := os.Create(filepath.Join(dir, guestSpeeds))
	if err != nil {
		return err
	}
	defer out.Close()
	status, err := vm.Run(ctx, vm.Options{
		Command:  "modprobe -q aesni_intel; " + vm.Quote(append([]string{"./" + labTest}, labBenchmark...)...), // what udev does on a machine
		Packages: []string{"charon-systemd", "libstrongswan-standard-plugins"},
		Files:    []vm.File{{From: filepath.Join(dir, labTest)}, {From: filepath.Join(dir, labPrograms)}},
		Env:      []string{"WEFT_LAB_BUILT=/root/" + labPrograms},
		Memory:   1536,
		Output:   out,
	})
	if err == nil && status != 0 {
		text, _ := os.ReadFile(out.Name())
		err = fmt.Errorf("the lab's benchmark ended with status %d in a virtual machine: %s", status, text)
	}
	return err
}

// backendSpeed is a line of the lab's benchmark.
type backendSpeed struct {
	backend string
	values  map[string]float64 // by unit
}

// parseSpeeds reads the lines of a benchmark whose values have units of their own.
func parseSpeeds(text string) []backendSpeed {
	var list []backendSpeed
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 4 {
			continue
		}
		name, ok := strings.CutPrefix(fields[0], "BenchmarkBackends/")
		if !ok {
			continue
		}
		if i := strings.LastIndexByte(name, '-'); i > 0 { // the number of processors
			if _, err := strconv.Atoi(name[i+1:]); err == nil {
				name = name[:i]
			}
		}
		s := backendSpeed{name, map[string]float64{}}
		for i := 2; i+1 < len(fields); i += 2 {
			if v, err := strconv.ParseFloat(fields[i], 64); err == nil {
				s.values[fields[i+1]] = v
			}
		}
		list = append(list, s)
	}
	return list
}
