package network

import (
	"context"
	"errors"
	"fmt"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/network/kernel"
)

// preparation is a command that was run before this node was announced, and what came of it.
type preparation struct {
	command kernel.Command
	text    string
}

// prepare runs what the backend of the config needs to have run before this node can be announced, once.
func (a *Agent) prepare(ctx context.Context) error {
	l := &a.loop
	b, err := a.ownBackend()
	if err != nil {
		return err
	}
	p, ok := b.(backend.Preparer)
	if !ok {
		return nil
	}
	c := p.Prepare()
	if c == l.prepared.command {
		return nil
	}
	now := preparation{command: c}
	if c.Run != "" {
		if a.o.Prepare == nil {
			return fmt.Errorf("backend %s: %w", l.config.Backend, errors.New("it needs a command to be run, and this agent runs none"))
		}
		err := a.kern.Inside(func() (err error) {
			now.text, err = a.o.Prepare(ctx, c)
			return err
		})
		if err != nil {
			return fmt.Errorf("backend %s: %w", l.config.Backend, err)
		}
	}
	l.prepared = now
	l.full, l.set = true, false
	return nil
}
