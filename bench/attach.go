package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// attachTest is the plugin's own benchmark, built outside.
const attachTest = "attach.test"

// attach takes what the plugin's own benchmark says: pods attached and detached through it and with the bare delegate
// by turns.
func (b *bench) attach(ctx context.Context) error {
	c := exec.CommandContext(ctx, filepath.Join(b.dir, attachTest), "-test.run", "^$", "-test.bench", "^BenchmarkAttach$", "-test.benchtime", "1x")
	c.Dir = filepath.Join("cmd", "weft")
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		return fmt.Errorf("run the plugin's benchmark: %w: %s", err, out)
	}
	values := map[string]time.Duration{} // by unit: "added-add-ms"
	fields := strings.Fields(string(out))
	for i := 1; i < len(fields); i++ {
		if v, err := strconv.ParseFloat(fields[i-1], 64); err == nil && strings.HasSuffix(fields[i], "-ms") {
			values[fields[i]] = time.Duration(v * float64(time.Millisecond))
		}
	}
	for _, verb := range []string{"add", "del"} {
		added, ok := values["added-"+verb+"-ms"]
		if !ok {
			return fmt.Errorf("the plugin's benchmark says nothing of %s: %s", verb, out)
		}
		text := fmt.Sprintf("%s, bare delegate %s, added %s", ms(values["weft-"+verb+"-ms"]), ms(values["delegate-"+verb+"-ms"]), ms(added))
		b.report.addGoal(all, "", "CNI "+strings.ToUpper(verb)+" of a pod, p50", text, "adds at most 5 ms", added <= 5*time.Millisecond)
	}
	return nil
}
