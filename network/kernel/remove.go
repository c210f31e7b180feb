package kernel

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"
)

// Remove takes the named device away, of whatever kind and whosever it is. It is for cleaning up what others than Weft have
// left behind; Apply takes away devices of Weft's only. A device that is gone already is a success.
func (k *Kernel) Remove(ctx context.Context, name string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	all, err := k.socket.devices(ctx)
	if err != nil {
		return err
	}
	index := all.index(name)
	if index == 0 {
		return nil
	}
	var refused error
	err = k.socket.write(1, func(w *writer, _ int) {
		beginLink(w, unix.RTM_DELLINK, 0, index, 0, 0)
	}, func(_ int, err error) {
		if !isGone(err) {
			refused = err
		}
	})
	if err == nil {
		err = refused
	}
	if err != nil {
		return fmt.Errorf("remove device %s: %w", name, err)
	}
	return nil
}
