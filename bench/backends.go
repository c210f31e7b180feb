package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// labTest is the lab's own benchmark, built outside.
const labTest = "lab.test"

// backends takes what the lab's own benchmark says: what pods of two nodes have of the network between these, with each
// backend.
func (b *bench) backends(ctx context.Context) error {
	c := exec.CommandContext(ctx, filepath.Join(b.dir, labTest), "-test.run", "^$", "-test.bench", "^BenchmarkBackends$", "-test.benchtime", "1x")
	c.Dir = "lab"
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		return fmt.Errorf("run the lab's benchmark: %w: %s", err, out)
	}
	speeds := parseSpeeds(string(out))
	if len(speeds) == 0 {
		return fmt.Errorf("the lab's benchmark says nothing: %s", out)
	}
	for _, s := range speeds {
		v := s.values
		b.report.add(all, "", s.backend+": TCP stream between pods of two nodes",
			fmt.Sprintf("%.2f of the nodes' own (%.1f of %.1f Gbit/s)", v["stream-ratio"], v["pods-Gbit/s"], v["bare-Gbit/s"]), "")
		b.report.add(all, "", s.backend+": round trip between pods of two nodes",
			fmt.Sprintf("%.2f x the nodes' own (%.0f and %.0f µs)", v["trip-ratio"], v["pods-us"], v["bare-us"]), "")
	}
	return nil
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
