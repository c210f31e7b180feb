package lab

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/weft-network/weft/subnet"
)

// Marks of a check that passed, one that failed, and a pair that is none.
const (
	passed = "✓"
	failed = "✗"
	noPair = "·"
)

// Print writes the answers as a table of rows and columns with times, a line for everything else that was tried, and each failure with its
// reason.
func (m Matrix) Print(w io.Writer) error {
	for _, f := range m.Families {
		if err := m.printTable(w, f); err != nil {
			return err
		}
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range m.Families {
		for _, k := range []Kind{Answer, FullSize, Source, Outside} {
			m.printSummary(tw, k, f)
		}
	}
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("print the table: %w", err)
	}
	for _, c := range m.Failed() {
		if _, err := fmt.Fprintf(w, "%s %s, %s, %s -> %s: %v\n", failed, c.Kind, c.Family, c.From, c.To, c.Err); err != nil {
			return fmt.Errorf("print the failures: %w", err)
		}
	}
	return nil
}

// printTable writes who answered whom in one family.
func (m Matrix) printTable(w io.Writer, f subnet.Family) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "%s, ping in ms\t%s\n", f, strings.Join(m.To, "\t"))
	for _, from := range m.From {
		cells := []string{"from " + from}
		for _, to := range m.To {
			cells = append(cells, m.cell(f, from, to))
		}
		fmt.Fprintln(tw, strings.Join(cells, "\t"))
	}
	fmt.Fprintln(tw)
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("print the table: %w", err)
	}
	return nil
}

// cell is the answer of to to from.
func (m Matrix) cell(f subnet.Family, from, to string) string {
	i := slices.IndexFunc(m.Checks, func(c Check) bool {
		return c.Kind == Answer && c.Family == f && c.From == from && c.To == to
	})
	switch {
	case i < 0:
		return noPair
	case m.Checks[i].Err != nil:
		return failed
	}
	return passed + " " + milliseconds(m.Checks[i].Time)
}

// printSummary writes how many checks of a kind passed, and how long pings took.
func (m Matrix) printSummary(w io.Writer, k Kind, f subnet.Family) {
	var times []time.Duration
	all, size := 0, 0
	for _, c := range m.Checks {
		if c.Kind != k || c.Family != f {
			continue
		}
		all++
		size = c.Size
		if c.Err == nil {
			times = append(times, c.Time)
		}
	}
	if all == 0 {
		return
	}
	mark := passed
	if len(times) < all {
		mark = failed
	}
	line := fmt.Sprintf("%s\t%s\t%s\t%d of %d", mark, f, k, len(times), all)
	if size > 0 && len(times) > 0 {
		slices.Sort(times)
		line += fmt.Sprintf("\t%d bytes, never fragmented\tmedian %s ms", size, milliseconds(times[len(times)/2]))
	}
	fmt.Fprintln(w, line)
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d.Microseconds())/1000) }
