package kernel

import "fmt"

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

// String names the command and what it works on. Its text, and its input, may be long and are nobody else's business.
func (c Command) String() string { return fmt.Sprintf("command for %s", c.Name) }
