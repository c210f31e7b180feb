package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// report gathers results, and writes them as they come and as tables at the end.
type report struct {
	out     io.Writer
	sizes   []int
	rows    []row
	damages []row
	damaged int // peers of the table of damages
	missed  []string
}

// row is one line of a table: its values belong to the sizes of the cluster.
type row struct {
	point, what, goal string
	values            map[int]string
}

func newReport(out io.Writer, sizes []int) *report { return &report{out: out, sizes: sizes} }

// all is the size of results that do not depend on one.
const all = 0

// add puts down a result.
func (r *report) add(size int, point, what, value, goal string) {
	fmt.Fprintf(r.out, "%6d  %-3s %-62s %s\n", size, point, what, value)
	for i := range r.rows {
		if r.rows[i].what == what {
			r.rows[i].values[size] = value
			return
		}
	}
	r.rows = append(r.rows, row{point, what, goal, map[int]string{size: value}})
}

// addGoal puts down a result that has a goal, and whether it is reached.
func (r *report) addGoal(size int, point, what, value, goal string, reached bool) {
	if !reached {
		value += " **missed**"
		r.missed = append(r.missed, fmt.Sprintf("%s at %d peers: %s, %s", what, size, value, goal))
	}
	r.add(size, point, what, value, goal)
}

// row puts down a result about the cluster that there is now.
func (b *bench) row(point, what, value string) {
	b.report.add(b.peers, point, b.source.label+what, value, "")
}

// goal puts down such a result that has a goal.
func (b *bench) goal(point, what, value, goal string, reached bool) {
	b.report.addGoal(b.peers, point, b.source.label+what, value, goal, reached)
}

// addDamage puts down how long a repair took.
func (r *report) addDamage(what string, took []time.Duration, made int) {
	value := ms(median(took)) + " | " + ms(slices.Max(took))
	if slices.Max(took) > 100*time.Millisecond {
		value += " **missed**"
		r.missed = append(r.missed, fmt.Sprintf("%s: %s, below 100 ms", what, value))
	}
	entries := "-"
	if made > 0 {
		entries = fmt.Sprint(made)
	}
	value += " | " + entries
	fmt.Fprintf(r.out, "%6d      %-62s %s\n", r.damaged, what, value)
	r.damages = append(r.damages, row{what: what, values: map[int]string{all: value}})
}

// write puts the tables into a file, and what missed its goal on the screen.
func (r *report) write(file string) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "Measured %s on %s.\n\n", time.Now().UTC().Format("2006-01-02"), machine())
	b.WriteString("| | |")
	for _, size := range r.sizes {
		fmt.Fprintf(&b, " %s peers |", thousands(size))
	}
	b.WriteString(" goal |\n|---|---|" + strings.Repeat("---|", len(r.sizes)+1) + "\n")
	for _, row := range r.rows {
		fmt.Fprintf(&b, "| %s | %s |", row.point, row.what)
		for _, size := range r.sizes {
			value, ok := row.values[size]
			if common, everywhere := row.values[all]; everywhere && size == r.sizes[0] {
				value, ok = common, true
			}
			if !ok {
				value = "-"
			}
			fmt.Fprintf(&b, " %s |", value)
		}
		fmt.Fprintf(&b, " %s |\n", row.goal)
	}
	if len(r.damages) > 0 {
		fmt.Fprintf(&b, "\nRepair at %s peers; the goal is 100 ms for each:\n\n", thousands(r.damaged))
		b.WriteString("| damage | until all is back, median | slowest | entries written |\n|---|---|---|---|\n")
		for _, row := range r.damages {
			fmt.Fprintf(&b, "| %s | %s |\n", row.what, row.values[all])
		}
	}
	for _, m := range r.missed {
		fmt.Fprintln(r.out, "missed:", strings.ReplaceAll(m, " **missed**", ""))
	}
	if len(r.missed) == 0 {
		fmt.Fprintln(r.out, "all goals are reached")
	}
	return os.WriteFile(file, b.Bytes(), 0o644)
}

// machine says what was measured on.
func machine() string {
	var u unix.Utsname
	release := "?"
	if unix.Uname(&u) == nil {
		release = unix.ByteSliceToString(u.Release[:])
	}
	return fmt.Sprintf("%d processors (%s), Linux %s, %s", runtime.NumCPU(), runtime.GOARCH, release, runtime.Version())
}

// replaceBetween puts the content of the file from between the two marks in the file to.
func replaceBetween(to, from string) error {
	const begin, end = "<!-- bench -->\n", "<!-- /bench -->"
	text, err := os.ReadFile(to)
	if err != nil {
		return err
	}
	tables, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	head, rest, ok := strings.Cut(string(text), begin)
	_, tail, closed := strings.Cut(rest, end)
	if !ok || !closed {
		return fmt.Errorf("%s has no lines %q and %q to put the tables between", to, strings.TrimSpace(begin), end)
	}
	return os.WriteFile(to, []byte(head+begin+"\n"+string(tables)+"\n"+end+tail), 0o644)
}

func ms(d time.Duration) string {
	switch v := float64(d) / float64(time.Millisecond); {
	case v < 10:
		return fmt.Sprintf("%.2f ms", v)
	case v < 100:
		return fmt.Sprintf("%.1f ms", v)
	default:
		return fmt.Sprintf("%.0f ms", v)
	}
}

func ratio(a, b time.Duration) string { return fmt.Sprintf(" (%.2f x)", float64(a)/float64(b)) }

func thousands(n int) string {
	if n >= 1000 {
		return fmt.Sprintf("%d,%03d", n/1000, n%1000)
	}
	return fmt.Sprint(n)
}
