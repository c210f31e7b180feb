package kernel

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Failure is one object that could not be made or taken away.
type Failure struct {
	Drop   bool         // it should have gone
	Object fmt.Stringer // a Link, Addr, Route, Neighbour, Forward or Sysctl
	Err    error        // a *Refusal where it was the kernel that said no
}

// Error says what was attempted on what, in the words of the ip command, and why it failed.
func (f Failure) Error() string {
	verb := "make"
	if f.Drop {
		verb = "remove"
	}
	return fmt.Sprintf("%s %s: %v", verb, f.Object, f.Err)
}

// Unwrap returns the reason.
func (f Failure) Unwrap() error { return f.Err }

// Failures is the error of Apply: every object that failed. All others are as the Change says.
type Failures []Failure

// maxAlike is how many failures for the same reason are told one by one.
const maxAlike = 10

// Error tells the failures, of each reason ten at most.
func (fs Failures) Error() string {
	type class struct {
		drop         bool
		kind, reason string
	}
	count := map[class]int{}
	var classes []class
	var lines []string
	for _, f := range fs {
		c := class{f.Drop, fmt.Sprintf("%T", f.Object), f.Err.Error()}
		if count[c]++; count[c] == 1 {
			classes = append(classes, c)
		}
		if count[c] <= maxAlike {
			lines = append(lines, f.Error())
		}
	}
	for _, c := range classes {
		if more := count[c] - maxAlike; more > 0 {
			lines = append(lines, fmt.Sprintf("and %d more like that: %s", more, c.reason))
		}
	}
	return strings.Join(lines, "; ")
}

// sorted returns the failures in an order that is always the same, so that the same failure is the same text. When a
// device goes, there are thousands: each is put into words once.
func (fs Failures) sorted() Failures {
	type told struct {
		text string
		Failure
	}
	all := make([]told, len(fs))
	for i, f := range fs {
		all[i] = told{f.Error(), f}
	}
	slices.SortStableFunc(all, func(x, y told) int { return cmp.Compare(x.text, y.text) })
	ordered := make(Failures, len(fs))
	for i, t := range all {
		ordered[i] = t.Failure
	}
	return ordered
}

// Unwrap returns the failures, for errors.Is and errors.As.
func (fs Failures) Unwrap() []error {
	errs := make([]error, len(fs))
	for i, f := range fs {
		errs[i] = f
	}
	return errs
}

// errNoDevice is the reason where an object's device is not there.
type errNoDevice string

func (e errNoDevice) Error() string { return fmt.Sprintf("there is no device %s", string(e)) }

func (errNoDevice) Is(target error) bool { return target == unix.ENODEV }

// isGone tells whether err says that there was nothing to take away.
func isGone(err error) bool {
	for _, gone := range []unix.Errno{unix.ESRCH, unix.ENOENT, unix.ENODEV, unix.EADDRNOTAVAIL, unix.ENXIO} {
		if errors.Is(err, gone) {
			return true
		}
	}
	return false
}
