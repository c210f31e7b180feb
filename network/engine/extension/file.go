package extension

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// kept mirrors the file: what was begun and has not been undone.
type kept struct {
	Version  int
	Commands []kernel.Command
}

// keptVersion is that of the file's form.
const keptVersion = 1

// load reads the file, once. One that is damaged, or of another form, is as if there was none: what is wanted is run again, and only what
// is not wanted any more is left behind.
func (e *Engine) load() error {
	if e.read || e.o.File == "" {
		return nil
	}
	data, err := os.ReadFile(e.o.File)
	if errors.Is(err, fs.ErrNotExist) {
		e.read = true
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading which commands were run: %w", err)
	}
	e.read = true
	commands, err := parse(data)
	if err != nil {
		e.o.Log.WithError(err).WithField("file", e.o.File).Warn("which commands were run before is not known; what they did for peers that went is not undone")
	}
	for _, c := range commands {
		e.stands[c.Name] = standing{Command: c}
	}
	return nil
}

// parse reads the text of the file.
func parse(data []byte) ([]kernel.Command, error) {
	var k kept
	if err := json.Unmarshal(data, &k); err != nil {
		return nil, fmt.Errorf("damaged: %w", err)
	}
	if k.Version != keptVersion {
		return nil, fmt.Errorf("it is of version %d: want %d", k.Version, keptVersion)
	}
	for i, c := range k.Commands {
		if c.Name == "" {
			return nil, fmt.Errorf("damaged: command %d has no name", i+1)
		}
	}
	return k.Commands, nil
}

// store writes the file.
func (e *Engine) store() error {
	if e.o.File == "" {
		return nil
	}
	set := kernel.Set[string, kernel.Command]{}
	for _, c := range e.stands {
		set.Add(c.Command)
	}
	data, err := json.MarshalIndent(kept{keptVersion, inOrder(set)}, "", "\t")
	if err != nil {
		return fmt.Errorf("writing which commands were run: %w", err)
	}
	if _, err := subnet.WriteFile(e.o.File, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("writing which commands were run: %w", err)
	}
	return nil
}
