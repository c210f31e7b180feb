package kernel

import "strings"

// Command is what the operator's own commands make true: Run was run and has succeeded, and Undo is run when that is no longer wanted. A
// shell runs them as they were configured; what they work on they find in the environment and on standard input alone.
type Command struct {
	Name  string // what it is for: "startup", or the peer's subnets
	Run   string // for sh -c; "" is nothing to run
	Undo  string // for sh -c, with the same environment and input; "" is nothing to run
	Env   string // NAME=value, one on each line, sorted
	Stdin string // without the newline at the end that the command is given
	After string // what Run builds on; another value has it run again
}

// Key returns the name.
func (c Command) Key() string { return c.Name }

// String says what the command is for and what it is told in the environment. Its text and its input may be long, and hold
// what is no business of a log.
func (c Command) String() string {
	s := "command for " + c.Name
	if c.Env != "" {
		s += " with " + strings.ReplaceAll(c.Env, "\n", " ")
	}
	return s
}
