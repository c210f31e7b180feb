package suites

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// outcome is what became of the tests of a machine.
type outcome struct {
	ended  map[string]string // pass, fail or skip, by the tests' full names
	output map[string]string // of tests with that of their subtests; "": of none
}

// event is what go tool test2json writes.
type event struct{ Action, Test, Output string }

// readEvents gathers what is said of each test.
func readEvents(r io.Reader) (outcome, error) {
	o := outcome{map[string]string{}, map[string]string{}}
	for d := json.NewDecoder(r); ; {
		var e event
		if err := d.Decode(&e); errors.Is(err, io.EOF) {
			return o, nil
		} else if err != nil {
			return o, fmt.Errorf("read what the tests say: %w", err)
		}
		top, _, _ := strings.Cut(e.Test, "/")
		switch e.Action {
		case "output":
			o.output[top] += e.Output
		case "pass", "fail", "skip":
			o.ended[e.Test] = e.Action
		}
	}
}

// problem says why the test of that name did not pass; "" if it did.
func (o outcome) problem(name string) string {
	if o.ended[name] == "" {
		return "the test did not come to an end"
	}
	for test, how := range o.ended {
		if how != "pass" && (test == name || strings.HasPrefix(test, name+"/")) {
			return test + ": " + how
		}
	}
	return ""
}

// text is what was written outside of tests, and in tests that did not come to an end.
func (o outcome) text() string {
	text := o.output[""]
	for name, output := range o.output {
		if name != "" && o.ended[name] == "" {
			text += output
		}
	}
	return text
}

func TestOutcome(t *testing.T) {
	o, err := readEvents(strings.NewReader(`{"Action":"start"}
{"Action":"run","Test":"TestGuestA"}
{"Action":"output","Test":"TestGuestA","Output":"=== RUN   TestGuestA\n"}
{"Action":"pass","Test":"TestGuestA","Elapsed":0.1}
{"Action":"run","Test":"TestGuestB"}
{"Action":"run","Test":"TestGuestB/sub"}
{"Action":"output","Test":"TestGuestB/sub","Output":"it cannot\n"}
{"Action":"skip","Test":"TestGuestB/sub"}
{"Action":"pass","Test":"TestGuestB"}
{"Action":"fail","Test":"TestGuestC"}
{"Action":"run","Test":"TestGuestD"}
{"Action":"output","Test":"TestGuestD","Output":"going on\n"}
{"Action":"output","Output":"panic: no\n"}
{"Action":"fail"}
`))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"TestGuestA": "", "TestGuestB": "TestGuestB/sub: skip", "TestGuestC": "TestGuestC: fail",
		"TestGuestD": "the test did not come to an end", "TestGuestE": "the test did not come to an end",
	} {
		if got := o.problem(name); got != want {
			t.Errorf("problem of %s: %q, want %q", name, got, want)
		}
	}
	if got, want := o.text(), "panic: no\ngoing on\n"; got != want {
		t.Errorf("text %q, want %q", got, want)
	}
	if got, want := o.output["TestGuestB"], "it cannot\n"; got != want {
		t.Errorf("output %q, want %q", got, want)
	}
	if _, err := readEvents(strings.NewReader("panic")); err == nil {
		t.Error("no error from what is not JSON")
	}
}
