// Package extension runs the commands that an operator has configured in place of a backend: each until it has succeeded, once, and
// again when what it is told has changed. It knows how to run a command and what it has run, and refuses to know what
// for. What a command does to a node cannot be listed as the kernel's objects can: so what has been run is written to a file, and is
// run once more by an agent that was started again.
package extension

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/weft-network/weft/network/kernel"
)

// Options is all that an Engine is told.
type Options struct {
	File    string             // where it is kept what has been run; "" forgets it when the agent ends
	Env     []string           // the environment that commands inherit, NAME=value
	Timeout time.Duration      // how long one command may take; default 30 s
	Log     logrus.FieldLogger // what commands write; nil logs nothing
}

// Engine keeps the commands of a State. Make it with New.
type Engine struct {
	o      Options
	read   bool // the file was read
	stands map[string]standing
}

// standing is a command that was begun at least, and has not been undone.
type standing struct {
	kernel.Command
	sure    bool // it has succeeded in this process
	failure int  // how often it has failed in a row, or its undoing
}

// New makes an engine for the commands of one network. It runs nothing yet.
func New(o Options) *Engine {
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	if o.Log == nil {
		quiet := logrus.New()
		quiet.SetOutput(io.Discard)
		o.Log = quiet
	}
	return &Engine{o: o, stands: map[string]standing{}}
}

// Prepare runs a command to its end and returns what it wrote to standard output, without white space around it.
func (e *Engine) Prepare(ctx context.Context, c kernel.Command) (string, error) {
	out, err := e.run(ctx, c, c.Run)
	if err != nil {
		return "", fmt.Errorf("%s: %w", c, err)
	}
	if len(out) >= mostOutput {
		return "", fmt.Errorf("%s: it wrote %d bytes or more, and all of it would be announced to the peers", c, mostOutput)
	}
	return strings.TrimSpace(out), nil
}

// List adds the commands that stand. One of which this process does not know whether it succeeded has no more than its name, so that
// it differs from what is wanted and is run again.
func (e *Engine) List(_ context.Context, s *kernel.State) error {
	if err := e.load(); err != nil {
		return err
	}
	for _, c := range e.stands {
		if c.sure {
			s.Commands.Add(c.Command)
		} else {
			s.Commands.Add(kernel.Command{Name: c.Name})
		}
	}
	return nil
}

// Put runs the commands of s that have not succeeded yet. A command that was told something else before, or has failed,
// is undone first. Where the one that the others build on fails, they wait.
func (e *Engine) Put(ctx context.Context, s kernel.State) error {
	if len(s.Commands) == 0 {
		return nil
	}
	if err := e.load(); err != nil {
		return err
	}
	var todo []kernel.Command
	for _, c := range inOrder(s.Commands) {
		if old := e.stands[c.Name]; !old.sure || old.Command != c {
			todo = append(todo, c)
		}
	}
	errs := []error{e.begin(todo)}
	for _, c := range todo {
		err := e.put(ctx, c)
		errs = append(errs, err)
		if err != nil && c.Name == startup || ctx.Err() != nil {
			break
		}
	}
	return errors.Join(append(errs, e.store())...)
}

// startup is the name of the command that the others build on.
const startup = "startup"

// inOrder sorts commands: the one that the others build on comes first.
func inOrder(set kernel.Set[string, kernel.Command]) []kernel.Command {
	return slices.SortedFunc(maps.Values(set), func(a, b kernel.Command) int {
		return cmp.Or(order(a)-order(b), cmp.Compare(a.Name, b.Name))
	})
}

func order(c kernel.Command) int {
	if c.Name == startup {
		return 0
	}
	return 1
}

// begin writes down what is about to be run, so that it can be undone whatever happens on the way.
func (e *Engine) begin(todo []kernel.Command) error {
	for _, c := range todo {
		if _, known := e.stands[c.Name]; !known {
			e.stands[c.Name] = standing{Command: c}
		}
	}
	return e.store()
}

// put makes one command stand.
func (e *Engine) put(ctx context.Context, c kernel.Command) error {
	old := e.stands[c.Name]
	if old.Undo != "" && (old.Command != c || old.failure > 0) {
		if _, err := e.run(ctx, old.Command, old.Undo); err != nil {
			e.o.Log.WithError(err).WithField("command", c.String()).Debug("undoing a command before it is run again failed")
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	now := standing{Command: c}
	var err error
	if c.Run != "" {
		_, err = e.run(ctx, c, c.Run)
	}
	now.sure = err == nil
	if err != nil {
		now.failure = old.failure + 1
		err = fmt.Errorf("%s: %w", c, err)
	}
	e.stands[c.Name] = now
	return err
}

// patience is how often the undoing of a command may fail before it is given up: what it should take away may be gone.
const patience = 3

// Drop undoes the commands of s.
func (e *Engine) Drop(ctx context.Context, s kernel.State) error {
	if len(s.Commands) == 0 {
		return nil
	}
	if err := e.load(); err != nil {
		return err
	}
	var errs []error
	for _, c := range inOrder(s.Commands) {
		if err := e.drop(ctx, c.Name); err != nil {
			errs = append(errs, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(append(errs, e.store())...)
}

func (e *Engine) drop(ctx context.Context, name string) error {
	old, ok := e.stands[name]
	if !ok {
		return nil
	}
	var err error
	if old.Undo != "" {
		_, err = e.run(ctx, old.Command, old.Undo)
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil:
		delete(e.stands, name)
		return nil
	}
	if old.failure++; old.failure >= patience {
		delete(e.stands, name)
		e.o.Log.WithError(err).WithFields(logrus.Fields{"command": old.String(), "tries": old.failure}).Warn("undoing a command failed and is given up")
		return nil
	}
	old.sure = false
	e.stands[name] = old
	return fmt.Errorf("undo %s: %w", old.Command, err)
}

// Run waits for ctx to end: commands are run by Put and Drop.
func (e *Engine) Run(ctx context.Context, _ func()) error {
	<-ctx.Done()
	return ctx.Err()
}
